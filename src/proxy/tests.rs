//! The whole proxy over loopback: real sockets, real TLS and HTTP clients, real upstreams.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use jiff::SignedDuration;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::cert::{Certificate, Id};
use crate::config::{EntryPoint, Redirect};
use crate::name::{Name, Names};
use crate::proxy;
use crate::proxy::{Inputs, Settings, Upstream};
use crate::store::{Change, Entry, Shard};

mod alpn;
mod certificates;
mod client;
mod deadlines;
mod forward;
mod plain;
mod stop;
mod upstreams;

use client::connect;

fn names(text: &str) -> Names {
    Names::new(text.split(' ').map(|name| Name::parse(name).unwrap())).unwrap()
}

fn made(text: &str) -> Certificate {
    let yesterday = proxy::now() - SignedDuration::from_hours(24);
    Certificate::self_signed(&names(text), yesterday, 30).unwrap()
}

fn id(text: &str) -> Id {
    Id::of("test", "le", &names(text))
}

fn put(text: &str, certificate: &Certificate) -> Change {
    let content = Ok(certificate.clone());
    Change::Put(Box::new(Entry::bare(id(text), content, "1")))
}

fn entry_point(name: &str, redirect: Option<Redirect>) -> EntryPoint {
    EntryPoint {
        name: name.to_owned(),
        host: "127.0.0.1".parse().ok(),
        port: 0,
        redirect,
        ..EntryPoint::default()
    }
}

fn to_https() -> Redirect {
    Redirect { scheme: "https".to_owned(), port: 443, permanent: true }
}

/// A proxy that runs, and the ends of what it follows.
struct Running {
    web: SocketAddr,
    websecure: SocketAddr,
    /// Plain HTTP without a redirection.
    bare: SocketAddr,
    certificates: UnboundedSender<Change>,
    challenges: UnboundedSender<Shard>,
    look_ups: Arc<AtomicUsize>,
    ready: watch::Receiver<Option<proxy::Listening>>,
    stop: CancellationToken,
    task: JoinSet<Result<(), proxy::Error>>,
}

impl Running {
    /// Two workers, a certificate for a.x, and an empty challenge table.
    async fn start(upstream: &str) -> Self {
        Self::start_with(Upstream::parse(upstream, None).unwrap(), Duration::from_secs(10)).await
    }

    async fn start_with(upstream: Upstream, drain: Duration) -> Self {
        let (certificates, changes) = unbounded();
        let (challenges, shards) = unbounded();
        let look_ups = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&look_ups);
        let look_up: proxy::LookUp = Arc::new(move |index| {
            counter.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(Shard { index, answers: BTreeMap::new() }) })
        });
        let settings = Settings {
            entry_points: vec![
                entry_point("web", Some(to_https())),
                entry_point("websecure", None),
                entry_point("bare", None),
            ],
            upstream,
            workers: 2,
            drain,
        };
        certificates.unbounded_send(put("a.x", &made("a.x"))).unwrap();
        certificates.unbounded_send(Change::Synced).unwrap();
        let inputs =
            Inputs { certificates: Box::pin(changes), challenges: Box::pin(shards), look_up };
        let (set_ready, mut ready) = watch::channel(None);
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(proxy::run(settings, inputs, set_ready, stop.clone()));
        let listening = ready.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        let at = |name: &str| listening.addresses[name];
        let (web, websecure, bare) = (at("web"), at("websecure"), at("bare"));
        Self { web, websecure, bare, certificates, challenges, look_ups, ready, stop, task }
    }

    /// Waits for the end of `run`.
    async fn ended(mut self) -> Result<(), proxy::Error> {
        self.task.join_next().await.unwrap().unwrap()
    }
}

/// Waits for what a change leads to, without guessing how long it takes.
async fn eventually<F>(what: &str, mut holds: impl FnMut() -> F)
where
    F: Future<Output = bool>,
{
    let waiting = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect(what);
}
