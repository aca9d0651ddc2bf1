//! One thread that accepts, serves and forwards on its own: nothing on the way of a request is
//! shared with another worker but what is only read.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::EntryPoint;
use crate::proxy::challenges::Challenges;
use crate::proxy::serve;
use crate::proxy::serve::Gate;
use crate::proxy::upstream::{Client, Upstream};

/// How often connections to the upstream that nobody uses are looked for.
const SWEEP: Duration = Duration::from_secs(4);
/// When no connection can be accepted, mostly because the process has too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(50);

/// What all workers are made of.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) tls: Arc<ServerConfig>,
    pub(super) challenges: Challenges,
    pub(super) upstream: Upstream,
    pub(super) now: fn() -> Timestamp,
    pub(super) stop: CancellationToken,
    pub(super) drain: Duration,
}

/// Takes over the calling thread until `plan.stop`, and for at most `plan.drain` after it.
pub(super) fn run(plan: Plan, listeners: Vec<(Arc<EntryPoint>, TcpListener)>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(serve(plan, listeners))
}

async fn serve(plan: Plan, listeners: Vec<(Arc<EntryPoint>, TcpListener)>) -> io::Result<()> {
    let tasks = TaskTracker::new();
    let client = Rc::new(Client::new(plan.upstream.clone()));
    for (entry_point, listener) in listeners {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let gate = Gate {
            entry_point,
            tls: Arc::clone(&plan.tls),
            challenges: plan.challenges.clone(),
            client: Rc::clone(&client),
            now: plan.now,
            // A child, so that connections register with this worker's token alone.
            stop: plan.stop.child_token(),
            tasks: tasks.clone(),
        };
        tasks.spawn_local(accept(listener, Rc::new(gate)));
    }
    let mut sweep = interval(SWEEP);
    while plan.stop.run_until_cancelled(sweep.tick()).await.is_some() {
        client.sweep();
    }
    tasks.close();
    // What is left after it ends with the runtime.
    timeout(plan.drain, tasks.wait()).await.ok();
    Ok(())
}

async fn accept(listener: tokio::net::TcpListener, gate: Rc<Gate>) {
    while let Some(accepted) = gate.stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(accepted) => start(&gate, accepted),
            Err(error) => {
                tracing::debug!(entry_point = gate.entry_point.name, %error, "accept failed");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
    // Closing a listener resets what is queued on it.
    while let Some(Ok(accepted)) = listener.accept().now_or_never() {
        start(&gate, accepted);
    }
}

fn start(gate: &Rc<Gate>, (stream, peer): (TcpStream, SocketAddr)) {
    gate.tasks.spawn_local(serve::connection(Rc::clone(gate), stream, peer));
}
