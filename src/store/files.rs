//! Records in files: certificates in `acme.json`, in Traefik's exact format; what that has no field
//! for in `.state` beside it; the challenge table in memory.
//!
//! One thread writes. Changes that come while it writes share the next write. A change counts, and
//! is told to who watches, once it is on the disk.

pub(super) mod asks;
mod contents;
mod disk;
mod document;
mod in_place;
mod log;
mod mounts;
mod portable;
mod visitor;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedSender, unbounded};
use futures::stream::BoxStream;
use tokio::sync::oneshot;

use crate::cluster::{Fence, Seen};
use crate::store::Error;
use crate::store::files::contents::{Command, Contents, Key, Refused};
use crate::store::files::disk::Disk;
use crate::store::files::document::Document;
use crate::store::record::{Kind, Record};

pub use disk::Unusable;
pub use portable::{AcmeJson, Found};
pub use visitor::Visitor;

/// A `.state` that is smaller is not worth compacting.
const SMALL: usize = 64 * 1024;
/// Changes that share a write at most.
const MAX_BATCH: usize = 4096;

/// The records of one process.
#[derive(Clone)]
pub(super) struct Files {
    shared: Arc<Mutex<Shared>>,
    requests: mpsc::Sender<Request>,
    fence: Fence,
}

struct Shared {
    volumes: Vec<Contents>,
    paths: Vec<PathBuf>,
    /// Which volume a resolver's certificates are in.
    of_resolver: BTreeMap<String, usize>,
    challenges: BTreeMap<String, Record>,
    last: u64,
    watchers: Vec<(Kind, UnboundedSender<Seen<Record>>)>,
}

struct Request {
    command: Command,
    done: oneshot::Sender<Result<String, Error>>,
}

/// What one write is made to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Medium {
    Memory,
    State(usize),
    Document(usize),
}

/// A volume's files, and how long its `.state` is.
struct Writer {
    disk: Disk,
    state: usize,
    compacted: usize,
}

