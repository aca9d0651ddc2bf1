//! routecert
pub mod cert;
pub mod challenge;
pub mod config;
pub mod name;
pub mod resolver;
pub mod rule;
pub mod store;
