//! The challenge table, written: gathered for a moment, one write a shard, then seen by our own
//! watch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::challenge;
use crate::challenge::{Answer, SHARDS};
use crate::cluster::Fence;
use crate::store::{Error, Shard, Spreading, Store};

/// What could not be written is written later, even if nobody waits for it any more.
const AGAIN: Duration = Duration::from_secs(2);
/// The watch shows a write within milliseconds; past this it has trouble.
const SEEN_WITHIN: Duration = Duration::from_secs(20);
/// So many orders that are about to present answers are many.
const CROWD: usize = 8;

/// The leader's hand on the challenge table.
#[derive(Debug, Clone)]
pub struct Table {
    commands: mpsc::Sender<Command>,
    /// Tokens that our own watch shows.
    visible: watch::Receiver<BTreeSet<String>>,
    settle: Duration,
    expected: Arc<AtomicUsize>,
}

/// An order that is about to present answers, as long as it lives.
#[derive(Debug)]
pub struct Expected(Arc<AtomicUsize>);

impl Drop for Expected {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Command {
    change: Edit,
    done: oneshot::Sender<Result<(), Error>>,
}

#[derive(Debug)]
enum Edit {
    Put(Vec<(String, Answer)>),
    Take(Vec<String>),
    /// Drop what an earlier leader left and nobody goes on with.
    Settle,
}

impl Table {
    /// Takes over what an earlier leader left; its tasks run in `tasks`.
    pub async fn take_over(
        store: &Store,
        fence: Fence,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self, Error> {
        let (commands, receiver) = mpsc::channel(256);
        let (shows, visible) = watch::channel(BTreeSet::new());
        let expected = Arc::new(AtomicUsize::new(0));
        let mut writer = Writer {
            store: store.clone(),
            fence,
            shards: Vec::new(),
            spreading: store.spreading(),
            expected: Arc::clone(&expected),
            came: 0,
        };
        for index in 0..SHARDS {
            writer.shards.push(Stored::read(store, index).await?);
        }
        tasks.spawn(writer.run(receiver));
        tasks.spawn(follow(store.clone(), shows));
        Ok(Self { commands, visible, settle: store.spreading().settle, expected })
    }

    /// Many that are expected wait for each other, to share their writes.
    pub fn expect(&self) -> Expected {
        self.expected.fetch_add(1, Ordering::Relaxed);
        Expected(Arc::clone(&self.expected))
    }

    /// Returns once every answer can be seen by whoever watches the table.
    pub async fn present(&self, answers: Vec<(String, Answer)>) -> Result<(), Error> {
        let tokens: Vec<String> = answers.iter().map(|(token, _)| token.clone()).collect();
        self.command(Edit::Put(answers)).await?;
        let mut visible = self.visible.clone();
        let all = visible.wait_for(|seen| tokens.iter().all(|token| seen.contains(token)));
        match tokio::time::timeout(SEEN_WITHIN, all).await {
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => return Err(stopped("its own watch does not show the answers")),
        }
        tokio::time::sleep(self.settle).await;
        Ok(())
    }

    /// Done with the next write of each shard, or soon by a write of its own; waits for none.
    pub async fn withdraw(&self, tokens: Vec<String>) -> Result<(), Error> {
        self.send(Edit::Take(tokens)).await.map(drop)
    }

    /// To be called once no order of an earlier leader is in flight any more.
    pub async fn settle(&self) -> Result<(), Error> {
        self.command(Edit::Settle).await
    }

    async fn command(&self, change: Edit) -> Result<(), Error> {
        self.send(change).await?.await.map_err(|_closed| stopping())?
    }

    async fn send(&self, change: Edit) -> Result<oneshot::Receiver<Result<(), Error>>, Error> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(Command { change, done }).await.map_err(|_closed| stopping())?;
        Ok(outcome)
    }
}

fn stopping() -> Error {
    stopped("this controller is stopping")
}

fn stopped(cause: &str) -> Error {
    Error::Failed { object: "challenge table".to_owned(), cause: cause.to_owned() }
}

async fn follow(store: Store, shows: watch::Sender<BTreeSet<String>>) {
    let mut shards: BTreeMap<u8, BTreeSet<String>> = BTreeMap::new();
    let mut changes = store.challenges();
    while let Some(Shard { index, answers }) = changes.next().await {
        shards.insert(index, answers.into_keys().collect());
        let all = shards.values().flatten().cloned().collect();
        if shows.send(all).is_err() {
            return;
        }
    }
}

struct Writer {
    store: Store,
    fence: Fence,
    shards: Vec<Stored>,
    spreading: Spreading,
    expected: Arc<AtomicUsize>,
    /// How many orders shared the last write of answers.
    came: usize,
}

/// One part as we know it and as it is to be.
struct Stored {
    shard: Shard,
    version: Option<String>,
    /// Tokens of ours; the others are an earlier leader's.
    live: BTreeSet<String>,
    /// By when it is to be written, if it is to be.
    due: Option<Instant>,
}

impl Stored {
    async fn read(store: &Store, index: u8) -> Result<Self, Error> {
        let (shard, version) = store.shard(index).await?;
        Ok(Self { shard, version, live: BTreeSet::new(), due: None })
    }

