//! Routes in → identities of the certificates that changed. Incremental: one route changed costs
//! what it names, never a walk over all routes.

mod hosts;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cert::Id;
use crate::config::{Config, EntryPoint};
use crate::name::{Name, Names};
use crate::resolver::Resolver;
use crate::route;
use crate::route::{Key, Reason, Refusal, Route};
use crate::world::hosts::Hosts;

/// Names that a certificate may hold at public CAs (Let's Encrypt, profile `classic`).
const MAX_NAMES: usize = 100;

/// A certificate that at least one route leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    pub owner: String,
    pub resolver: String,
    pub names: Names,
    pub routes: BTreeSet<Key>,
}

/// What one route leads to.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Derived {
    pub resolver: String,
    /// Without duplicates, in the order of the route.
    pub certificates: Vec<(Id, Names)>,
    pub refusals: Vec<Refusal>,
    /// Every name that it asks for, whoever owns it.
    pub claimed: BTreeSet<Name>,
    /// `tls.secretName`, filled with the first of `certificates`.
    pub copy: Option<String>,
}

impl Derived {
    /// The certificate that fills `tls.secretName`.
    pub fn first(&self) -> Option<&Id> {
        self.certificates.first().map(|(id, _)| id)
    }

    fn refused(refusal: Refusal) -> Self {
        Self { refusals: vec![refusal], ..Self::default() }
    }
}

/// Which certificates and routes have to be looked at again.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changed {
    pub ids: BTreeSet<Id>,
    pub routes: BTreeSet<Key>,
}

impl Changed {
    pub fn merge(&mut self, other: Self) {
        self.ids.extend(other.ids);
        self.routes.extend(other.routes);
    }
}

/// Routes claiming one Secret: the oldest comes first and wins.
type Claims = BTreeSet<(Timestamp, Key)>;

#[derive(Debug)]
pub struct World {
    resolvers: BTreeMap<String, Result<Resolver, String>>,
    entry_points: BTreeMap<String, EntryPoint>,
    class: Option<String>,
    routes: BTreeMap<Key, (Route, Derived)>,
    wants: BTreeMap<Id, Want>,
    /// Namespace and name of a Secret that routes want filled.
    copies: BTreeMap<(String, String), Claims>,
    /// By namespace, routes of which it is not known what they would want if they were right.
    unclear: BTreeMap<String, BTreeSet<Key>>,
    hosts: Hosts,
    /// `allowCrossNamespaceHosts`: nobody owns a host.
    hosts_are_shared: bool,
}

impl World {
    pub fn new(config: &Config) -> Self {
        Self {
            resolvers: config.resolvers.clone(),
            entry_points: config.entry_points.clone(),
            class: config.kubernetes_crd.as_ref().and_then(|crd| crd.ingress_class.clone()),
            routes: BTreeMap::new(),
            wants: BTreeMap::new(),
            copies: BTreeMap::new(),
            unclear: BTreeMap::new(),
            hosts: Hosts::default(),
            hosts_are_shared: config.own.allow_cross_namespace_hosts,
        }
    }

