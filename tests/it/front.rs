//! The proxy alone, before it anything that speaks HTTP, behind it nothing but the store.

use std::time::{Duration, Instant};

use routecert::challenge;

use crate::look::{self, LE};
use crate::parts::client::{self, Chain, Connection};
use crate::parts::keys::{self, ServerKeys};
use crate::parts::process;
use crate::parts::stand::Stand;
use crate::parts::upstream::{Speaks, Upstream};
use crate::stand;

pub(crate) const HOST: &str = "a.example.com";

/// Puts a certificate into the store as a controller would.
fn put(stand: &Stand<'_>, keys: &ServerKeys) {
    let secret = serde_json::json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
        "metadata": {
            "name": "rc-aaaaaaaaaaaaaaaaaaaa", "namespace": stand.settings.certificates_namespace,
            "labels": {"routecert.dev/kind": "certificate"},
        },
        "stringData": {"tls.crt": keys.chain, "tls.key": keys.key},
    });
    stand.cluster.apply(&secret.to_string());
}

/// Puts an answer for [`HOST`] into the challenge table.
pub(crate) fn answer(stand: &Stand<'_>, key: &str, answer: &str, expires: &str) {
    let entry = serde_json::json!({"name": HOST, "answer": answer, "expires": expires});
    let map = serde_json::json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": challenge::shard_name(challenge::shard_of(key)),
            "namespace": stand.settings.certificates_namespace,
            "labels": {"routecert.dev/kind": "challenges"},
        },
        "data": {key: entry.to_string()},
    });
    stand.cluster.apply(&map.to_string());
}

#[tokio::test]
async fn every_replica_answers_a_challenge_itself_and_forwards_none() {
    let mut stand = stand("replicas").await;
    let _first = stand.start_proxy();
    let mut ports = vec![stand.settings.web, stand.settings.websecure];
    answer(&stand, "tok-EN_1", "tok-EN_1.thumbprint", "2100-01-01T00:00:00Z");
    answer(&stand, "too-old", "too-old.thumbprint", "2020-01-01T00:00:00Z");
    [stand.settings.web, stand.settings.websecure] = process::free_ports();
    let _second = stand.start_proxy();
    ports.extend([stand.settings.web, stand.settings.websecure]);
    for port in ports {
        for scheme in ["http", "https"] {
            let ask = |host: &str, token: &str| {
                let url = format!("{scheme}://{host}{}{token}", challenge::HTTP01_PATH);
                let reply = client::curl(port, &url, &["--insecure"]).unwrap();
                (reply.status, reply.body)
            };
            let refused = (404, "No such challenge.\n".to_owned());
            assert_eq!(ask(HOST, "tok-EN_1"), (200, "tok-EN_1.thumbprint".to_owned()));
            assert_eq!(ask("b.example.com", "tok-EN_1"), refused);
            for token in ["unknown", "too-old", "", "%2e%2e/x", "a/b"] {
                assert_eq!(ask(HOST, token), refused, "{scheme} {token}");
            }
        }
    }
}

#[tokio::test]
async fn a_replica_that_was_not_there_when_the_order_was_placed_answers() {
    let stand = stand("late-replica").await;
    let (controller, proxy) = (stand.start_controller(), stand.start_proxy());
    stand.route("blog", "Host(`a.example.com`)", LE);
    look::logs(&stand, &controller, "order placed").await;
    controller.process.hold();
    proxy.process.kill();
    let _proxy = stand.start_proxy();
    assert_eq!(stand.ca.validations(), 0, "held too late");
    controller.process.release();
    stand.certificate(HOST).await;
    assert_eq!((stand.ca.orders(), stand.ca.issued()), (1, 1));
}

#[tokio::test]
async fn a_changed_certificate_is_served_at_once_and_drops_no_connection() {
    let stand = stand("hot-reload").await;
    let _proxy = stand.start_proxy();
    let unknown = stand.served(HOST).unwrap();
    let [first, second] = [keys::server(&[HOST]), keys::server(&[HOST])];
    put(&stand, &first);
    let shows = async |expected: &Chain| {
        let condition = async || {
            let served = stand.served(HOST)?;
            if served == *expected { Ok(()) } else { Err(format!("{:?}", served.names())) }
        };
        stand.eventually("another certificate to be served", condition).await;
    };
    shows(&Chain::from_pem(&first.chain)).await;
    let port = stand.settings.websecure;
    let mut open = Connection::open(port, HOST, &first.authority).await;
    assert_eq!(open.get("/1").await, Ok(200));
    put(&stand, &second);
    let since = Instant::now();
    shows(&Chain::from_pem(&second.chain)).await;
    let took = since.elapsed();
    assert!(took < Duration::from_secs(2), "it took {took:?}");
    assert_eq!(open.get("/2").await, Ok(200));
    let namespace = stand.settings.certificates_namespace.as_str();
    stand.cluster.kubectl(&["delete", "secret", "--all", "-n", namespace], "");
    shows(&unknown).await;
    assert_eq!(open.get("/3").await, Ok(200));
}

#[tokio::test]
async fn requests_reach_upstreams_over_https_h2c_and_unix_sockets() {
    let stand = stand("upstreams").await;
    let keys = keys::server(&["127.0.0.1"]);
    let authority = process::write(&stand.folder, "upstream-ca.pem", &keys.authority);
    let authority = authority.display().to_string();
    let trusted = ["--upstream-ca", authority.as_str()];
    let cases: [(Speaks, &[&str], u16, &str); 4] = [
        (Speaks::Https(keys), &trusted, 200, "HTTP/1.1"),
        (Speaks::Https(keys::server(&["127.0.0.1"])), &trusted, 502, ""),
        (Speaks::H2c, &[], 200, "HTTP/2.0"),
        (Speaks::Unix(stand.folder.join("upstream.sock")), &[], 200, "HTTP/1.1"),
    ];
    for (speaks, more, status, version) in cases {
        let what = format!("{speaks:?}").split('(').next().unwrap().to_owned();
        let upstream = Upstream::start_as(speaks).url();
        let proxy = stand.launch_with("proxy", &[&["--upstream", &upstream], more].concat());
        proxy.await_ready();
        let url = "https://a.example.com/path?x=1";
        let reply = client::curl(stand.settings.websecure, url, &["--insecure"]).unwrap();
        assert_eq!(reply.status, status, "{what}: {reply:?}");
        if status == 200 {
            let told = reply.json();
            assert_eq!(told["version"], version, "{what}: {told}");
            assert!(told["target"].as_str().unwrap().ends_with("/path?x=1"), "{what}: {told}");
        }
        proxy.process.terminate(Duration::from_secs(12));
    }
}
