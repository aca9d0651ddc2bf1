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
const PATIENCE: Duration = Duration::from_secs(8);
/// One look-up; and after one that failed, until the next.
const LOOK_UP: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_secs(1);
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
    key: String,
    /// Dropped when there is no more to wait for.
    done: oneshot::Sender<()>,
}

/// What is said to whoever asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Answer(String),
    Unknown,
    /// Nobody can tell: the cluster is not to be read.
    Unreadable,
}

enum Known {
    Answer(String),
    /// The entry is there, but for another host or an earlier time: looking again is in vain.
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

    /// `key`: a token, or what TLS-ALPN-01 has for it.
    pub(super) async fn answer(&self, key: &str, host: &str, now: fn() -> Timestamp) -> Reply {
        match self.known(key, host, now()) {
            Known::Answer(answer) => return Reply::Answer(answer),
            Known::Refused => return Reply::Unknown,
            Known::Unknown => {}
        }
        let (done, wait) = oneshot::channel();
        if self.misses.try_send(Miss { key: key.to_owned(), done }).is_err() {
            return Reply::Unknown;
        }
        let looked = tokio::time::timeout(PATIENCE, wait).await;
        match (self.known(key, host, now()), looked) {
            (Known::Answer(answer), _) => Reply::Answer(answer),
            (Known::Unknown, Err(_)) => Reply::Unreadable,
            (Known::Refused | Known::Unknown, _) => Reply::Unknown,
        }
    }

    fn known(&self, key: &str, host: &str, now: Timestamp) -> Known {
        let shard = usize::from(challenge::shard_of(key));
        let Some(answers) = self.table.get(shard).map(ArcSwap::load) else {
            return Known::Unknown;
        };
        match answers.get(key) {
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
    aboard: Vec<Miss>,
    /// Came after it had started, so it may not see what they ask for.
    late: Vec<Miss>,
    in_flight: bool,
    /// The last look-up failed.
    failing: bool,
    /// Counts what the watch told.
    generation: u64,
}

impl Waiting {
    /// Nobody waits for those whose entry is there, or who have gone.
    fn let_go(&mut self, answers: &BTreeMap<String, Answer>) {
        let waits = |miss: &mut Miss| !miss.done.is_closed() && !answers.contains_key(&miss.key);
        let found = self.aboard.extract_if(.., |miss| !waits(miss));
        let found = found.chain(self.late.extract_if(.., |miss| !waits(miss)));
        for miss in found {
            // An error means that the request is gone.
            miss.done.send(()).ok();
        }
    }
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
        let answers = Arc::new(shard.answers);
        self.publish(shard.index, Arc::clone(&answers));
        if let Some(waiting) = self.shards.get_mut(usize::from(shard.index)) {
            waiting.generation += 1;
            waiting.let_go(&answers);
        }
    }

    fn publish(&self, shard: u8, answers: Arc<BTreeMap<String, Answer>>) {
        if let Some(slot) = self.table.get(usize::from(shard)) {
            slot.store(answers);
        }
    }

    fn missed(&mut self, miss: Miss) {
        let waiting: usize = self.shards.iter().map(|one| one.aboard.len() + one.late.len()).sum();
        // A flood must not keep a CA from being answered once the cluster can be read again.
        let troubled = self.shards.iter().any(|shard| shard.failing);
        let index = challenge::shard_of(&miss.key);
        let Some(shard) = self.shards.get_mut(usize::from(index)) else { return };
        if waiting >= MAX_WAITING {
            return;
        }
        if shard.in_flight {
            shard.late.push(miss);
        } else if self.bucket.take(Instant::now()) || troubled {
            self.fly(index, vec![miss], Duration::ZERO);
        }
    }

    fn fly(&mut self, index: u8, aboard: Vec<Miss>, pause: Duration) {
        let Some(shard) = self.shards.get_mut(usize::from(index)) else { return };
        shard.aboard = aboard;
        shard.in_flight = true;
        let generation = shard.generation;
        let look_up = Arc::clone(&self.look_up);
        self.flights.push(Box::pin(async move {
            tokio::time::sleep(pause).await;
            let found = tokio::time::timeout(LOOK_UP, look_up(index)).await;
            let found = found.unwrap_or_else(|_| Err("no answer in time".to_owned()));
            Landed { shard: index, found, generation }
        }));
    }

    fn landed(&mut self, landed: Landed) {
        let Landed { shard: index, found, generation } = landed;
        let Some(shard) = self.shards.get_mut(usize::from(index)) else { return };
        shard.in_flight = false;
        shard.failing = found.is_err();
        let (mut aboard, late) =
            (std::mem::take(&mut shard.aboard), std::mem::take(&mut shard.late));
        match found {
            Ok(found) => {
                self.found(index, generation, found.answers);
                for miss in aboard {
                    miss.done.send(()).ok();
                }
                if !late.is_empty() && self.bucket.take(Instant::now()) {
                    self.fly(index, late, Duration::ZERO);
                }
            }
            Err(error) => {
                tracing::debug!(shard = index, error, "challenge look-up failed");
                aboard.extend(late);
                aboard.retain(|miss| !miss.done.is_closed());
                if !aboard.is_empty() {
                    self.fly(index, aboard, AGAIN);
                }
            }
        }
    }

    /// What the watch told meanwhile may be newer than `answers`: then these only add.
    fn found(&self, index: u8, generation: u64, mut answers: BTreeMap<String, Answer>) {
        let slot = usize::from(index);
        if self.shards.get(slot).is_some_and(|shard| shard.generation != generation) {
            let known = self.table.get(slot).map(ArcSwap::load_full).unwrap_or_default();
            answers.extend(known.iter().map(|(key, entry)| (key.clone(), entry.clone())));
        }
        self.publish(index, Arc::new(answers));
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
