//! Who owns a host: whom a grant names, else the namespace that holds its certificate, else that
//! of its oldest route.
//!
//! Whoever gets the certificate of a host gets its key. A stranger's route must not lead to one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cert::Id;
use crate::config::Grant;
use crate::name::{Name, Names};
use crate::route::Key;

/// The oldest first; then by namespace and name, so that any order of arrival gives the same.
type Claim = (Timestamp, Key);

/// A namespace has a certificate of these names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub since: Timestamp,
    pub namespace: String,
    pub names: Names,
    pub grip: Grip,
}

/// Whether every grant is known; until then a host that nobody holds has no owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grants {
    Unread,
    #[default]
    Read,
}

/// How long a hold lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grip {
    /// Whatever becomes of the routes.
    Firm,
    /// As long as a route of the namespace names the host.
    WhileClaimed,
}

/// What one route claims.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Claims {
    pub(super) since: Timestamp,
    /// Sorted, without doubles.
    pub(super) names: Box<[Name]>,
}

#[derive(Debug, Default)]
pub(super) struct Hosts {
    #[expect(
        clippy::disallowed_types,
        reason = "looked up by name and never walked: the cost is the same for few and for many"
    )]
    by_name: std::collections::HashMap<Name, Host>,
    holds: BTreeMap<Id, Hold>,
    grants: Vec<Grant>,
    reading: Grants,
}

/// Who has to do with one name.
#[derive(Debug, Default)]
struct Host {
    claims: Claimants,
    /// Few have one, and hardly any has two.
    held: Vec<Holder>,
}

/// Since when a namespace holds a name, by which certificate; the oldest counts.
type Holder = (Timestamp, String, Id, Grip);

/// Nearly every host has one route.
#[derive(Debug, Default)]
enum Claimants {
    #[default]
    None,
    One(Claim),
    Many(BTreeSet<Claim>),
}

impl Claimants {
    fn iter(&self) -> impl Iterator<Item = &Claim> {
        let (one, many) = match self {
            Self::None => (None, None),
            Self::One(claim) => (Some(claim), None),
            Self::Many(claims) => (None, Some(claims)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    fn add(&mut self, claim: Claim) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(claim),
            Self::One(other) => Self::Many(BTreeSet::from([other, claim])),
            Self::Many(mut claims) => {
                claims.insert(claim);
                Self::Many(claims)
            }
        };
    }

    fn remove(&mut self, claim: &Claim) {
        match self {
            Self::One(one) if one == claim => *self = Self::None,
            Self::Many(claims) => {
                claims.remove(claim);
                if claims.is_empty() {
                    *self = Self::None;
                }
            }
            Self::None | Self::One(_) => {}
        }
    }
}

impl Host {
    fn is_forgotten(&self) -> bool {
        self.held.is_empty() && matches!(self.claims, Claimants::None)
    }

    /// The namespace that has a certificate for it.
    fn holder(&self) -> Option<&str> {
        let holds = |(_, namespace, _, grip): &&Holder| {
            *grip == Grip::Firm || self.is_claimed_by(namespace)
        };
        self.held.iter().find(holds).map(|(_, namespace, _, _)| namespace.as_str())
    }

    /// The namespace that it belongs to, as far as there is no grant.
    fn owner(&self) -> Option<&str> {
        let first = || self.claims.iter().next().map(|(_, key)| &*key.namespace);
        self.holder().or_else(first)
    }

    fn is_claimed_by(&self, namespace: &str) -> bool {
        self.claims.iter().any(|(_, key)| *key.namespace == *namespace)
    }
}

impl Hosts {
    /// Whether they are others than before.
    pub(super) fn set_grants(&mut self, grants: Vec<Grant>) -> bool {
        let changed = self.grants != grants;
        self.grants = grants;
        changed
    }

    /// Whether something may be different now.
    pub(super) fn learn(&mut self, grants: Grants) -> bool {
        std::mem::replace(&mut self.reading, grants) != grants
    }

    /// Whether a grant that is not known yet may say whose the name is.
    pub(super) fn is_open(&self, name: &Name) -> bool {
        let is_held = self.by_name.get(name).is_some_and(|host| host.holder().is_some());
        self.reading == Grants::Unread && !is_held && !self.is_granted(name)
    }

    /// Whether `namespace` may have a certificate for `name`.
    pub(super) fn allows(&self, namespace: &str, name: &Name) -> bool {
        if self.is_granted(name) {
            return self.grants.iter().any(|grant| grant.gives(namespace, name));
        }
        if self.is_open(name) {
            return false;
        }
        let owner = self.by_name.get(name).and_then(Host::owner);
        owner.is_none_or(|owner| owner == namespace)
    }

    /// Grants name it: it belongs to those namespaces and no other.
    fn is_granted(&self, name: &Name) -> bool {
        self.grants.iter().any(|grant| grant.is_about(name))
    }

    /// What a route claims is another than before. Returns the names that have another owner now.
    pub(super) fn claim(&mut self, key: &Key, before: &Claims, after: &Claims) -> Vec<Name> {
        let (old, new) = ((before.since, key.clone()), (after.since, key.clone()));
        let is_same_age = before.since == after.since;
        let stays =
            |claims: &Claims, name: &Name| is_same_age && claims.names.binary_search(name).is_ok();
        let gone = before.names.iter().filter(|name| !stays(after, name));
        let come = after.names.iter().filter(|name| !stays(before, name));
        let mut passed_on = Vec::new();
        for name in gone {
            passed_on.extend(self.change(name, |host| host.claims.remove(&old)));
        }
        for name in come {
            passed_on.extend(self.change(name, |host| host.claims.add(new.clone())));
        }
        passed_on
    }

    /// Returns the name if it has another owner now.
    fn change(&mut self, name: &Name, change: impl FnOnce(&mut Host)) -> Option<Name> {
        let is_granted = self.is_granted(name);
        let host = self.by_name.entry(name.clone()).or_default();
        let before = host.owner().map(str::to_owned);
        change(host);
        let is_passed_on = before.as_deref() != host.owner() && !is_granted;
        if host.is_forgotten() {
            self.by_name.remove(name);
        }
        is_passed_on.then(|| name.clone())
    }

    /// Routes of any namespace that name one of `names`.
    pub(super) fn claimants(&self, names: &[Name]) -> BTreeSet<Key> {
        let hosts = names.iter().filter_map(|name| self.by_name.get(name));
        hosts.flat_map(|host| host.claims.iter()).map(|(_, key)| key.clone()).collect()
    }

    /// The names of `id` are held from now on (`Some`), or no longer (`None`). Returns the names
    /// that have another owner now.
    pub(super) fn hold(&mut self, id: &Id, held: Option<Hold>) -> Vec<Name> {
        let mut passed_on = Vec::new();
        if let Some(before) = self.holds.remove(id) {
            let holder = holder(id, &before);
            for name in before.names.iter() {
                let lets_go = |host: &mut Host| host.held.retain(|one| *one != holder);
                passed_on.extend(self.change(name, lets_go));
            }
        }
        if let Some(held) = held {
            let holder = holder(id, &held);
            for name in held.names.iter() {
                passed_on.extend(self.change(name, |host| {
                    host.held.push(holder.clone());
                    host.held.sort();
                }));
            }
            self.holds.insert(id.clone(), held);
        }
        passed_on
    }

    pub(super) fn held(&self, id: &Id) -> Option<&Hold> {
        self.holds.get(id)
    }
}

fn holder(id: &Id, hold: &Hold) -> Holder {
    (hold.since, hold.namespace.clone(), id.clone(), hold.grip)
}
