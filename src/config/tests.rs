//! Facts about the configuration, one line each.
