//! Routes in → identities of the certificates that changed. Incremental: one route changed costs
//! what it names, never a walk over all routes.

mod classes;
mod coverage;
mod derive;
mod hosts;
mod services;
mod settings;
mod wants;

use std::collections::{BTreeMap, BTreeSet};

use crate::cert::Id;
use crate::config::{Config, Live};
use crate::name::Name;
use crate::resolver::Resolver;
use crate::route::{Judged, Key, Presence, Reason, Refusal, Route};
use crate::world::classes::Classes;
use crate::world::derive::NOTHING;
use crate::world::hosts::{Hosts, Owner};
use crate::world::services::Services;
use crate::world::settings::Settings;
use crate::world::wants::Wants;

pub use crate::world::derive::{Certificate, Derived};
pub use crate::world::hosts::{Grants, Grip, Hold};
pub use crate::world::settings::Purpose;
pub use crate::world::wants::{Holding, Want};

/// Names of one route that count for who owns a host; nobody has more of one route.
const MAX_CLAIMS: usize = 1000;

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

#[derive(Debug)]
struct Entry {
    route: Route,
    /// `None`: it leads to nothing, as most routes do.
    derived: Option<Box<Derived>>,
}

#[derive(Debug)]
pub struct World {
    settings: Settings,
    classes: Classes,
    services: Services,
    hosts: Hosts,
    wants: Wants,
    routes: BTreeMap<Key, Entry>,
    /// Routes of other classes that may become ours when a class does.
    strangers: BTreeMap<Key, Route>,
    /// By namespace, routes of which it is not known what they would want if they were right.
    unclear: BTreeMap<String, BTreeSet<Key>>,
    /// Routes that name a resolver, known or not.
    users: BTreeMap<String, BTreeSet<Key>>,
}

impl World {
    /// `home` is the controller's namespace.
    pub fn new(config: &Config, home: &str, purpose: Purpose) -> Self {
        let settings = Settings::new(config, home, purpose);
        let mut hosts = Hosts::default();
        hosts.set_grants(settings.grants());
        Self {
            settings,
            classes: Classes::new(config),
            services: Services::default(),
            hosts,
            wants: Wants::default(),
            routes: BTreeMap::new(),
            strangers: BTreeMap::new(),
            unclear: BTreeMap::new(),
            users: BTreeMap::new(),
        }
    }

    /// Routes that are ours.
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// The certificate, if it is to be had: routes lead to it, and no other one makes it needless.
    pub fn want(&self, id: &Id) -> Option<Want> {
        self.wants.one(id)
    }

    /// Every certificate that is to be had.
    pub fn wants(&self) -> impl Iterator<Item = (&Id, Want)> {
        self.wants.ids().filter_map(|id| Some((id, self.want(id)?)))
    }

