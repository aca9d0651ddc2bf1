//! The challenge table, written: gathered for a moment, one write a shard, then seen by our own
//! watch.

use std::collections::{BTreeMap, BTreeSet};
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
/// So many answers that are waited for are many.
const CROWD: usize = 8;

/// The leader's hand on the challenge table.
#[derive(Debug, Clone)]
pub struct Table {
    commands: mpsc::Sender<Command>,
    /// Tokens that our own watch shows.
    visible: watch::Receiver<BTreeSet<String>>,
    settle: Duration,
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
        let mut writer = Writer { store: store.clone(), fence, shards: Vec::new() };
        for index in 0..SHARDS {
            writer.shards.push(Stored::read(store, index).await?);
        }
        tasks.spawn(writer.run(receiver));
        tasks.spawn(follow(store.clone(), shows));
        Ok(Self { commands, visible, settle: store.spreading().settle })
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
}

/// One part as we know it and as it is to be.
struct Stored {
    shard: Shard,
    version: Option<String>,
    /// Tokens of ours; the others are an earlier leader's.
    live: BTreeSet<String>,
    dirty: bool,
}

impl Stored {
    async fn read(store: &Store, index: u8) -> Result<Self, Error> {
        let (shard, version) = store.shard(index).await?;
        Ok(Self { shard, version, live: BTreeSet::new(), dirty: false })
    }

    fn put(&mut self, token: String, answer: Answer) {
        self.live.insert(token.clone());
        if self.shard.answers.get(&token) != Some(&answer) {
            self.shard.answers.insert(token, answer);
            self.dirty = true;
        }
    }

    fn take(&mut self, token: &str) {
        self.live.remove(token);
        self.dirty |= self.shard.answers.remove(token).is_some();
    }

    fn settle(&mut self) {
        let before = self.shard.answers.len();
        self.shard.answers.retain(|token, _| self.live.contains(token));
        self.dirty |= self.shard.answers.len() != before;
    }

    async fn write(&mut self, store: &Store, fence: &Fence) -> Result<(), Error> {
        if !fence.holds() {
            return Err(stopped("this controller no longer leads"));
        }
        let written = match store.put_shard(&self.shard, self.version.as_deref()).await {
            // Edited or deleted by hand: ours is the truth while we lead.
            Err(Error::Conflict { .. } | Error::Missing { .. }) => {
                let fresh = Self::read(store, self.shard.index).await?;
                store.put_shard(&self.shard, fresh.version.as_deref()).await?
            }
            other => other?,
        };
        self.version = Some(written);
        self.dirty = false;
        Ok(())
    }
}

impl Writer {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        loop {
            let left = self.shards.iter().any(|stored| stored.dirty);
            let first = tokio::select! {
                first = commands.recv() => first,
                () = tokio::time::sleep(AGAIN), if left => {
                    if let Err(error) = self.write().await {
                        tracing::debug!("challenge table: {error}");
                    }
                    continue;
                }
            };
            let Some(first) = first else { return };
            let waiting = self.gather(first, &mut commands).await;
            let outcome = self.write().await;
            for done in waiting {
                // Nobody waits any more for an order that was given up.
                drop(
                    done.send(outcome.as_ref().map_or_else(|error| Err(again(error)), |()| Ok(()))),
                );
            }
        }
    }

    /// Takes in what comes within the moment that the most urgent of it may wait.
    async fn gather(
        &mut self,
        first: Command,
        commands: &mut mpsc::Receiver<Command>,
    ) -> Vec<oneshot::Sender<Result<(), Error>>> {
        let Spreading { gather, most, linger, .. } = self.store.spreading();
        let lingers = Instant::now() + linger;
        let mut urgent = None;
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(command) = next {
            let now = Instant::now();
            if !matches!(command.change, Edit::Take(_)) {
                let (since, _) = urgent.unwrap_or((now, now));
                urgent = Some((since, now));
            }
            waiting.push(self.edit(command));
            let until = match urgent {
                None => lingers,
                Some((since, _)) if self.is_crowded() => since + most,
                Some((since, last)) => (last + gather).min(since + most),
            };
            next = tokio::time::timeout_at(until, commands.recv()).await.ok().flatten();
        }
        waiting
    }

    /// Whether many orders are in flight: these wait a little longer, for fewer writes.
    fn is_crowded(&self) -> bool {
        self.shards.iter().map(|stored| stored.live.len()).sum::<usize>() >= CROWD
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
            Edit::Take(tokens) => {
                for token in tokens {
                    if let Some(shard) = self.shard_of(&token) {
                        shard.take(&token);
                    }
                }
            }
            Edit::Settle => self.shards.iter_mut().for_each(Stored::settle),
        }
        command.done
    }

    fn shard_of(&mut self, token: &str) -> Option<&mut Stored> {
        self.shards.get_mut(usize::from(challenge::shard_of(token)))
    }

    async fn write(&mut self) -> Result<(), Error> {
        let Self { store, fence, shards } = self;
        let dirty = shards.iter_mut().filter(|stored| stored.dirty);
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
fn again(error: &Error) -> Error {
    Error::Failed { object: "challenge table".to_owned(), cause: error.to_string() }
}
