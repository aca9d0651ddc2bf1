//! `spec.acme` of a `CertificateResolver` → the same tree as from files, read by the same code.

use serde_json::Value as Json;

use crate::config::problem::summary;
use crate::config::schema::ACME_OF_OBJECT;
use crate::config::tree::{Entry, Node, Place, Value};
use crate::config::walk::Walk;
use crate::config::{Config, Problem, limit, resolvers, settle};
use crate::resolver::Resolver;

const KEY: &str = "spec.acme";

impl Config {
    /// The resolver that `acme`, the `spec.acme` of the `CertificateResolver` `name`, describes.
    /// `Err`: why it cannot be used. The problems are errors and then warnings.
    pub fn resolver_from(
        &self,
        name: &str,
        acme: &Json,
    ) -> (Result<Resolver, String>, Vec<Problem>) {
        let whole = Place::whole(&format!("CertificateResolver {name}"));
        let mut walk = Walk::default();
        let mut typed = walk.part(&node(acme, &whole), KEY, ACME_OF_OBJECT);
        settle::acme(&mut typed, &mut walk);
        let mut resolver = resolvers::of_object(name, &typed, &self.entry_points, &mut walk);
        if let Ok(resolver) = &mut resolver {
            resolver.trust.proxy.clone_from(&self.proxy);
            if let Some(dns) = &mut resolver.challenges.dns {
                dns.switches = self.dns;
            }
        }
        walk.without_use(&whole);
        let structure: Vec<String> =
            walk.errors.iter().map(|one| format!("{}: {}", one.key, one.message)).collect();
        let resolver = if structure.is_empty() { resolver } else { Err(summary(&structure)) };
        let mut problems = [walk.errors, walk.faults, walk.warnings];
        for kind in &mut problems {
            limit(kind, &whole);
        }
        let problems = problems.concat();
        (resolver, problems)
    }
}

/// An object of the API server is no deeper than its parser allows.
fn node(json: &Json, place: &Place) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Scalar(yes.to_string()),
        Json::Number(number) => Value::Scalar(number.to_string()),
        Json::String(text) => Value::Scalar(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(|item| node(item, place)).collect()),
        Json::Object(entries) => {
            let entry = |(key, value): (&String, &Json)| Entry {
                key: key.clone(),
                place: place.clone(),
                node: node(value, place),
                merged: false,
            };
            Value::Map(entries.iter().map(entry).collect())
        }
    };
    Node { place: place.clone(), value }
}
