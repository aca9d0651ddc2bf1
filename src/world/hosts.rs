//! Who owns a host: whom a grant names, else the namespace that holds its certificate, else that
//! of its oldest route.
//!
//! Whoever gets the certificate of a host gets its key. A stranger's route must not lead to one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cert::Id;
use crate::config::Grant;
use crate::name::{Name, Names};
use crate::route::{Key, Route};

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

#[derive(Debug, Default)]
pub(super) struct Hosts {
    claims: BTreeMap<Name, Claims>,
    held: BTreeMap<Name, BTreeSet<(Timestamp, String, Id, Grip)>>,
    /// The other way round.
    holds: BTreeMap<Id, Hold>,
    grants: Vec<Grant>,
    reading: Grants,
}

/// Nearly every host has one route.
#[derive(Debug)]
enum Claims {
    One(Claim),
    Many(BTreeSet<Claim>),
}

impl Claims {
    fn iter(&self) -> impl Iterator<Item = &Claim> {
        let (one, many) = match self {
            Self::One(claim) => (Some(claim), None),
            Self::Many(claims) => (None, Some(claims)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

/// To whom a name belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// Nobody has asked for it.
    Nobody,
    Namespace(String),
    /// Grants name it: those namespaces and no other.
    Granted,
    /// Of nobody who holds it; a grant that is not known yet may say whose it is.
    Unknown,
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
        self.owner(name) == Owner::Unknown
    }

    /// Whether `namespace` may have a certificate for `name`.
    pub(super) fn allows(&self, namespace: &str, name: &Name) -> bool {
        match self.owner(name) {
            Owner::Nobody => true,
            Owner::Unknown => false,
            Owner::Namespace(owner) => owner == namespace,
            Owner::Granted => self.grants.iter().any(|grant| grant.gives(namespace, name)),
        }
    }

    fn owner(&self, name: &Name) -> Owner {
        if self.grants.iter().any(|grant| grant.is_about(name)) {
            return Owner::Granted;
        }
        let holds = |(_, namespace, _, grip): &&(Timestamp, String, Id, Grip)| {
            *grip == Grip::Firm || self.is_claimed(name, namespace)
        };
        if let Some((_, namespace, _, _)) = self.held.get(name).into_iter().flatten().find(holds) {
            return Owner::Namespace(namespace.clone());
        }
        if self.reading == Grants::Unread {
            return Owner::Unknown;
        }
        let first = self.claims.get(name).and_then(|claims| claims.iter().next());
        first.map_or(Owner::Nobody, |(_, key)| Owner::Namespace(key.namespace.to_string()))
    }

    fn is_claimed(&self, name: &Name, namespace: &str) -> bool {
        let claims = self.claims.get(name);
        claims.into_iter().flat_map(Claims::iter).any(|(_, key)| *key.namespace == *namespace)
    }

    pub(super) fn owners(&self, names: &BTreeSet<Name>) -> Vec<Owner> {
        names.iter().map(|name| self.owner(name)).collect()
    }

    pub(super) fn claim(&mut self, route: &Route, names: &BTreeSet<Name>) {
        for name in names {
            let new = claim(route);
            match self.claims.get_mut(name) {
                None => drop(self.claims.insert(name.clone(), Claims::One(new))),
                Some(Claims::Many(claims)) => drop(claims.insert(new)),
                Some(claims) => {
                    let all = claims.iter().cloned().chain([new]).collect();
                    *claims = Claims::Many(all);
                }
            }
        }
    }

    pub(super) fn unclaim(&mut self, route: &Route, names: &BTreeSet<Name>) {
        for name in names {
            let left = match self.claims.get_mut(name) {
                Some(Claims::Many(claims)) => {
                    claims.remove(&claim(route));
                    claims.len()
                }
                Some(Claims::One(one)) => usize::from(*one != claim(route)),
                None => continue,
            };
            if left == 0 {
                self.claims.remove(name);
            }
        }
    }

    /// Routes of any namespace that name one of `names`.
    pub(super) fn claimants<'a>(
        &'a self,
        names: impl IntoIterator<Item = &'a Name>,
    ) -> BTreeSet<Key> {
        let claims = names.into_iter().filter_map(|name| self.claims.get(name));
        claims.flat_map(Claims::iter).map(|(_, key)| key.clone()).collect()
    }

    /// The names of `id` are held from now on (`Some`), or no longer (`None`).
    pub(super) fn hold(&mut self, id: &Id, held: Option<Hold>) {
        if let Some(before) = self.holds.remove(id) {
            for name in before.names.iter() {
                self.let_go(name, &holder(id, &before));
            }
        }
        if let Some(held) = held {
            for name in held.names.iter() {
                self.held.entry(name.clone()).or_default().insert(holder(id, &held));
            }
            self.holds.insert(id.clone(), held);
        }
    }

    pub(super) fn held(&self, id: &Id) -> Option<&Hold> {
        self.holds.get(id)
    }

    fn let_go(&mut self, name: &Name, holder: &(Timestamp, String, Id, Grip)) {
        if let Some(holders) = self.held.get_mut(name) {
            holders.remove(holder);
            if holders.is_empty() {
                self.held.remove(name);
            }
        }
    }
}

fn holder(id: &Id, hold: &Hold) -> (Timestamp, String, Id, Grip) {
    (hold.since, hold.namespace.clone(), id.clone(), hold.grip)
}

fn claim(route: &Route) -> Claim {
    (route.created.unwrap_or(Timestamp::MAX), route.key.clone())
}
