//! What became of a route: the status of ours, an Event on any other.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::api::{CertificateRef, IngressRouteStatus};
use crate::cluster::Named;
use crate::controller::publish::condition::{self, Word};
use crate::controller::publish::events;
use crate::route::Key;
use crate::store;

/// What became of a route, and what its object says at present.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::controller) struct RouteNews {
    pub(in crate::controller) uid: String,
    pub(in crate::controller) generation: i64,
    /// `None`: the route asks for nothing; a status from earlier is taken away.
    pub(in crate::controller) verdict: Option<Verdict>,
    pub(in crate::controller) present: Option<IngressRouteStatus>,
}

impl RouteNews {
    /// A route without a status is told of its refusals alone.
    pub(super) fn is_told(&self, key: &Key) -> bool {
        key.kind.has_status() || self.verdict.as_ref().is_some_and(|verdict| verdict.refused)
    }

    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        (self.generation, &self.verdict) == (other.generation, &other.verdict)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(in crate::controller) struct Verdict {
    pub(in crate::controller) ready: bool,
    /// Something of the route was refused: worth an Event.
    pub(in crate::controller) refused: bool,
    pub(in crate::controller) reason: &'static str,
    pub(in crate::controller) message: String,
    pub(in crate::controller) certificates: Vec<CertificateRef>,
}

pub(super) async fn write(
    client: &Client,
    key: &Key,
    news: &RouteNews,
    now: Timestamp,
) -> Result<(), store::Error> {
    if key.kind.has_status() {
        return write_status(client, key, news, now).await;
    }
    match &news.verdict {
        Some(verdict) => events::write(client, key, &news.uid, verdict, now).await,
        None => Ok(()),
    }
}

async fn write_status(
    client: &Client,
    key: &Key,
    news: &RouteNews,
    now: Timestamp,
) -> Result<(), store::Error> {
    let present = news.present.clone().unwrap_or_default();
    let wanted = match &news.verdict {
        Some(verdict) => status(verdict, news.generation, &present, now),
        None => IngressRouteStatus::default(),
    };
    if wanted == present {
        return Ok(());
    }
    let Some(resource) = key.kind.resource() else { return Ok(()) };
    // Of the answer nothing is read: a tenant's object may be deeper than a reader goes.
    let api: Api<Named> = Api::namespaced_with(client.clone(), &key.namespace, &resource);
    let value = if wanted == IngressRouteStatus::default() { json!(null) } else { json!(wanted) };
    let patch = Patch::Merge(json!({"status": value}));
    let written = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
    written.map(drop).map_err(|error| store::Error::of(key.to_string(), &error))
}

fn status(
    verdict: &Verdict,
    generation: i64,
    present: &IngressRouteStatus,
    now: Timestamp,
) -> IngressRouteStatus {
    let Verdict { ready, reason, ref message, .. } = *verdict;
    let word = Word { ready, reason, message, generation };
    IngressRouteStatus {
        conditions: vec![condition::ready(&word, &present.conditions, now)],
        certificates: verdict.certificates.clone(),
    }
}
