//! Every kind of route → one typed value, or a refusal with its reason.
//!
//! This is the only place that looks into a route object. What is not read here has no effect.

mod annotations;
pub mod file;
mod ingress;
mod ingress_route;
mod kind;
mod names;
mod reason;
mod store;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Deserialize;

use crate::api::{IngressRouteStatus, Object};
use crate::cert::KeyType;
use crate::name::{Name, Names};
use crate::rule::Syntax;

pub use crate::route::kind::{Key, Kind, is_object_name};
pub use crate::route::names::{names_of, without_doubles};
pub(crate) use crate::route::reason::plain;
pub use crate::route::reason::{Reason, Refusal};
pub use crate::route::store::DEFAULT as DEFAULT_STORE;

/// Fields without effect of one route that are named, and how much of each, in bytes.
const MAX_UNKNOWN_FIELDS: usize = 20;
const MAX_FIELD: usize = 200;

/// A route as far as certificates go; small, since there may be very many.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub key: Key,
    pub uid: Box<str>,
    pub generation: i64,
    /// `None` counts as newest.
    pub created: Option<Timestamp>,
    pub class: Class,
    pub entry_points: Box<[Box<str>]>,
    pub tls: Option<Box<Tls>>,
    /// One a rule.
    pub parts: Box<[Part]>,
    /// What is wrong with the route as a whole.
    pub fault: Option<Box<Refusal>>,
    /// Fields that nothing reads, with their paths; the first of very many.
    pub unknown_fields: Box<[String]>,
    /// What we published on it, to write only differences.
    pub status: Option<Box<IngressRouteStatus>>,
}

/// For which controllers a route is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Class {
    /// It does not say.
    #[default]
    Unnamed,
    /// `kubernetes.io/ingress.class`.
    Annotation(Box<str>),
    /// `spec.ingressClassName`, which goes before the annotation even if it is empty.
    Spec(Box<str>),
    /// For whoever reads it: it stands in a file, or asks by an annotation of ours, whatever proxy
    /// it is for.
    Anyone,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    pub resolver: Option<Box<str>>,
    /// Filled with the first certificate of the route.
    pub secret_name: Option<Box<str>>,
    /// `tls.domains`: one certificate an entry; they win over the rules.
    pub domains: Vec<Entry>,
    /// In place of the resolver's.
    pub key_type: Option<KeyType>,
}

/// One certificate that is asked for by its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub names: Result<Names, Refusal>,
    /// Secret of the route's namespace that is to hold it.
    pub secret_name: Option<Box<str>>,
}

/// One rule: the hosts that it names, and where its requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub names: Result<Names, Refusal>,
    /// Services of the cluster that must be there.
    pub services: Box<[Service]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// `None`: that of the route.
    pub namespace: Option<Box<str>>,
    pub name: Box<str>,
}

/// Whether an object that routes refer to is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    There,
    Gone,
}

/// Where an object that routes refer to is missing if it was not seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Judged {
    /// Nowhere: such objects are not looked at, or not yet.
    #[default]
    Nowhere,
    Everywhere,
    In(BTreeSet<String>),
    /// In a namespace of which others were seen: manifests may be a part of the whole.
    WhereAnyIsKnown,
}

impl Service {
    /// `None`: `name@provider` stands for a service that is not of the cluster.
    fn new(namespace: Option<&str>, name: &str) -> Option<Self> {
        let namespace = namespace.filter(|text| !text.is_empty()).map(Into::into);
        let of_cluster = !name.is_empty() && !name.contains('@');
        of_cluster.then(|| Self { namespace, name: name.into() })
    }
}

impl Route {
    /// Every name of the route that can be read, whatever it asks for.
    pub fn hosts(&self) -> impl Iterator<Item = &Name> {
        let domains = self.tls.iter().flat_map(|tls| &tls.domains);
        let named = domains.map(|entry| &entry.names).chain(self.parts.iter().map(|it| &it.names));
        named.filter_map(|names| names.as_ref().ok()).flat_map(Names::iter)
    }
}

