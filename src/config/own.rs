//! `routecert`: the settings that Traefik does not have.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::build::address;
use crate::config::typed::Typed;
use crate::config::value;
use crate::config::walk::Walk;
use crate::config::{Grant, Own, OwnResolver, Problem, SelfCheck, StoreKind};
use crate::name::DomainPattern;

pub(super) fn own(root: &Typed, walk: &mut Walk) -> Own {
    let mut own = Own {
        default_tls_resources_namespace: root
            .at("providers.kubernetesCRD")
            .and_then(|crd| namespace(crd, "defaultTLSResourcesNamespace", walk)),
        ..Own::default()
    };
    let Some(typed) = root.at("routecert") else { return own };
    if let Some(namespace) = namespace(typed, "certificatesNamespace", walk) {
        own.certificates_namespace = namespace;
    }
    own.controller_namespace = namespace(typed, "controllerNamespace", walk);
    own.remove_after = typed.duration("removeAfter").unwrap_or(own.remove_after);
    own.host_hold = typed.duration("hostHold").unwrap_or(own.host_hold);
    own.allow_cross_namespace_hosts = typed.boolean("allowCrossNamespaceHosts").unwrap_or_default();
    own.ari = typed.boolean("ari").unwrap_or(own.ari);
    own.keep_keys = typed.boolean("keepKeys").unwrap_or(own.keep_keys);
    own.resolvers = resolvers(root, typed, walk);
    own.grants = typed.items("grants").filter_map(|item| grant(item, walk)).collect();
    if let Some(namespace) = namespace(typed, "defaultTLSResourcesNamespace", walk) {
        own.default_tls_resources_namespace = Some(namespace);
    }
    own.self_check = self_check(typed, walk);
    if let (Some(field), Some(text)) = (typed.at("adminAddress"), typed.text("adminAddress"))
        && address(field, text, walk).is_some()
    {
        text.clone_into(&mut own.admin_address);
    }
    own.store = store(typed, walk);
    own
}

fn resolvers(root: &Typed, typed: &Typed, walk: &mut Walk) -> BTreeMap<String, OwnResolver> {
    let all = typed.at("resolvers").into_iter().flat_map(Typed::entries);
    all.filter(|(_, one)| !one.is_broken())
        .map(|(name, one)| {
            let own = OwnResolver {
                ari: one.boolean("ari"),
                rehearsal_ca_server: rehearsal(one, walk),
                fallback_resolver: one.filled("fallbackResolver"),
            };
            check_fallback(root, name, one, &own, walk);
            (name.clone(), own)
        })
        .collect()
}

fn rehearsal(one: &Typed, walk: &mut Walk) -> Option<String> {
    let (field, given) = (one.at("rehearsalCaServer")?, one.filled("rehearsalCaServer")?);
    let uri: Option<http::Uri> = given.parse().ok();
    if uri.as_ref().and_then(http::Uri::scheme_str) == Some("https") {
        return Some(given);
    }
    let message = "must be a URL that begins with https://";
    walk.errors.push(Problem::at(&field.place, &field.key, message));
    None
}

/// A resolver that is an object may come later; one that can never help is a mistake.
fn check_fallback(root: &Typed, name: &str, one: &Typed, own: &OwnResolver, walk: &mut Walk) {
    let (Some(field), Some(fallback)) = (one.at("fallbackResolver"), &own.fallback_resolver) else {
        return;
    };
    if fallback == name {
        let message = "names the resolver itself; name another one";
        walk.errors.push(Problem::at(&field.place, &field.key, message));
        return;
    }
    let known = root.at("certificatesResolvers").into_iter().flat_map(Typed::entries);
    if !known.into_iter().any(|(other, _)| other == fallback) {
        let message = format!(
            "certificatesResolvers has no `{fallback}`; it helps only if a CertificateResolver of \
             that name comes"
        );
        walk.warnings.push(Problem::at(&field.place, &field.key, message));
    }
}

