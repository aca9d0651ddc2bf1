//! `/metrics` of the admin listener.

use std::time::Duration;

use crate::look::LE;
use crate::parts::client::{self, Reply};
use crate::parts::routecert::Routecert;
use crate::parts::stand::Stand;
use crate::stand;

fn metrics(of: &Routecert) -> Reply {
    client::curl(of.admin, &format!("http://127.0.0.1:{}/metrics", of.admin), &[]).unwrap()
}

/// Waits until each of `lines` is there.
#[track_caller]
fn measured<'a>(
    stand: &'a Stand<'_>,
    of: &'a Routecert,
    lines: &'a [&str],
) -> impl Future<Output = ()> + 'a {
    stand.eventually("the metrics", async move || {
        let text = metrics(of).body;
        let missing = lines.iter().find(|line| !text.lines().any(|one| one == **line));
        missing.map_or(Ok(()), |missing| Err(format!("no `{missing}` in {text}")))
    })
}

#[tokio::test]
async fn certificates_refusals_orders_and_resolvers_are_measured_by_who_leads() {
    let mut stand = stand("metrics").await;
    stand.settings.resolvers.push(("unusable".to_owned(), "DSA".to_owned()));
    let (first, proxy) = (stand.start_controller(), stand.start_proxy());
    let resolvers = [
        "routecert_resolver_usable{resolver=\"le\"} 1",
        "routecert_resolver_usable{resolver=\"unusable\"} 0",
    ];
    measured(&stand, &first, &resolvers).await;
    let kind = metrics(&first).header("content-type").unwrap().to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    stand.ca.break_name("broken.example.com");
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.route("broken", "Host(`broken.example.com`)", LE);
    stand.route("uses", "Host(`b.example.com`)", "{certResolver: unusable}");
    stand.traefik_route("typo", "Host(`c.example.com`)", "{certResolver: nobody}");
    let all = [
        "routecert_leading 1",
        "routecert_certificates{ready=\"true\",reason=\"Issued\"} 1",
        "routecert_certificates{ready=\"false\",reason=\"Failed\"} 1",
        "routecert_routes_refused{reason=\"ResolverUnusable\"} 1",
        "routecert_routes_refused{reason=\"UnknownResolver\"} 1",
        "routecert_orders_placed_total{resolver=\"le\"} 2",
        "routecert_order_failures_total{resolver=\"le\",kind=\"Refused\"} 1",
    ];
    measured(&stand, &first, &all).await;
    stand.delete_route("uses");
    let gone = ["routecert_routes_refused{reason=\"ResolverUnusable\"} 0"];
    measured(&stand, &first, &gone).await;
    let told = metrics(&proxy).body;
    assert!(told.contains("routecert_build_info{version="), "{told}");
    assert!(!told.contains("example.com"), "no name of a tenant makes a series: {told}");
    // One that only waits knows its resolvers, and counts nothing that the other one does.
    let second = stand.start_controller();
    measured(&stand, &second, &resolvers).await;
    let waiting = metrics(&second).body;
    assert!(waiting.contains("routecert_leading 0\n"), "{waiting}");
    assert!(!waiting.contains("routecert_certificates{"), "{waiting}");
    first.process.terminate(Duration::from_secs(10));
    let taken_over = [
        "routecert_leading 1",
        "routecert_certificates{ready=\"true\",reason=\"Issued\"} 1",
        "routecert_certificates{ready=\"false\",reason=\"Failed\"} 1",
        "routecert_routes_refused{reason=\"UnknownResolver\"} 1",
    ];
    measured(&stand, &second, &taken_over).await;
}
