//! One worker's idle connections to the upstream, the last used first.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::proxy::upstream::upload::RequestBody;

/// More than this many idle ones are closed.
const MAX_IDLE: usize = 512;
/// Shorter than the keep-alive of common servers (five seconds in Node), so that we rarely send
/// on a connection that they are about to close.
const MAX_AGE: Duration = Duration::from_secs(4);

pub(super) type Sender = SendRequest<RequestBody>;

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since: Instant,
}

/// A handle; clones share the connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    idle: Rc<RefCell<VecDeque<Idle>>>,
    /// Waits for connections that are not yet ready for the next request.
    tasks: TaskTracker,
}

impl Pool {
    /// A connection that was still good when last seen.
    pub(super) fn take(&self) -> Option<Sender> {
        self.sweep();
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop_back())
            .map(|one| one.sender)
            .find(|sender| sender.is_ready() && !sender.is_closed())
    }

    /// Closes what has been idle for too long.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        let mut idle = self.idle.borrow_mut();
        while idle.front().is_some_and(|one| now.duration_since(one.since) >= MAX_AGE) {
            idle.pop_front();
        }
    }

    fn put(&self, sender: Sender) {
        let mut idle = self.idle.borrow_mut();
        idle.push_back(Idle { sender, since: Instant::now() });
        if idle.len() > MAX_IDLE {
            idle.pop_front();
        }
    }
}

/// A connection in use.
#[derive(Debug)]
pub(super) struct Lease {
    sender: Sender,
    pool: Pool,
}

impl Lease {
    pub(super) fn new(sender: Sender, pool: &Pool) -> Self {
        Self { sender, pool: pool.clone() }
    }

    /// The reply has been read to its end. The request may still be going out, or the
    /// connection's own task may have to notice the end first.
    pub(super) fn give_back(self) {
        let Self { mut sender, pool } = self;
        if sender.is_ready() {
            pool.put(sender);
        } else if !sender.is_closed() {
            let tasks = pool.tasks.clone();
            tasks.spawn_local(async move {
                if sender.ready().await.is_ok() {
                    pool.put(sender);
                }
            });
        }
    }
}
