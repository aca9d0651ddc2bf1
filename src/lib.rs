//! routecert
pub mod acme;
pub mod api;
pub mod cert;
pub mod challenge;
pub mod cluster;
pub mod config;
pub mod http;
pub mod name;
pub mod order;
pub mod resolver;
pub mod rule;
pub mod store;
