//! Requests on their way to every kind of upstream and back.

use std::convert::Infallible;
use std::path::PathBuf;

use http_body_util::StreamBody;
use http_body_util::combinators::BoxBody;
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Http, body, raw_tls};
use super::upstreams::{Speaks, Upstreams};
use super::*;

/// A directory of its own for one test.
fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("routecert-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn line<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("{name}: ");
    text.lines().filter_map(|line| line.strip_prefix(start.as_str())).collect()
}

/// Both versions of HTTP reach the upstream, tell it who asked, and carry bodies.
async fn check(upstream: Upstream) {
    let proxy = Running::start_with(upstream, Duration::from_secs(10)).await;
    let (mut one, mut two) = (Http::one(proxy.websecure).await, Http::two(proxy.websecure).await);
    from_http1(&mut one).await;
    from_http2(&mut two).await;
    for (http, path) in [(&mut one, "/echo"), (&mut two, "https://a.x/echo")] {
        let request = Request::post(path).header("host", "a.x");
        let response = http.send(request, "some text").await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(body(response).await, "some text");
    }
}

async fn from_http1(one: &mut Http) {
    let request = Request::get("/p?q=1")
        .header("host", "a.x:8443")
        .header("x-forwarded-for", "1.2.3.4")
        .header("connection", "x-hop")
        .header("x-hop", "1");
    let told = body(one.send(request, "").await.unwrap()).await;
    assert!(told.lines().next().unwrap().ends_with("/p?q=1"), "{told}");
    assert_eq!(line(&told, "x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(line(&told, "x-real-ip"), ["127.0.0.1"]);
    assert_eq!(line(&told, "x-forwarded-proto"), ["https"]);
    assert_eq!(line(&told, "x-forwarded-host"), ["a.x:8443"]);
    assert_eq!(line(&told, "x-forwarded-port"), ["8443"]);
    assert!(line(&told, "x-hop").is_empty(), "{told}");
    let http1 = line(&told, "host") == ["a.x:8443"];
    assert!(http1 || told.starts_with("GET http://a.x:8443/p?q=1\n"), "{told}");
}

async fn from_http2(two: &mut Http) {
    let request = Request::get("https://a.x/c").header("cookie", "a=1").header("cookie", "b=2");
    let told = body(two.send(request, "").await.unwrap()).await;
    assert_eq!(line(&told, "x-forwarded-host"), ["a.x"]);
    assert_eq!(line(&told, "x-forwarded-port"), ["443"]);
    let http1 = line(&told, "host") == ["a.x"];
    assert!(http1 || told.starts_with("GET http://a.x/c\n"), "{told}");
    assert!(!http1 || line(&told, "cookie") == ["a=1; b=2"], "{told}");
}

#[tokio::test]
async fn over_http() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    check(Upstream::parse(&format!("http://{address}"), None).unwrap()).await;
}

#[tokio::test]
async fn over_a_unix_socket() {
    let directory = directory("unix");
    let path = directory.join("app.sock");
    let mut upstreams = Upstreams::default();
    upstreams.unix(&path);
    check(Upstream::parse(&format!("unix:{}", path.display()), None).unwrap()).await;
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn over_http_2_in_the_clear() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::Two).await;
    check(Upstream::parse(&format!("h2c://{address}"), None).unwrap()).await;
}

#[tokio::test]
async fn over_https_only_to_a_certificate_of_the_given_roots() {
    let directory = directory("https");
    let ca = directory.join("ca.pem");
    let certificate = made("localhost");
    let mut upstreams = Upstreams::default();
    let port = upstreams.tls(&certificate).await.port();
    let text = format!("https://localhost:{port}");
    std::fs::write(&ca, certificate.chain()).unwrap();
    check(Upstream::parse(&text, Some(&ca)).unwrap()).await;
    std::fs::write(&ca, made("localhost").chain()).unwrap();
    let stranger = Upstream::parse(&text, Some(&ca)).unwrap();
    let proxy = Running::start_with(stranger, Duration::ZERO).await;
    let response = Http::one(proxy.websecure).await.get("/").await.unwrap();
    assert_eq!(response.status(), 502);
    std::fs::remove_dir_all(directory).unwrap();
}

