//! Every kind of route → one typed value, or a refusal with its reason.
//!
//! This is the only place that looks into a route object. What is not read here has no effect.

use std::fmt;
use std::sync::LazyLock;

use jiff::Timestamp;
use kube::api::{ApiResource, DynamicObject};
use kube::{CustomResourceExt, ResourceExt};
use serde::{Deserialize, Serialize};

use crate::api;
use crate::api::{
    Domain, IngressRoute, IngressRouteSpec, IngressRouteStatus, IngressRouteTCP,
    IngressRouteTcpSpec,
};
use crate::name::{Name, Names};
use crate::rule::{Protocol, Rule, Syntax};

/// The kinds of routes, both groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    OwnHttp,
    OwnTcp,
    TraefikHttp,
    TraefikTcp,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::OwnHttp, Self::OwnTcp, Self::TraefikHttp, Self::TraefikTcp];

    pub fn resource(self) -> ApiResource {
        match self {
            Self::OwnHttp => ApiResource::erase::<IngressRoute>(&()),
            Self::OwnTcp => ApiResource::erase::<IngressRouteTCP>(&()),
            Self::TraefikHttp => traefik("IngressRoute", "ingressroutes"),
            Self::TraefikTcp => traefik("IngressRouteTCP", "ingressroutetcps"),
        }
    }

    /// Only our own kinds have a status; for Traefik's, Events say what a status would.
    pub fn is_own(self) -> bool {
        matches!(self, Self::OwnHttp | Self::OwnTcp)
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::OwnHttp => "IngressRoute.routecert.dev",
            Self::OwnTcp => "IngressRouteTCP.routecert.dev",
            Self::TraefikHttp => "IngressRoute.traefik.io",
            Self::TraefikTcp => "IngressRouteTCP.traefik.io",
        }
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::OwnHttp | Self::TraefikHttp => Protocol::Http,
            Self::OwnTcp | Self::TraefikTcp => Protocol::Tcp,
        }
    }
}

fn traefik(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: api::TRAEFIK_GROUP.to_owned(),
        version: api::VERSION.to_owned(),
        api_version: format!("{}/{}", api::TRAEFIK_GROUP, api::VERSION),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// Which object a route is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    pub namespace: String,
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind.as_str(), self.namespace, self.name)
    }
}

/// Why a route, or one certificate of it, gets nothing. The names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Reason {
    UnknownResolver,
    ResolverUnusable,
    Conflict,
    HostOwnedElsewhere,
    InvalidObject,
    InvalidRule,
    NoNames,
    InvalidName,
    TooManyNames,
    WildcardNeedsDns01,
    UnknownEntryPoint,
    Passthrough,
    SecretNotOurs,
    NoRight,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownResolver => "UnknownResolver",
            Self::ResolverUnusable => "ResolverUnusable",
            Self::Conflict => "Conflict",
            Self::HostOwnedElsewhere => "HostOwnedElsewhere",
            Self::InvalidObject => "InvalidObject",
            Self::InvalidRule => "InvalidRule",
            Self::NoNames => "NoNames",
            Self::InvalidName => "InvalidName",
            Self::TooManyNames => "TooManyNames",
            Self::WildcardNeedsDns01 => "WildcardNeedsDns01",
            Self::UnknownEntryPoint => "UnknownEntryPoint",
            Self::Passthrough => "Passthrough",
            Self::SecretNotOurs => "SecretNotOurs",
            Self::NoRight => "NoRight",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// A route as far as certificates go.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    pub key: Key,
    pub uid: String,
    pub generation: i64,
    /// `None` counts as newest.
    pub created: Option<Timestamp>,
    pub class: Option<String>,
    pub entry_points: Vec<String>,
    pub tls: Option<Tls>,
    /// One per `tls.domains` entry, else one per rule: the certificates that it leads to.
    pub asks: Vec<Result<Names, Refusal>>,
    /// Fields that nothing reads, with their paths.
    pub unknown_fields: Vec<String>,
    /// What we published on it, to write only differences.
    pub status: Option<IngressRouteStatus>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub resolver: Option<String>,
    pub secret_name: Option<String>,
}

impl Tls {
    /// An empty text is as none.
    fn new(resolver: Option<String>, secret_name: Option<String>) -> Self {
        let filled = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self { resolver: filled(resolver), secret_name: filled(secret_name) }
    }
}

/// Reads one object. A route that does not decode is a value too: it asks for one refusal.
pub fn read(kind: Kind, object: &DynamicObject) -> Route {
    let mut route = Route {
        key: Key {
            kind,
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
        },
        uid: object.uid().unwrap_or_default(),
        generation: object.metadata.generation.unwrap_or_default(),
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        class: object.annotations().get("kubernetes.io/ingress.class").cloned(),
        entry_points: Vec::new(),
        tls: None,
        asks: Vec::new(),
        unknown_fields: Vec::new(),
        status: status(kind, object),
    };
    let Some(spec) = object.data.get("spec") else {
        route.asks = vec![Err(Refusal::new(Reason::InvalidObject, "the object has no spec"))];
        return route;
    };
    let read = match kind.protocol() {
        Protocol::Http => read_http(spec),
        Protocol::Tcp => read_tcp(spec),
    };
    match read {
        Ok(read) => {
            route.class = read.class.or(route.class);
            route.entry_points = read.entry_points;
            route.tls = read.tls;
            route.asks = read.asks;
            route.unknown_fields = unknown_fields(kind, spec);
        }
        Err(error) => {
            let message = format!("the spec cannot be read: {error}; correct the field");
            route.asks = vec![Err(Refusal::new(Reason::InvalidObject, message))];
        }
    }
    route
}