    fn put(&mut self, token: String, answer: Answer) {
        self.live.insert(token.clone());
        if self.shard.answers.get(&token) != Some(&answer) {
            self.shard.answers.insert(token, answer);
            self.due = Some(Instant::now());
        }
    }

    fn take(&mut self, token: &str, linger: Duration) {
        self.live.remove(token);
        if self.shard.answers.remove(token).is_some() {
            self.due.get_or_insert_with(|| Instant::now() + linger);
        }
    }

    fn settle(&mut self) {
        let before = self.shard.answers.len();
        self.shard.answers.retain(|token, _| self.live.contains(token));
        if self.shard.answers.len() != before {
            self.due = Some(Instant::now());
        }
    }

    async fn write(&mut self, store: &Store, fence: &Fence) -> Result<(), Error> {
        if !fence.holds() {
            return Err(stopped("this controller no longer leads"));
        }
        let written = match store.put_shard(&self.shard, self.version.as_deref()).await {
            // Edited or deleted by hand: ours is the truth while we lead.
            Err(Error::Conflict { .. } | Error::Missing { .. }) => {
                let fresh = Self::read(store, self.shard.index).await?;
                if !fence.holds() {
                    return Err(stopped("this controller no longer leads"));
                }
                store.put_shard(&self.shard, fresh.version.as_deref()).await?
            }
            other => other?,
        };
        self.version = Some(written);
        self.due = None;
        Ok(())
    }
}

impl Writer {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut again = Instant::now();
        loop {
            let waiting = tokio::select! {
                first = commands.recv() => match first {
                    Some(Command { change: Edit::Take(tokens), .. }) => {
                        self.take(tokens);
                        continue;
                    }
                    Some(first) => self.gather(first, &mut commands).await,
                    None => return,
                },
                () = tokio::time::sleep_until(self.due().unwrap_or(again).max(again)),
                    if self.due().is_some() => Vec::new(),
            };
            let outcome = self.write().await;
            if let Err(error) = &outcome {
                tracing::debug!("challenge table: {error}");
                again = Instant::now() + AGAIN;
            }
            for done in waiting {
                let outcome =
                    outcome.as_ref().map_or_else(|error| Err(copy_of(error)), |()| Ok(()));
                // Nobody waits any more for an order that was given up.
                drop(done.send(outcome));
            }
        }
    }

    /// When the next write has to be made, whatever comes. Where many came, more are to come.
    fn due(&self) -> Option<Instant> {
        let due = self.shards.iter().filter_map(|stored| stored.due).min()?;
        let many = self.came >= CROWD || self.expects() >= CROWD;
        Some(if many { due + self.spreading.most } else { due })
    }

    /// Takes in what comes until what is to be put has company enough.
    async fn gather(
        &mut self,
        first: Command,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Vec<oneshot::Sender<Result<(), Error>>> {
        let Spreading { gather, most, .. } = self.spreading;
        let most = Instant::now() + most;
        let mut quiet = Instant::now() + gather;
        let mut waiting = vec![self.edit(first)];
        loop {
            let until = if self.is_crowded(waiting.len()) { most } else { most.min(quiet) };
            match tokio::time::timeout_at(until, commands.recv()).await {
                Ok(Some(Command { change: Edit::Take(tokens), .. })) => self.take(tokens),
                Ok(Some(command)) => {
                    quiet = Instant::now() + gather;
                    waiting.push(self.edit(command));
                }
                Ok(None) | Err(_) => break,
            }
        }
        self.came = waiting.len();
        waiting
    }

    /// Whether many are expected of which less than three quarters have come.
    fn is_crowded(&self, puts: usize) -> bool {
        let expected = self.expects();
        expected >= CROWD && 4 * puts < 3 * expected
    }

    fn expects(&self) -> usize {
        self.expected.load(Ordering::Relaxed)
    }

    fn edit(&mut self, command: Command) -> oneshot::Sender<Result<(), Error>> {
        match command.change {
            Edit::Put(answers) => {
                for (token, answer) in answers {
                    if let Some(shard) = self.shard_of(&token) {
                        shard.put(token, answer);
                    }
                }
            }
            Edit::Take(tokens) => self.take(tokens),
            Edit::Settle => self.shards.iter_mut().for_each(Stored::settle),
        }
        command.done
    }

    /// Goes with a later write.
    fn take(&mut self, tokens: Vec<String>) {
        let linger = self.spreading.linger;
        for token in tokens {
            if let Some(shard) = self.shard_of(&token) {
                shard.take(&token, linger);
            }
        }
    }

    fn shard_of(&mut self, token: &str) -> Option<&mut Stored> {
        self.shards.get_mut(usize::from(challenge::shard_of(token)))
    }

    async fn write(&mut self) -> Result<(), Error> {
        let Self { store, fence, shards, .. } = self;
        let now = Instant::now();
        let dirty = shards.iter_mut().filter(|stored| stored.due.is_some_and(|due| due <= now));
        let mut writes: FuturesUnordered<_> =
            dirty.map(|stored| stored.write(store, fence)).collect();
        let mut outcome = Ok(());
        while let Some(written) = writes.next().await {
            outcome = outcome.and(written);
        }
        outcome
    }
}

/// One failed write is told to each who waited for it.
fn copy_of(error: &Error) -> Error {
    Error::Failed { object: "challenge table".to_owned(), cause: error.to_string() }
}
