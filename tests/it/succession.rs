//! One controller after another: told to end, killed, or just started again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::look::{self, LE};
use crate::parts::cluster::Cluster;
use crate::parts::routecert::Routecert;
use crate::parts::stand::Stand;
use crate::parts::tools;
use crate::{binary, stand};

const PATIENCE: Duration = Duration::from_secs(10);

/// Applies `count` routes at once: hosts `h0.example.com` and on.
fn apply_many(stand: &Stand<'_>, count: usize) {
    let route = |number| {
        format!(
            "---
apiVersion: routecert.dev/v1alpha1
kind: IngressRoute
metadata: {{name: r{number}, namespace: {}}}
spec:
  routes: [{{match: Host(`h{number}.example.com`), kind: Rule}}]
  tls: {LE}
",
            stand.routes
        )
    };
    stand.cluster.apply(&(0..count).map(route).collect::<String>());
}

/// Waits until the first `count` hosts have their certificates, and nobody else has one.
async fn all_issued(stand: &Stand<'_>, count: usize) {
    let hosts: BTreeSet<String> =
        (0..count).map(|number| format!("h{number}.example.com")).collect();
    let complete = async || {
        let held = stand.certificates().await?;
        if held.keys().eq(&hosts) { Ok(()) } else { Err(format!("{:?}", held.keys())) }
    };
    stand.eventually("all certificates", complete).await;
}

/// Waits until the CA has done something so many times.
async fn counted(stand: &Stand<'_>, what: &str, count: usize, of: impl Fn() -> usize) {
    let reached = async || {
        let present = of();
        if present >= count { Ok(()) } else { Err(format!("{present}")) }
    };
    stand.eventually(&format!("{count} {what}"), reached).await;
}

/// Nothing is in flight, nothing failed, and every certificate was counted once.
async fn at_rest(stand: &Stand<'_>, count: usize) {
    let rest = async || {
        let states = look::states(stand).await?;
        let calm = |state: &serde_json::Value| {
            state["pending"].is_null()
                && state["failures"].is_null()
                && state["issued"].as_array().is_some_and(|issued| issued.len() == 1)
        };
        let calm = states.len() == count && states.values().all(calm);
        let answers = look::challenges(stand).await?;
        if calm && answers == 0 { Ok(()) } else { Err(format!("{answers} answers, {states:?}")) }
    };
    stand.eventually("states at rest and an empty challenge table", rest).await;
}

#[tokio::test]
async fn a_leader_told_to_end_in_the_middle_of_ten_orders_costs_none() {
    let stand = stand("rolling").await;
    let _proxy = stand.start_proxy();
    let first = stand.start_controller();
    look::logs(&stand, &first, "leading").await;
    let second = stand.start_controller();
    apply_many(&stand, 10);
    counted(&stand, "orders", 2, || stand.ca.orders()).await;
    let (status, took) = first.process.terminate(PATIENCE);
    let since = Instant::now();
    assert_eq!(status.code(), Some(0));
    assert!(took < Duration::from_secs(2), "it took {took:?} to leave");
    look::logs(&stand, &second, "leading").await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(8), "it took {took:?} to follow");
    all_issued(&stand, 10).await;
    at_rest(&stand, 10).await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (10, 10));
    assert_eq!(look::lines(&first, "given back"), 1);
}

#[tokio::test]
async fn two_controllers_order_ten_certificates_once() {
    let stand = stand("two").await;
    let _proxy = stand.start_proxy();
    let (first, second) = (stand.launch("controller"), stand.launch("controller"));
    apply_many(&stand, 10);
    all_issued(&stand, 10).await;
    at_rest(&stand, 10).await;
    assert_eq!((stand.ca.orders(), stand.ca.issued(), stand.ca.accounts()), (10, 10, 1));
    assert_eq!(look::lines(&first, "leading") + look::lines(&second, "leading"), 1);
}

#[tokio::test]
async fn a_leader_that_was_frozen_does_nothing_once_another_leads() {
    let stand = stand("frozen").await;
    let _proxy = stand.start_proxy();
    let first = stand.start_controller();
    look::logs(&stand, &first, "leading").await;
    let second = stand.start_controller();
    apply_many(&stand, 10);
    counted(&stand, "orders", 2, || stand.ca.orders()).await;
    first.process.hold();
    look::logs(&stand, &second, "leading").await;
    first.process.release();
    all_issued(&stand, 10).await;
    at_rest(&stand, 10).await;
    look::logs(&stand, &first, "another controller leads").await;
    assert_eq!(stand.ca.issued(), 10);
    // and it is good for the next term
    second.process.terminate(PATIENCE);
    apply_many(&stand, 11);
    all_issued(&stand, 11).await;
    assert_eq!(stand.ca.issued(), 11);
}

#[tokio::test]
async fn a_refused_order_is_told_and_not_repeated_by_a_restart() {
    let stand = stand("refused-order").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.ca.break_name("h0.example.com");
    apply_many(&stand, 2);
    let condition = look::told(&stand, "r0", "Failed").await;
    let message = condition["message"].as_str().unwrap();
    assert!(message.contains("h0.example.com") && message.contains("tried again after 20"));
    stand.certificate("h1.example.com").await;
    let states = look::states(&stand).await.unwrap();
    assert!(states["h0.example.com"]["pending"].is_null(), "{states:?}");
    let requests = stand.ca.requests();
    controller.process.terminate(PATIENCE);
    let _controller = stand.start_controller();
    look::fence(&stand, "fence").await;
    assert_eq!(look::told(&stand, "r0", "Failed").await, condition);
    assert_eq!((stand.ca.requests(), stand.ca.orders()), (requests, 2));
    assert_eq!(look::challenges(&stand).await, Ok(0));
}

