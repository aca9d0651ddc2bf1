//! The one upstream that requests are forwarded to, and one worker's client for it.

mod body;
mod client;
mod pool;
mod target;
mod upload;

pub(super) use body::UpstreamBody;
pub(super) use client::{Client, Failure};

pub use target::{BadUpstream, Upstream};
