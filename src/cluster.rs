//! The connection to the API server, and watches that survive whatever happens to it.

mod connect;
mod depth;
mod known;
mod late;
mod object;
mod watch;

use std::fmt::Debug;
use std::sync::Arc;

use kube::Client;

use crate::http;

pub use connect::{Error, connect};
pub use late::Definitions;
pub use object::{IngressClass, Named, Object, count};
pub use watch::{Seen, Trouble, watch, watch_custom};

/// A client and the namespace that is ours by default.
#[derive(Clone)]
pub struct Cluster {
    pub client: Client,
    /// The Pod's own namespace, or the kubeconfig's.
    pub namespace: String,
}

impl Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Asked before every request that must not be made by one who no longer leads. Measured by the
/// monotonic clock of this process, never by comparing clocks.
#[derive(Clone)]
pub struct Fence(Arc<dyn Fn() -> bool + Send + Sync>);

impl Fence {
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    pub fn holds(&self) -> bool {
        (self.0)()
    }
}

impl Debug for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fence").field(&self.holds()).finish()
    }
}

/// An error of the API, in the API server's own words.
pub fn explain(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => http::chain(other),
    }
}