    /// Every certificate that a route leads to, needless ones too.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.wants.ids()
    }

    pub fn route(&self, key: &Key) -> Option<(&Route, &Derived)> {
        let entry = self.routes.get(key)?;
        Some((&entry.route, entry.derived.as_deref().unwrap_or(&NOTHING)))
    }

    /// Routes that lead to something, be it a refusal.
    pub fn derived(&self) -> impl Iterator<Item = (&Route, &Derived)> {
        let asks = |entry: &'_ &Entry| entry.derived.is_some();
        let those = self.routes.values().filter(asks);
        those.map(|entry| (&entry.route, entry.derived.as_deref().unwrap_or(&NOTHING)))
    }

    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.values().map(|entry| &entry.route)
    }

    pub fn resolver(&self, name: &str) -> Option<&Resolver> {
        self.settings.resolver(name)?.as_ref().ok()
    }

    /// Whether the configuration has a resolver of this name, which no object shadows.
    pub fn is_fixed(&self, resolver: &str) -> bool {
        self.settings.is_fixed(resolver)
    }

    /// The certificate that stands in for `id`: itself, or one whose wildcards cover its names. A
    /// certificate that is held is left only for one that is held and valid.
    pub fn in_place_of<'a>(&'a self, id: &'a Id) -> &'a Id {
        self.wants.in_place_of(id)
    }

    /// Namespace and name of the Secrets that are to hold the certificate too.
    pub fn copies_of(&self, id: &Id) -> BTreeSet<(String, String)> {
        self.wants.copies_of(id)
    }

    /// The certificate that fills a Secret.
    pub fn winner(&self, namespace: &str, secret: &str) -> Option<&Id> {
        self.wants.winner(namespace, secret)
    }

    /// Why the Secret that a route names for `wanted` does not hold it, if so.
    pub fn lost_copy(&self, key: &Key, wanted: &Certificate) -> Option<Refusal> {
        let secret = wanted.secret_name.as_ref()?;
        let namespace = &key.namespace;
        let winner = self.winner(namespace, secret)?;
        (winner != self.in_place_of(&wanted.id)).then(|| {
            let message = format!(
                "Secret {namespace}/{secret} holds the certificate of an older route that names \
                 it too; name another one in tls.secretName"
            );
            Refusal::new(Reason::Conflict, message)
        })
    }

    /// Whether some route of `namespace` is in error, so that a certificate that nobody seems to
    /// want may be wanted again once the error is mended.
    pub fn is_unclear(&self, namespace: &str) -> bool {
        self.unclear.contains_key(namespace)
    }

    /// A route appeared, changed (`Some`) or went (`None`).
    pub fn apply(&mut self, key: &Key, route: Option<Route>) -> Changed {
        let mut changed = Changed::default();
        self.strangers.remove(key);
        let old = self.take_out(key, &mut changed);
        let new = route.and_then(|route| self.ours(route));
        let names = [&old, &new].into_iter().flatten().flat_map(claimed).collect();
        let owners = self.hosts.owners(&names);
        if let Some(old) = &old {
            self.hosts.unclaim(old, &claimed(old));
        }
        if let Some(new) = new {
            self.hosts.claim(&new, &claimed(&new));
            self.settle(new, &mut changed);
        } else if old.is_some() {
            changed.routes.insert(key.clone());
        }
        self.refresh(&names, &owners, Some(key), &mut changed);
        changed
    }

    /// A namespace holds a certificate of these names, or does so no longer (`None`).
    pub fn hold(&mut self, id: &Id, held: Option<Hold>) -> Changed {
        let mut changed = Changed::default();
        if self.hosts.held(id) == held.as_ref() {
            return changed;
        }
        let both = [self.hosts.held(id), held.as_ref()].into_iter().flatten();
        let names: BTreeSet<Name> = both.flat_map(|hold| hold.names.iter().cloned()).collect();
        let owners = self.hosts.owners(&names);
        self.hosts.hold(id, held);
        self.refresh(&names, &owners, None, &mut changed);
        changed
    }

    /// What is held of a certificate: whether a wildcard may take its place goes by that.
    pub fn note(&mut self, id: &Id, holding: Holding) -> Changed {
        let mut changed = Changed::default();
        self.wants.note(id, holding, &mut changed);
        changed
    }

    /// A resolver that is an object appeared, changed or went.
    pub fn set_resolver(&mut self, name: &str, live: Option<Live>) -> Changed {
        let was_known = self.settings.resolver(name).is_some();
        self.settings.set_live(name, live);
        let mut changed = Changed::default();
        let mut users = self.users.get(name).cloned().unwrap_or_default();
        if was_known != self.settings.resolver(name).is_some() {
            // A refusal for want of a resolver names those that there are.
            let unknown =
                self.users.iter().filter(|(one, _)| self.settings.resolver(one).is_none());
            users.extend(unknown.flat_map(|(_, keys)| keys).cloned());
        }
        self.derive_again(users, &mut changed);
        let grants = self.settings.grants();
        if self.hosts.set_grants(grants) {
            let asking = self.users.values().flatten().cloned().collect();
            self.derive_again(asking, &mut changed);
        }
        changed
    }

    /// Whether the resolvers that are objects, and so their grants, are known.
    pub fn learn(&mut self, grants: Grants) -> Changed {
        let mut changed = Changed::default();
        if self.hosts.learn(grants) {
            let asking = self.users.values().flatten().cloned().collect();
            self.derive_again(asking, &mut changed);
        }
        changed
    }

    /// A Service of the cluster is there, or not.
    pub fn set_service(&mut self, namespace: &str, name: &str, is: Presence) -> Changed {
        let mut changed = Changed::default();
        let keys = self.services.set(namespace, name, is);
        self.derive_again(keys, &mut changed);
        changed
    }

    /// Where a Service that was not seen is missing.
    pub fn judge_services(&mut self, judged: Judged) -> Changed {
        let mut changed = Changed::default();
        let keys = self.services.judge(judged);
        self.derive_again(keys, &mut changed);
        changed
    }

    /// An IngressClass of this name has that controller, or is gone (`None`).
    pub fn set_class(&mut self, name: &str, controller: Option<&str>) -> Changed {
        if self.classes.set(name, controller) { self.classify() } else { Changed::default() }
    }

    /// IngressClasses cannot be looked up: their names are believed.
    pub fn believe_classes(&mut self) -> Changed {
        self.classes.believe();
        self.classify()
    }

    /// Classes are few and change rarely: all routes that may be concerned are looked at.
    fn classify(&mut self) -> Changed {
        let mut changed = Changed::default();
        for (_, route) in std::mem::take(&mut self.strangers) {
            changed.merge(self.apply(&route.key.clone(), Some(route)));
        }
        let lost = self.routes.values().filter(|entry| !self.classes.is_ours(&entry.route));
        let lost: Vec<Route> = lost.map(|entry| entry.route.clone()).collect();
        for route in lost {
            changed.merge(self.apply(&route.key.clone(), Some(route)));
        }
        changed
    }

    /// The route, unless it is for another controller; then it is kept aside.
    fn ours(&mut self, route: Route) -> Option<Route> {
        if self.classes.is_ours(&route) {
            return Some(route);
        }
        if classes::may_change(&route) {
            self.strangers.insert(route.key.clone(), route);
        }
        None
    }

    /// Where the owner of a name is another than before, what its claimants lead to is too.
    fn refresh(
        &mut self,
        names: &BTreeSet<Name>,
        owners_before: &[Owner],
        but: Option<&Key>,
        changed: &mut Changed,
    ) {
        let now = self.hosts.owners(names);
        let both = names.iter().zip(owners_before.iter().zip(&now));
        let passed_on = both.filter(|(_, (before, now))| before != now).map(|(name, _)| name);
        let mut claimants = self.hosts.claimants(passed_on);
        claimants.retain(|key| Some(key) != but);
        self.derive_again(claimants, changed);
    }

    fn derive_again(&mut self, keys: BTreeSet<Key>, changed: &mut Changed) {
        for key in keys {
            if let Some(route) = self.take_out(&key, changed) {
                self.settle(route, changed);
            }
        }
    }

    fn settle(&mut self, route: Route, changed: &mut Changed) {
        let derived = derive::derive(&self.settings, &self.services, &route);
        let derived = self.without_foreign(&route, derived);
        let has_news = derived != NOTHING || route.status.is_some();
        let derived = (derived != NOTHING).then(|| Box::new(derived));
        if has_news {
            changed.routes.insert(route.key.clone());
        }
        self.remember(&route, derived.as_deref(), changed);
        self.routes.insert(route.key.clone(), Entry { route, derived });
    }

    /// A certificate with one foreign name is refused whole, so that a stranger cannot change the
    /// names of ours. What the configuration itself asks for is nobody's theft.
    fn without_foreign(&self, route: &Route, mut derived: Derived) -> Derived {
        if self.settings.hosts_are_shared {
            return derived;
        }
        let namespace = &*route.key.namespace;
        let certificates = std::mem::take(&mut derived.certificates);
        for wanted in certificates {
            let is_ours = |name: &&Name| self.hosts.allows(namespace, name);
            let foreign = wanted.names.iter().find(|name| !is_ours(name));
            match foreign.filter(|_| wanted.owner == namespace) {
                Some(name) if self.hosts.is_open(name) => {
                    derived.refusals.push(owner_unknown(name));
                }
                Some(name) => derived.refusals.push(owned_elsewhere(name)),
                None => derived.certificates.push(wanted),
            }
        }
        derived
    }

    fn take_out(&mut self, key: &Key, changed: &mut Changed) -> Option<Route> {
        let Entry { route, derived } = self.routes.remove(key)?;
        self.index(&route, Index::Out);
        if let Some(unclear) = self.unclear.get_mut(&*key.namespace) {
            unclear.remove(key);
            if unclear.is_empty() {
                self.unclear.remove(&*key.namespace);
            }
        }
        let Some(derived) = derived else { return Some(route) };
        changed.routes.insert(key.clone());
        for wanted in &derived.certificates {
            self.wants.drop_one(&route, wanted, changed);
        }
        Some(route)
    }

    fn remember(&mut self, route: &Route, derived: Option<&Derived>, changed: &mut Changed) {
        self.index(route, Index::In);
        let Some(derived) = derived else { return };
        if derived.refusals.iter().any(|refusal| refusal.reason.hides_the_wish()) {
            let unclear = self.unclear.entry(route.key.namespace.to_string()).or_default();
            unclear.insert(route.key.clone());
        }
        for wanted in &derived.certificates {
            self.wants.add(route, wanted, changed);
        }
    }

    /// Who has to be looked at when a resolver or a Service changes: routes that ask alone.
    fn index(&mut self, route: &Route, index: Index) {
        let resolver = route.tls.as_ref().and_then(|tls| tls.resolver.as_deref());
        let models = self.settings.entry_points_of(route).filter_map(|one| one.tls.as_ref());
        let models = models.filter_map(|model| model.cert_resolver.as_deref());
        let names: BTreeSet<String> = match &route.tls {
            Some(_) => resolver.into_iter().map(str::to_owned).collect(),
            None => models.map(str::to_owned).collect(),
        };
        if names.is_empty() {
            return;
        }
        for name in names {
            let users = self.users.entry(name.clone()).or_default();
            match index {
                Index::In => drop(users.insert(route.key.clone())),
                Index::Out => drop(users.remove(&route.key)),
            }
            if users.is_empty() {
                self.users.remove(&name);
            }
        }
        for service in route.parts.iter().flat_map(|part| &part.services) {
            let namespace = service.namespace.as_deref().unwrap_or(&route.key.namespace);
            let place = (namespace.to_owned(), service.name.to_string());
            match index {
                Index::In => self.services.need(place, &route.key),
                Index::Out => self.services.need_no_more(&place, &route.key),
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Index {
    In,
    Out,
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

fn owner_unknown(name: &Name) -> Refusal {
    Refusal::new(
        Reason::OwnerUnknown,
        format!(
            "whose `{name}` is cannot be told: CertificateResolvers, which may grant it to somebody, \
             cannot be read yet; that is tried again, and the controller's log says why it fails"
        ),
    )
}

fn claimed(route: &Route) -> BTreeSet<Name> {
    route.hosts().take(MAX_CLAIMS).cloned().collect()
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
