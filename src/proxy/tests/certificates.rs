//! What clients see of the certificates, and of their changes.

use super::client::{Http, body, config, handshake, leaf};
use super::*;
use crate::cert;

fn der(certificate: &Certificate) -> Vec<u8> {
    certificate.ders().unwrap()[0].to_vec()
}

#[tokio::test]
async fn a_new_certificate_is_served_and_no_connection_is_dropped() {
    let mut upstreams = upstreams::Upstreams::default();
    let upstream = upstreams.tcp(upstreams::Speaks::One).await;
    let proxy = Running::start(&format!("http://{upstream}")).await;
    let (mut one, mut two) = (Http::one(proxy.websecure).await, Http::two(proxy.websecure).await);
    let new = made("a.x");
    proxy.certificates.unbounded_send(put("a.x", &new)).unwrap();
    eventually("the new one is served", async || leaf(proxy.websecure, "a.x").await == der(&new))
        .await;
    for old in [&mut one, &mut two] {
        let response = old.get("/x").await.unwrap();
        assert!(body(response).await.starts_with("GET "));
    }
}

#[tokio::test]
async fn a_bad_certificate_changes_nothing_and_an_unknown_name_gets_the_default() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    let first = leaf(proxy.websecure, "a.x").await;
    let default = leaf(proxy.websecure, "unknown.x").await;
    assert_ne!(first, default);
    let content = Err(cert::Error::KeyMismatch);
    let bad = Change::Put(Box::new(Entry::bare(id("a.x"), content, "2")));
    let other = made("b.x *.c.x");
    proxy.certificates.unbounded_send(bad).unwrap();
    proxy.certificates.unbounded_send(put("b.x", &other)).unwrap();
    eventually("the next one is served", async || {
        leaf(proxy.websecure, "b.x").await == der(&other)
    })
    .await;
    assert_eq!(leaf(proxy.websecure, "a.x").await, first);
    assert_eq!(leaf(proxy.websecure, "A.X").await, first);
    assert_eq!(leaf(proxy.websecure, "z.c.x").await, der(&other));
    assert_eq!(leaf(proxy.websecure, "c.x").await, default);
    assert_eq!(leaf(proxy.websecure, "127.0.0.1").await, default);
    proxy.certificates.unbounded_send(Change::Gone(id("b.x"))).unwrap();
    eventually("what is gone is no longer served", async || {
        leaf(proxy.websecure, "b.x").await == default
    })
    .await;
}

#[tokio::test]
async fn both_versions_of_tls_and_only_our_protocols() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    let with = async |config| handshake(proxy.websecure, "a.x", config).await;
    let old = with(config(&[&rustls::version::TLS12], &["http/1.1"])).await.unwrap();
    let suite = old.get_ref().1.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite.as_str(), Some("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"));
    let new = with(config(&[&rustls::version::TLS13], &["h2", "http/1.1"])).await.unwrap();
    let session = new.get_ref().1;
    let suite = session.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite.as_str(), Some("TLS13_AES_128_GCM_SHA256"));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    assert_eq!(session.alpn_protocol(), Some(b"h2".as_slice()));
    with(config(rustls::ALL_VERSIONS, &["acme-tls/1"])).await.unwrap_err();
}

#[tokio::test]
async fn every_entry_point_speaks_both_tls_and_plain_http() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    assert_eq!(leaf(proxy.web, "a.x").await, leaf(proxy.websecure, "a.x").await);
}

#[tokio::test]
async fn nobody_listens_before_the_first_list_is_complete() {
    let (certificates, changes) = unbounded();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut point = entry_point("websecure", None);
    point.port = free.port();
    let settings = Settings {
        entry_points: vec![point],
        upstream: Upstream::parse("http://127.0.0.1:1", None).unwrap(),
        workers: 1,
        drain: Duration::ZERO,
    };
    let inputs = Inputs {
        certificates: Box::pin(changes),
        challenges: Box::pin(futures::stream::pending()),
        look_up: Arc::new(|_| Box::pin(async { Err("no cluster".to_owned()) })),
    };
    let (set_ready, mut ready) = watch::channel(None);
    let mut task = JoinSet::new();
    task.spawn(proxy::run(settings, inputs, set_ready, CancellationToken::new()));
    certificates.unbounded_send(put("a.x", &made("a.x"))).unwrap();
    assert!(TcpStream::connect(free).await.is_err());
    assert!(ready.borrow().is_none());
    certificates.unbounded_send(Change::Synced).unwrap();
    ready.wait_for(Option::is_some).await.unwrap();
    connect(free, "a.x", "h2").await;
}
