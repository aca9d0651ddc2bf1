//! What people see: AcmeCertificates, the status of our routes, Events on Traefik's. Output only.
//!
//! Differences are written and nothing else; changes that come while a write is under way are
//! gathered. What was edited or deleted by hand is put back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, Time};
use kube::api::{DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::api::{
    AcmeCertificate, AcmeCertificateSpec, AcmeCertificateStatus, CertificateRef, IngressRouteStatus,
};
use crate::cert::Id;
use crate::cluster::{self, Fence, Seen};
use crate::route::Key;
use crate::store::{self, CERTIFICATE_PREFIX};

/// On every AcmeCertificate: the namespace of the controller that keeps it.
const LABEL: &str = "routecert.dev/controller";
/// Pause before a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(2);
/// Of an Event's note (events.k8s.io/v1).
const MAX_NOTE: usize = 1024;

/// Something to be shown.
#[derive(Debug)]
pub(super) enum News {
    Certificate {
        id: Id,
        shown: Option<Shown>,
    },
    Route {
        key: Key,
        news: Option<RouteNews>,
    },
    /// Every certificate has been told once: AcmeCertificates of others are leftovers.
    Complete,
}

/// An AcmeCertificate as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) namespace: String,
    pub(super) spec: AcmeCertificateSpec,
    pub(super) status: AcmeCertificateStatus,
}

/// What became of a route, and what its object says at present.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RouteNews {
    pub(super) uid: String,
    pub(super) generation: i64,
    /// `None`: the route asks for nothing; a status from earlier is taken away.
    pub(super) verdict: Option<Verdict>,
    pub(super) present: Option<IngressRouteStatus>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) ready: bool,
    /// Something of the route was refused: worth an Event.
    pub(super) refused: bool,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) certificates: Vec<CertificateRef>,
}

