//! What a world goes by: resolvers, entry points, and what is allowed to whom.

use std::collections::BTreeMap;

use crate::config::{Allow, Config, EntryPoint, Grant, Live};
use crate::name::Names;
use crate::resolver::Resolver;
use crate::route::{Reason, Refusal, Route};

/// Whether what is found is to be done, or only said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Resolvers count as this version can use them.
    Act,
    /// Resolvers count as they are configured.
    Plan,
}

#[derive(Debug)]
pub(super) struct Settings {
    fixed: BTreeMap<String, Result<Resolver, String>>,
    live: BTreeMap<String, Live>,
    entry_points: BTreeMap<String, EntryPoint>,
    /// The controller's namespace: of files, and of what the configuration itself asks for.
    pub(super) home: String,
    pub(super) default_store_namespace: String,
    pub(super) allow_cross_namespace: bool,
    /// `allowCrossNamespaceHosts`: nobody owns a host.
    pub(super) hosts_are_shared: bool,
    grants: Vec<Grant>,
    pub(super) purpose: Purpose,
}

impl Settings {
    pub(super) fn new(config: &Config, home: &str, purpose: Purpose) -> Self {
        let usable = |resolver: Result<Resolver, String>| match purpose {
            Purpose::Act => resolver.and_then(Resolver::usable),
            Purpose::Plan => resolver,
        };
        let fixed = config.resolvers.iter();
        let own = &config.own;
        Self {
            fixed: fixed.map(|(name, one)| (name.clone(), usable(one.clone()))).collect(),
            live: BTreeMap::new(),
            entry_points: config.entry_points.clone(),
            home: home.to_owned(),
            default_store_namespace: own
                .default_tls_resources_namespace
                .clone()
                .unwrap_or_else(|| home.to_owned()),
            allow_cross_namespace: config
                .kubernetes_crd
                .as_ref()
                .is_some_and(|crd| crd.allow_cross_namespace),
            hosts_are_shared: own.allow_cross_namespace_hosts,
            grants: own.grants.clone(),
            purpose,
        }
    }

    /// A resolver of the configuration is never shadowed by an object of the same name.
    pub(super) fn resolver(&self, name: &str) -> Option<&Result<Resolver, String>> {
        self.fixed.get(name).or_else(|| self.live.get(name).map(|live| &live.resolver))
    }

    pub(super) fn is_fixed(&self, name: &str) -> bool {
        self.fixed.contains_key(name)
    }

    pub(super) fn set_live(&mut self, name: &str, live: Option<Live>) {
        match live {
            Some(mut live) => {
                if self.purpose == Purpose::Act {
                    live.resolver = live.resolver.and_then(Resolver::usable);
                }
                self.live.insert(name.to_owned(), live);
            }
            None => drop(self.live.remove(name)),
        }
    }

    /// Of the configuration and of every resolver that counts.
    pub(super) fn grants(&self) -> Vec<Grant> {
        let live = self.live.iter().filter(|(name, _)| !self.is_fixed(name));
        let live = live.flat_map(|(_, live)| live.grants.iter());
        self.grants.iter().chain(live).cloned().collect()
    }

    pub(super) fn resolver_for(&self, name: &str, owner: &str) -> Result<&Resolver, Refusal> {
        let resolver = match self.resolver(name) {
            Some(Ok(resolver)) => resolver,
            Some(Err(why)) => {
                let message = format!("resolver `{name}` cannot be used: {why}");
                return Err(Refusal::new(Reason::ResolverUnusable, message));
            }
            None => {
                let all = self.fixed.keys().chain(self.live.keys());
                let message =
                    format!("resolver `{name}` is not in certificatesResolvers{}", known(all));
                return Err(Refusal::new(Reason::UnknownResolver, message));
            }
        };
        let allowed = self.allow(name).is_none_or(|allow| allow.namespace(owner));
        if allowed {
            return Ok(resolver);
        }
        let message = format!(
            "resolver `{name}` is not for namespace {owner}; CertificateResolver `{name}` says for \
             which in spec.allow.namespaces"
        );
        Err(Refusal::new(Reason::NotAllowed, message))
    }

    pub(super) fn allows_names(&self, resolver: &str, names: &Names) -> Result<(), Refusal> {
        let Some(allow) = self.allow(resolver) else { return Ok(()) };
        match names.iter().find(|name| !allow.name(name)) {
            None => Ok(()),
            Some(name) => {
                let message = format!(
                    "resolver `{resolver}` is not for `{name}`; CertificateResolver `{resolver}` \
                     says for which names in spec.allow.domains"
                );
                Err(Refusal::new(Reason::NotAllowed, message))
            }
        }
    }

    fn allow(&self, resolver: &str) -> Option<&Allow> {
        let live = self.live.get(resolver).filter(|_| !self.is_fixed(resolver));
        live.map(|live| &live.allow)
    }

    /// Those that the route names; else the default ones, and all if none is marked as such.
    pub(super) fn entry_points_of<'a>(
        &'a self,
        route: &'a Route,
    ) -> impl Iterator<Item = &'a EntryPoint> {
        let any_marked = self.entry_points.values().any(|one| one.as_default);
        let unnamed = route.entry_points.is_empty();
        let defaults = self
            .entry_points
            .values()
            .filter(move |one| unnamed && (one.as_default || !any_marked));
        route.entry_points.iter().filter_map(|name| self.entry_points.get(&**name)).chain(defaults)
    }

    /// Whether the route is served at all; maybe with a warning.
    pub(super) fn entry_points(&self, route: &Route) -> Result<Option<String>, Refusal> {
        let unknown = |name: &&str| !self.entry_points.contains_key(*name);
        let missing: Vec<&str> =
            route.entry_points.iter().map(|it| &**it).filter(unknown).collect();
        let Some(first) = missing.first() else { return Ok(None) };
        let message = format!(
            "entry point `{first}` is not in the configuration{}",
            known(self.entry_points.keys())
        );
        let refusal = Refusal::new(Reason::UnknownEntryPoint, message);
        if missing.len() < route.entry_points.len() {
            Ok(Some(refusal.message))
        } else {
            Err(refusal)
        }
    }
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!("; known: {}", names.join(", ")) }
}