/// What the specs of all kinds come to.
#[derive(Debug, Default)]
struct Spec {
    class: Option<Class>,
    entry_points: Box<[Box<str>]>,
    tls: Option<Tls>,
    parts: Box<[Part]>,
    fault: Option<Refusal>,
}

/// Reads one object of the cluster; `syntax` is that of rules that do not say theirs. A route that
/// cannot be read is a value too, with its fault.
pub fn read(kind: Kind, object: &Object, syntax: Syntax) -> Route {
    let annotated = object.annotations.get("kubernetes.io/ingress.class");
    let mut route = Route {
        key: Key::new(kind, &object.namespace, &object.name),
        uid: object.uid.as_str().into(),
        generation: object.generation,
        created: object.created,
        class: annotated.map_or(Class::Unnamed, |class| Class::Annotation(class.as_str().into())),
        entry_points: Box::default(),
        tls: None,
        parts: Box::default(),
        fault: None,
        unknown_fields: Box::default(),
        status: status(kind, object),
    };
    let spec = match spec(kind, object, syntax) {
        Ok(spec) => spec,
        Err(refusal) => {
            route.fault = Some(Box::new(refusal));
            return route;
        }
    };
    let asks = annotations::resolver(&object.annotations).is_some();
    route.class = if asks { Class::Anyone } else { spec.class.unwrap_or(route.class) };
    route.entry_points = spec.entry_points;
    route.tls = spec.tls.map(Box::new);
    route.parts = spec.parts;
    route.fault = spec.fault.map(Box::new);
    route.unknown_fields = unknown_fields(kind, object);
    route
}

fn spec(kind: Kind, object: &Object, syntax: Syntax) -> Result<Spec, Refusal> {
    let notes = &object.annotations;
    let nothing = || Refusal::new(Reason::InvalidObject, "the object has no spec");
    let spec = object.spec.as_ref().ok_or_else(nothing)?;
    let mut read = match kind {
        Kind::OwnHttp | Kind::TraefikHttp => ingress_route::http(spec, syntax)?,
        Kind::OwnTcp | Kind::TraefikTcp => ingress_route::tcp(spec, syntax)?,
        Kind::Ingress => ingress::read(spec, notes, syntax)?,
        Kind::OwnStore | Kind::TraefikStore => return store::read(spec),
        // Files are read as a whole, see `file::Dynamic`.
        Kind::FileHttp | Kind::FileTcp | Kind::FileStore => Spec::default(),
    };
    read.tls = annotations::apply(notes, read.tls)?;
    Ok(read)
}

fn unknown_fields(kind: Kind, object: &Object) -> Box<[String]> {
    let Some(spec) = &object.spec else { return Box::default() };
    let mut found = ingress_route::unknown_fields(kind, spec);
    found.extend(store::unknown_fields(kind, spec));
    let shown = found.iter().take(MAX_UNKNOWN_FIELDS);
    let mut shown: Vec<String> = shown.map(|path| plain(path, MAX_FIELD)).collect();
    if found.len() > shown.len() {
        shown.push(format!("and {} more", found.len() - shown.len()));
    }
    shown.into()
}

/// The status that an object of our kinds carries.
fn status(kind: Kind, object: &Object) -> Option<Box<IngressRouteStatus>> {
    let value = object.status.as_ref().filter(|_| kind.has_status())?;
    IngressRouteStatus::deserialize(value).ok().map(Box::new)
}

/// An empty text is as none.
fn filled(text: Option<String>) -> Option<Box<str>> {
    text.filter(|text| !text.is_empty()).map(Into::into)
}

fn unreadable(error: &serde_json::Error) -> Refusal {
    let message = format!("the spec cannot be read: {error}; correct the field");
    Refusal::new(Reason::InvalidObject, message)
}

#[cfg(test)]
mod tests;
