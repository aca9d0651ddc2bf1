//! One watch that goes on for ever: what it tells, and how it tells what went meanwhile.

use std::fmt::Debug;
use std::time::Duration;

use futures::Stream;
use futures::StreamExt;
use futures::stream;
use futures::stream::BoxStream;
use kube::api::ApiResource;
use kube::core::DynamicResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::cluster::explain;
use crate::cluster::known::Known;
use crate::cluster::late::{Definition, Definitions};

/// What a watch tells: changes, and when it knows everything that was there.
#[derive(Debug)]
pub enum Seen<K> {
    Put(K),
    Gone {
        namespace: String,
        name: String,
    },
    /// A complete list has been told; said again after each new list.
    Synced,
    /// Told once when it begins; the watch goes on trying. What was seen before still holds.
    Trouble(Trouble),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The API server does not serve this kind.
    Missing,
    /// We may not list or watch it.
    Forbidden(String),
    Unreachable(String),
}

impl Trouble {
    pub fn of(error: &watcher::Error) -> Self {
        use watcher::Error as E;
        let cause = match error {
            E::InitialListFailed(error) | E::WatchStartFailed(error) | E::WatchFailed(error) => {
                error
            }
            E::WatchError(status) => return Self::of_status(status),
            E::NoResourceVersion => {
                return Self::Unreachable("a list without a resourceVersion".to_owned());
            }
        };
        Self::of_request(cause)
    }

    /// The same of a single request.
    pub fn of_request(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::of_status(status),
            other => Self::Unreachable(explain(other)),
        }
    }

    /// By the code: what the API server says of a kind that it does not have is no Status.
    fn of_status(status: &kube::core::Status) -> Self {
        match status.code {
            404 => Self::Missing,
            403 => Self::Forbidden(status.message.clone()),
            _ => Self::Unreachable(status.message.clone()),
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("the API server does not have this kind"),
            Self::Forbidden(cause) => write!(f, "not allowed: {cause}"),
            Self::Unreachable(cause) => f.write_str(cause),
        }
    }
}

const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A pause that doubles.
#[derive(Debug)]
pub(super) struct Pause {
    next: Duration,
    longest: Duration,
}

impl Pause {
    const FIRST: Duration = Duration::from_millis(250);

    pub(super) fn up_to(longest: Duration) -> Self {
        Self { next: Self::FIRST, longest }
    }

    pub(super) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.longest);
        now
    }

    pub(super) fn reset(&mut self) {
        self.next = Self::FIRST;
    }
}

type Events<K> = BoxStream<'static, Result<watcher::Event<K>, watcher::Error>>;

/// What is waited for before the API server is asked again.
enum Owed {
    Nothing,
    Pause,
    Definition,
}

/// For a kind that may come and go: its definition, and a watch from the beginning.
struct Late<K> {
    definition: Definition,
    begin: Box<dyn Fn() -> Events<K> + Send>,
}

struct Watching<K> {
    events: Events<K>,
    late: Option<Late<K>>,
    known: Known,
    trouble: Option<Trouble>,
    pause: Pause,
    owed: Owed,
    /// Taken from its end.
    waiting: Vec<Seen<K>>,
}

/// Watches for ever. An object that went while the watch was away is told as gone after the
/// next complete list; nothing is told as gone because a list failed.
pub fn watch<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = Seen<K>> + Send
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    told(watcher(api, config).boxed(), None)
}

/// The same for a kind whose CRD may come, go and come again. While it is missing only the CRD is
/// watched; once that is there, the objects are listed anew.
pub fn watch_custom<K>(
    client: Client,
    resource: &ApiResource,
    namespace: Option<&str>,
    config: watcher::Config,
    definitions: Definitions,
) -> impl Stream<Item = Seen<K>> + Send + use<K>
where
    K: Resource<DynamicType = ApiResource, Scope = DynamicResourceScope>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + 'static,
{
    let api: Api<K> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
        None => Api::all_with(client.clone(), resource),
    };
    let definition = Definition::new(client, resource, definitions);
    let begin = Box::new(move || watcher(api.clone(), config.clone()).boxed());
    told(begin(), Some(Late { definition, begin }))
}

