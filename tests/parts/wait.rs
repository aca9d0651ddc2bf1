//! Waiting for a fact, with a deadline, and a message that says what was awaited and what was seen.

use std::future::Future;
use std::panic::Location;
use std::time::{Duration, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until `condition` gives a value; its `Err` says what is still missing. On failure the
/// message has the caller's place, the last `Err` and what `logs` gives.
#[track_caller]
pub fn eventually<'a, T>(
    what: &'a str,
    within: Duration,
    logs: impl Fn() -> String + 'a,
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
            assert!(
                start.elapsed() < within,
                "{caller}: waited {within:?} for: {what}\nlast seen: {missing}\n{}",
                logs()
            );
            tokio::time::sleep(INTERVAL).await;
        }
    }
}
