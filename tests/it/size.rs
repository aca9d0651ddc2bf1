//! What a controller costs the API server, counted in requests.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::look::{self, LE};
use crate::parts::stand::Stand;
use crate::stand;

/// A start reads 500 objects at a time, and far fewer are there.
const READS: usize = 60;

/// What the stand's controller has asked for, but for the Lease, which it renews all the time.
fn asked(stand: &Stand<'_>) -> BTreeMap<String, usize> {
    let namespace = &stand.settings.controller_namespace;
    let mut asked = stand.cluster.asked(namespace, "routecert-controller");
    asked.retain(|what, _| !what.ends_with(" leases"));
    asked
}

/// What was asked for since `before`: the writes, and how often was read.
fn since(before: &BTreeMap<String, usize>, stand: &Stand<'_>) -> (BTreeMap<String, usize>, usize) {
    let mut asked = asked(stand);
    for (what, count) in &mut asked {
        *count -= before.get(what).copied().unwrap_or_default();
    }
    let is_read =
        |what: &str| ["get ", "list ", "watch "].iter().any(|verb| what.starts_with(verb));
    let (reads, mut writes): (BTreeMap<_, _>, BTreeMap<_, _>) =
        asked.into_iter().partition(|(what, _)| is_read(what));
    writes.retain(|_, count| *count > 0);
    (writes, reads.values().sum())
}

/// Routes that ask for nothing.
fn quiet_routes(stand: &Stand<'_>, count: usize) {
    let mut all = String::new();
    for number in 0..count {
        writeln!(
            all,
            "---\n{{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {{name: quiet-{number}, \
             namespace: {}}}, spec: {{routes: [{{kind: Rule, match: 'Host(`q{number}.example.com`)'}}]}}}}",
            stand.routes
        )
        .unwrap();
    }
    stand.cluster.apply(&all);
}

#[tokio::test]
async fn a_start_where_all_is_well_writes_nothing_and_reads_by_pages() {
    let stand = stand("size").await;
    let _proxy = stand.start_proxy();
    let first = stand.start_controller();
    quiet_routes(&stand, 300);
    for name in ["one", "two", "three"] {
        stand.route(name, &format!("Host(`{name}.example.com`)"), LE);
        look::told(&stand, name, "Issued").await;
    }
    look::fence(&stand, "fence-1").await;
    first.process.terminate(Duration::from_secs(10));

    let before = asked(&stand);
    let _second = stand.start_controller();
    look::fence(&stand, "fence-2").await;
    let (writes, reads) = since(&before, &stand);
    let fence = BTreeMap::from([("patch rcingressroutes/status".to_owned(), 1)]);
    assert_eq!(writes, fence, "the fence's own status and nothing else");
    assert!(reads <= READS, "{reads} reads");
    assert_eq!(stand.ca.orders(), 3);
}

#[tokio::test]
async fn a_route_that_changes_and_asks_for_the_same_costs_no_request() {
    let stand = stand("same").await;
    let (_proxy, _controller) = (stand.start_proxy(), stand.start_controller());
    stand.route("one", "Host(`one.example.com`)", LE);
    look::told(&stand, "one", "Issued").await;
    look::fence(&stand, "fence-1").await;

    let before = asked(&stand);
    let namespace = stand.routes.as_str();
    for number in 0..20 {
        let note = format!("routecert.dev/note={number}");
        let args = ["annotate", "--overwrite", "rcingressroute", "one", &note, "-n", namespace];
        stand.cluster.kubectl(&args, "");
    }
    look::fence(&stand, "fence-2").await;
    let (writes, reads) = since(&before, &stand);
    let fence = BTreeMap::from([("patch rcingressroutes/status".to_owned(), 1)]);
    assert_eq!((writes, reads), (fence, 0));
}
