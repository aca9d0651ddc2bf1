//! The integration tests: the architecture's rules, and the program against real parts.

#![expect(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use std::path::Path;
use std::sync::LazyLock;

#[path = "../parts/parts.rs"]
pub mod parts;
#[path = "../fuzz/rule_body.rs"]
mod rule_body;

mod accounts;
mod api_faults;
mod asked;
mod by_hand;
mod ca_faults;
mod ca_options;
mod challenges;
mod check;
mod classes;
mod configurations;
mod crashes;
mod dns;
mod dns_orders;
mod file_mode;
mod files;
mod front;
mod hooks;
mod imports;
mod issuing;
mod keeping;
mod kinds;
mod late;
mod layers;
mod look;
mod metrics;
mod one_namespace;
mod options;
mod owners;
mod plan_cluster;
mod plans;
mod proxied;
mod real_parts;
mod refusals;
mod resolvers;
mod rules;
mod second_ca;
mod size;
mod sources;
mod status;
mod succession;
mod surface;
mod tenants;
mod tidy;
mod usage;
mod wishes;
mod writes;
mod year;

use parts::cluster::Cluster;
use parts::stand::Stand;

/// The API that the scenarios share, each with namespaces of its own; one that stops the server
/// starts its own. The CRDs of both groups are in it.
fn cluster() -> &'static Cluster {
    static SHARED: LazyLock<Cluster> = LazyLock::new(|| {
        let cluster = Cluster::start();
        cluster.apply_crds(&parts::tools::clone_root().join("crds"));
        cluster.apply_crds(&parts::tools::folder("traefik"));
        cluster
    });
    &SHARED
}

/// A stand of its own in the shared cluster, for one scenario.
async fn stand(prefix: &str) -> Stand<'static> {
    Stand::new(cluster(), binary(), prefix).await
}

/// The program under test.
fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_routecert"))
}
