//! Copies of our certificates in routes' namespaces (`tls.secretName`), kept equal.
//!
//! A Secret is ours if the state record lists its UID or if its key is the one that we hold;
//! never because a label says so. Any other is left as it is, and the route says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use futures::stream::SelectAll;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::cert::{Certificate, Id};
use crate::cluster::{self, Fence, Seen};
use crate::order::CopyRef;
use crate::route::{Reason, Refusal};
use crate::store::{self, Store, copy_of};

const AGAIN: Duration = Duration::from_secs(2);

/// Namespace and name of a Secret.
pub(super) type Place = (String, String);

#[derive(Debug)]
pub(super) enum Command {
    /// The Secret is to hold this certificate; `ours` are the UIDs that the state lists.
    Fill { place: Place, id: Id, fingerprint: String, ours: BTreeSet<String> },
    /// No route names it any more; it is left as it is.
    Leave(Place),
}

/// What became of a copy.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) place: Place,
    pub(super) id: Id,
    pub(super) result: Result<String, Refusal>,
}

struct Wanted {
    id: Id,
    fingerprint: String,
    ours: BTreeSet<String>,
}

pub(super) struct Copies {
    client: Client,
    store: Store,
    fence: Fence,
    reports: mpsc::UnboundedSender<Report>,
    wanted: BTreeMap<Place, Wanted>,
    /// What the API server has, of the Secrets that are wanted; `None`: not there.
    observed: BTreeMap<Place, Option<Secret>>,
    /// Namespaces with a watch.
    namespaces: BTreeSet<String>,
    todo: BTreeSet<Place>,
}

type Watches = SelectAll<BoxStream<'static, (String, Seen<Secret>)>>;

impl Copies {
    pub(super) fn new(
        client: Client,
        store: Store,
        fence: Fence,
        reports: mpsc::UnboundedSender<Report>,
    ) -> Self {
        Self {
            client,
            store,
            fence,
            reports,
            wanted: BTreeMap::new(),
            observed: BTreeMap::new(),
            namespaces: BTreeSet::new(),
            todo: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut watches: Watches = SelectAll::new();
        let mut again = Instant::now();
        loop {
            let waits = !self.todo.is_empty();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command, &mut watches),
                    None => return,
                },
                Some((namespace, seen)) = watches.next(), if !watches.is_empty() => {
                    self.see(namespace, seen);
                }
                () = tokio::time::sleep_until(again), if waits => {}
            }
            if Instant::now() >= again && !self.fill_all().await {
                again = Instant::now() + AGAIN;
            }
        }
    }

    fn take(&mut self, command: Command, watches: &mut Watches) {
        match command {
            Command::Fill { place, id, fingerprint, ours } => {
                if self.namespaces.insert(place.0.clone()) {
                    watches.push(watch(&self.client, place.0.clone()));
                }
                self.wanted.insert(place.clone(), Wanted { id, fingerprint, ours });
                self.todo.insert(place);
            }
            Command::Leave(place) => {
                self.wanted.remove(&place);
                self.observed.remove(&place);
                self.todo.remove(&place);
            }
        }
    }

    fn see(&mut self, namespace: String, seen: Seen<Secret>) {
        match seen {
            Seen::Put(mut secret) => {
                let place = (namespace, secret.name_any());
                if self.wanted.contains_key(&place) {
                    secret.metadata.managed_fields = None;
                    self.observed.insert(place.clone(), Some(secret));
                    self.todo.insert(place);
                }
            }
            Seen::Gone { name, .. } => {
                let place = (namespace, name);
                if self.wanted.contains_key(&place) {
                    self.observed.insert(place.clone(), None);
                    self.todo.insert(place);
                }
            }
            // What could not be done before may be possible now.
            Seen::Synced => {
                let places = self.wanted.keys().filter(|place| place.0 == namespace).cloned();
                self.todo.extend(places);
            }
            Seen::Trouble(trouble) => {
                tracing::warn!("Secrets of namespace {namespace} cannot be watched: {trouble}");
            }
        }
    }

    /// Whether everything could be done; what could not stays to be done.
    async fn fill_all(&mut self) -> bool {
        let mut failed = BTreeSet::new();
        for place in std::mem::take(&mut self.todo) {
            if !self.fence.holds() {
                return true;
            }
            match self.fill(&place).await {
                // After a lost write the watch tells how it is now.
                Ok(()) | Err(store::Error::Conflict { .. }) => {}
                Err(error @ store::Error::Forbidden { .. }) => {
                    if let Some(wanted) = self.wanted.get(&place) {
                        self.report(&place, &wanted.id, Err(no_right(&place, &error.to_string())));
                    }
                }
                Err(error) => {
                    tracing::warn!("{error}; tried again");
                    failed.insert(place);
                }
            }
        }
        let done = failed.is_empty();
        self.todo.extend(failed);
        done
    }

    async fn fill(&mut self, place: &Place) -> Result<(), store::Error> {
        if !self.wanted.contains_key(place) {
            return Ok(());
        }
        let observed = self.observed(place).await?;
        let Some(wanted) = self.wanted.get(place) else { return Ok(()) };
        let Some(entry) = self.store.certificate(&wanted.id).await? else { return Ok(()) };
        let Ok(certificate) = entry.content else { return Ok(()) };
        if certificate.facts().fingerprint != wanted.fingerprint {
            return Ok(());
        }
        let result = match observed {
            None => Ok(self.write(place, &certificate, None).await?),
            Some(secret) => match judge(&secret, &certificate, &wanted.ours) {
                Verdict::Equal => Ok(secret.uid().unwrap_or_default()),
                Verdict::Ours => Ok(self.write(place, &certificate, Some(&secret)).await?),
                Verdict::Foreign => Err(foreign(place)),
            },
        };
        self.report(place, &wanted.id, result);
        Ok(())
    }

    /// As the watch told it, or asked for once: the watch may have passed it by before it was wanted.
    async fn observed(&mut self, place: &Place) -> Result<Option<Secret>, store::Error> {
        if let Some(observed) = self.observed.get(place) {
            return Ok(observed.clone());
        }
        let (namespace, name) = place;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let read = api
            .get_opt(name)
            .await
            .map_err(|error| store::Error::of(format!("Secret {namespace}/{name}"), &error))?;
        self.observed.insert(place.clone(), read.clone());
        Ok(read)
    }

    /// Returns the UID of what was written.
    async fn write(
        &self,
        place: &Place,
        certificate: &Certificate,
        present: Option<&Secret>,
    ) -> Result<String, store::Error> {
        let (namespace, name) = place;
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let mut secret = copy_of(name.clone(), certificate);
        let params = PostParams::default();
        let written = match present {
            None => api.create(&params, &secret).await,
            Some(present) => {
                // What others added to its metadata stays.
                let labels = std::mem::take(secret.labels_mut());
                secret.metadata = present.metadata.clone();
                secret.labels_mut().extend(labels);
                api.replace(name, &params, &secret).await
            }
        };
        let written = written
            .map_err(|error| store::Error::of(format!("Secret {namespace}/{name}"), &error))?;
        tracing::info!("Secret {namespace}/{name} filled");
        Ok(written.uid().unwrap_or_default())
    }

    fn report(&self, place: &Place, id: &Id, result: Result<String, Refusal>) {
        // A leader that is leaving listens no more; the next one asks again.
        drop(self.reports.send(Report { place: place.clone(), id: id.clone(), result }));
    }
}