#[tokio::test]
async fn an_upstream_that_is_down_is_a_bad_gateway() {
    for text in ["http://127.0.0.1:1", "h2c://127.0.0.1:1", "unix:/nowhere/app.sock"] {
        let proxy = Running::start(text).await;
        let response = Http::two(proxy.websecure).await.get("/").await.unwrap();
        assert_eq!(response.status(), 502, "{text}");
        assert!(body(response).await.contains("upstream"), "{text}");
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_a_gateway_time_out() {
    let mut upstreams = Upstreams::default();
    for (scheme, speaks) in [("http", Speaks::One), ("h2c", Speaks::Two)] {
        let address = upstreams.tcp(speaks).await;
        let upstream = Upstream::parse(&format!("{scheme}://{address}"), None).unwrap();
        let upstream = upstream.with_reply_within(Duration::from_millis(50));
        let proxy = Running::start_with(upstream, Duration::ZERO).await;
        let response = Http::one(proxy.websecure).await.get("/slow").await.unwrap();
        assert_eq!(response.status(), 504, "{scheme}");
    }
}

/// Answers one request on each connection, promises to keep it, and closes it.
async fn promise_breaker(listener: tokio::net::TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let reply = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

#[tokio::test]
async fn a_reused_connection_that_broke_is_replaced_unseen() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(promise_breaker(listener));
    let proxy = Running::start(&format!("http://{address}")).await;
    let mut http = Http::two(proxy.websecure).await;
    for _ in 0..100 {
        let response = http.get("/x").await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(body(response).await, "ok");
    }
}

#[tokio::test]
async fn requests_share_a_connection_to_the_upstream() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let proxy = Running::start(&format!("http://{address}")).await;
    let mut http = Http::one(proxy.websecure).await;
    for path in ["/x", "/strange", "/x", "/x"] {
        body(http.get(path).await.unwrap()).await;
    }
    assert_eq!(upstreams.meeting.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn what_belongs_to_the_upstream_s_hop_stays_there() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let proxy = Running::start(&format!("http://{address}")).await;
    let response = Http::two(proxy.websecure).await.get("/strange").await.unwrap();
    let headers = response.headers();
    assert_eq!(headers["x-end"], "2");
    assert!(!headers.contains_key("x-hop") && !headers.contains_key("keep-alive"));
}

#[tokio::test]
async fn an_absolute_target_wins_over_host() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let proxy = Running::start(&format!("http://{address}")).await;
    let request = "GET http://b.x/p HTTP/1.1\r\nHost: a.x\r\nConnection: close\r\n\r\n";
    let reply = raw_tls(proxy.websecure, "a.x", request).await;
    assert_eq!(line(&reply, "host"), ["b.x\r".trim_end()]);
    assert!(reply.contains("GET /p\n"), "{reply}");
    let without = "GET / HTTP/1.1\r\nConnection: close\r\n\r\n";
    let reply = raw_tls(proxy.websecure, "a.x", without).await;
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
}

/// A body that the test writes while the reply comes back.
fn written() -> (UnboundedSender<Frame<Bytes>>, BoxBody<Bytes, Infallible>) {
    let (sender, frames) = unbounded();
    let frames = futures::StreamExt::map(frames, Ok);
    (sender, BoxBody::new(StreamBody::new(frames)))
}

/// A part comes back before the next is sent: nothing on the way waits for the whole. The
/// trailers come last.
async fn stream_both_ways(proxy: &Running) {
    let stream = TokioIo::new(connect(proxy.websecure, "a.x", "h2").await);
    let executor = TokioExecutor::new();
    let (mut http, connection) =
        hyper::client::conn::http2::handshake(executor, stream).await.unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    let (sender, sent) = written();
    let request = Request::post("https://a.x/echo")
        .header("trailer", "x-sum")
        .header("te", "trailers")
        .body(sent)
        .unwrap();
    let mut reply = http.send_request(request).await.unwrap().into_body();
    for part in ["one", "two", "three"] {
        sender.unbounded_send(Frame::data(Bytes::from(part))).unwrap();
        let frame = reply.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    let trailers = [("x-sum".parse().unwrap(), "3".parse().unwrap())].into_iter().collect();
    sender.unbounded_send(Frame::trailers(trailers)).unwrap();
    drop(sender);
    let last = reply.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(last["x-sum"], "3");
    assert!(reply.frame().await.is_none());
}

#[tokio::test]
async fn bodies_and_trailers_stream_both_ways() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    stream_both_ways(&Running::start(&format!("http://{address}")).await).await;
    let address = upstreams.tcp(Speaks::Two).await;
    stream_both_ways(&Running::start(&format!("h2c://{address}")).await).await;
}

#[tokio::test]
async fn a_body_of_a_get_is_not_lost() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let proxy = Running::start(&format!("http://{address}")).await;
    let request = "GET /echo HTTP/1.1\r\nHost: a.x\r\nConnection: close\r\n\
                   Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n";
    let reply = raw_tls(proxy.websecure, "a.x", request).await;
    assert!(reply.contains("\r\n4\r\nbody\r\n0\r\n"), "{reply}");
}

#[tokio::test]
async fn a_length_beside_chunks_does_not_reach_the_upstream() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let proxy = Running::start(&format!("http://{address}")).await;
    let request = "POST /x HTTP/1.1\r\nHost: a.x\r\nContent-Length: 1\r\n\
                   Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                   4\r\nbody\r\n0\r\n\r\n";
    let reply = raw_tls(proxy.websecure, "a.x", request).await;
    assert!(reply.contains("transfer-encoding: chunked\n"), "{reply}");
    assert!(!reply.contains("content-length: 1\n"), "{reply}");
}

#[tokio::test]
async fn a_web_socket_is_joined() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let proxy = Running::start(&format!("http://{address}")).await;
    let mut stream = connect(proxy.websecure, "a.x", "http/1.1").await;
    let request = "GET /upgrade HTTP/1.1\r\nHost: a.x\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("upgrade: websocket") && head.contains("sec-websocket-accept: x"));
    for text in ["ping", "pong"] {
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut back = [0; 4];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(back, text.as_bytes());
    }
}

#[tokio::test]
async fn a_change_of_protocol_that_nobody_asked_for_is_refused() {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let proxy = Running::start(&format!("http://{address}")).await;
    let response = Http::one(proxy.websecure).await.get("/upgrade").await.unwrap();
    assert_eq!(response.status(), 502);
}
