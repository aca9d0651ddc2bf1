//! What people see: AcmeCertificates, the status of our routes and resolvers, Events on other
//! routes. Output only.
//!
//! Differences are written and nothing else; changes that come while a write is under way are
//! gathered. What was edited or deleted by hand is put back.

mod bounded;
mod certificates;
mod condition;
mod events;
mod journal;
mod resolvers;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cert::Id;
use crate::cluster::Fence;
use crate::controller::publish::certificates::{Certificates, Observed};
use crate::route::Key;
use crate::store;

pub(super) use crate::controller::publish::certificates::{Scope, Shown};
pub(super) use crate::controller::publish::journal::log;
pub(super) use crate::controller::publish::resolvers::ResolverNews;
pub(super) use crate::controller::publish::routes::{RouteNews, Verdict};

/// What can wait, or failed, is looked at again after one to two of these.
const AGAIN: Duration = Duration::from_secs(1);
/// Writes under way: each waits for the API server far longer than it takes us.
const AT_ONCE: usize = 8;

/// Something to be shown.
#[derive(Debug)]
pub(super) enum News {
    Certificate {
        id: Id,
        shown: Option<Shown>,
        /// A worker is at it, and says nothing yet: it is told again at its end.
        more: bool,
    },
    /// A worker is at this certificate from now on.
    Begun(Id),
    Route {
        key: Key,
        news: Option<RouteNews>,
    },
    Resolver {
        name: String,
        news: Option<ResolverNews>,
    },
    /// Every certificate has been told once: AcmeCertificates of others are leftovers.
    Complete,
}

pub(super) struct Publisher {
    client: Client,
    fence: Fence,
    clock: fn() -> Timestamp,
    certificates: Certificates,
    routes: BTreeMap<Key, RouteNews>,
    resolvers: BTreeMap<String, ResolverNews>,
    todo: BTreeSet<Todo>,
    /// To be looked at again after a pause, such as what could not be written; it holds up nothing.
    later: BTreeSet<Todo>,
    /// The same after the next pause, so that nothing waits for less than a whole one.
    sooner: BTreeSet<Todo>,
    /// To be looked at when the worker is done.
    under_way: BTreeSet<Todo>,
    /// Kinds of objects of which a failure has been told.
    told: BTreeSet<&'static str>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Todo {
    Certificate(String, String),
    Resolver(String),
    Route(Key),
}

impl Todo {
    fn certificate((namespace, name): (String, String)) -> Self {
        Self::Certificate(namespace, name)
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Certificate(..) => "AcmeCertificate",
            Self::Resolver(_) => "CertificateResolver",
            Self::Route(key) => key.kind.as_str(),
        }
    }
}

impl Publisher {
    pub(super) fn new(
        client: Client,
        (controller, scope): (&str, Scope),
        fence: Fence,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            certificates: Certificates::new(client.clone(), controller, scope),
            client,
            fence,
            clock,
            routes: BTreeMap::new(),
            resolvers: BTreeMap::new(),
            todo: BTreeSet::new(),
            later: BTreeSet::new(),
            sooner: BTreeSet::new(),
            under_way: BTreeSet::new(),
            told: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let mut watched = self.certificates.watch();
        let mut again = Instant::now();
        loop {
            let mut waits = !self.later.is_empty() || !self.sooner.is_empty();
            tokio::select! {
                item = news.recv() => match item {
                    Some(item) => self.take(item),
                    None => return,
                },
                Some(seen) = watched.next() => {
                    let places = self.certificates.see(seen);
                    self.look_at(places);
                }
                () = tokio::time::sleep_until(again), if waits => {
                    self.todo.append(&mut self.sooner);
                    std::mem::swap(&mut self.later, &mut self.sooner);
                    waits = false;
                }
            }
            while let Ok(item) = news.try_recv() {
                self.take(item);
            }
            self.write_all().await;
            if !waits {
                again = Instant::now() + AGAIN;
            }
        }
    }