impl Files {
    /// `storages`: the file of each resolver; several may share one. `home`: owner of what nobody
    /// says the owner of.
    pub(super) fn open(
        storages: &BTreeMap<String, PathBuf>,
        home: &str,
    ) -> Result<Self, Vec<Unusable>> {
        let mut volumes: BTreeMap<PathBuf, Result<(Writer, Contents), Unusable>> = BTreeMap::new();
        for path in storages.values() {
            let real = disk::real(path).unwrap_or_else(|_| path.clone());
            volumes.entry(real).or_insert_with(|| open(path, home));
        }
        let paths: Vec<PathBuf> = volumes.keys().cloned().collect();
        let of = |path: &Path| {
            let real = disk::real(path).unwrap_or_else(|_| path.to_owned());
            paths.iter().position(|one| *one == real)
        };
        let of_resolver =
            storages.iter().filter_map(|(name, path)| Some((name.clone(), of(path)?)));
        let of_resolver = of_resolver.collect();
        let (mut opened, mut faults) = (Vec::new(), Vec::new());
        for volume in volumes.into_values() {
            match volume {
                Ok(volume) => opened.push(volume),
                Err(fault) => faults.push(fault),
            }
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        let (writers, volumes): (Vec<Writer>, Vec<Contents>) = opened.into_iter().unzip();
        Ok(Self::start(
            writers,
            Shared {
                volumes,
                paths,
                of_resolver,
                challenges: BTreeMap::new(),
                last: 0,
                watchers: Vec::new(),
            },
        ))
    }

    fn start(writers: Vec<Writer>, shared: Shared) -> Self {
        let locks: Vec<_> = writers.iter().map(|writer| writer.disk.lock()).collect();
        let fence = Fence::new(move || locks.iter().all(|lock| lock.holds()));
        let shared = Arc::new(Mutex::new(shared));
        let (requests, received) = mpsc::channel();
        let worker = Worker { shared: Arc::clone(&shared), writers };
        std::thread::spawn(move || worker.run(&received));
        Self { shared, requests, fence }
    }

    /// Holds while what others would lock is locked by us.
    pub(super) fn fence(&self) -> Fence {
        self.fence.clone()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        lock(&self.shared).paths.clone()
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<Record> {
        lock(&self.shared).get(kind, name)
    }

    pub(super) fn list(&self, kind: Kind) -> Vec<Record> {
        lock(&self.shared).list(kind)
    }

    pub(super) async fn put(&self, record: Record, version: Option<&str>) -> Result<String, Error> {
        self.request(Command::Put { record, version: version.map(str::to_owned) }).await
    }

    pub(super) async fn delete(&self, kind: Kind, name: &str, version: &str) -> Result<(), Error> {
        let (name, version) = (name.to_owned(), version.to_owned());
        self.request(Command::Delete { kind, name, version }).await.map(drop)
    }

    async fn request(&self, command: Command) -> Result<String, Error> {
        let object = format!("record {}", command.name());
        let stopped = || Error::Failed { object, cause: "the store was closed".to_owned() };
        let (done, outcome) = oneshot::channel();
        if self.requests.send(Request { command, done }).is_err() {
            return Err(stopped());
        }
        outcome.await.unwrap_or_else(|_| Err(stopped()))
    }

    pub(super) fn watch(&self, kind: Kind) -> BoxStream<'static, Seen<Record>> {
        let (told, seen) = unbounded();
        let mut shared = lock(&self.shared);
        for record in shared.list(kind) {
            // The other end is here.
            drop(told.unbounded_send(Seen::Put(record)));
        }
        drop(told.unbounded_send(Seen::Synced));
        shared.watchers.push((kind, told));
        seen.boxed()
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Files").field(&self.paths()).finish()
    }
}

fn open(path: &Path, home: &str) -> Result<(Writer, Contents), Unusable> {
    let mut disk = Disk::open(path)?;
    let text = disk.read()?;
    let document = Document::parse(&text).map_err(|fault| Unusable::of(path, fault))?;
    let state = disk.read_state()?;
    let parsed = log::parse(&state).ok_or_else(|| Unusable::TooNew(path.to_owned()))?;
    let contents = Contents::new(document, parsed.rows, home, path.display().to_string());
    let mut writer = Writer { disk, state: state.len(), compacted: 0 };
    if parsed.spoilt > 0 {
        tracing::warn!(
            "{}.state: {} cut off or spoilt; left out, all others count",
            path.display(),
            if parsed.spoilt == 1 {
                "a record is".to_owned()
            } else {
                format!("{} records are", parsed.spoilt)
            }
        );
        if !writer.compact(&contents) {
            // The next line must not become a part of one that was cut off.
            drop(writer.disk.append_state("\n"));
        }
    }
    Ok((writer, contents))
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn get(&self, kind: Kind, name: &str) -> Option<Record> {
        if kind == Kind::Challenges {
            return self.challenges.get(name).cloned();
        }
        self.volumes.iter().find_map(|volume| volume.get(kind, name))
    }

    fn list(&self, kind: Kind) -> Vec<Record> {
        if kind == Kind::Challenges {
            return self.challenges.values().cloned().collect();
        }
        self.volumes.iter().flat_map(|volume| volume.list(kind)).collect()
    }

    /// Where a record is, or is to be: with its resolver's others.
    fn medium(&self, command: &Command) -> Medium {
        if command.kind() == Kind::Challenges {
            return Medium::Memory;
        }
        let key = command.key();
        let there = self.volumes.iter().position(|volume| volume.has(&key));
        let by_resolver = || match command {
            Command::Put { record, .. } => {
                let resolver = record.about(crate::store::record::About::Resolver);
                self.of_resolver.get(&resolver).copied()
            }
            Command::Delete { .. } => None,
        };
        let volume = there.or_else(by_resolver).unwrap_or(0);
        match command.kind() {
            Kind::Certificate | Kind::Foreign => Medium::Document(volume),
            _ => Medium::State(volume),
        }
    }

    fn tell(&mut self, keys: impl IntoIterator<Item = Key>) {
        for (kind, name) in keys {
            let record = self.get(kind, &name);
            let seen = || match &record {
                Some(record) => Seen::Put(record.clone()),
                None => Seen::Gone { namespace: String::new(), name: name.clone() },
            };
            self.watchers
                .retain(|(watched, told)| *watched != kind || told.unbounded_send(seen()).is_ok());
        }
    }

    /// A shard of the challenge table is nobody's but the table's, and is nowhere but here.
    fn apply(&mut self, command: Command) -> Result<String, Refused> {
        let there = self.challenges.get(command.name()).map(|record| record.version.clone());
        let key = command.key();
        let version = match command {
            Command::Put { record, version } if version == there => {
                self.last += 1;
                let version = self.last.to_string();
                self.challenges
                    .insert(key.1.clone(), Record { version: version.clone(), ..record });
                version
            }
            Command::Delete { name, version, .. } if Some(&version) == there.as_ref() => {
                self.challenges.remove(&name);
                String::new()
            }
            _ => return Err(Refused::Conflict),
        };
        self.tell([key]);
        Ok(version)
    }
}

/// The thread that writes.
struct Worker {
    shared: Arc<Mutex<Shared>>,
    writers: Vec<Writer>,
}

impl Worker {
    fn run(mut self, received: &mpsc::Receiver<Request>) {
        while let Ok(first) = received.recv() {
            let mut batches: BTreeMap<Medium, Vec<Request>> = BTreeMap::new();
            for request in [first].into_iter().chain(received.try_iter().take(MAX_BATCH)) {
                let medium = lock(&self.shared).medium(&request.command);
                batches.entry(medium).or_default().push(request);
            }
            for (medium, batch) in batches {
                match medium {
                    Medium::Memory => self.remember(batch),
                    Medium::State(volume) | Medium::Document(volume) => {
                        self.store(medium, volume, batch);
                    }
                }
            }
        }
    }

