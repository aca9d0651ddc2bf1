//! The certificates that routes lead to, which of them are to be had, and the Secrets that are to
//! hold them too.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::cert::{Id, KeyType};
use crate::name::Names;
use crate::route::{Key, Route};
use crate::world::Changed;
use crate::world::coverage::Coverage;
use crate::world::derive::Certificate;

/// A certificate that is to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    pub owner: String,
    pub resolver: String,
    pub names: Names,
    /// In place of the resolver's, if a route says so.
    pub key_type: Option<KeyType>,
    /// Those of the certificates that it makes needless too.
    pub routes: BTreeSet<Key>,
}

/// What is held of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holding {
    #[default]
    Nothing,
    /// A certificate that is of no use any more.
    Stale,
    Valid,
}

/// The oldest route first; one without a time is the newest.
type Age = (Timestamp, Key);
/// Namespace and name of a Secret.
type Place = (String, String);

#[derive(Debug)]
struct Wanted {
    owner: String,
    resolver: String,
    /// The oldest first. Nearly every certificate has one route, and a map has room for eleven.
    routes: Vec<(Age, Wish)>,
    /// Where it is to be copied to.
    places: BTreeSet<Place>,
}

/// As one route writes it; the oldest route's word counts.
#[derive(Debug, Clone)]
struct Wish {
    names: Names,
    key_type: Option<KeyType>,
}

#[derive(Debug, Default)]
pub(super) struct Wants {
    by_id: BTreeMap<Id, Wanted>,
    coverage: Coverage,
    held: BTreeMap<Id, Holding>,
    /// Who wants a Secret filled, and with what: the oldest wins.
    claims: BTreeMap<Place, BTreeSet<(Age, Id)>>,
}

impl Wants {
    pub(super) fn ids(&self) -> impl Iterator<Item = &Id> {
        self.by_id.keys()
    }

    /// `None`: no route leads to it, or another one makes it needless.
    pub(super) fn one(&self, id: &Id) -> Option<Want> {
        let wanted = self.by_id.get(id).filter(|_| self.in_place_of(id) == id)?;
        let routes = self.users(id).flat_map(|user| &user.routes);
        Some(Want {
            owner: wanted.owner.clone(),
            resolver: wanted.resolver.clone(),
            names: wanted.routes.first()?.1.names.clone(),
            key_type: wanted.routes.iter().find_map(|(_, wish)| wish.key_type),
            routes: routes.map(|((_, key), _)| key.clone()).collect(),
        })
    }

    /// The names of a certificate that is to be had, without all of its routes.
    pub(super) fn names(&self, id: &Id) -> Option<&Names> {
        let wanted = self.by_id.get(id).filter(|_| self.in_place_of(id) == id)?;
        wanted.routes.first().map(|(_, wish)| &wish.names)
    }

    /// Itself, or one whose wildcards cover its names. A certificate that is held is left only for
    /// one that is held and valid.
    pub(super) fn in_place_of<'a>(&'a self, id: &'a Id) -> &'a Id {
        let Some(cover) = self.coverage.cover(id) else { return id };
        let is_held = self.held.contains_key(id);
        let is_safe = self.held.get(cover) == Some(&Holding::Valid);
        if is_held && !is_safe { id } else { cover }
    }

    /// The certificate that fills a Secret.
    pub(super) fn winner(&self, namespace: &str, secret: &str) -> Option<&Id> {
        self.winner_of(&(namespace.to_owned(), secret.to_owned()))
    }

    fn winner_of(&self, place: &Place) -> Option<&Id> {
        let claims = self.claims.get(place)?;
        claims.first().map(|(_, id)| self.in_place_of(id))
    }

