//! Clients that take their time: each connection ends by the proxy's own clock.

use std::rc::Rc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::*;
use crate::challenge;
use crate::challenge::Answer;
use crate::proxy::certs::{Table, certified};
use crate::proxy::challenges::Challenges;
use crate::proxy::serve::{Gate, connection};
use crate::proxy::tls;
use crate::proxy::upstream::Client;

fn gate() -> Gate {
    let table = Table::new(certified(&made("a.x")).unwrap());
    let look_up: proxy::LookUp = Arc::new(|_| Box::pin(async { Err("no cluster".to_owned()) }));
    let (challenges, _) = Challenges::open(Box::pin(futures::stream::pending()), look_up);
    Gate {
        entry_point: Arc::new(entry_point("web", None)),
        tls: tls::config(Arc::new(table), proxy::now).unwrap(),
        challenges,
        client: Rc::new(Client::new(Upstream::parse("http://127.0.0.1:1", None).unwrap())),
        now: proxy::now,
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    }
}

/// How long a connection is kept that sends `bytes` and no more. Time passes only while nothing
/// else can happen.
async fn kept(bytes: &[u8]) -> Duration {
    kept_by(gate(), bytes).await
}

async fn kept_by(gate: Gate, bytes: &[u8]) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, peer) = listener.accept().await.unwrap();
    client.write_all(bytes).await.unwrap();
    let start = Instant::now();
    connection(Rc::new(gate), stream, peer).await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_get_on_is_let_go() {
    let seconds = async |bytes: &[u8]| kept(bytes).await.as_secs();
    assert_eq!(seconds(b"").await, 5, "nothing at all");
    assert_eq!(seconds(&[0x16, 3, 1]).await, 5, "a handshake that stops");
    assert_eq!(seconds(b"GET / HTTP/1.1\r\nHost:").await, 10, "a request that stops");
    let whole = b"GET / HTTP/1.1\r\nHost: a.x\r\n\r\n";
    assert_eq!(seconds(whole).await, 60, "no second request");
    let and_a_half = [whole.as_slice(), b"GET /"].concat();
    assert_eq!(seconds(&and_a_half).await, 60, "a second request that stops");
}

/// What a client sends first that asks for TLS-ALPN-01.
fn hello_of_a_ca(name: &str) -> Vec<u8> {
    let config = client::config(rustls::ALL_VERSIONS, &["acme-tls/1"]);
    let name = name.to_owned().try_into().unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(start_paused = true)]
async fn a_ca_that_does_not_finish_its_handshake_is_let_go() {
    let key = challenge::alpn_key("a.x");
    let expires = proxy::now() + SignedDuration::from_hours(1);
    let entry = Answer { name: Name::parse("a.x").unwrap(), answer: "t.k".to_owned(), expires };
    let index = challenge::shard_of(&key);
    let look_up: proxy::LookUp = Arc::new(move |_| {
        let answers = [(key.clone(), entry.clone())].into();
        Box::pin(async move { Ok(Shard { index, answers }) })
    });
    let (challenges, desk) = Challenges::open(Box::pin(futures::stream::pending()), look_up);
    let mut tasks = JoinSet::new();
    tasks.spawn(desk.run());
    let known = Gate { challenges, ..gate() };
    assert_eq!(kept_by(known, &hello_of_a_ca("a.x")).await.as_secs(), 2);
    assert_eq!(kept(&hello_of_a_ca("a.x")).await.as_secs(), 0, "one without a challenge");
}
