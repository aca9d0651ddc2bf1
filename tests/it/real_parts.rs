//! The parts themselves: what a scenario relies on before `routecert` has a say.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use crate::parts::ca::Ca;
use crate::parts::client;
use crate::parts::cluster::Cluster;
use crate::parts::process::{self, Process, Program};
use crate::parts::upstream::Upstream;
use crate::parts::wait;

const WITHIN: Duration = Duration::from_secs(10);

#[test]
fn the_api_server_serves_and_comes_back_with_its_objects() {
    let cluster = Cluster::start();
    cluster.kubectl(&["create", "configmap", "kept", "--from-literal=a=b"], "");
    cluster.stop_api();
    assert!(!cluster.try_kubectl(&["get", "configmap", "kept"], "").status.success());
    cluster.start_api();
    let kept = cluster.kubectl(&["get", "configmap", "kept", "-o", "jsonpath={.data.a}"], "");
    assert_eq!(kept, "b");
    cluster.kubectl(&["create", "namespace", "short-lived"], "");
    cluster.kubectl(&["delete", "namespace", "short-lived", "--timeout=60s"], "");
}

#[test]
fn pebble_offers_a_directory_and_a_root_and_counts_what_it_is_asked() {
    let [http_port] = process::free_ports();
    let ca = Ca::start(http_port);
    assert_eq!((ca.requests(), ca.orders()), (0, 0));
    assert!(ca.ask_directory().unwrap().json()["newOrder"].is_string());
    assert_eq!(ca.requests(), 1);
    let before = ca.root();
    assert_eq!(client::Chain::from_pem(&before).certificates.len(), 1);
    let shown = client::served(ca.port, "localhost").unwrap();
    assert_eq!(shown.names(), ["localhost"]);
    let trust = std::fs::read_to_string(&ca.trust).unwrap();
    shown.verify(&trust, "localhost").unwrap();
    assert!(shown.verify(&trust, "a.example.com").is_err());
    assert!(shown.verify(&before, "localhost").is_err());
    ca.break_name("a.example.com");
    ca.mend_name("a.example.com");
    ca.stop();
    assert!(ca.ask_directory().is_err());
    ca.resume();
    assert_ne!(ca.root(), before, "a new start has a new root");
}

#[test]
fn the_upstream_tells_what_it_was_asked() {
    let upstream = Upstream::start();
    let reply = client::curl(upstream.port, "http://a.example.com/blog?x=1", &[]).unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(reply.json()["target"], "/blog?x=1");
    assert_eq!(reply.json()["headers"]["host"], "a.example.com");
}

#[tokio::test]
async fn a_proxy_reads_its_namespace_and_has_no_other_right() {
    let stand = crate::stand("rights").await;
    let proxy = "--as=system:serviceaccount:rights-system:routecert-proxy";
    let can = |args: &[&str]| {
        let args = [&["auth", "can-i", "--quiet", proxy], args].concat();
        stand.cluster.try_kubectl(&args, "").status.success()
    };
    assert!(can(&["watch", "secrets", "-n", "rights-certs"]));
    assert!(can(&["list", "configmaps", "-n", "rights-certs"]));
    assert!(!can(&["update", "secrets", "-n", "rights-certs"]));
    assert!(!can(&["get", "secrets", "-n", "rights-system"]));
    assert!(!can(&["get", "secrets", "-n", &stand.routes]));
    assert!(!can(&["list", "rcingressroutes.routecert.dev", "-n", &stand.routes]));
    assert!(stand.certificates().await.unwrap().is_empty());
}

#[test]
fn a_child_is_held_let_go_and_told_to_end() {
    let sleep = Process::start(Program {
        name: "sleep".to_owned(),
        path: "sleep".into(),
        args: vec!["60".to_owned()],
        env: Vec::new(),
        folder: process::new_folder("child"),
    });
    let state = || {
        let status = std::fs::read_to_string(format!("/proc/{}/stat", sleep.pid())).unwrap();
        status.split(' ').nth(2).unwrap().to_owned()
    };
    sleep.await_ready(WITHIN, || state() == "S");
    sleep.hold();
    sleep.await_ready(WITHIN, || state() == "T");
    sleep.release();
    sleep.await_ready(WITHIN, || state() == "S");
    assert_eq!(sleep.terminate(WITHIN).0.signal(), Some(15));
}

#[tokio::test]
#[should_panic(expected = "for: the moon\nlast seen: only clouds\nand a log")]
async fn what_does_not_happen_is_told_with_what_was_seen_and_logged() {
    let cloudy = async || Err::<(), _>("only clouds".to_owned());
    wait::eventually("the moon", Duration::ZERO, || "and a log".to_owned(), cloudy).await;
}
