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

use jiff::Timestamp;

use crate::cert::Id;
use crate::config::{Config, Live};
use crate::name::{Name, Names};
use crate::resolver::Resolver;
use crate::route::{Judged, Key, Presence, Reason, Refusal, Route};
use crate::world::classes::Classes;
use crate::world::hosts::{Claims, Hosts};
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

#[expect(
    clippy::disallowed_types,
    reason = "a look-up costs the same among few and among many; what is made of all of them is \
              sorted, or the same in any order"
)]
type Routes = std::collections::HashMap<Key, Entry>;

/// What is kept of a route.
#[derive(Debug)]
enum Entry {
    /// It asks for nothing, and nothing is wrong or to be said, as of most routes: that it names
    /// its hosts is all that counts.
    Quiet(Claims),
    Whole(Box<Whole>),
}

#[derive(Debug)]
struct Whole {
    route: Route,
    derived: Derived,
}

impl Whole {
    /// For which certificates, and since when.
    fn asks(&self) -> (Option<Timestamp>, &[Certificate]) {
        (self.route.created, &self.derived.certificates)
    }
}

impl Entry {
    fn claims(&self) -> Claims {
        match self {
            Self::Quiet(claims) => claims.clone(),
            Self::Whole(whole) => claims(&whole.route),
        }
    }

    fn whole(&self) -> Option<&Whole> {
        match self {
            Self::Quiet(_) => None,
            Self::Whole(whole) => Some(whole),
        }
    }
}

#[derive(Debug)]
pub struct World {
    settings: Settings,
    classes: Classes,
    services: Services,
    hosts: Hosts,
    wants: Wants,
    routes: Routes,
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
            routes: Routes::default(),
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

    /// Its names alone: of thousands of routes each asks for them.
    pub fn names(&self, id: &Id) -> Option<&Names> {
        self.wants.names(id)
    }

    /// Every certificate that is to be had.
    pub fn wants(&self) -> impl Iterator<Item = (&Id, Want)> {
        self.wants.ids().filter_map(|id| Some((id, self.want(id)?)))
    }

    /// Every certificate that a route leads to, needless ones too.
    pub fn ids(&self) -> impl Iterator<Item = &Id> {
        self.wants.ids()
    }

    /// Unless it asks for nothing and there is nothing to say of it.
    pub fn route(&self, key: &Key) -> Option<(&Route, &Derived)> {
        let whole = self.routes.get(key)?.whole()?;
        Some((&whole.route, &whole.derived))
    }

    /// Routes that lead to something, be it a refusal, and with [`Purpose::Plan`] all others too; in
    /// no order.
    pub fn derived(&self) -> impl Iterator<Item = (&Route, &Derived)> {
        self.routes.values().filter_map(Entry::whole).map(|whole| (&whole.route, &whole.derived))
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

    /// Routes that name a Secret to be filled, by its namespace and name.
    pub fn claimants(&self, place: &(String, String)) -> impl Iterator<Item = &Key> + use<'_> {
        self.wants.claimants(place)
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
        let route = match route {
            Some(route) => match self.echo(route, &mut changed) {
                Some(route) => Some(route),
                None => return changed,
            },
            None => None,
        };
        self.strangers.remove(key);
        let old = self.routes.remove(key);
        let new = route.and_then(|route| self.ours(route));
        let before = old.as_ref().map(Entry::claims).unwrap_or_default();
        let after = new.as_ref().map(claims).unwrap_or_default();
        let passed_on = self.hosts.claim(key, &before, &after);
        let new = new.map(|route| Whole { derived: self.derive(&route), route });
        self.exchange(old.as_ref().and_then(Entry::whole), new.as_ref(), &mut changed);
        if let Some(new) = new {
            let entry = self.kept(new, after);
            self.routes.insert(key.clone(), entry);
        }
        self.pass_on(&passed_on, Some(key), &mut changed);
        changed
    }

    /// What was written on the status comes back: of a route that is as before nothing follows but
    /// that it is looked at. Any other is given back.
    fn echo(&mut self, mut route: Route, changed: &mut Changed) -> Option<Route> {
        let Some(Entry::Whole(known)) = self.routes.get_mut(&route.key) else { return Some(route) };
        // A class that has gone makes the same route another's.
        if !self.classes.is_ours(&known.route) {
            return Some(route);
        }
        std::mem::swap(&mut route.status, &mut known.route.status);
        if route == known.route {
            let has_news = known.derived != Derived::default() || known.route.status.is_some();
            changed.routes.extend(has_news.then_some(route.key));
            return None;
        }
        std::mem::swap(&mut route.status, &mut known.route.status);
        Some(route)
    }