    /// Somebody who writes over what we say, again and again, is answered slowly.
    fn take(&mut self, news: News) {
        match news {
            News::Begun(id) => {
                if let Some(todo) = self.certificates.place(&id).map(Todo::certificate)
                    && (self.later.remove(&todo) | self.sooner.remove(&todo))
                {
                    self.under_way.insert(todo);
                }
            }
            News::Certificate { id, shown, more } => {
                let said = self.certificates.says_as_much(&id, shown.as_ref());
                if let Some(todo) = self.certificates.take(id, shown).map(Todo::certificate) {
                    self.put(todo, said, more);
                }
            }
            News::Route { key, news } => {
                let news = news.filter(|news| news.is_told(&key));
                if news.is_none() && !self.routes.contains_key(&key) {
                    return;
                }
                let earlier = news.as_ref().zip(self.routes.get(&key));
                let is_said = earlier.is_some_and(|(one, other)| one.says_the_same(other));
                set(&mut self.routes, &key, news);
                let queue = if is_said { &mut self.later } else { &mut self.todo };
                queue.insert(Todo::Route(key));
            }
            News::Resolver { name, news } => {
                let earlier = news.as_ref().zip(self.resolvers.get(&name));
                let is_said = earlier.is_some_and(|(one, other)| one.says_the_same(other));
                set(&mut self.resolvers, &name, news);
                let queue = if is_said { &mut self.later } else { &mut self.todo };
                queue.insert(Todo::Resolver(name));
            }
            News::Complete => {
                let places = self.certificates.complete();
                self.look_at(places);
            }
        }
    }

    /// What changes while a certificate is worked on is written once, at the end.
    #[expect(clippy::fn_params_excessive_bools, reason = "`more` is what was told of it")]
    fn put(&mut self, todo: Todo, said: Option<bool>, more: bool) {
        let was_under_way = self.under_way.remove(&todo);
        let queue = match said {
            Some(_) if more => &mut self.under_way,
            Some(true) if !was_under_way => &mut self.later,
            _ => &mut self.todo,
        };
        queue.insert(todo);
    }

    fn look_at(&mut self, places: impl IntoIterator<Item = (String, String)>) {
        self.todo.extend(places.into_iter().map(Todo::certificate));
    }

    async fn write_all(&mut self) {
        let (todo, this) = (std::mem::take(&mut self.todo), &*self);
        let writes = stream::iter(todo).map(|todo| async move {
            let written = this.write(&todo).await;
            (todo, written)
        });
        let written: Vec<_> = writes.buffer_unordered(AT_ONCE).collect().await;
        for (todo, written) in written {
            match written {
                Err(error) if !is_overtaken(&error) => {
                    if self.told.insert(todo.kind()) {
                        tracing::warn!("{error}; tried again until it is done");
                    }
                    self.later.insert(todo);
                }
                done => {
                    self.later.remove(&todo);
                    self.sooner.remove(&todo);
                    if let (Ok(Some(written)), Todo::Certificate(namespace, name)) = (done, todo) {
                        self.certificates.note(namespace, name, written);
                    }
                }
            }
        }
        self.told
            .retain(|kind| self.later.iter().chain(&self.sooner).any(|todo| todo.kind() == *kind));
    }

    async fn write(&self, todo: &Todo) -> Result<Option<Observed>, store::Error> {
        if !self.fence.holds() {
            return Ok(None);
        }
        let now = (self.clock)();
        match todo {
            Todo::Certificate(namespace, name) => self.certificates.write(namespace, name).await,
            Todo::Resolver(name) => match self.resolvers.get(name) {
                Some(news) => resolvers::write(&self.client, name, news, now).await.map(|()| None),
                None => Ok(None),
            },
            Todo::Route(key) => match self.routes.get(key) {
                Some(news) => routes::write(&self.client, key, news, now).await.map(|()| None),
                None => Ok(None),
            },
        }
    }
}

/// Whatever came in between is told by our watch, and looked at then.
fn is_overtaken(error: &store::Error) -> bool {
    matches!(error, store::Error::Missing { .. } | store::Error::Conflict { .. })
}

fn set<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key.clone(), value)),
        None => drop(map.remove(key)),
    }
}
