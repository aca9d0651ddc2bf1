//! routecert
pub mod acme;
pub mod api;
pub mod cert;
pub mod challenge;
pub mod cluster;
pub mod config;
pub mod http;
pub mod issue;
pub mod name;
pub mod order;
pub mod plan;
pub mod resolver;
pub mod route;
pub mod rule;
pub mod source;
pub mod store;
pub mod world;
