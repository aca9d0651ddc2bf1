//! Go and this reader side by side.