    /// A namespace holds a certificate of these names, or does so no longer (`None`).
    pub fn hold(&mut self, id: &Id, held: Option<Hold>) -> Changed {
        let mut changed = Changed::default();
        if self.hosts.held(id) == held.as_ref() {
            return changed;
        }
        let passed_on = self.hosts.hold(id, held);
        self.pass_on(&passed_on, None, &mut changed);
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
        let all = self.routes.values().filter_map(Entry::whole).map(|whole| &whole.route);
        let lost: Vec<Route> = all.filter(|route| !self.classes.is_ours(route)).cloned().collect();
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

    /// What the claimants of names that have another owner now lead to may be different.
    fn pass_on(&mut self, names: &[Name], but: Option<&Key>, changed: &mut Changed) {
        let mut claimants = self.hosts.claimants(names);
        claimants.retain(|key| Some(key) != but);
        self.derive_again(claimants, changed);
    }

    fn derive_again(&mut self, keys: BTreeSet<Key>, changed: &mut Changed) {
        for key in keys {
            let Some(entry) = self.routes.remove(&key) else { continue };
            let again = match entry {
                // Whatever happens, it asks for nothing.
                Entry::Quiet(claims) => Entry::Quiet(claims),
                Entry::Whole(old) => {
                    let new = Whole { derived: self.derive(&old.route), route: old.route.clone() };
                    self.exchange(Some(&old), Some(&new), changed);
                    let claims = claims(&new.route);
                    self.kept(new, claims)
                }
            };
            self.routes.insert(key, again);
        }
    }

    fn derive(&self, route: &Route) -> Derived {
        self.without_foreign(route, derive::derive(&self.settings, &self.services, route))
    }

    fn kept(&self, whole: Whole, claims: Claims) -> Entry {
        let Whole { route, derived } = &whole;
        let is_quiet = self.settings.purpose == Purpose::Act
            && *derived == Derived::default()
            && route.status.is_none()
            && !classes::may_change(route)
            && self.resolvers_of(route).is_empty();
        if is_quiet { Entry::Quiet(claims) } else { Entry::Whole(Box::new(whole)) }
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

    /// One route, in whatever form it was known and is known from now on.
    fn exchange(&mut self, old: Option<&Whole>, new: Option<&Whole>, changed: &mut Changed) {
        let both = [old, new].into_iter().flatten();
        let told = both.filter(|it| it.derived != Derived::default() || it.route.status.is_some());
        changed.routes.extend(told.map(|it| it.route.key.clone()));
        if old.map(Whole::asks) != new.map(Whole::asks) {
            if let Some(Whole { route, derived }) = old {
                derived.certificates.iter().for_each(|it| self.wants.drop_one(route, it, changed));
            }
            if let Some(Whole { route, derived }) = new {
                derived.certificates.iter().for_each(|it| self.wants.add(route, it, changed));
            }
        }
        self.note_unclear(old, new);
        let needs = |it: &'_ Whole| self.needs(&it.route);
        let (old_needs, new_needs) = (old.map(needs), new.map(needs));
        if old_needs != new_needs {
            for (it, needs) in old.into_iter().zip(old_needs) {
                self.index(&it.route.key, needs, Index::Out);
            }
            for (it, needs) in new.into_iter().zip(new_needs) {
                self.index(&it.route.key, needs, Index::In);
            }
        }
    }

    fn note_unclear(&mut self, old: Option<&Whole>, new: Option<&Whole>) {
        let is_unclear =
            |it: &&Whole| it.derived.refusals.iter().any(|refusal| refusal.reason.hides_the_wish());
        let (old, new) = (old.filter(is_unclear), new.filter(is_unclear));
        if let Some(Whole { route, .. }) = old
            && let Some(unclear) = self.unclear.get_mut(&*route.key.namespace)
        {
            unclear.remove(&route.key);
            if unclear.is_empty() {
                self.unclear.remove(&*route.key.namespace);
            }
        }
        if let Some(Whole { route, .. }) = new {
            let unclear = self.unclear.entry(route.key.namespace.to_string()).or_default();
            unclear.insert(route.key.clone());
        }
    }

    /// Those that the route names; without a `tls` of its own those of its entry points.
    fn resolvers_of<'a>(&'a self, route: &'a Route) -> BTreeSet<&'a str> {
        if let Some(tls) = &route.tls {
            return tls.resolver.as_deref().into_iter().collect();
        }
        let entry_points = self.settings.entry_points_of(route);
        let models = entry_points.filter_map(|one| one.tls.as_ref());
        models.filter_map(|model| model.cert_resolver.as_deref()).collect()
    }

    fn needs(&self, route: &Route) -> Needs {
        let resolvers = self.resolvers_of(route);
        if resolvers.is_empty() {
            return Needs::default();
        }
        let services = route.parts.iter().flat_map(|part| &part.services).map(|service| {
            let namespace = service.namespace.as_deref().unwrap_or(&route.key.namespace);
            (namespace.to_owned(), service.name.to_string())
        });
        let resolvers = resolvers.into_iter().map(str::to_owned).collect();
        Needs { resolvers, services: services.collect() }
    }

    /// Who has to be looked at when a resolver or a Service changes.
    fn index(&mut self, key: &Key, needs: Needs, index: Index) {
        for name in needs.resolvers {
            let users = self.users.entry(name.clone()).or_default();
            match index {
                Index::In => drop(users.insert(key.clone())),
                Index::Out => drop(users.remove(key)),
            }
            if users.is_empty() {
                self.users.remove(&name);
            }
        }
        for place in needs.services {
            match index {
                Index::In => self.services.need(place, key),
                Index::Out => self.services.need_no_more(&place, key),
            }
        }
    }
}

/// What a route that asks for certificates refers to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    resolvers: BTreeSet<String>,
    services: BTreeSet<(String, String)>,
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

fn claims(route: &Route) -> Claims {
    let mut names: Vec<Name> = route.hosts().take(MAX_CLAIMS).cloned().collect();
    names.sort();
    names.dedup();
    Claims { since: route.created.unwrap_or(Timestamp::MAX), names: names.into() }
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
