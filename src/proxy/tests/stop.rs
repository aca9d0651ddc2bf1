//! The end: what is under way is finished within the limit. And the start that fails.

use std::time::Instant;

use super::client::{Http, body};
use super::upstreams::{Speaks, Upstreams};
use super::*;

async fn with_slow_requests(drain: Duration) -> (Upstreams, Running, [Http; 2]) {
    let mut upstreams = Upstreams::default();
    let address = upstreams.tcp(Speaks::One).await;
    let upstream = Upstream::parse(&format!("http://{address}"), None).unwrap();
    let proxy = Running::start_with(upstream, drain).await;
    let clients = [Http::one(proxy.websecure).await, Http::two(proxy.websecure).await];
    (upstreams, proxy, clients)
}

#[tokio::test]
async fn a_running_request_is_finished() {
    let (upstreams, mut proxy, [mut one, mut two]) =
        with_slow_requests(Duration::from_mins(1)).await;
    let mut idle = Http::one(proxy.websecure).await;
    body(idle.get("/x").await.unwrap()).await;
    let start = Instant::now();
    let meeting = Arc::clone(&upstreams.meeting);
    let stopping = async {
        meeting.reached.acquire_many(2).await.unwrap().forget();
        proxy.stop.cancel();
        proxy.ready.wait_for(Option::is_none).await.unwrap();
        assert!(idle.closed().await);
        let address = proxy.websecure;
        eventually("nobody listens", async || TcpStream::connect(address).await.is_err()).await;
        meeting.go_on.add_permits(2);
    };
    let (one_reply, two_reply, ()) = tokio::join!(one.get("/slow"), two.get("/slow"), stopping);
    assert_eq!(body(one_reply.unwrap()).await, "slow");
    assert_eq!(body(two_reply.unwrap()).await, "slow");
    assert!(one.closed().await && two.closed().await);
    proxy.ended().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn what_takes_longer_ends_with_the_limit() {
    let (upstreams, proxy, [mut one, mut two]) =
        with_slow_requests(Duration::from_millis(50)).await;
    let meeting = Arc::clone(&upstreams.meeting);
    let stop = proxy.stop.clone();
    let stopping = async {
        meeting.reached.acquire_many(2).await.unwrap().forget();
        stop.cancel();
        proxy.ended().await
    };
    let (one, two, ended) = tokio::join!(one.get("/slow"), two.get("/slow"), stopping);
    ended.unwrap();
    assert!(one.is_err() && two.is_err());
}

#[tokio::test]
async fn a_taken_port_is_an_error_that_names_the_entry_point() {
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let mut point = entry_point("websecure", None);
    point.port = address.port();
    let settings = Settings {
        entry_points: vec![point],
        upstream: Upstream::parse("http://127.0.0.1:1", None).unwrap(),
        workers: 2,
        drain: Duration::ZERO,
    };
    let inputs = Inputs {
        certificates: Box::pin(futures::stream::pending()),
        challenges: Box::pin(futures::stream::pending()),
        look_up: Arc::new(|_| Box::pin(async { Err("no cluster".to_owned()) })),
    };
    let (ready, _) = watch::channel(None);
    let error = proxy::run(settings, inputs, ready, CancellationToken::new()).await.unwrap_err();
    let start = format!("entry point websecure: {address} is taken by another process; ");
    assert!(error.to_string().starts_with(&start), "{error}");
}
