//! The integration tests: the architecture's rules, and the program against real parts.

#![expect(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::sync::LazyLock;

#[path = "../parts/parts.rs"]
pub mod parts;

mod layers;
mod real_parts;
mod tidy;

use parts::cluster::Cluster;

/// The API that the scenarios share, each with namespaces of its own; one that stops the server
/// starts its own. The CRDs of both groups are in it.
fn cluster() -> &'static Cluster {
    static SHARED: LazyLock<Cluster> = LazyLock::new(|| {
        let cluster = Cluster::start();
        cluster.apply_folder(&parts::tools::clone_root().join("crds"));
        cluster.apply_folder(&parts::tools::folder("traefik"));
        cluster
    });
    &SHARED
}