enum Verdict {
    Equal,
    Ours,
    Foreign,
}

fn judge(secret: &Secret, certificate: &Certificate, ours: &BTreeSet<String>) -> Verdict {
    let present = store::content(secret);
    match present {
        Ok(present) if present == *certificate => Verdict::Equal,
        Ok(present) if present.key() == certificate.key() => Verdict::Ours,
        _ if secret.uid().is_some_and(|uid| ours.contains(&uid)) => Verdict::Ours,
        _ => Verdict::Foreign,
    }
}

fn foreign((namespace, name): &Place) -> Refusal {
    Refusal::new(
        Reason::SecretNotOurs,
        format!(
            "Secret {namespace}/{name} is not ours and stays as it is; the certificate is served \
             all the same. Delete the Secret, or name another one in tls.secretName"
        ),
    )
}

fn no_right((namespace, name): &Place, cause: &str) -> Refusal {
    Refusal::new(
        Reason::NoRight,
        format!(
            "Secret {namespace}/{name} cannot be filled: {cause}. Grant the controller get, list, \
             watch, create and update on secrets of namespace {namespace}"
        ),
    )
}

fn watch(client: &Client, namespace: String) -> BoxStream<'static, (String, Seen<Secret>)> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    cluster::watch(api, watcher::Config::default())
        .map(move |seen| (namespace.clone(), seen))
        .boxed()
}

/// Deletes the copies that a state record lists, each only if it is still the same object.
pub(super) async fn delete(client: &Client, copies: &[CopyRef]) -> Result<(), store::Error> {
    for copy in copies {
        let api: Api<Secret> = Api::namespaced(client.clone(), &copy.namespace);
        let preconditions = Preconditions { uid: Some(copy.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        match api.delete(&copy.name, &params).await {
            Ok(_) => tracing::info!("Secret {}/{} deleted", copy.namespace, copy.name),
            // Gone, or another object by now.
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(kube::Error::Api(status)) if status.is_forbidden() => tracing::warn!(
                "Secret {}/{} is left behind: {}",
                copy.namespace,
                copy.name,
                status.message
            ),
            Err(error) => {
                let object = format!("Secret {}/{}", copy.namespace, copy.name);
                return Err(store::Error::of(object, &error));
            }
        }
    }
    Ok(())
}
