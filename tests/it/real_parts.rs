//! The parts themselves: what a scenario relies on before `routecert` has a say.

use crate::parts::ca::Ca;
use crate::parts::client;
use crate::parts::cluster::Cluster;
use crate::parts::process;
use crate::parts::stand::Stand;
use crate::parts::upstream::Upstream;

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
    let stand = Stand::new(crate::cluster(), "unused".as_ref(), "rights").await;
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