/// What the specs of both protocols come to.
struct Read {
    class: Option<String>,
    entry_points: Vec<String>,
    tls: Option<Tls>,
    asks: Vec<Result<Names, Refusal>>,
}

fn read_http(spec: &serde_json::Value) -> Result<Read, serde_json::Error> {
    let typed = IngressRouteSpec::deserialize(spec)?;
    let domains = typed.tls.as_ref().map(|tls| tls.domains.as_slice()).unwrap_or_default();
    let rules = typed.routes.iter().map(|rule| (rule.rule.as_str(), rule.syntax.as_deref()));
    Ok(Read {
        asks: asks(domains, rules, Protocol::Http),
        class: typed.ingress_class_name,
        entry_points: typed.entry_points,
        tls: typed.tls.map(|tls| Tls::new(tls.cert_resolver, tls.secret_name)),
    })
}

fn read_tcp(spec: &serde_json::Value) -> Result<Read, serde_json::Error> {
    let typed = IngressRouteTcpSpec::deserialize(spec)?;
    let domains = typed.tls.as_ref().map(|tls| tls.domains.as_slice()).unwrap_or_default();
    let passes = typed.tls.as_ref().is_some_and(|tls| tls.passthrough == Some(true));
    let asks = if passes {
        let message = "tls.passthrough hands TLS on to the service: no certificate is needed here";
        vec![Err(Refusal::new(Reason::Passthrough, message))]
    } else {
        let rules = typed.routes.iter().map(|rule| (rule.rule.as_str(), rule.syntax.as_deref()));
        asks(domains, rules, Protocol::Tcp)
    };
    Ok(Read {
        asks,
        class: typed.ingress_class_name,
        entry_points: typed.entry_points,
        tls: typed.tls.map(|tls| Tls::new(tls.cert_resolver, tls.secret_name)),
    })
}

/// Of our kinds alone: what Traefik's have is Traefik's business.
fn unknown_fields(kind: Kind, spec: &serde_json::Value) -> Vec<String> {
    static HTTP: LazyLock<serde_json::Value> =
        LazyLock::new(|| api::spec_schema(&IngressRoute::crd()));
    static TCP: LazyLock<serde_json::Value> =
        LazyLock::new(|| api::spec_schema(&IngressRouteTCP::crd()));
    match kind {
        Kind::OwnHttp => api::unknown_fields(&HTTP, spec),
        Kind::OwnTcp => api::unknown_fields(&TCP, spec),
        Kind::TraefikHttp | Kind::TraefikTcp => Vec::new(),
    }
}

/// The status that an object of our kinds carries.
fn status(kind: Kind, object: &DynamicObject) -> Option<IngressRouteStatus> {
    let value = object.data.get("status").filter(|_| kind.is_own())?;
    IngressRouteStatus::deserialize(value).ok()
}

/// `tls.domains` wins; else the hosts of each rule (seed, Domain Definition). A rule comes with
/// the `syntax` that its route gives.
fn asks<'a>(
    domains: &[Domain],
    rules: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    protocol: Protocol,
) -> Vec<Result<Names, Refusal>> {
    if domains.is_empty() {
        return rules
            .map(|(rule, syntax)| names_of_rule(rule, protocol, Syntax::of(syntax)))
            .collect();
    }
    let main = |domain: &Domain| domain.main.clone().unwrap_or_default();
    domains.iter().map(|domain| names_of(&main(domain), &domain.sans)).collect()
}

/// The names of one `domains` entry, of a route or of an entry point.
pub fn names_of(main: &str, sans: &[String]) -> Result<Names, Refusal> {
    let texts = std::iter::once(main).chain(sans.iter().map(String::as_str));
    let given = texts.filter(|text| !text.is_empty());
    names(given, "tls.domains has an entry with neither main nor sans")
}

fn names_of_rule(text: &str, protocol: Protocol, syntax: Syntax) -> Result<Names, Refusal> {
    let rule = Rule::parse(text, protocol, syntax).map_err(|error| {
        Refusal::new(Reason::InvalidRule, format!("the rule does not parse: {error}"))
    })?;
    // `*` stands for every host, and names none.
    let hosts = rule.names();
    let nothing = match protocol {
        Protocol::Http => "the rule names no host; add Host(`…`) or tls.domains",
        Protocol::Tcp => "the rule names no host; add HostSNI(`…`) or tls.domains",
    };
    names(hosts.iter().map(String::as_str), nothing)
}

fn names<'a>(texts: impl Iterator<Item = &'a str>, nothing: &str) -> Result<Names, Refusal> {
    let parsed: Vec<Name> = texts
        .map(Name::parse)
        .collect::<Result<_, _>>()
        .map_err(|error| Refusal::new(Reason::InvalidName, error.to_string()))?;
    Names::new(parsed).ok_or_else(|| Refusal::new(Reason::NoNames, nothing))
}

#[cfg(test)]
mod tests;
