//! How often the CA is asked whether something is done: soon at first, then ever later, and never
//! before it wants to be asked.

use std::time::Duration;

use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Pace {
    until: Instant,
    next: Duration,
}

impl Pace {
    pub(super) fn new(limit: Duration) -> Self {
        Self { until: Instant::now() + limit, next: FIRST }
    }

    /// Waits until the next question may be asked; `false`, at once: that is past the limit.
    pub(super) async fn wait(&mut self, not_before: Option<Instant>) -> bool {
        let now = Instant::now();
        let at = not_before.unwrap_or(now).max(now + self.next);
        self.next = (self.next * 3 / 2).min(LONGEST);
        if now >= self.until || not_before.is_some_and(|time| time > self.until) {
            return false;
        }
        tokio::time::sleep_until(at.min(self.until)).await;
        true
    }
}
