//! One client connection from its first request to its end: how long it may wait for a request,
//! and how it ends when the proxy stops.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

/// From a connection's begin to its first request; limits are checked at this interval.
const HEADER: Duration = Duration::from_secs(10);
/// From the end of a request to the next one's header section, whole.
const IDLE: Duration = Duration::from_mins(1);
/// A connection that was just accepted when the proxy stops has this long to send its request.
const FIRST_REQUEST: Duration = Duration::from_secs(1);

/// What a connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    running: Cell<u32>,
    requests: Cell<u64>,
    /// When the last request ended.
    idle_since: Cell<Instant>,
    first: Notify,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Fine,
    Idle,
    /// No request ever came.
    Silent,
}

impl Activity {
    pub(super) fn new() -> Rc<Self> {
        Rc::new(Self {
            running: Cell::new(0),
            requests: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            first: Notify::new(),
        })
    }

    /// A request is complete up to its body; it runs until the guard is dropped.
    pub(super) fn begin(self: &Rc<Self>) -> Running {
        self.running.set(self.running.get() + 1);
        if self.requests.replace(self.requests.get() + 1) == 0 {
            self.first.notify_one();
        }
        Running(Rc::clone(self))
    }

    fn verdict(&self, now: Instant) -> Verdict {
        let idle = now.duration_since(self.idle_since.get());
        match (self.running.get(), self.requests.get()) {
            (0, 0) if idle >= HEADER => Verdict::Silent,
            (0, _) if idle >= IDLE => Verdict::Idle,
            _ => Verdict::Fine,
        }
    }

    /// Returns when the connection should end because the proxy does.
    async fn stopped(&self, stop: &CancellationToken) {
        stop.cancelled().await;
        if self.requests.get() == 0 {
            // Either is the time to go on.
            timeout(FIRST_REQUEST, self.first.notified()).await.ok();
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(super) struct Running(Rc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        let running = self.0.running.get().saturating_sub(1);
        self.0.running.set(running);
        if running == 0 {
            self.0.idle_since.set(Instant::now());
        }
    }
}

/// A server connection that can finish what is under way and then end.
pub(super) trait Ending: Future {
    fn end_gracefully(self: Pin<&mut Self>);
}

/// Drives `connection` to its end. Dropping this closes it at once.
pub(super) async fn drive<C>(connection: C, activity: Rc<Activity>, stop: CancellationToken)
where
    C: Ending,
{
    let mut connection = pin!(connection);
    let mut tick = interval_at(Instant::now() + HEADER, HEADER);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leaving = false;
    loop {
        tokio::select! {
            biased;
            _ = connection.as_mut() => return,
            () = activity.stopped(&stop), if !leaving => {
                leaving = true;
                connection.as_mut().end_gracefully();
            }
            now = tick.tick() => match activity.verdict(now) {
                Verdict::Fine => {}
                Verdict::Idle if !leaving => {
                    leaving = true;
                    connection.as_mut().end_gracefully();
                }
                Verdict::Idle | Verdict::Silent => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_ends_and_a_busy_one_does_not() {
        let activity = Activity::new();
        let at = |seconds| Instant::now() + Duration::from_secs(seconds);
        assert_eq!(activity.verdict(at(9)), Verdict::Fine);
        assert_eq!(activity.verdict(at(10)), Verdict::Silent);
        let (one, two) = (activity.begin(), activity.begin());
        drop(one);
        assert_eq!(activity.verdict(at(3600)), Verdict::Fine);
        drop(two);
        assert_eq!(activity.verdict(at(59)), Verdict::Fine);
        assert_eq!(activity.verdict(at(60)), Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_connection_may_send_its_request_while_the_proxy_stops() {
        let (activity, stop) = (Activity::new(), CancellationToken::new());
        stop.cancel();
        let start = Instant::now();
        activity.stopped(&stop).await;
        assert_eq!(start.elapsed(), FIRST_REQUEST);
        let running = activity.begin();
        activity.stopped(&stop).await;
        assert_eq!(start.elapsed(), FIRST_REQUEST);
        drop(running);
    }
}
