//! The proxy that faces the world: ends TLS with the right certificate, answers challenges,
//! redirects plain HTTP and forwards the rest.
//!
//! Its inputs are values: changes of certificates, shards of the challenge table. One thread
//! keeps them; workers serve, each with its own listeners and its own connections to the upstream.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, FuturesUnordered};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::cert;
use crate::cert::Certificate;
use crate::config::EntryPoint;
use crate::name::{Name, NameError, Names};
use crate::store::{Change, Shard};

mod alpn;
mod certs;
mod challenges;
mod drain;
mod headers;
mod hello;
mod listen;
mod local;
mod reply;
mod route;
mod serve;
mod tls;
mod upstream;
mod worker;

use certs::{Applied, Table, Writer};
use challenges::Challenges;
use worker::Plan;

pub use challenges::LookUp;
pub use listen::Error as ListenError;
pub use upstream::{BadUpstream, Upstream};

/// What a client sees that asks for no name, or for one that no certificate covers.
const DEFAULT_NAME: &str = "default.routecert.invalid";
/// No client trusts it anyway: what counts is that it outlives the process.
const DEFAULT_DAYS: i64 = 3650;

/// What the proxy follows while it runs.
pub struct Inputs {
    pub certificates: BoxStream<'static, Change>,
    /// Every shard's present content, and again at each change.
    pub challenges: BoxStream<'static, Shard>,
    pub look_up: LookUp,
}

impl fmt::Debug for Inputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inputs")
    }
}

#[derive(Debug)]
pub struct Settings {
    pub entry_points: Vec<EntryPoint>,
    pub upstream: Upstream,
    pub workers: usize,
    /// How long requests may go on after the stop.
    pub drain: Duration,
}

/// The addresses that are listened on, by entry point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    pub addresses: BTreeMap<String, SocketAddr>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("the certificates cannot be read: their list ended before it was complete")]
    NoCertificates,
    #[error("the default certificate cannot be made: {0}")]
    Default(#[from] cert::Error),
    #[error("the default certificate cannot be made: {0}")]
    DefaultName(#[from] NameError),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
    #[error("a worker cannot be started: {0}")]
    Start(io::Error),
    #[error("a worker ended before its time; the log may say why")]
    WorkerEnded,
}

/// Serves until `stop`, and then what is under way for at most `settings.drain`.
/// `ready` is set while new connections are welcome: after the first complete list.
pub async fn run(
    settings: Settings,
    inputs: Inputs,
    ready: watch::Sender<Option<Listening>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    for entry_point in &settings.entry_points {
        listen::check(entry_point)?;
    }
    let Inputs { mut certificates, challenges, look_up } = inputs;
    let table = Arc::new(Table::new(certs::certified(&default_certificate()?)?));
    let mut writer = Writer::new(Arc::clone(&table));
    tokio::select! {
        loaded = load(&mut writer, &mut certificates) => loaded?,
        () = stop.cancelled() => return Ok(()),
    }
    let (challenges, desk) = Challenges::open(challenges, look_up);
    let workers_stop = stop.child_token();
    // Should this future be dropped, the workers end too.
    let _guard = workers_stop.clone().drop_guard();
    let plan = Plan {
        tls: tls::config(table, now)?,
        challenges,
        upstream: settings.upstream,
        now,
        stop: workers_stop,
        drain: settings.drain,
    };
    let (listening, workers) = start(&plan, settings.entry_points, settings.workers.max(1))?;
    drop(plan);
    ready.send_replace(Some(listening));
    tokio::select! {
        result = finish(workers, ready, stop) => result,
        ((), ()) = futures::future::join(follow(writer, certificates), desk.run()) => Ok(()),
    }
}

/// The only clock of the proxy; all below take it as an argument.
#[expect(clippy::disallowed_methods, reason = "the outermost shell of the proxy")]
fn now() -> Timestamp {
    Timestamp::now()
}

fn default_certificate() -> Result<Certificate, Error> {
    let names = Names::new([Name::parse(DEFAULT_NAME)?]).ok_or(cert::Error::NoNames)?;
    // Clients' clocks may be behind ours.
    let not_before = now() - SignedDuration::from_hours(24);
    Ok(Certificate::self_signed(&names, not_before, DEFAULT_DAYS)?)
}

/// Applies changes until the first list is complete.
async fn load(
    writer: &mut Writer,
    certificates: &mut BoxStream<'static, Change>,
) -> Result<(), Error> {
    while let Some(change) = certificates.next().await {
        let applied = writer.apply(change);
        tell(&applied);
        if let Applied::Synced = applied {
            tracing::info!(certificates = writer.len(), "certificates loaded");
            return Ok(());
        }
    }
    Err(Error::NoCertificates)
}

/// Applies changes for good; when there are no more, what is served goes on being served.
async fn follow(mut writer: Writer, mut certificates: BoxStream<'static, Change>) {
    while let Some(change) = certificates.next().await {
        tell(&writer.apply(change));
    }
    std::future::pending::<()>().await;
}

fn tell(applied: &Applied) {
    match applied {
        Applied::Served(id) => tracing::debug!(certificate = %id, "served from now on"),
        Applied::Removed(id) => tracing::debug!(certificate = %id, "no longer served"),
        Applied::LeftOut(id, error) => tracing::warn!(
            "certificate rc-{id} is left out: {error}; what was served before still is. \
             Put a certificate with its own key into the Secret, or delete it"
        ),
        Applied::Trouble(trouble) => tracing::warn!(
            "the certificates cannot be watched: {trouble}; what is known goes on being served"
        ),
        Applied::Same | Applied::Synced => {}
    }
}

type Workers = FuturesUnordered<oneshot::Receiver<io::Result<()>>>;

fn start(
    plan: &Plan,
    entry_points: Vec<EntryPoint>,
    count: usize,
) -> Result<(Listening, Workers), Error> {
    let mut shares: Vec<Vec<_>> = std::iter::repeat_with(Vec::new).take(count).collect();
    let mut addresses = BTreeMap::new();
    for entry_point in entry_points.into_iter().map(Arc::new) {
        for (share, listener) in shares.iter_mut().zip(listen::bind(&entry_point, count)?) {
            let address = listener.local_addr().map_err(Error::Start)?;
            addresses.insert(entry_point.name.clone(), address);
            share.push((Arc::clone(&entry_point), listener));
        }
    }
    let workers = Workers::new();
    for (number, share) in shares.into_iter().enumerate() {
        let (ended, wait) = oneshot::channel();
        let plan = plan.clone();
        std::thread::Builder::new()
            .name(format!("proxy-{number}"))
            // Nobody waits any more when the proxy itself was given up.
            .spawn(move || ended.send(worker::run(plan, share)).ok())
            .map_err(Error::Start)?;
        workers.push(wait);
    }
    Ok((Listening { addresses }, workers))
}

/// Waits for the workers. One that ends without an error was told to, maybe before we noticed.
async fn finish(
    mut workers: Workers,
    ready: watch::Sender<Option<Listening>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let mut first = tokio::select! {
        first = workers.next() => Some(first),
        () = stop.cancelled() => None,
    };
    ready.send_replace(None);
    loop {
        let ended = match first.take() {
            Some(ended) => ended,
            None => workers.next().await,
        };
        match ended {
            None => return Ok(()),
            Some(Ok(Ok(()))) => {}
            Some(Ok(Err(error))) => return Err(Error::Start(error)),
            Some(Err(_)) => return Err(Error::WorkerEnded),
        }
    }
}

#[cfg(test)]
mod tests;
