//! TXT records for DNS-01 (RFC 8555 §8.4): who can set them, in which zone, and who sees them.
//!
//! A [`Provider`] sets and unsets one value at one name; [`PROVIDERS`] lists all of them.

mod acme_dns;
mod api;
mod error;
mod exec;
mod httpreq;
mod manual;
mod provider;
mod providers;
mod variables;

pub use crate::dns::api::{Api, Call, Reply, escape};
pub use crate::dns::error::Error;
pub use crate::dns::provider::{
    Context, Done, Entry, Exchange, FindZone, Handle, Provider, Task, Timing, Visibility, Zones,
};
pub use crate::dns::providers::{PROVIDERS, provider};
pub use crate::dns::variables::Variables;

#[cfg(test)]
mod tests;
