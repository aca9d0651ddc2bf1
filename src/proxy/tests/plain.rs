//! Challenges on every entry point, redirects, and what plain HTTP gets otherwise.

use super::client::{raw, raw_tls};
use super::*;
use crate::challenge;
use crate::challenge::Answer;

fn ask(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")
}

/// The status and the Location field.
async fn status(address: SocketAddr, request: &str) -> String {
    let reply = raw(address, request).await;
    let status = reply.split(' ').nth(1).unwrap_or(&reply).to_owned();
    let location = reply.lines().find_map(|line| line.strip_prefix("location: "));
    location.map_or_else(|| status.clone(), |location| format!("{status} {location}"))
}

#[tokio::test]
async fn a_challenge_is_answered_on_every_entry_point_and_never_forwarded() {
    let mut upstreams = upstreams::Upstreams::default();
    let upstream = upstreams.tcp(upstreams::Speaks::One).await;
    let proxy = Running::start(&format!("http://{upstream}")).await;
    let expires = proxy::now() + SignedDuration::from_hours(1);
    let entry = Answer { name: Name::parse("new.x").unwrap(), answer: "t.key".to_owned(), expires };
    let index = challenge::shard_of("t");
    let shard = Shard { index, answers: [("t".to_owned(), entry)].into() };
    proxy.challenges.unbounded_send(shard).unwrap();
    let path = "/.well-known/acme-challenge/t";
    eventually("the challenge is known", async || {
        raw(proxy.web, &ask(path, "new.x")).await.ends_with("\r\n\r\nt.key")
    })
    .await;
    for address in [proxy.web, proxy.websecure, proxy.bare] {
        let reply = raw(address, &ask(path, "NEW.x:8080")).await;
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        assert!(reply.contains("content-type: text/plain"), "{reply}");
        assert!(reply.ends_with("\r\n\r\nt.key"), "{reply}");
        let reply = raw_tls(address, "new.x", &ask(path, "new.x")).await;
        assert!(reply.ends_with("\r\n\r\nt.key"), "{reply}");
        for (path, host) in [
            (path, "other.x"),
            ("/.well-known/acme-challenge/unknown", "new.x"),
            ("/.well-known/acme-challenge/a/b", "new.x"),
        ] {
            let reply = raw(address, &ask(path, host)).await;
            assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
            let reply = raw_tls(address, host, &ask(path, host)).await;
            assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
        }
    }
    assert_eq!(upstreams.meeting.connections.load(Ordering::Relaxed), 0);
    let look_ups = proxy.look_ups.load(Ordering::Relaxed);
    assert!((1..=6).contains(&look_ups), "{look_ups}");
}

#[tokio::test]
async fn plain_http_is_redirected_as_the_bytes_came() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    let close = "Connection: close\r\n\r\n";
    for (request, expected) in [
        ("GET /x?y=1 HTTP/1.1\r\nHost: a.x:8000\r\n", "301 https://a.x/x?y=1"),
        ("POST /x HTTP/1.1\r\nHost: a.x\r\nContent-Length: 0\r\n", "308 https://a.x/x"),
        ("HEAD /x HTTP/1.1\r\nHost: a.x\r\n", "308 https://a.x/x"),
        ("GET //evil.x/%2e%2e HTTP/1.1\r\nHost: a.x\r\n", "301 https://a.x//evil.x/%2e%2e"),
        ("GET / HTTP/1.1\r\nHost: [::1]:8000\r\n", "301 https://[::1]/"),
        ("GET / HTTP/1.0\r\n", "400"),
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a.x\r\nHost: b.x\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a.x/b\r\n", "400"),
        ("GET http://b.x/p HTTP/1.1\r\nHost: a.x\r\n", "301 https://b.x/p"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.x\r\n", "308 https://a.x/"),
        ("CONNECT a.x:443 HTTP/1.1\r\nHost: a.x\r\n", "405"),
        ("GET /.well-known/acme-challenge/unknown HTTP/1.1\r\nHost: a.x\r\n", "404"),
        ("GET / HTTP/1.1\r\nHost: a.x.\r\n", "301 https://a.x./"),
    ] {
        assert_eq!(status(proxy.web, &format!("{request}{close}")).await, expected, "{request}");
    }
}

#[tokio::test]
async fn without_a_redirection_plain_http_says_what_to_configure() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    let reply = raw(proxy.bare, &ask("/", "a.x")).await;
    assert!(reply.starts_with("HTTP/1.1 404"), "{reply}");
    assert!(reply.contains("http.redirections"), "{reply}");
}

#[tokio::test]
async fn a_header_section_has_a_limit() {
    let proxy = Running::start("http://127.0.0.1:1").await;
    let large = format!("GET / HTTP/1.1\r\nHost: a.x\r\nX-A: {}\r\n\r\n", "a".repeat(70_000));
    assert_eq!(status(proxy.web, &large).await, "431");
}