#[tokio::test]
async fn killed_between_any_two_steps_every_certificate_is_got_exactly_once() {
    let stand = stand("killed").await;
    let _proxy = stand.start_proxy();
    let mut controller = stand.start_controller();
    for kill in 0..5 {
        let (orders, issued, looks) =
            (stand.ca.orders(), stand.ca.issued(), stand.ca.validations());
        apply_many(&stand, kill + 1);
        match kill {
            0 => counted(&stand, "orders", orders + 1, || stand.ca.orders()).await,
            1 => look::logs(&stand, &controller, "order placed").await,
            2 => {
                let shown = async || match look::challenges(&stand).await? {
                    0 => Err("an empty challenge table".to_owned()),
                    _ => Ok(()),
                };
                stand.eventually("an answer in the challenge table", shown).await;
            }
            3 => counted(&stand, "validations", looks + 1, || stand.ca.validations()).await,
            _ => counted(&stand, "certificates", issued + 1, || stand.ca.issued()).await,
        }
        controller.process.kill();
        look::bury(&stand);
        controller = stand.start_controller();
    }
    all_issued(&stand, 5).await;
    at_rest(&stand, 5).await;
    assert_eq!(stand.ca.issued(), 5);
    assert_eq!(stand.ca.accounts(), 1);
}

#[tokio::test]
async fn an_api_server_that_goes_away_in_the_middle_of_orders_costs_no_certificate() {
    let cluster = Cluster::start();
    cluster.apply_crds(&tools::clone_root().join("crds"));
    let stand = Stand::new(&cluster, binary(), "cut-off").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    for (count, validations) in [(3, 1), (6, 0)] {
        let (orders, looks) = (stand.ca.orders(), stand.ca.validations());
        apply_many(&stand, count);
        counted(&stand, "orders", orders + 1, || stand.ca.orders()).await;
        counted(&stand, "validations", looks + validations, || stand.ca.validations()).await;
        cluster.stop_api();
        cluster.start_api();
    }
    all_issued(&stand, 6).await;
    at_rest(&stand, 6).await;
    assert_eq!(stand.ca.issued(), 6);
}

/// Starts controller and proxy anew and waits until they have nothing left to do.
async fn restarted(stand: &Stand<'_>, last: &str) -> [Routecert; 2] {
    let both = [stand.start_controller(), stand.start_proxy()];
    look::logs(stand, &both[0], "everything is known").await;
    // the publisher has seen all AcmeCertificates once it puts one back
    let marked = stand.certificate("marker.example.com").await.secret;
    stand.cluster.kubectl(&["delete", "acmecert", &marked, "-n", &stand.routes], "");
    let back = async || stand.object("AcmeCertificate", &marked).await;
    stand.eventually("the AcmeCertificate of the marker", back).await;
    look::fence(stand, last).await;
    both
}

#[tokio::test]
async fn a_restart_writes_nothing_and_asks_the_ca_for_nothing() {
    let stand = stand("idle").await;
    let (controller, proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("marker", "Host(`marker.example.com`)", LE);
    stand.route("blog", "Host(`a.example.com`)", "{certResolver: le, secretName: blog-tls}");
    stand.traefik_route("theirs", "Host(`b.example.com`)", "{certResolver: le, secretName: b}");
    stand.traefik_route("refused", "Host(`c.example.com`)", "{certResolver: nobody}");
    let theirs = ["create", "secret", "generic", "theirs", "--from-literal=a=b", "-n"];
    stand.cluster.kubectl(&[&theirs[..], &[&stand.routes]].concat(), "");
    stand.route("foreign", "Host(`a.example.com`)", "{certResolver: le, secretName: theirs}");
    look::told(&stand, "foreign", "SecretNotOurs").await;
    look::event(&stand, "refused").await;
    for (host, copy) in [("a.example.com", "blog-tls"), ("b.example.com", "b")] {
        let chain = stand.certificate(host).await.chain;
        look::copied(&stand, copy, &chain).await;
    }
    for route in ["blog", "marker"] {
        look::told(&stand, route, "Issued").await;
    }
    let mut running = [controller, proxy];
    let mut seen = Vec::new();
    for marker in ["fence-1", "fence-2", "fence-3"] {
        for process in running {
            process.process.terminate(PATIENCE);
        }
        running = restarted(&stand, marker).await;
        let marked = stand.certificate("marker.example.com").await.secret;
        let mut versions = look::versions(&stand);
        let own = |place: &str| {
            place.contains("/fence-") || place == format!("AcmeCertificate/idle-routes/{marked}")
        };
        versions.retain(|place, _| !own(place));
        assert!(versions.len() >= 14, "{versions:#?}");
        seen.push((versions, stand.ca.requests()));
    }
    let [first, second, third] = seen.try_into().unwrap();
    // what happened before the first restart may still have been on its way
    assert_eq!(second, first);
    assert_eq!(third, second);
}
