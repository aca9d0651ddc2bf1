//! IngressRoute and IngressRouteTCP of both groups.

use std::sync::LazyLock;

use kube::CustomResourceExt;
use serde::Deserialize;
use serde_json::Value;

use crate::api;
use crate::api::{
    Domain, HttpRule, IngressRoute, IngressRouteSpec, IngressRouteTCP, IngressRouteTcpSpec, TcpRule,
};
use crate::route::names;
use crate::route::{Class, Entry, Kind, Part, Reason, Refusal, Service, Spec, Tls};
use crate::rule::{Protocol, Syntax};

pub(super) fn http(spec: &Value, syntax: Syntax) -> Result<Spec, Refusal> {
    let typed = IngressRouteSpec::deserialize(spec).map_err(|error| super::unreadable(&error))?;
    Ok(Spec {
        class: typed.ingress_class_name.map(|class| Class::Spec(class.into())),
        entry_points: typed.entry_points.into_iter().map(Into::into).collect(),
        tls: typed.tls.map(|tls| tls_of(tls.cert_resolver, tls.secret_name, &tls.domains)),
        parts: typed.routes.iter().map(|rule| http_part(rule, syntax)).collect(),
        fault: None,
    })
}

pub(super) fn tcp(spec: &Value, syntax: Syntax) -> Result<Spec, Refusal> {
    let typed =
        IngressRouteTcpSpec::deserialize(spec).map_err(|error| super::unreadable(&error))?;
    let passes = typed.tls.as_ref().is_some_and(|tls| tls.passthrough == Some(true));
    let fault = passes.then(passthrough);
    Ok(Spec {
        class: typed.ingress_class_name.map(|class| Class::Spec(class.into())),
        entry_points: typed.entry_points.into_iter().map(Into::into).collect(),
        tls: typed.tls.map(|tls| tls_of(tls.cert_resolver, tls.secret_name, &tls.domains)),
        parts: typed.routes.iter().map(|rule| tcp_part(rule, syntax)).collect(),
        fault,
    })
}

pub(super) fn passthrough() -> Refusal {
    let message = "tls.passthrough hands TLS on to the service: no certificate is needed here";
    Refusal::new(Reason::Passthrough, message)
}

/// Of our kinds alone: what Traefik's have is Traefik's business.
pub(super) fn unknown_fields(kind: Kind, spec: &Value) -> Vec<String> {
    static HTTP: LazyLock<Value> = LazyLock::new(|| api::spec_schema(&IngressRoute::crd()));
    static TCP: LazyLock<Value> = LazyLock::new(|| api::spec_schema(&IngressRouteTCP::crd()));
    match kind {
        Kind::OwnHttp => api::unknown_fields(&HTTP, spec),
        Kind::OwnTcp => api::unknown_fields(&TCP, spec),
        _ => Vec::new(),
    }
}

pub(super) fn tls_of(
    resolver: Option<String>,
    secret_name: Option<String>,
    domains: &[Domain],
) -> Tls {
    let main = |domain: &Domain| domain.main.clone().unwrap_or_default();
    let named: Vec<_> =
        domains.iter().map(|domain| names::names_of(&main(domain), &domain.sans)).collect();
    let entry = |names| Entry { names, secret_name: None };
    Tls {
        resolver: super::filled(resolver),
        secret_name: super::filled(secret_name),
        domains: names::without_doubles(&named).into_iter().map(entry).collect(),
        key_type: None,
    }
}

fn http_part(rule: &HttpRule, default: Syntax) -> Part {
    let services = rule.services.iter().filter(|service| {
        // Of another kind: not a Service of the cluster.
        matches!(service.kind.as_deref(), None | Some("" | "Service"))
    });
    let named = || {
        let syntax = syntax(rule.syntax.as_deref(), default);
        names::of_rule(&rule.rule, Protocol::Http, syntax)
    };
    Part {
        names: rule_kind(rule).and_then(|()| named()),
        services: services
            .filter_map(|service| Service::new(service.namespace.as_deref(), &service.name))
            .collect(),
    }
}

/// Traefik passes over a rule of another kind.
fn rule_kind(rule: &HttpRule) -> Result<(), Refusal> {
    match rule.kind.as_deref() {
        None | Some("" | "Rule") => Ok(()),
        Some(other) => {
            let message = format!("`{other}` is no kind of rule; write `kind: Rule`, or nothing");
            Err(Refusal::new(Reason::InvalidRule, message))
        }
    }
}

fn tcp_part(rule: &TcpRule, default: Syntax) -> Part {
    Part {
        names: names::of_rule(&rule.rule, Protocol::Tcp, syntax(rule.syntax.as_deref(), default)),
        services: rule
            .services
            .iter()
            .filter_map(|service| Service::new(service.namespace.as_deref(), &service.name))
            .collect(),
    }
}

/// What a rule says of itself goes before `core.defaultRuleSyntax`.
pub(super) fn syntax(given: Option<&str>, default: Syntax) -> Syntax {
    match given {
        None | Some("") => default,
        given => Syntax::of(given),
    }
}