pub(super) struct Publisher {
    client: Client,
    /// Whose AcmeCertificates are ours: other controllers of the cluster have theirs.
    controller: String,
    fence: Fence,
    clock: fn() -> Timestamp,
    /// By namespace and name, as the API server has them.
    observed: BTreeMap<(String, String), AcmeCertificate>,
    desired: BTreeMap<(String, String), Shown>,
    /// Where the AcmeCertificate of an id was published.
    places: BTreeMap<Id, (String, String)>,
    routes: BTreeMap<Key, RouteNews>,
    complete: bool,
    synced: bool,
    todo: BTreeSet<Todo>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Todo {
    Certificate(String, String),
    Route(Key),
}

impl Publisher {
    pub(super) fn new(
        client: Client,
        controller: &str,
        fence: Fence,
        clock: fn() -> Timestamp,
    ) -> Self {
        Self {
            client,
            controller: controller.to_owned(),
            fence,
            clock,
            observed: BTreeMap::new(),
            desired: BTreeMap::new(),
            places: BTreeMap::new(),
            routes: BTreeMap::new(),
            complete: false,
            synced: false,
            todo: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut news: mpsc::UnboundedReceiver<News>) {
        let all: Api<AcmeCertificate> = Api::all(self.client.clone());
        let ours = watcher::Config::default().labels(&format!("{LABEL}={}", self.controller));
        let mut watched = cluster::watch(all, ours).boxed();
        let mut again = Instant::now();
        loop {
            let waits = !self.todo.is_empty();
            tokio::select! {
                item = news.recv() => match item {
                    Some(item) => self.take(item),
                    None => return,
                },
                Some(seen) = watched.next() => self.see(seen),
                () = tokio::time::sleep_until(again), if waits => {}
            }
            while let Ok(item) = news.try_recv() {
                self.take(item);
            }
            if Instant::now() >= again && !self.write_all().await {
                again = Instant::now() + AGAIN;
            }
        }
    }

    fn take(&mut self, news: News) {
        match news {
            News::Certificate { id, shown } => self.take_certificate(id, shown),
            News::Route { key, news } => {
                match news {
                    Some(news) => drop(self.routes.insert(key.clone(), news)),
                    None => drop(self.routes.remove(&key)),
                }
                self.todo.insert(Todo::Route(key));
            }
            News::Complete => {
                self.complete = true;
                self.look_at_all();
            }
        }
    }

    fn take_certificate(&mut self, id: Id, shown: Option<Shown>) {
        let name = format!("{CERTIFICATE_PREFIX}{id}");
        match shown {
            Some(shown) => {
                let place = (shown.namespace.clone(), name);
                self.places.insert(id, place.clone());
                self.desired.insert(place.clone(), shown);
                self.todo.insert(Todo::Certificate(place.0, place.1));
            }
            None => {
                if let Some(place) = self.places.remove(&id) {
                    self.desired.remove(&place);
                    self.todo.insert(Todo::Certificate(place.0, place.1));
                }
            }
        }
    }

    fn see(&mut self, seen: Seen<AcmeCertificate>) {
        match seen {
            Seen::Put(mut object) => {
                object.metadata.managed_fields = None;
                let place = (object.namespace().unwrap_or_default(), object.name_any());
                self.observed.insert(place.clone(), object);
                self.todo.insert(Todo::Certificate(place.0, place.1));
            }
            Seen::Gone { namespace, name } => {
                self.observed.remove(&(namespace.clone(), name.clone()));
                self.todo.insert(Todo::Certificate(namespace, name));
            }
            Seen::Synced => {
                self.synced = true;
                self.look_at_all();
            }
            Seen::Trouble(trouble) => {
                tracing::warn!(
                    "AcmeCertificates cannot be watched: {trouble}; apply crds/ and the RBAC"
                );
            }
        }
    }

    fn look_at_all(&mut self) {
        let places = self.observed.keys().chain(self.desired.keys()).cloned();
        self.todo.extend(places.map(|(namespace, name)| Todo::Certificate(namespace, name)));
    }

    /// Whether everything could be written; what could not stays to be done.
    async fn write_all(&mut self) -> bool {
        let mut failed = BTreeSet::new();
        let mut told = false;
        for todo in std::mem::take(&mut self.todo) {
            if !self.fence.holds() {
                return true;
            }
            let written = match &todo {
                Todo::Certificate(namespace, name) => self.write_certificate(namespace, name).await,
                Todo::Route(key) => self.write_route(key).await,
            };
            match written {
                Ok(()) | Err(store::Error::Missing { .. } | store::Error::Conflict { .. }) => {}
                Err(error) => {
                    if !told {
                        tracing::warn!("{error}; tried again");
                        told = true;
                    }
                    failed.insert(todo);
                }
            }
        }
        let done = failed.is_empty();
        self.todo.extend(failed);
        done
    }

    async fn write_certificate(&mut self, namespace: &str, name: &str) -> Result<(), store::Error> {
        if !self.synced {
            return Ok(());
        }
        let place = (namespace.to_owned(), name.to_owned());
        let api: Api<AcmeCertificate> = Api::namespaced(self.client.clone(), namespace);
        let failed = |error: &kube::Error| {
            store::Error::of(format!("AcmeCertificate {namespace}/{name}"), error)
        };
        match (self.desired.get(&place), self.observed.get(&place)) {
            (Some(shown), None) => {
                let object = self.object(name, shown, None);
                match api.create(&PostParams::default(), &object).await {
                    // There, but without our label: edited by hand.
                    Err(kube::Error::Api(status)) if status.is_already_exists() => {
                        let present = api.get(name).await.map_err(|error| failed(&error))?;
                        let object = self.object(name, shown, present.resource_version());
                        let made = api.replace(name, &PostParams::default(), &object).await;
                        made.map(drop).map_err(|error| failed(&error))
                    }
                    made => made.map(drop).map_err(|error| failed(&error)),
                }
            }
            (Some(shown), Some(observed)) if !shows(observed, shown) => {
                let object = self.object(name, shown, observed.resource_version());
                let made = api.replace(name, &PostParams::default(), &object).await;
                made.map(drop).map_err(|error| failed(&error))
            }
            (None, Some(_)) if self.complete && is_ours(name) => {
                let gone = api.delete(name, &DeleteParams::default()).await;
                gone.map(drop).map_err(|error| failed(&error))
            }
            _ => Ok(()),
        }
    }

    fn object(&self, name: &str, shown: &Shown, version: Option<String>) -> AcmeCertificate {
        let mut object = AcmeCertificate::new(name, shown.spec.clone());
        object.metadata.namespace = Some(shown.namespace.clone());
        object.metadata.resource_version = version;
        object.labels_mut().insert(LABEL.to_owned(), self.controller.clone());
        object.status = Some(shown.status.clone());
        object
    }

    async fn write_route(&mut self, key: &Key) -> Result<(), store::Error> {
        let Some(news) = self.routes.get(key) else { return Ok(()) };
        if key.kind.has_status() {
            return self.write_status(key, news).await;
        }
        match &news.verdict {
            Some(verdict) if verdict.refused => self.write_event(key, news, verdict).await,
            _ => Ok(()),
        }
    }

    async fn write_status(&self, key: &Key, news: &RouteNews) -> Result<(), store::Error> {
        let present = news.present.clone().unwrap_or_default();
        let wanted = match &news.verdict {
            Some(verdict) => status(verdict, news.generation, &present, (self.clock)()),
            None => IngressRouteStatus::default(),
        };
        if wanted == present {
            return Ok(());
        }
        let Some(resource) = key.kind.resource() else { return Ok(()) };
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let value =
            if wanted == IngressRouteStatus::default() { json!(null) } else { json!(wanted) };
        let patch = Patch::Merge(json!({"status": value}));
        let written = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        written.map(drop).map_err(|error| store::Error::of(key.to_string(), &error))
    }

    /// Its name is made of what it says: said already, it exists already.
    async fn write_event(
        &self,
        key: &Key,
        news: &RouteNews,
        verdict: &Verdict,
    ) -> Result<(), store::Error> {
        let Some(event) = event(key, news, verdict, (self.clock)()) else { return Ok(()) };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &key.namespace);
        let written = api.create(&PostParams::default(), &event).await;
        written.map(drop).map_err(|error| store::Error::of(format!("Event on {key}"), &error))
    }
}

fn is_ours(name: &str) -> bool {
    Id::from_object_name(CERTIFICATE_PREFIX, name).is_some()
}

fn shows(observed: &AcmeCertificate, shown: &Shown) -> bool {
    observed.spec == shown.spec && observed.status.as_ref() == Some(&shown.status)
}

/// `lastTransitionTime` moves only when `status` does.
fn status(
    verdict: &Verdict,
    generation: i64,
    present: &IngressRouteStatus,
    now: Timestamp,
) -> IngressRouteStatus {
    let ready = if verdict.ready { "True" } else { "False" };
    let earlier = present.conditions.iter().find(|condition| condition.type_ == "Ready");
    let since = earlier
        .filter(|condition| condition.status == ready)
        .map_or_else(|| Time(to_second(now)), |condition| condition.last_transition_time.clone());
    let condition = Condition {
        type_: "Ready".to_owned(),
        status: ready.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message.clone(),
        last_transition_time: since,
        observed_generation: Some(generation),
    };
    IngressRouteStatus { conditions: vec![condition], certificates: verdict.certificates.clone() }
}

/// The API server keeps whole seconds: more would differ at the next look.
fn to_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// `None`: the route stands in a file, where no Event can be.
fn event(key: &Key, news: &RouteNews, verdict: &Verdict, now: Timestamp) -> Option<Event> {
    let resource = key.kind.resource()?;
    let mut note = verdict.message.clone();
    if note.len() > MAX_NOTE {
        let mut end = MAX_NOTE - 3;
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        note.push('…');
    }
    let said = [news.uid.as_str(), verdict.reason, &note].join("\n");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, said.as_bytes());
    let mut hash = data_encoding::HEXLOWER.encode(digest.as_ref());
    hash.truncate(16);
    Some(Event {
        metadata: ObjectMeta {
            name: Some(format!("{}.{hash}", key.name)),
            namespace: Some(key.namespace.to_string()),
            ..ObjectMeta::default()
        },
        event_time: Some(MicroTime(now)),
        type_: Some("Warning".to_owned()),
        reason: Some(verdict.reason.to_owned()),
        note: Some(note),
        action: Some("IssueCertificate".to_owned()),
        reporting_controller: Some("routecert.dev/controller".to_owned()),
        reporting_instance: Some("routecert-controller".to_owned()),
        regarding: Some(ObjectReference {
            api_version: Some(resource.api_version),
            kind: Some(resource.kind),
            namespace: Some(key.namespace.to_string()),
            name: Some(key.name.to_string()),
            uid: Some(news.uid.clone()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let first: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let later: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let mut verdict = Verdict {
            ready: false,
            refused: false,
            reason: "Issuing",
            message: String::new(),
            certificates: Vec::new(),
        };
        let time = |status: &IngressRouteStatus| status.conditions[0].last_transition_time.0;
        let one = status(&verdict, 1, &IngressRouteStatus::default(), first);
        assert_eq!(time(&one).to_string(), "2026-01-01T00:00:00Z");
        verdict.reason = "Failed";
        let two = status(&verdict, 1, &one, later);
        assert_eq!(time(&two), time(&one));
        verdict.ready = true;
        assert_eq!(time(&status(&verdict, 1, &two, later)), later);
    }
}
