//! A whole `CertificateResolver`: the resolver, who may use it, and whom it gives names to.

use serde::Deserialize;
use serde_json::Value as Json;

use crate::config::{Config, Grant, Problem};
use crate::name::{DomainPattern, Name};
use crate::resolver::Resolver;

/// A resolver that is an object of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    /// `Err`: why it cannot be used.
    pub resolver: Result<Resolver, String>,
    pub allow: Allow,
    pub grants: Vec<Grant>,
}

/// Who may use a resolver, for which names; an empty list leaves that side open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allow {
    namespaces: Vec<String>,
    domains: Vec<DomainPattern>,
}

impl Allow {
    pub fn namespace(&self, namespace: &str) -> bool {
        self.namespaces.is_empty() || self.namespaces.iter().any(|one| is_meant(one, namespace))
    }

    pub fn name(&self, name: &Name) -> bool {
        self.domains.is_empty() || self.domains.iter().any(|pattern| pattern.allows(name))
    }
}

impl Grant {
    /// Whether it says whose `name` is.
    pub fn is_about(&self, name: &Name) -> bool {
        self.domains.iter().any(|pattern| pattern.allows(name))
    }

    /// Whether it gives `name` to `namespace`.
    pub fn gives(&self, namespace: &str, name: &Name) -> bool {
        self.is_about(name) && self.namespaces.iter().any(|one| is_meant(one, namespace))
    }
}

fn is_meant(given: &str, namespace: &str) -> bool {
    given == "*" || given == namespace
}

/// `allow` and each of `grants` have the same two lists.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Lists {
    namespaces: Vec<String>,
    domains: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Rights {
    allow: Option<Lists>,
    grants: Vec<Lists>,
}

impl Config {
    /// What the `spec` of the `CertificateResolver` `name` comes to. Whatever is wrong with it makes
    /// the whole resolver unusable: half of a permission would be none, or too much.
    pub fn live_resolver(&self, name: &str, spec: &Json) -> (Live, Vec<Problem>) {
        let nothing = Json::Null;
        let (mut resolver, problems) =
            self.resolver_from(name, spec.get("acme").unwrap_or(&nothing));
        let (allow, grants) = match rights(spec) {
            Ok(rights) => rights,
            Err(why) => {
                resolver = Err(why);
                (Allow::default(), Vec::new())
            }
        };
        (Live { resolver, allow, grants }, problems)
    }
}

fn rights(spec: &Json) -> Result<(Allow, Vec<Grant>), String> {
    let rights = Rights::deserialize(spec).map_err(|error| format!("spec: {error}"))?;
    let allow = rights.allow.unwrap_or_default();
    let allow = Allow {
        domains: patterns("spec.allow.domains", &allow.domains)?,
        namespaces: allow.namespaces,
    };
    let grant = |lists: Lists| {
        let domains = patterns("spec.grants.domains", &lists.domains)?;
        Ok(Grant { namespaces: lists.namespaces, domains })
    };
    let grants: Result<Vec<Grant>, String> = rights.grants.into_iter().map(grant).collect();
    Ok((allow, grants?))
}

fn patterns(key: &str, texts: &[String]) -> Result<Vec<DomainPattern>, String> {
    let parsed = texts.iter().map(|text| DomainPattern::parse(text));
    let parsed: Result<Vec<_>, _> = parsed.collect();
    parsed.map_err(|error| format!("{key}: {error}"))
}