fn told<K>(events: Events<K>, late: Option<Late<K>>) -> impl Stream<Item = Seen<K>> + Send
where
    K: Resource + Send + 'static,
{
    let start = Watching {
        events,
        late,
        known: Known::default(),
        trouble: None,
        pause: Pause::up_to(LONGEST_PAUSE),
        owed: Owed::Nothing,
        waiting: Vec::new(),
    };
    stream::unfold(start, |mut watching| async move {
        loop {
            if let Some(seen) = watching.waiting.pop() {
                return Some((seen, watching));
            }
            watching.wait().await;
            match watching.events.next().await? {
                Ok(event) => watching.take(event),
                Err(error) => watching.stumble(&error),
            }
        }
    })
}

impl<K: Resource> Watching<K> {
    fn take(&mut self, event: watcher::Event<K>) {
        match event {
            watcher::Event::Init => self.known.begin(),
            watcher::Event::InitApply(object) => self.put(object),
            watcher::Event::InitDone => self.finish_list(),
            watcher::Event::Apply(object) => {
                self.recover();
                self.put(object);
            }
            watcher::Event::Delete(object) => {
                let (namespace, name) = key(&object);
                self.known.remove(&namespace, &name);
                self.waiting.push(Seen::Gone { namespace, name });
            }
        }
    }

    fn put(&mut self, object: K) {
        let meta = object.meta();
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        self.known.put(namespace.unwrap_or_default(), name.unwrap_or_default());
        self.waiting.push(Seen::Put(object));
    }

    /// What went is told before `Synced`.
    fn finish_list(&mut self) {
        self.recover();
        self.waiting.push(Seen::Synced);
        let gone = self.known.finish().into_iter();
        self.waiting.extend(gone.map(|(namespace, name)| Seen::Gone { namespace, name }));
    }

    fn recover(&mut self) {
        self.trouble = None;
        self.pause.reset();
        if let Some(late) = &mut self.late {
            late.definition.recovered();
        }
    }

    /// The first of its kind is told and tried again at once: a connection breaks every now and
    /// then. A kind that is missing is not tried again before its definition is there.
    fn stumble(&mut self, error: &watcher::Error) {
        if ends_quietly(error) {
            return;
        }
        let trouble = Trouble::of(error);
        let told = self.trouble.as_ref().is_some_and(|earlier| {
            std::mem::discriminant(earlier) == std::mem::discriminant(&trouble)
        });
        self.owed = match trouble {
            Trouble::Missing if self.late.is_some() => Owed::Definition,
            _ if told => Owed::Pause,
            _ => Owed::Nothing,
        };
        if !told {
            self.waiting.push(Seen::Trouble(trouble.clone()));
            self.trouble = Some(trouble);
        }
    }

    async fn wait(&mut self) {
        match (std::mem::replace(&mut self.owed, Owed::Nothing), &mut self.late) {
            (Owed::Definition, Some(late)) => {
                late.definition.served().await;
                self.events = (late.begin)();
            }
            (Owed::Nothing, _) => {}
            (Owed::Pause | Owed::Definition, _) => tokio::time::sleep(self.pause.next()).await,
        }
    }
}

/// A watch that is too old starts again from a list: daily life, not trouble.
fn ends_quietly(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchError(status) if status.code == 410)
}

fn key<K: Resource>(object: &K) -> (String, String) {
    (object.namespace().unwrap_or_default(), object.name_any())
}

#[cfg(test)]
mod tests {
    use kube::api::ObjectMeta;

    use super::*;
    use crate::cluster::Named;

    fn named(name: &str) -> Named {
        Named { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() } }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_broken_list_does_not_show_is_not_gone_and_what_it_showed_may_go() {
        use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
        let broken = || Err(watcher::Error::NoResourceVersion);
        let events: Vec<Result<watcher::Event<Named>, watcher::Error>> = vec![
            Ok(Init),
            Ok(InitApply(named("a"))),
            Ok(InitApply(named("b"))),
            Ok(InitDone),
            Ok(Delete(named("b"))),
            Ok(Apply(named("c"))),
            broken(),
            Ok(Init),
            Ok(InitApply(named("d"))),
            broken(),
            broken(),
            Ok(Init),
            Ok(InitApply(named("c"))),
            Ok(InitDone),
        ];
        let seen = told(stream::iter(events).boxed(), None).map(|seen| match seen {
            Seen::Put(object) => format!("put {}", object.name_any()),
            Seen::Gone { name, .. } => format!("gone {name}"),
            Seen::Synced => "synced".to_owned(),
            Seen::Trouble(_) => "trouble".to_owned(),
        });
        let seen: Vec<String> = seen.collect().await;
        assert_eq!(
            seen,
            [
                "put a", "put b", "synced", "gone b", "put c", "trouble", "put d", "put c",
                "gone d", "gone a", "synced"
            ]
        );
    }
}
