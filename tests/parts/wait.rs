//! Waiting for a fact, with a deadline, and a message that says what was awaited and what was seen.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

use crate::parts::process::Process;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `condition` gives a value; its `Err` says what is still missing. On failure the
/// message has the caller's place, the last `Err` and the last log lines of `watched`.
#[track_caller]
pub fn eventually<'a, T>(
    what: &'a str,
    within: Duration,
    watched: &'a [&'a Process],
    mut condition: impl AsyncFnMut() -> Result<T, String> + 'a,
) -> impl Future<Output = T> + 'a
where
    T: 'a,
{
    let caller = Location::caller();
    async move {
        let start = Instant::now();
        loop {
            let missing = match condition().await {
                Ok(value) => return value,
                Err(missing) => missing,
            };
            if start.elapsed() > within {
                let logs: String = watched.iter().map(|process| process.tail()).collect();
                panic!("{caller}: waited {within:?} for: {what}\nlast seen: {missing}\n{logs}");
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
