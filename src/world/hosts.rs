//! Who owns a host: the namespace that holds its certificate, else that of its oldest route.
//!
//! Whoever gets the certificate of a host gets its key. A stranger's route must not lead to one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cert::Id;
use crate::name::{Name, Names};
use crate::route::{Key, Route};

/// The oldest first; then by namespace and name, so that any order of arrival gives the same.
type Claim = (Timestamp, String, Key);

#[derive(Debug, Default)]
pub(super) struct Hosts {
    claims: BTreeMap<Name, BTreeSet<Claim>>,
    /// Since when, and by which namespace and certificate, a name is held.
    held: BTreeMap<Name, BTreeSet<(Timestamp, String, Id)>>,
    /// The other way round.
    holds: BTreeMap<Id, (Timestamp, String, Names)>,
}

impl Hosts {
    /// The namespace that may have certificates for `name`; none: nobody has asked for one.
    pub(super) fn owner(&self, name: &Name) -> Option<&str> {
        if let Some((_, namespace, _)) = self.held.get(name).and_then(BTreeSet::first) {
            return Some(namespace);
        }
        let (_, namespace, _) = self.claims.get(name)?.first()?;
        Some(namespace)
    }

    pub(super) fn owners(&self, names: &BTreeSet<Name>) -> Vec<Option<String>> {
        names.iter().map(|name| self.owner(name).map(str::to_owned)).collect()
    }

    pub(super) fn claim(&mut self, route: &Route, names: &BTreeSet<Name>) {
        for name in names {
            self.claims.entry(name.clone()).or_default().insert(claim(route));
        }
    }

    pub(super) fn unclaim(&mut self, route: &Route, names: &BTreeSet<Name>) {
        for name in names {
            if let Some(claims) = self.claims.get_mut(name) {
                claims.remove(&claim(route));
                if claims.is_empty() {
                    self.claims.remove(name);
                }
            }
        }
    }

    /// Routes of any namespace that ask for one of `names`.
    pub(super) fn claimants<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a Name>,
    ) -> BTreeSet<Key> {
        let claims = names.into_iter().filter_map(|name| self.claims.get(name));
        claims.flatten().map(|(_, _, key)| key.clone()).collect()
    }

    /// The names of `id` are held by a namespace from now on (`Some`), or no longer (`None`).
    pub(super) fn hold(&mut self, id: &Id, held: Option<(Timestamp, &str, &Names)>) {
        if let Some((since, namespace, names)) = self.holds.remove(id) {
            for name in names.iter() {
                self.let_go(name, &(since, namespace.clone(), id.clone()));
            }
        }
        if let Some((since, namespace, names)) = held {
            for name in names.iter() {
                let holder = (since, namespace.to_owned(), id.clone());
                self.held.entry(name.clone()).or_default().insert(holder);
            }
            self.holds.insert(id.clone(), (since, namespace.to_owned(), names.clone()));
        }
    }

    pub(super) fn names_held(&self, id: &Id) -> Vec<Name> {
        let held = self.holds.get(id);
        held.into_iter().flat_map(|(_, _, names)| names.iter().cloned()).collect()
    }

    fn let_go(&mut self, name: &Name, holder: &(Timestamp, String, Id)) {
        if let Some(holders) = self.held.get_mut(name) {
            holders.remove(holder);
            if holders.is_empty() {
                self.held.remove(name);
            }
        }
    }
}

fn claim(route: &Route) -> Claim {
    let created = route.created.unwrap_or(Timestamp::MAX);
    (created, route.key.namespace.clone(), route.key.clone())
}