    /// Routes that are ours.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    pub fn want(&self, id: &Id) -> Option<&Want> {
        self.wants.get(id)
    }

    pub fn wants(&self) -> impl Iterator<Item = (&Id, &Want)> {
        self.wants.iter()
    }

    pub fn route(&self, key: &Key) -> Option<&(Route, Derived)> {
        self.routes.get(key)
    }

    pub fn resolver(&self, name: &str) -> Option<&Resolver> {
        self.resolvers.get(name)?.as_ref().ok()
    }

    /// Secrets of `owner` that are to hold the certificate `id`, each won by its oldest route.
    pub fn copies_of(&self, id: &Id, owner: &str) -> Vec<String> {
        let Some(want) = self.wants.get(id) else { return Vec::new() };
        let names: BTreeSet<&String> = want
            .routes
            .iter()
            .filter_map(|key| self.routes.get(key))
            .filter(|(_, derived)| derived.first() == Some(id))
            .filter_map(|(_, derived)| derived.copy.as_ref())
            .collect();
        let wins = |name: &&&String| self.winner(owner, name).is_some_and(|winner| winner == id);
        names.iter().filter(wins).map(|name| (*name).clone()).collect()
    }

    /// The certificate that fills a Secret.
    pub fn winner(&self, namespace: &str, secret: &str) -> Option<&Id> {
        let claims = self.copies.get(&(namespace.to_owned(), secret.to_owned()))?;
        let (_, key) = claims.first()?;
        self.routes.get(key)?.1.first()
    }

    /// Whether some route of `namespace` is in error, so that a certificate that nobody seems to
    /// want may be wanted again once the error is mended.
    pub fn is_unclear(&self, namespace: &str) -> bool {
        self.unclear.contains_key(namespace)
    }

    /// A route appeared, changed (`Some`) or went (`None`).
    pub fn apply(&mut self, key: &Key, route: Option<Route>) -> Changed {
        let mut changed = Changed::default();
        changed.routes.insert(key.clone());
        let old = self.routes.remove(key);
        let new = route.filter(|route| self.is_ours(route)).map(|route| {
            let derived = self.derive(&route);
            (route, derived)
        });
        let claimed = old.iter().chain(&new).flat_map(|(_, derived)| derived.claimed.clone());
        let claimed: BTreeSet<Name> = claimed.collect();
        let owners = self.hosts.owners(&claimed);
        if let Some((old, derived)) = old {
            self.hosts.unclaim(&old, &derived.claimed);
            self.forget(&old, &derived, &mut changed);
        }
        if let Some((route, derived)) = new {
            self.hosts.claim(&route, &derived.claimed);
            self.settle(&route, derived, &mut changed);
        }
        self.refresh(&claimed, owners, Some(key), &mut changed);
        changed
    }

    /// A namespace holds a certificate of these names, since then, or does so no longer (`None`).
    pub fn hold(&mut self, id: &Id, held: Option<(Timestamp, &str, &Names)>) -> Changed {
        let mut changed = Changed::default();
        let names = held.iter().flat_map(|(_, _, names)| names.iter().cloned());
        let earlier = self.hosts.names_held(id);
        let about: BTreeSet<Name> = names.chain(earlier).collect();
        let owners = self.hosts.owners(&about);
        self.hosts.hold(id, held);
        self.refresh(&about, owners, None, &mut changed);
        changed
    }

    /// Where the owner of a name is another than before, what its claimants lead to is too.
    fn refresh(
        &mut self,
        names: &BTreeSet<Name>,
        owners_before: Vec<Option<String>>,
        but: Option<&Key>,
        changed: &mut Changed,
    ) {
        let passed_on = names
            .iter()
            .zip(owners_before)
            .filter(|(name, before)| self.hosts.owner(name) != before.as_deref());
        for key in self.hosts.claimants(passed_on.map(|(name, _)| name)) {
            if Some(&key) == but {
                continue;
            }
            if let Some((route, derived)) = self.routes.remove(&key) {
                self.forget(&route, &derived, changed);
                let derived = self.derive(&route);
                changed.routes.insert(key);
                self.settle(&route, derived, changed);
            }
        }
    }

    /// Takes out what another namespace owns, and keeps the rest.
    fn settle(&mut self, route: &Route, derived: Derived, changed: &mut Changed) {
        let derived = self.without_foreign(route, derived);
        self.routes.insert(route.key.clone(), (route.clone(), derived.clone()));
        self.remember(route, &derived, changed);
    }

    /// A certificate with one foreign name is refused whole, so that a stranger cannot change the
    /// names of ours.
    fn without_foreign(&self, route: &Route, mut derived: Derived) -> Derived {
        if self.hosts_are_shared {
            return derived;
        }
        let namespace = route.key.namespace.as_str();
        let foreign = |names: &Names| {
            let mut others = names
                .iter()
                .filter(|name| self.hosts.owner(name).is_some_and(|one| one != namespace));
            others.next().cloned()
        };
        let certificates = std::mem::take(&mut derived.certificates);
        for (id, names) in certificates {
            match foreign(&names) {
                Some(name) => derived.refusals.push(owned_elsewhere(&name)),
                None => derived.certificates.push((id, names)),
            }
        }
        derived.copy = derived.copy.filter(|_| !derived.certificates.is_empty());
        derived
    }

    fn forget(&mut self, route: &Route, derived: &Derived, changed: &mut Changed) {
        if let Some(unclear) = self.unclear.get_mut(&route.key.namespace) {
            unclear.remove(&route.key);
            if unclear.is_empty() {
                self.unclear.remove(&route.key.namespace);
            }
        }
        for (id, _) in &derived.certificates {
            changed.ids.insert(id.clone());
            if let Some(want) = self.wants.get_mut(id) {
                want.routes.remove(&route.key);
                if want.routes.is_empty() {
                    self.wants.remove(id);
                }
            }
        }
        if let Some(secret) = &derived.copy {
            let place = (route.key.namespace.clone(), secret.clone());
            if let Some(claims) = self.copies.get_mut(&place) {
                claims.remove(&claim(route));
                if claims.is_empty() {
                    self.copies.remove(&place);
                }
            }
            self.touch_claimants(&place, changed);
        }
    }

    fn remember(&mut self, route: &Route, derived: &Derived, changed: &mut Changed) {
        for (id, names) in &derived.certificates {
            changed.ids.insert(id.clone());
            let want = self.wants.entry(id.clone()).or_insert_with(|| Want {
                owner: route.key.namespace.clone(),
                resolver: derived.resolver.clone(),
                names: names.clone(),
                routes: BTreeSet::new(),
            });
            want.routes.insert(route.key.clone());
        }
        if is_unclear(derived) {
            let unclear = self.unclear.entry(route.key.namespace.clone()).or_default();
            unclear.insert(route.key.clone());
        }
        if let Some(secret) = &derived.copy {
            let place = (route.key.namespace.clone(), secret.clone());
            self.copies.entry(place.clone()).or_default().insert(claim(route));
            self.touch_claimants(&place, changed);
        }
    }

    /// Who fills a Secret may have changed for every route that names it.
    fn touch_claimants(&self, place: &(String, String), changed: &mut Changed) {
        for (_, key) in self.copies.get(place).into_iter().flatten() {
            changed.routes.insert(key.clone());
            if let Some((_, derived)) = self.routes.get(key) {
                changed.ids.extend(derived.first().cloned());
            }
        }
    }

    /// Traefik's filter: the configured class; without one, no class or `traefik`.
    fn is_ours(&self, route: &Route) -> bool {
        let class = route.class.as_deref().unwrap_or_default();
        match self.class.as_deref().unwrap_or_default() {
            "" => class.is_empty() || class == "traefik",
            wanted => class == wanted,
        }
    }

    fn derive(&self, route: &Route) -> Derived {
        let unreadable = |ask: &Result<Names, Refusal>| {
            ask.as_ref().err().filter(|refusal| refusal.reason == Reason::InvalidObject).cloned()
        };
        if let Some(refusal) = route.asks.iter().find_map(unreadable) {
            return Derived::refused(refusal);
        }
        let Some((resolver, asks)) = self.wish(route) else { return Derived::default() };
        match self.check(&resolver, route) {
            Ok(()) => derive_all(route, resolver, asks),
            Err(refusal) => Derived::refused(refusal),
        }
    }

    /// The resolver that the route asks, and for what. The route's own `tls` block, even an empty
    /// one, replaces that of its entry points.
    fn wish(&self, route: &Route) -> Option<(String, Vec<Result<Names, Refusal>>)> {
        if let Some(tls) = &route.tls {
            return Some((tls.resolver.clone()?, route.asks.clone()));
        }
        let mut models = self.entry_points_of(route).into_iter().filter_map(|entry_point| {
            let model = entry_point.tls.as_ref()?;
            Some((model.cert_resolver.clone()?, &model.domains))
        });
        let (resolver, domains) = models.next()?;
        let asks = if domains.is_empty() {
            route.asks.clone()
        } else {
            domains.iter().map(|domain| route::names_of(&domain.main, &domain.sans)).collect()
        };
        Some((resolver, asks))
    }

    /// Those that the route names; else the default ones, and all if none is marked as such.
    fn entry_points_of(&self, route: &Route) -> Vec<&EntryPoint> {
        if !route.entry_points.is_empty() {
            return route
                .entry_points
                .iter()
                .filter_map(|name| self.entry_points.get(name))
                .collect();
        }
        let all = self.entry_points.values();
        let marked: Vec<&EntryPoint> = all.clone().filter(|one| one.as_default).collect();
        if marked.is_empty() { all.collect() } else { marked }
    }

    fn check(&self, name: &str, route: &Route) -> Result<(), Refusal> {
        if let Some(missing) =
            route.entry_points.iter().find(|entry| !self.entry_points.contains_key(*entry))
        {
            let message = format!(
                "entry point `{missing}` is not in the configuration{}",
                known(self.entry_points.keys())
            );
            return Err(Refusal::new(Reason::UnknownEntryPoint, message));
        }
        match self.resolvers.get(name) {
            Some(Ok(_)) => Ok(()),
            Some(Err(why)) => Err(Refusal::new(
                Reason::ResolverUnusable,
                format!("resolver `{name}` cannot be used: {why}"),
            )),
            None => Err(Refusal::new(
                Reason::UnknownResolver,
                format!(
                    "resolver `{name}` is not in certificatesResolvers{}",
                    known(self.resolvers.keys())
                ),
            )),
        }
    }
}

