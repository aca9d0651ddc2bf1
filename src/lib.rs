//! routecert
pub mod cert;
pub mod challenge;
pub mod config;
pub mod name;
pub mod proxy;
pub mod resolver;
pub mod store;
