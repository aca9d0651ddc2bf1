//! The challenge table as this proxy knows it, and the bounded look-up of what it does not know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, FuturesUnordered};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::challenge;
use crate::challenge::{Answer, SHARDS};
use crate::store::Shard;

/// One fresh read of a shard.
pub type LookUp = Arc<dyn Fn(u8) -> BoxFuture<'static, Result<Shard, String>> + Send + Sync>;

/// Look-ups that may start at once, and how long until the next one may.
const BURST: u32 = 5;
const REFILL: Duration = Duration::from_secs(1);
/// A CA waits about ten seconds for the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Requests that may wait for look-ups; above it, unknown is unknown.
const MAX_WAITING: usize = 256;

type Table = Arc<Vec<ArcSwap<BTreeMap<String, Answer>>>>;

/// Answers challenges; one for all workers.
#[derive(Debug, Clone)]
pub(super) struct Challenges {
    table: Table,
    misses: mpsc::Sender<Miss>,
}

#[derive(Debug)]
struct Miss {
    shard: u8,
    /// Dropped when there is no more to wait for.
    done: oneshot::Sender<()>,
}

enum Known {
    Answer(String),
    /// The token is there, but for another host or an earlier time: looking again is in vain.
    Refused,
    Unknown,
}

impl Challenges {
    /// The table, and the desk to be run beside it that keeps it.
    pub(super) fn open(updates: BoxStream<'static, Shard>, look_up: LookUp) -> (Self, Desk) {
        let table: Table = Arc::new((0..SHARDS).map(|_| ArcSwap::default()).collect());
        let (sender, misses) = mpsc::channel(MAX_WAITING);
        let desk = Desk {
            table: Arc::clone(&table),
            updates,
            misses,
            look_up,
            flights: FuturesUnordered::new(),
            shards: (0..SHARDS).map(|_| Waiting::default()).collect(),
            bucket: Bucket::full(Instant::now()),
        };
        (Self { table, misses: sender }, desk)
    }

    pub(super) async fn answer(
        &self,
        token: &str,
        host: &str,
        now: fn() -> Timestamp,
    ) -> Option<String> {
        match self.known(token, host, now()) {
            Known::Answer(answer) => return Some(answer),
            Known::Refused => return None,
            Known::Unknown => {}
        }
        let (done, wait) = oneshot::channel();
        let shard = challenge::shard_of(token);
        self.misses.try_send(Miss { shard, done }).ok()?;
        wait.await.ok()?;
        match self.known(token, host, now()) {
            Known::Answer(answer) => Some(answer),
            Known::Refused | Known::Unknown => None,
        }
    }

    fn known(&self, token: &str, host: &str, now: Timestamp) -> Known {
        let shard = usize::from(challenge::shard_of(token));
        let Some(answers) = self.table.get(shard).map(ArcSwap::load) else {
            return Known::Unknown;
        };
        match answers.get(token) {
            None => Known::Unknown,
            Some(entry) => entry
                .for_host(host, now)
                .map_or(Known::Refused, |answer| Known::Answer(answer.to_owned())),
        }
    }
}

/// Keeps the table: what the watch tells, and what look-ups find.
pub(super) struct Desk {
    table: Table,
    updates: BoxStream<'static, Shard>,
    misses: mpsc::Receiver<Miss>,
    look_up: LookUp,
    flights: FuturesUnordered<BoxFuture<'static, Landed>>,
    shards: Vec<Waiting>,
    bucket: Bucket,
}

struct Landed {
    shard: u8,
    found: Result<Shard, String>,
    /// Of the shard, when the flight started.
    generation: u64,
}

#[derive(Default)]
struct Waiting {
    /// For the look-up that is under way.
    aboard: Vec<oneshot::Sender<()>>,
    /// Came after it had started, so it may not see what they ask for.
    late: Vec<oneshot::Sender<()>>,
    in_flight: bool,
    /// Counts what the watch told.
    generation: u64,
}

impl Desk {
    /// Ends when the last [`Challenges`] is gone.
    pub(super) async fn run(mut self) {
        let mut watching = true;
        loop {
            tokio::select! {
                update = self.updates.next(), if watching => match update {
                    Some(shard) => self.told(shard),
                    None => watching = false,
                },
                miss = self.misses.recv() => match miss {
                    Some(miss) => self.missed(miss),
                    None => return,
                },
                Some(landed) = self.flights.next(), if !self.flights.is_empty() => {
                    self.landed(landed);
                }
            }
        }
    }

    fn told(&mut self, shard: Shard) {
        if let Some(waiting) = self.shards.get_mut(usize::from(shard.index)) {
            waiting.generation += 1;
        }
        self.publish(shard.index, shard.answers);
    }

    fn publish(&self, shard: u8, answers: BTreeMap<String, Answer>) {
        if let Some(slot) = self.table.get(usize::from(shard)) {
            slot.store(Arc::new(answers));
        }
    }

    fn missed(&mut self, miss: Miss) {
        let waiting: usize = self.shards.iter().map(|one| one.aboard.len() + one.late.len()).sum();
        let Some(shard) = self.shards.get_mut(usize::from(miss.shard)) else { return };
        if waiting >= MAX_WAITING {
            return;
        }
        if shard.in_flight {
            shard.late.push(miss.done);
        } else {
            self.fly(miss.shard, vec![miss.done]);
        }
    }

    /// Starts a look-up if one may start; else whoever waits is let go.
    fn fly(&mut self, index: u8, aboard: Vec<oneshot::Sender<()>>) {
        let Some(shard) = self.shards.get_mut(usize::from(index)) else { return };
        if !self.bucket.take(Instant::now()) {
            return;
        }
        shard.aboard = aboard;
        shard.in_flight = true;
        let generation = shard.generation;
        let found = (self.look_up)(index);
        self.flights.push(Box::pin(async move {
            let found = tokio::time::timeout(PATIENCE, found).await;
            let found = found.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            Landed { shard: index, found, generation }
        }));
    }

    fn landed(&mut self, landed: Landed) {
        match landed.found {
            Ok(found) => self.found(landed.shard, landed.generation, found.answers),
            Err(error) => tracing::debug!(shard = landed.shard, error, "challenge look-up failed"),
        }
        let Some(shard) = self.shards.get_mut(usize::from(landed.shard)) else { return };
        shard.in_flight = false;
        for done in shard.aboard.drain(..) {
            // An error means that the request is gone.
            done.send(()).ok();
        }
        let late = std::mem::take(&mut shard.late);
        if !late.is_empty() {
            self.fly(landed.shard, late);
        }
    }

    /// What the watch told meanwhile may be newer than `answers`: then these only add.
    fn found(&self, index: u8, generation: u64, mut answers: BTreeMap<String, Answer>) {
        let slot = usize::from(index);
        if self.shards.get(slot).is_some_and(|shard| shard.generation != generation) {
            let known = self.table.get(slot).map(ArcSwap::load_full).unwrap_or_default();
            answers.extend(known.iter().map(|(token, entry)| (token.clone(), entry.clone())));
        }
        self.publish(index, answers);
    }
}

/// How many look-ups may start.
struct Bucket {
    tokens: u32,
    /// When the last token came.
    since: Instant,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { tokens: BURST, since: now }
    }

    fn take(&mut self, now: Instant) -> bool {
        while self.tokens < BURST && now.duration_since(self.since) >= REFILL {
            self.tokens += 1;
            self.since += REFILL;
        }
        if self.tokens == BURST {
            self.since = now;
        }
        let some = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        some
    }
}

#[cfg(test)]
mod tests;
