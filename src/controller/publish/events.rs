//! Events on objects that are not ours, which have no status for us.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::controller::publish::bounded;
use crate::controller::publish::routes::Verdict;
use crate::route::Key;
use crate::store;

/// Of an Event's note (events.k8s.io/v1).
const MAX_NOTE: usize = 1024;
/// Of an object's name is taken what leaves room for what tells Events of one object apart.
const MAX_NAME: usize = 200;

/// Its name is made of what it says: said already, it exists already.
pub(super) async fn write(
    client: &Client,
    key: &Key,
    uid: &str,
    verdict: &Verdict,
    now: Timestamp,
) -> Result<(), store::Error> {
    let Some(event) = event(key, uid, verdict, now) else { return Ok(()) };
    let api: Api<Event> = Api::namespaced(client.clone(), &key.namespace);
    let written = api.create(&PostParams::default(), &event).await;
    written.map(drop).map_err(|error| store::Error::of(format!("Event on {key}"), &error))
}

/// `None`: the route stands in a file, where no Event can be.
fn event(key: &Key, uid: &str, verdict: &Verdict, now: Timestamp) -> Option<Event> {
    let resource = key.kind.resource()?;
    let note = bounded::cut(&verdict.message, MAX_NOTE);
    let said = [uid, verdict.reason, &note].join("\n");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, said.as_bytes());
    let mut hash = data_encoding::HEXLOWER.encode(digest.as_ref());
    hash.truncate(16);
    Some(Event {
        metadata: ObjectMeta {
            name: Some(format!("{}{hash}", prefix(&key.name))),
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
            uid: Some(uid.to_owned()),
            ..ObjectReference::default()
        }),
        ..Event::default()
    })
}

/// Names of objects are ASCII, 253 bytes at most, and no part of them ends in `-` or `.`.
fn prefix(name: &str) -> String {
    let short: String = name.chars().take(MAX_NAME).collect();
    format!("{}.", short.trim_end_matches(['-', '.']))
}