    fn remember(&self, batch: Vec<Request>) {
        for Request { command, done } in batch {
            let name = command.name().to_owned();
            let outcome = lock(&self.shared).apply(command);
            // Nobody waits any more for an order that was given up.
            drop(
                done.send(outcome.map_err(|refused| error(refused, format!("challenges {name}")))),
            );
        }
    }

    /// All of it or nothing of it.
    fn store(&mut self, medium: Medium, volume: usize, batch: Vec<Request>) {
        let Some(mut contents) = lock(&self.shared).volumes.get(volume).cloned() else { return };
        let Some(writer) = self.writers.get_mut(volume) else { return };
        let place = writer.disk.path.display().to_string();
        let is_document = matches!(medium, Medium::Document(_));
        let mut changed = BTreeSet::new();
        if is_document && writer.disk.is_changed() {
            match writer.reread(&mut contents) {
                Ok(keys) => changed = keys,
                Err(fault) => return refuse(batch, &fault.to_string(), &place),
            }
        }
        let mut applied = Vec::new();
        for Request { command, done } in batch {
            match contents.apply(&command) {
                Ok(version) => applied.push((command.key(), version, done)),
                Err(refused) => {
                    let object = format!("record {} in {place}", command.name());
                    drop(done.send(Err(error(refused, object))));
                }
            }
        }
        changed.extend(applied.iter().map(|(key, _, _)| key.clone()));
        let written = if is_document {
            writer.disk.write(&contents.document.render())
        } else {
            writer.append(&contents, applied.iter().map(|(key, _, _)| key))
        };
        let written = written.map_err(|error| error.to_string());
        if written.is_ok() {
            let mut shared = lock(&self.shared);
            if let Some(slot) = shared.volumes.get_mut(volume) {
                *slot = contents;
            }
            shared.tell(changed);
        }
        for (_, version, done) in applied {
            let outcome = written.clone().map(|()| version);
            let outcome = outcome.map_err(|cause| Error::Failed { object: place.clone(), cause });
            drop(done.send(outcome));
        }
    }
}

impl Writer {
    /// Somebody else wrote the file: what they wrote counts.
    fn reread(&mut self, contents: &mut Contents) -> Result<BTreeSet<Key>, Unusable> {
        let text = self.disk.read()?;
        let document = Document::parse(&text).map_err(|it| Unusable::of(&self.disk.path, it))?;
        let path = self.disk.path.display();
        tracing::warn!("{path}: was written by somebody else; what is in it now counts");
        Ok(contents.reread(document))
    }

    fn append<'a>(
        &mut self,
        contents: &Contents,
        keys: impl Iterator<Item = &'a Key>,
    ) -> io::Result<()> {
        let head = if self.state == 0 { log::head() } else { String::new() };
        let lines = keys.map(|key| contents.line(key));
        let text: String = [head].into_iter().chain(lines).collect();
        self.disk.append_state(&text)?;
        self.state += text.len();
        if self.state > SMALL && self.state > 4 * self.compacted {
            self.compact(contents);
        }
        Ok(())
    }

    /// What cannot be made smaller goes on growing.
    fn compact(&mut self, contents: &Contents) -> bool {
        let text = log::compact(&contents.rows);
        let replaced = self.disk.replace_state(&text);
        match &replaced {
            Ok(()) => (self.state, self.compacted) = (text.len(), text.len()),
            Err(error) => {
                self.compacted = self.state;
                tracing::warn!("{}.state: cannot be compacted: {error}", self.disk.path.display());
            }
        }
        replaced.is_ok()
    }
}

fn error(refused: Refused, object: String) -> Error {
    match refused {
        Refused::Conflict => Error::Conflict { object },
        Refused::Missing => Error::Missing { object, cause: "it is gone".to_owned() },
    }
}

fn refuse(batch: Vec<Request>, cause: &str, place: &str) {
    for Request { done, .. } in batch {
        let (object, cause) = (place.to_owned(), cause.to_owned());
        drop(done.send(Err(Error::Failed { object, cause })));
    }
}

#[cfg(test)]
mod tests;
