//! What became of a route: by its own status, else by the certificates that name it and the last
//! Event on it.

use k8s_openapi::api::core::v1::Event;
use kube::api::DynamicObject;
use serde::Deserialize;

use crate::api::{IngressRouteStatus, Object};
use crate::cli::status::{Certificate, Route};
use crate::name::{Name, Names};
use crate::route;
use crate::route::{Key, Kind, Reason, Refusal};
use crate::rule::Syntax;

/// Of a route that nothing is known of.
const NOTHING: &str = "no certificate is for this route: it asks for none, or no controller has \
                       seen it yet; `routecert plan --cluster` says what it leads to";

/// Whether the controller has said something of the object.
pub(super) fn has_condition(object: &DynamicObject) -> bool {
    status_of(object).is_some_and(|status| !status.conditions.is_empty())
}

fn status_of(object: &DynamicObject) -> Option<IngressRouteStatus> {
    IngressRouteStatus::deserialize(object.data.get("status")?).ok()
}

pub(super) fn with_status(kind: Kind, object: &DynamicObject, all: &[Certificate]) -> Route {
    let key = key(kind, object).to_string();
    let status = status_of(object).unwrap_or_default();
    let Some(condition) = status.conditions.iter().find(|it| it.type_ == "Ready") else {
        return nothing(key);
    };
    let is_old = condition.observed_generation < object.metadata.generation;
    let old = "the controller has not seen the route's last change yet; before it: ";
    let served_by = |it: &&Certificate| status.certificates.iter().any(|one| one.name == it.name);
    Route {
        key,
        ready: condition.status == "True" && !is_old,
        reason: condition.reason.clone(),
        message: format!("{}{}", if is_old { old } else { "" }, condition.message),
        certificates: all.iter().filter(served_by).map(Certificate::place).collect(),
    }
}

pub(super) fn of_file(route: &str, all: &[Certificate]) -> Option<Route> {
    let own: Vec<&Certificate> = all.iter().filter(|it| is_for(it, route)).collect();
    (!own.is_empty()).then(|| of(route.to_owned(), &own, None))
}

pub(super) fn without_status(
    kind: Kind,
    object: &DynamicObject,
    all: &[Certificate],
    event: Option<&Event>,
) -> Route {
    let name = key(kind, object).to_string();
    let own: Vec<&Certificate> = all.iter().filter(|it| is_for(it, &name)).collect();
    let refusal = event.and_then(|event| {
        let told = (event.reason.clone()?, event.message.clone().unwrap_or_default());
        let is_copy = COPIES.iter().any(|reason| reason.as_str() == told.0);
        // An Event outlives what it tells of; names without a certificate are what is left of it.
        let holds = if is_copy { is_news(event, object) } else { lacks(kind, object, &own) };
        holds.then_some(told)
    });
    of(name, &own, refusal)
}

/// Refusals of the copy alone: the certificate is there all the same.
const COPIES: [Reason; 3] = [Reason::Conflict, Reason::SecretNotOurs, Reason::NoRight];

fn of(key: String, own: &[&Certificate], refusal: Option<(String, String)>) -> Route {
    let certificates = own.iter().map(|it| it.place()).collect();
    let waiting = own.iter().find(|it| !it.ready);
    let (reason, message) = match (refusal, waiting) {
        (Some(refusal), _) => refusal,
        (None, Some(it)) => (it.reason.clone(), format!("{}: {}", it.names.join(", "), it.message)),
        (None, None) if own.is_empty() => return nothing(key),
        (None, None) => {
            let ready = "Issued".to_owned();
            return Route { key, ready: true, reason: ready, message: held(own), certificates };
        }
    };
    Route { key, ready: false, reason, message, certificates }
}

fn held(own: &[&Certificate]) -> String {
    let until = |it: &&Certificate| {
        let until = it.not_after.as_deref().unwrap_or("?");
        format!("{}: valid until {until}", it.names.join(", "))
    };
    own.iter().map(until).collect::<Vec<_>>().join("; ")
}

fn nothing(key: String) -> Route {
    let (reason, message) = ("NoCertificate".to_owned(), NOTHING.to_owned());
    Route { key, ready: false, reason, message, certificates: Vec::new() }
}

fn is_for(certificate: &Certificate, route: &str) -> bool {
    certificate.routes.iter().any(|one| one == route)
}

/// Whether a name that the route asks for is in none of its certificates.
fn lacks(kind: Kind, object: &DynamicObject, own: &[&Certificate]) -> bool {
    let route = route::read(kind, &read(object), Syntax::default());
    let held: Vec<Name> =
        own.iter().flat_map(|it| &it.names).filter_map(|name| Name::parse(name).ok()).collect();
    let domains = route.tls.iter().flat_map(|tls| &tls.domains);
    let mut asked: Vec<_> = domains.map(|entry| &entry.names).collect();
    if asked.is_empty() {
        asked = route.parts.iter().map(|part| &part.names).collect();
    }
    let has = |name: &Name| held.iter().any(|one| one == name || one.covers(name));
    let is_held =
        |names: &Result<Names, Refusal>| names.as_ref().is_ok_and(|names| names.iter().all(has));
    route.fault.is_some() || asked.is_empty() || !asked.into_iter().all(is_held)
}

/// Whether the route is as it was when the Event told of it.
fn is_news(event: &Event, object: &DynamicObject) -> bool {
    let fields = object.metadata.managed_fields.iter().flatten();
    let writes = fields.filter(|it| it.subresource.is_none());
    let changed = writes.filter_map(|it| it.time.as_ref().map(|time| time.0)).max();
    let told = event.event_time.as_ref().map(|time| time.0);
    told >= changed
}

fn key(kind: Kind, object: &DynamicObject) -> Key {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    Key::new(kind, object.metadata.namespace.as_deref().unwrap_or_default(), name)
}

fn read(object: &DynamicObject) -> Object {
    let metadata = object.metadata.clone();
    Object {
        namespace: metadata.namespace.unwrap_or_default(),
        name: metadata.name.unwrap_or_default(),
        created: metadata.creation_timestamp.map(|time| time.0),
        annotations: metadata.annotations.unwrap_or_default(),
        spec: object.data.get("spec").cloned(),
        ..Object::default()
    }
}
