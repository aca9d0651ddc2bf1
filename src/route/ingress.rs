//! Ingress with Traefik's annotations: the rule of a path is its host and the path, and names come
//! from the rules, as in Traefik; `spec.tls[].hosts` count only if an annotation of ours asks.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{HTTPIngressPath, IngressBackend, IngressRule, IngressSpec};
use serde::Deserialize;
use serde_json::Value;

use crate::route::annotations;
use crate::route::annotations::Annotations;
use crate::route::ingress_route;
use crate::route::names;
use crate::route::{Class, Entry, Part, Refusal, Service, Spec, Tls};
use crate::rule::{Protocol, Syntax};

const PREFIX: &str = "traefik.ingress.kubernetes.io/router.";

pub(super) fn read(spec: &Value, notes: &Annotations, syntax: Syntax) -> Result<Spec, Refusal> {
    let typed = IngressSpec::deserialize(spec).map_err(|error| super::unreadable(&error))?;
    let router = router(notes);
    let entry_points = router.get("entrypoints").map_or("", String::as_str);
    let syntax = ingress_route::syntax(router.get("rulesyntax").map(String::as_str), syntax);
    let matcher = router.get("pathmatcher").map(String::as_str);
    let rules = typed.rules.iter().flatten();
    let parts: Vec<Part> = rules.flat_map(|rule| parts_of(rule, matcher, syntax)).collect();
    Ok(Spec {
        entry_points: words(entry_points).map(Into::into).collect(),
        tls: tls(&router, &typed, &parts, notes),
        class: typed.ingress_class_name.map(|class| Class::Spec(class.into())),
        parts: parts.into_iter().collect(),
        fault: None,
    })
}

/// Traefik's annotations of the router without their prefix, in lower case as Traefik reads them.
fn router(notes: &Annotations) -> BTreeMap<String, String> {
    let ours = notes.iter().filter_map(|(key, value)| {
        let key = key.to_ascii_lowercase();
        Some((key.strip_prefix(PREFIX)?.to_owned(), value.trim().to_owned()))
    });
    ours.collect()
}

fn words(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// One part a path, since each has a backend of its own.
fn parts_of(rule: &IngressRule, matcher: Option<&str>, syntax: Syntax) -> Vec<Part> {
    let host = rule.host.as_deref().unwrap_or_default();
    let paths = rule.http.iter().flat_map(|http| &http.paths);
    let part = |path: &HTTPIngressPath| {
        let text = rule_of(host, path, matcher);
        Part {
            names: names::of_rule(&text, Protocol::Http, syntax),
            services: services(&path.backend),
        }
    };
    let parts: Vec<Part> = paths.map(part).collect();
    if parts.is_empty() && !host.is_empty() {
        // A host without paths goes to the default backend.
        let names = names::of_rule(&format!("Host({host:?})"), Protocol::Http, syntax);
        return vec![Part { names, services: Box::default() }];
    }
    parts
}

/// The rule that Traefik makes of a path.
fn rule_of(host: &str, path: &HTTPIngressPath, matcher: Option<&str>) -> String {
    let matcher = match (path.path_type.as_str(), matcher) {
        ("Exact", _) => "Path",
        // Only what is left to the implementation can be chosen.
        ("ImplementationSpecific" | "", Some(given)) if !given.is_empty() => given,
        _ => "PathPrefix",
    };
    let path = path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    if host.is_empty() {
        return format!("{matcher}({path:?})");
    }
    format!("Host({host:?}) && {matcher}({path:?})")
}

fn services(backend: &IngressBackend) -> Box<[Service]> {
    backend.service.iter().filter_map(|service| Service::new(None, &service.name)).collect()
}

fn tls(
    router: &BTreeMap<String, String>,
    spec: &IngressSpec,
    parts: &[Part],
    notes: &Annotations,
) -> Option<Tls> {
    if annotations::resolver(notes).is_some() {
        return Some(Tls { domains: entries(spec, parts), ..Tls::default() });
    }
    let on = |(key, value): (&String, &String)| match key.as_str() {
        "tls" => value.eq_ignore_ascii_case("true"),
        key => key.starts_with("tls."),
    };
    router.iter().any(on).then(|| Tls {
        resolver: super::filled(router.get("tls.certresolver").cloned()),
        domains: domains(router),
        ..Tls::default()
    })
}

/// `spec.tls`: one certificate an entry, into its Secret. An entry without hosts is for all of the
/// rules.
fn entries(spec: &IngressSpec, parts: &[Part]) -> Vec<Entry> {
    let all = parts.iter().filter_map(|part| part.names.as_ref().ok());
    let all: Vec<&str> =
        all.flat_map(|names| names.iter().map(crate::name::Name::as_str)).collect();
    let entries = spec.tls.iter().flatten().map(|entry| {
        let hosts: Vec<&str> = entry.hosts.iter().flatten().map(String::as_str).collect();
        let hosts = if hosts.is_empty() { &all } else { &hosts };
        let nothing = "an entry of spec.tls has no hosts, and no rule has one";
        Entry {
            names: names::listed(hosts.iter().copied(), nothing),
            secret_name: super::filled(entry.secret_name.clone()),
        }
    });
    entries.collect()
}

/// `router.tls.domains.N.main` and `.sans`, in the order of the numbers.
fn domains(router: &BTreeMap<String, String>) -> Vec<Entry> {
    let mut found: BTreeMap<usize, (&str, Vec<String>)> = BTreeMap::new();
    for (key, value) in router {
        let Some(rest) = key.strip_prefix("tls.domains") else { continue };
        // `domains.0.main` or `domains[0].main`
        let rest = rest.trim_start_matches(['.', '[']);
        let Some((number, field)) = rest.split_once(['.', ']']) else { continue };
        let Ok(number) = number.parse() else { continue };
        let domain = found.entry(number).or_default();
        match field.trim_start_matches('.') {
            "main" => domain.0 = value,
            "sans" => domain.1 = words(value).map(str::to_owned).collect(),
            _ => {}
        }
    }
    let named: Vec<_> =
        found.into_values().map(|(main, sans)| names::names_of(main, &sans)).collect();
    let entry = |names| Entry { names, secret_name: None };
    names::without_doubles(&named).into_iter().map(entry).collect()
}
