//! What is kept over restarts, failures and removals.

use std::time::Duration;

use crate::parts::cluster::Cluster;
use crate::parts::stand::Stand;
use crate::parts::tools;
use crate::{binary, stand};

const LE: &str = "{certResolver: le}";

/// Waits until the controller has looked at everything that was there before: a route applied now
/// is refused.
async fn fence(stand: &Stand<'_>, name: &str) {
    stand.route(name, "Host(`fence.example.com`)", "{certResolver: nobody}");
    stand.eventually("the fence to be refused", async || stand.reason(name).await).await;
}

#[tokio::test]
async fn restart_orders_nothing() {
    let stand = stand("restart").await;
    let controller = stand.start_controller();
    let proxy = stand.start_proxy();
    stand.route("blog", "Host(`a.example.com`)", LE);
    let issued = stand.certificate("a.example.com").await;
    let url = "https://a.example.com/";
    stand.eventually(url, async || stand.get(url)).await;
    fence(&stand, "fence-1").await;
    let requests = stand.ca.requests();

    controller.process.terminate(Duration::from_secs(10));
    proxy.process.terminate(Duration::from_secs(10));
    let _controller = stand.start_controller();
    let _proxy = stand.start_proxy();
    fence(&stand, "fence-2").await;
    assert_eq!(stand.get(url).unwrap().status, 200, "served from the first moment");
    assert_eq!(stand.ca.requests(), requests, "the CA was asked for something");
    assert_eq!(stand.certificate("a.example.com").await, issued, "the Secret was written");
}

#[tokio::test]
async fn a_second_controller_waits_and_takes_over() {
    let stand = stand("lease").await;
    let _proxy = stand.start_proxy();
    let first = stand.start_controller();
    let _second = stand.launch("controller");
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!(stand.ca.orders(), 1);
    let (status, took) = first.process.terminate(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "it took {took:?} to leave");
    stand.route("next", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn a_killed_leader_is_followed_by_another() {
    let stand = stand("crash").await;
    let _proxy = stand.start_proxy();
    let first = stand.start_controller();
    let _second = stand.launch("controller");
    first.process.kill();
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    assert_eq!(stand.ca.orders(), 1);
}

#[tokio::test]
async fn the_api_server_goes_away_and_comes_back() {
    let cluster = Cluster::start();
    cluster.apply_crds(&tools::clone_root().join("crds"));
    let stand = Stand::new(&cluster, binary(), "outage").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let url = "https://a.example.com/";
    stand.eventually(url, async || stand.get(url)).await;
    cluster.stop_api();
    assert_eq!(stand.get(url).unwrap().status, 200, "the proxy serves on");
    cluster.start_api();
    stand.route("next", "Host(`b.example.com`)", LE);
    stand.certificate("b.example.com").await;
    assert_eq!(stand.ca.orders(), 2);
}

#[tokio::test]
async fn an_unreachable_ca_is_waited_for() {
    let stand = stand("no-ca").await;
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.ca.stop();
    stand.route("blog", "Host(`a.example.com`)", LE);
    fence(&stand, "fence").await;
    stand.ca.resume();
    stand.certificate("a.example.com").await;
}

#[tokio::test]
async fn a_certificate_is_renewed_in_time_and_served_without_a_restart() {
    let stand = stand("renewal").await;
    stand.ca.live_for(20);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    let first = stand.certificate("a.example.com").await;
    let another = async || {
        let served = stand.served("a.example.com")?;
        let other = served.names() == ["a.example.com"] && served.serial() != first.chain.serial();
        if other { Ok(served) } else { Err(format!("serial {}", served.serial())) }
    };
    let second = stand.eventually("another certificate to be served", another).await;
    let root = stand.ca.root();
    second.verify(&root, "a.example.com").expect("the new one is valid");
    first.chain.verify(&root, "a.example.com").expect("the old one still is: it was in time");
    assert_eq!(stand.ca.orders(), stand.ca.issued(), "no order in vain");
}

#[tokio::test]
async fn a_certificate_goes_some_time_after_its_last_route() {
    let mut stand = stand("removal").await;
    "3s".clone_into(&mut stand.settings.remove_after);
    let (_controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    stand.certificate("a.example.com").await;
    stand.delete_route("blog");
    let gone = async || {
        let left = stand.certificates().await?;
        if left.is_empty() { Ok(()) } else { Err(format!("{:?}", left.keys())) }
    };
    stand.eventually("the Secret to go", gone).await;
}

#[tokio::test]
async fn a_secret_with_another_key_costs_only_itself() {
    let stand = stand("mismatch").await;
    let (controller, _proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("one", "Host(`a.example.com`)", LE);
    stand.route("two", "Host(`b.example.com`)", LE);
    let first = stand.certificate("a.example.com").await;
    let second = stand.certificate("b.example.com").await;
    let url = "https://a.example.com/";
    stand.eventually(url, async || stand.get(url)).await;
    controller.process.kill();
    let key = ["get", "secret", &second.secret, "-o", "jsonpath={.data.tls\\.key}", "-n"];
    let namespace = stand.settings.certificates_namespace.as_str();
    let other = stand.cluster.kubectl(&[&key[..], &[namespace]].concat(), "");
    let patch = format!("{{\"data\": {{\"tls.key\": \"{other}\"}}}}");
    let args = ["patch", "secret", &first.secret, "-n", namespace, "-p", &patch];
    stand.cluster.kubectl(&args, "");
    let other = stand.eventually("b", async || stand.get("https://b.example.com/")).await;
    assert_eq!(other.status, 200);
    assert_eq!(stand.served("a.example.com").unwrap(), first.chain, "the good one is served on");
}

#[tokio::test]
async fn a_proxy_told_to_end_leaves_within_ten_seconds() {
    let stand = stand("drain").await;
    let proxy = stand.start_proxy();
    let (status, took) = proxy.process.terminate(Duration::from_secs(15));
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(10), "it took {took:?}");
}