    /// Routes that name the Secret.
    pub(super) fn claimants(&self, place: &Place) -> impl Iterator<Item = &Key> + use<'_> {
        self.claims.get(place).into_iter().flatten().map(|((_, key), _)| key)
    }

    /// Secrets that `id` fills, each won by its oldest route.
    pub(super) fn copies_of(&self, id: &Id) -> BTreeSet<Place> {
        let places = self.users(id).flat_map(|user| &user.places);
        let wins = |(namespace, name): &&Place| self.winner(namespace, name) == Some(id);
        places.filter(wins).cloned().collect()
    }

    pub(super) fn add(&mut self, route: &Route, wanted: &Certificate, changed: &mut Changed) {
        let id = &wanted.id;
        changed.ids.insert(id.clone());
        if !self.by_id.contains_key(id) {
            let scope = (wanted.owner.clone(), wanted.resolver.clone());
            for other in self.coverage.add(id, scope, &wanted.names) {
                self.touch(&other, changed);
            }
        }
        let one = self.by_id.entry(id.clone()).or_insert_with(|| Wanted {
            owner: wanted.owner.clone(),
            resolver: wanted.resolver.clone(),
            routes: Vec::new(),
            places: BTreeSet::new(),
        });
        let wish = Wish { names: wanted.names.clone(), key_type: wanted.key_type };
        let age = age(route);
        match one.routes.binary_search_by(|(other, _)| other.cmp(&age)) {
            // Another rule of the same route.
            Ok(at) => {
                one.routes.get_mut(at).into_iter().for_each(|(_, known)| *known = wish.clone());
            }
            Err(at) => one.routes.insert(at, (age.clone(), wish)),
        }
        changed.ids.extend(self.coverage.cover(id).cloned());
        if let Some(place) = place(route, wanted) {
            one.places.insert(place.clone());
            let before = self.winner_of(&place).cloned();
            self.claims.entry(place.clone()).or_default().insert((age, id.clone()));
            self.touch_winners(before, &place, changed);
        }
    }

    pub(super) fn drop_one(&mut self, route: &Route, wanted: &Certificate, changed: &mut Changed) {
        let id = &wanted.id;
        changed.ids.insert(id.clone());
        changed.ids.extend(self.coverage.cover(id).cloned());
        if let Some(place) = place(route, wanted) {
            let before = self.winner_of(&place).cloned();
            self.unclaim(&place, route, id);
            self.touch_winners(before, &place, changed);
        }
        let Some(one) = self.by_id.get_mut(id) else { return };
        let age = age(route);
        one.routes.retain(|(other, _)| *other != age);
        if one.routes.is_empty() {
            self.by_id.remove(id);
            for other in self.coverage.remove(id) {
                self.touch(&other, changed);
            }
        }
    }

    pub(super) fn note(&mut self, id: &Id, holding: Holding, changed: &mut Changed) {
        if self.held.get(id).copied().unwrap_or_default() == holding {
            return;
        }
        match holding {
            Holding::Nothing => drop(self.held.remove(id)),
            _ => drop(self.held.insert(id.clone(), holding)),
        }
        if let Some(cover) = self.coverage.cover(id) {
            self.touch(id, changed);
            self.touch(cover, changed);
        }
        for covered in self.coverage.covered_by(id) {
            self.touch(covered, changed);
            self.touch(id, changed);
        }
    }

    fn unclaim(&mut self, place: &Place, route: &Route, id: &Id) {
        let Some(claims) = self.claims.get_mut(place) else { return };
        claims.remove(&(age(route), id.clone()));
        let is_left = claims.iter().any(|(_, other)| other == id);
        if claims.is_empty() {
            self.claims.remove(place);
        }
        if let Some(one) = self.by_id.get_mut(id).filter(|_| !is_left) {
            one.places.remove(place);
        }
    }

    /// `id` with those that it makes needless.
    fn users<'a>(&'a self, id: &'a Id) -> impl Iterator<Item = &'a Wanted> {
        let covered =
            self.coverage.covered_by(id).filter(move |other| self.in_place_of(other) == id);
        covered.chain([id]).filter_map(|id| self.by_id.get(id))
    }

    /// What stands in for `id` may be another than before.
    fn touch(&self, id: &Id, changed: &mut Changed) {
        changed.ids.insert(id.clone());
        changed.ids.extend(self.coverage.cover(id).cloned());
        let routes = self.by_id.get(id).into_iter().flat_map(|wanted| &wanted.routes);
        changed.routes.extend(routes.map(|((_, key), _)| key.clone()));
    }

    /// If another certificate fills a Secret than before, the routes of both have news. Not all that
    /// name the Secret: there may be thousands, one after the other.
    fn touch_winners(&self, before: Option<Id>, place: &Place, changed: &mut Changed) {
        let now = self.winner_of(place).cloned();
        if before == now {
            return;
        }
        for winner in [before, now].into_iter().flatten() {
            for user in self.coverage.covered_by(&winner).chain([&winner]) {
                self.touch(user, changed);
            }
        }
    }
}

fn age(route: &Route) -> Age {
    (route.created.unwrap_or(Timestamp::MAX), route.key.clone())
}

fn place(route: &Route, wanted: &Certificate) -> Option<Place> {
    Some((route.key.namespace.to_string(), wanted.secret_name.clone()?))
}