fn store(typed: &Typed, walk: &mut Walk) -> Option<StoreKind> {
    let field = typed.at("store")?;
    match field.as_text()? {
        "secrets" => Some(StoreKind::Secrets),
        "file" => Some(StoreKind::File),
        other => {
            walk.errors.push(Problem::about(field, other, "expected secrets or file"));
            None
        }
    }
}

fn self_check(typed: &Typed, walk: &mut Walk) -> SelfCheck {
    let mut check = SelfCheck::default();
    let Some(typed) = typed.at("selfCheck").filter(|it| !it.is_broken()) else { return check };
    check.enabled = typed.boolean("enabled").unwrap_or(check.enabled);
    check.timeout = typed.duration("timeout").unwrap_or(check.timeout);
    for item in typed.items("resolvers") {
        if let Some(Err(message)) = item.as_text().map(value::server) {
            walk.errors.push(Problem::at(&item.place, &item.key, message));
        }
    }
    check.resolvers = typed.texts("resolvers");
    for (key, port) in [("httpPort", &mut check.http_port), ("tlsPort", &mut check.tls_port)] {
        let Some(number) = typed.integer(key) else { continue };
        if let Some(number) = u16::try_from(number).ok().filter(|port| *port > 0) {
            *port = number;
        } else {
            let message = format!("{key} {number} is no port; expected 1 to 65535");
            walk.errors.push(Problem::at(&typed.place, &typed.key, message));
        }
    }
    check
}

fn namespace(typed: &Typed, key: &str, walk: &mut Walk) -> Option<String> {
    let field = typed.at(key)?;
    one_namespace(field, field.as_text()?, walk)
}

fn one_namespace(field: &Typed, text: &str, walk: &mut Walk) -> Option<String> {
    match value::namespace(text) {
        Ok(()) => Some(text.to_owned()),
        Err(expected) => {
            walk.errors.push(Problem::about(field, text, expected));
            None
        }
    }
}

fn grant(typed: &Typed, walk: &mut Walk) -> Option<Grant> {
    if typed.is_broken() {
        return None;
    }
    for key in ["namespaces", "domains"] {
        let given = typed.at(key).is_some_and(Typed::is_broken);
        if !given && typed.items(key).next().is_none() {
            let message =
                format!("{key} is missing; a grant says which namespaces may have which names");
            walk.errors.push(Problem::at(&typed.place, &typed.key, message));
        }
    }
    let namespaces = typed
        .items("namespaces")
        .filter_map(|item| one_namespace(item, item.as_text()?, walk))
        .collect();
    let domains = typed.items("domains").filter_map(|item| domain(item, walk)).collect();
    Some(Grant { namespaces, domains })
}

fn domain(item: &Typed, walk: &mut Walk) -> Option<DomainPattern> {
    let text = item.as_text()?;
    match DomainPattern::parse(text) {
        Ok(pattern) => Some(pattern),
        Err(error) => {
            let message = format!("{error}; expected `example.com`, `*.example.com` or `*`");
            walk.errors.push(Problem::at(&item.place, &item.key, message));
            None
        }
    }
}

impl Default for Own {
    fn default() -> Self {
        Self {
            certificates_namespace: "routecert-certs".to_owned(),
            controller_namespace: None,
            remove_after: Duration::from_hours(24),
            host_hold: Duration::from_hours(168),
            allow_cross_namespace_hosts: false,
            ari: true,
            keep_keys: false,
            resolvers: BTreeMap::new(),
            grants: Vec::new(),
            default_tls_resources_namespace: None,
            admin_address: ":9402".to_owned(),
            store: None,
            self_check: SelfCheck::default(),
        }
    }
}

impl Default for SelfCheck {
    fn default() -> Self {
        Self {
            enabled: true,
            timeout: Duration::from_secs(10),
            resolvers: Vec::new(),
            http_port: 80,
            tls_port: 443,
        }
    }
}