fn known<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { String::new() } else { format!("; known: {}", names.join(", ")) }
}

fn derive_all(route: &Route, resolver: String, asks: Vec<Result<Names, Refusal>>) -> Derived {
    let mut derived = Derived { resolver, ..Derived::default() };
    let mut seen = BTreeSet::new();
    for ask in asks {
        match ask.and_then(orderable) {
            Ok(names) => {
                derived.claimed.extend(names.iter().cloned());
                let id = Id::of(&route.key.namespace, &derived.resolver, &names);
                if seen.insert(id.clone()) {
                    derived.certificates.push((id, names));
                }
            }
            Err(refusal) => derived.refusals.push(refusal),
        }
    }
    let secret = route.tls.as_ref().and_then(|tls| tls.secret_name.clone());
    derived.copy = secret.filter(|_| !derived.certificates.is_empty());
    derived
}

/// Names that an order of HTTP-01 can have.
fn orderable(names: Names) -> Result<Names, Refusal> {
    if let Some(wildcard) = names.iter().find(|name| name.is_wildcard()) {
        return Err(Refusal::new(
            Reason::WildcardNeedsDns01,
            format!("`{wildcard}` can only be proven by DNS-01, which the resolver does not have"),
        ));
    }
    if names.len() > MAX_NAMES {
        let message = format!("{} names; a certificate holds {MAX_NAMES} at most", names.len());
        return Err(Refusal::new(Reason::TooManyNames, message));
    }
    Ok(names)
}

/// Which namespace it is, is no business of whoever asks.
fn owned_elsewhere(name: &Name) -> Refusal {
    Refusal::new(
        Reason::HostOwnedElsewhere,
        format!(
            "`{name}` belongs to another namespace, which holds its certificate or has the older \
             route; remove the name here, or have that route and its certificate removed there"
        ),
    )
}

fn claim(route: &Route) -> (Timestamp, Key) {
    (route.created.unwrap_or(Timestamp::MAX), route.key.clone())
}

/// Errors that hide what the route wants. A refusal of names that are known hides nothing.
fn is_unclear(derived: &Derived) -> bool {
    derived.refusals.iter().any(|refusal| {
        matches!(
            refusal.reason,
            Reason::InvalidObject
                | Reason::InvalidRule
                | Reason::ResolverUnusable
                | Reason::UnknownEntryPoint
                | Reason::UnknownResolver
        )
    })
}

#[cfg(test)]
mod tests;
