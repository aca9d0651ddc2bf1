//! The files for ever: what is other than before is told soon after it changed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use futures::stream::BoxStream;
use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::cluster::Trouble;
use crate::config::FileProvider;
use crate::route::{Key, Route};
use crate::rule::Syntax;
use crate::source::files::folder::Spots;
use crate::source::files::{Files, Look, shown};
use crate::source::{Event, Place, What};

/// What changes within this time is read in one go.
const QUIET: Duration = Duration::from_millis(100);
/// Even if there is no quiet.
const LONGEST: Duration = Duration::from_secs(2);
/// Pause before files that could not be read, or cannot be watched, are looked at again.
const AGAIN: Duration = Duration::from_secs(5);
/// Troubles in one message.
const MAX_TOLD: usize = 5;

/// Reads the files, and again with each change if the provider says so.
pub(in crate::source) fn watch(
    provider: &FileProvider,
    home: &str,
    syntax: Syntax,
) -> BoxStream<'static, Event> {
    let watching = Watching {
        provider: provider.clone(),
        home: home.to_owned(),
        syntax,
        reader: None,
        alarm: Arc::default(),
        told: BTreeMap::new(),
        troubles: None,
        is_blind: false,
        waiting: VecDeque::new(),
    };
    stream::unfold(watching, |mut watching| async move {
        loop {
            if let Some(event) = watching.waiting.pop_front() {
                return Some((event, watching));
            }
            if watching.troubles.is_some() {
                watching.changed().await;
            }
            watching.look().await;
        }
    })
    .boxed()
}

struct Watching {
    provider: FileProvider,
    home: String,
    syntax: Syntax,
    /// `None`: before the first look, or after one that failed as a whole.
    reader: Option<Reader>,
    alarm: Arc<Alarm>,
    told: BTreeMap<Key, Route>,
    /// Of the last look; `None`: there was none.
    troubles: Option<Vec<String>>,
    /// Some change may not be noticed.
    is_blind: bool,
    waiting: VecDeque<Event>,
}

impl Watching {
    async fn changed(&self) {
        let again = self.is_blind || self.troubles.as_ref().is_none_or(|it| !it.is_empty());
        tokio::select! {
            () = self.alarm.rung.notified(), if self.provider.watch => self.quiet().await,
            () = tokio::time::sleep(AGAIN), if again => {}
            () = std::future::pending() => {}
        }
    }

    /// Whoever writes a file may not be done with it yet.
    async fn quiet(&self) {
        let end = Instant::now() + LONGEST;
        loop {
            let until = end.min(Instant::now() + QUIET);
            let rung = tokio::time::timeout_at(until, self.alarm.rung.notified()).await;
            if rung.is_err() || Instant::now() >= end {
                return;
            }
        }
    }

    async fn look(&mut self) {
        let reader = self.reader.take().unwrap_or_else(|| Reader {
            files: Files::new(self.provider.clone(), &self.home, self.syntax),
            folders: self.provider.watch.then(|| Folders::new(&self.alarm)),
        });
        match tokio::task::spawn_blocking(|| reader.look()).await {
            Ok((reader, look)) => {
                let folders = reader.folders.as_ref();
                self.is_blind = folders.is_some_and(|folders| folders.is_blind);
                self.reader = Some(reader);
                self.tell(look);
            }
            Err(error) => self.tell_troubles(vec![format!("the files cannot be read: {error}")]),
        }
    }

    fn tell(&mut self, look: Look) {
        for warning in look.warnings {
            tracing::warn!("{warning}");
        }
        tracing::debug!(routes = look.routes.len(), "files read");
        let routes = look.routes.into_iter();
        let routes: BTreeMap<Key, Route> = routes.map(|it| (it.key.clone(), it)).collect();
        let gone = self.told.keys().filter(|key| !routes.contains_key(key)).cloned();
        self.waiting.extend(gone.map(Event::Gone));
        let changed = routes.iter().filter(|(key, route)| self.told.get(key) != Some(route));
        self.waiting.extend(changed.map(|(_, route)| Event::Put(Box::new(route.clone()))));
        self.told = routes;
        self.tell_troubles(look.troubles);
    }

