//! What Traefik rewrites once everything is read: old spellings, old CAs, entry points of its own.

use std::collections::BTreeMap;

use crate::config::Problem;
use crate::config::schema::{DEPRECATED, REMOVED};
use crate::config::tree::{Node, Place, Value};
use crate::config::typed::{Is, Typed};
use crate::config::value::boolean;
use crate::config::walk::Walk;

pub(super) const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const FIRST_LETS_ENCRYPT: &str = "https://acme-v01.api.letsencrypt.org";

/// Settings of Traefik 2 that would be lost without a word, and those that will be.
pub(super) fn old_settings(tree: &Node, walk: &mut Walk) {
    for path in REMOVED {
        if let Some(node) = tree.at(path).filter(|node| !matches!(node.value, Value::Null)) {
            let message = "Traefik 3 has this no more and does not start with it; remove it";
            walk.errors.push(Problem::at(&node.place, path, message));
        }
    }
    for (path, new) in DEPRECATED {
        if let Some(node) = tree.at(path) {
            let message = format!("is deprecated; write {new} instead");
            walk.warnings.push(Problem::at(&node.place, path, message));
        }
    }
}

/// Rewrites every resolver as Traefik does.
pub(super) fn resolvers(root: &mut Typed, environment: &BTreeMap<String, String>, walk: &mut Walk) {
    let Some(resolvers) = root.entry_mut("certificatesResolvers") else { return };
    for (_, resolver) in resolvers.entries_mut() {
        let Some(acme) = resolver.entry_mut("acme") else { continue };
        self::acme(acme, walk);
        ca_of_environment(acme, environment, walk);
    }
}

/// One resolver, whoever wrote it.
pub(super) fn acme(acme: &mut Typed, walk: &mut Walk) {
    ca_server(acme, walk);
    if let Some(challenge) = acme.entry_mut("dnsChallenge") {
        propagation(challenge, walk);
    }
}

fn ca_server(acme: &mut Typed, walk: &mut Walk) {
    let Some(field) = acme.entry_mut("caServer") else { return };
    let Is::Text(given) = &mut field.is else { return };
    if given.starts_with(FIRST_LETS_ENCRYPT) {
        let message = "this CA is no more; its successor acme-v02 is used";
        walk.warnings.push(Problem::at(&field.place, &field.key, message));
    } else if !given.is_empty() {
        return;
    }
    LETS_ENCRYPT.clone_into(given);
}

/// The variables of lego, for a resolver that says nothing about its CA's certificate.
fn ca_of_environment(acme: &mut Typed, environment: &BTreeMap<String, String>, walk: &mut Walk) {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    let Some(paths) = set("LEGO_CA_CERTIFICATES") else { return };
    if !acme.texts("caCertificates").is_empty() || acme.filled("caServerName").is_some() {
        return;
    }
    let place = Place::variable("LEGO_CA_CERTIFICATES");
    let key = format!("{}.caCertificates", acme.key);
    let path = |path: &str| Typed {
        place: place.clone(),
        key: key.clone(),
        is: Is::Text(path.to_owned()),
    };
    let paths = paths.split(':').filter(|path| !path.is_empty()).map(path).collect();
    acme.add("caCertificates", &place, Is::List(paths));
    if let Some(name) = set("LEGO_CA_SERVER_NAME") {
        acme.add("caServerName", &Place::variable("LEGO_CA_SERVER_NAME"), Is::Text(name.clone()));
    }
    if let Some(value) = set("LEGO_CA_SYSTEM_CERT_POOL") {
        let place = Place::variable("LEGO_CA_SYSTEM_CERT_POOL");
        match boolean(value) {
            Ok(yes) => acme.add("caSystemCertPool", &place, Is::Bool(yes)),
            Err(expected) => walk.warnings.push(Problem::at(&place, "", expected)),
        }
    }
}

/// The deprecated spellings go before the new ones, as in Traefik.
fn propagation(challenge: &mut Typed, walk: &mut Walk) {
    let old =
        [("delayBeforeCheck", "delayBeforeChecks"), ("disablePropagationCheck", "disableChecks")];
    for (key, new) in old {
        let Some(field) = challenge.entry(key) else { continue };
        let message = format!("is deprecated; write it as propagation.{new}");
        walk.warnings.push(Problem::at(&field.place, &field.key, message));
        let is = match field.is {
            Is::Bool(true) => Is::Bool(true),
            Is::Duration(nanos) if nanos > 0 => Is::Duration(nanos),
            _ => continue,
        };
        let place = field.place.clone();
        if challenge.entry("propagation").is_none_or(|it| !matches!(it.is, Is::Section(_))) {
            challenge.add("propagation", &place, Is::Section(BTreeMap::new()));
        }
        if let Some(propagation) = challenge.entry_mut("propagation") {
            propagation.add(new, &place, is);
        }
    }
}

/// The entry points that Traefik adds: `http` if there is none, `traefik` for what it serves
/// itself. For showing only, nothing listens at the second.
pub(super) fn entry_points(root: &mut Typed, tree: &Node) {
    if !matches!(root.entry("entryPoints").map(|it| &it.is), Some(Is::Section(_))) {
        root.add("entryPoints", &tree.place, Is::Section(BTreeMap::new()));
    }
    let Some(all) = root.entry_mut("entryPoints") else { return };
    if all.entries().all(|(_, entry)| matches!(entry.is, Is::Empty)) {
        add_entry_point(all, "http", ":80");
    }
    if serves_itself(tree) && all.entry("traefik").is_none() {
        add_entry_point(all, "traefik", ":8080");
    }
}

fn add_entry_point(all: &mut Typed, name: &str, address: &str) {
    let place = Place::whole("default");
    all.add(name, &place, Is::Section(BTreeMap::new()));
    if let Some(entry_point) = all.entry_mut(name) {
        entry_point.add("address", &place, Is::Text(address.to_owned()));
    }
}

/// Whether something that is on is served at Traefik's own entry point.
fn serves_itself(tree: &Node) -> bool {
    let yes = |path: &str| {
        tree.at(path).and_then(Node::scalar).is_some_and(|text| boolean(text) == Ok(true))
    };
    let on = |path: &str| {
        tree.at(path).is_some_and(|node| match &node.value {
            Value::Map(_) => true,
            Value::Scalar(text) => boolean(text) == Ok(true),
            _ => false,
        })
    };
    let internal = |path: &str| {
        let own = tree.at(&format!("{path}.entryPoint")).and_then(Node::scalar);
        on(path)
            && own.is_none_or(|name| name == "traefik")
            && !yes(&format!("{path}.manualRouting"))
    };
    yes("api.insecure")
        || yes("providers.rest.insecure")
        || internal("ping")
        || internal("metrics.prometheus")
}