    fn tell_troubles(&mut self, troubles: Vec<String>) {
        if self.troubles.as_ref() == Some(&troubles) {
            return;
        }
        let place = Place { what: What::Files, namespace: None };
        let event = if troubles.is_empty() {
            Event::Synced(place)
        } else {
            let mut told: Vec<&str> = troubles.iter().take(MAX_TOLD).map(String::as_str).collect();
            let more = format!("and {} more", troubles.len().saturating_sub(MAX_TOLD));
            if troubles.len() > MAX_TOLD {
                told.push(&more);
            }
            Event::Trouble(place, Trouble::Unreachable(told.join("; ")))
        };
        self.waiting.push_back(event);
        self.troubles = Some(troubles);
    }
}

/// What is lent to the thread that reads.
struct Reader {
    files: Files,
    /// `None`: nothing is watched.
    folders: Option<Folders>,
}

impl Reader {
    fn look(mut self) -> (Self, Look) {
        let mut look = self.files.look();
        let Some(folders) = &mut self.folders else { return (self, look) };
        if folders.follow(&mut look.spots) == Followed::More {
            // What changed before it was watched.
            let warnings = look.warnings;
            look = self.files.look();
            look.warnings.extend(warnings);
        }
        (self, look)
    }
}

/// Rung by the system when something changes.
#[derive(Debug, Default)]
struct Alarm {
    rung: Notify,
    /// Something else may stand where a watched directory was.
    moved: AtomicBool,
    /// Those that are read: what others beside them hold is nobody's business.
    files: Mutex<BTreeSet<PathBuf>>,
}

impl Alarm {
    /// To read is no change.
    fn take(&self, event: &notify::Result<notify::Event>) {
        match event {
            Ok(event) if is_content(event.kind) => {
                let files = self.files.lock();
                if files.is_ok_and(|files| !event.paths.iter().any(|path| files.contains(path))) {
                    return;
                }
            }
            Ok(event) if event.kind.is_access() => return,
            Ok(_) | Err(_) => self.moved.store(true, Ordering::Release),
        }
        self.rung.notify_one();
    }

    /// Whether it listens to other files than before.
    fn listen(&self, files: BTreeSet<PathBuf>) -> bool {
        let Ok(mut known) = self.files.lock() else { return false };
        let is_other = *known != files;
        *known = files;
        is_other
    }
}

fn is_content(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_))
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Followed {
    Same,
    More,
}

/// The directories that are watched, each without those inside of it.
struct Folders {
    watcher: Option<RecommendedWatcher>,
    alarm: Arc<Alarm>,
    watched: BTreeSet<PathBuf>,
    is_blind: bool,
}

impl Folders {
    fn new(alarm: &Arc<Alarm>) -> Self {
        let bell = Arc::clone(alarm);
        let watcher = notify::recommended_watcher(move |event| bell.take(&event));
        let watcher = watcher.map_err(|error| blind("files", &error)).ok();
        let is_blind = watcher.is_none();
        Self { watcher, alarm: Arc::clone(alarm), watched: BTreeSet::new(), is_blind }
    }

    fn follow(&mut self, spots: &mut Spots) -> Followed {
        let Some(watcher) = &mut self.watcher else { return Followed::Same };
        let wanted = &spots.folders;
        let is_other = self.alarm.listen(std::mem::take(&mut spots.files));
        let moved = self.alarm.moved.swap(false, Ordering::AcqRel);
        let keep = |folder: &PathBuf| wanted.contains(folder) && !moved;
        let (kept, dropped) = std::mem::take(&mut self.watched).into_iter().partition(keep);
        self.watched = kept;
        let dropped: BTreeSet<PathBuf> = dropped;
        for folder in &dropped {
            // Gone with the directory, if that is gone.
            drop(watcher.unwatch(folder));
        }
        let mut followed = if is_other { Followed::More } else { Followed::Same };
        let mut is_blind = false;
        for folder in wanted {
            if self.watched.contains(folder) {
                continue;
            }
            followed = Followed::More;
            match watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.watched.insert(folder.clone())),
                Err(error) => {
                    if !self.is_blind {
                        blind(&shown(folder), &error);
                    }
                    is_blind = true;
                }
            }
        }
        self.is_blind = is_blind;
        followed
    }
}

fn blind(what: &str, error: &notify::Error) {
    tracing::warn!("{what}: cannot be watched: {error}; looked at every 5 s instead");
}
