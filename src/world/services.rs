//! Which Services of the cluster are there, as far as it is known, and which routes need them.

use std::collections::{BTreeMap, BTreeSet};

use crate::route::{Judged, Key, Presence};

type Place = (String, String);

#[derive(Debug, Default)]
pub(super) struct Services {
    judged: Judged,
    present: BTreeSet<Place>,
    needed_by: BTreeMap<Place, BTreeSet<Key>>,
}

impl Services {
    pub(super) fn is_missing(&self, namespace: &str, name: &str) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        let judged = match &self.judged {
            Judged::Nowhere => false,
            Judged::Everywhere => true,
            Judged::In(namespaces) => namespaces.contains(namespace),
            Judged::WhereAnyIsKnown => {
                let first = (namespace.to_owned(), String::new());
                self.present.range(first..).next().is_some_and(|(other, _)| other == namespace)
            }
        };
        judged && !self.present.contains(&place)
    }

    /// Returns the routes for which something may be different now.
    pub(super) fn set(&mut self, namespace: &str, name: &str, is: Presence) -> BTreeSet<Key> {
        let place = (namespace.to_owned(), name.to_owned());
        let changed = match is {
            Presence::There => self.present.insert(place.clone()),
            Presence::Gone => self.present.remove(&place),
        };
        match (changed, &self.judged) {
            (false, _) => BTreeSet::new(),
            (true, Judged::WhereAnyIsKnown) => self.all(),
            (true, _) => self.needed_by.get(&place).cloned().unwrap_or_default(),
        }
    }

    /// Returns the routes for which something may be different now.
    pub(super) fn judge(&mut self, judged: Judged) -> BTreeSet<Key> {
        if self.judged == judged {
            return BTreeSet::new();
        }
        self.judged = judged;
        self.all()
    }

    pub(super) fn need(&mut self, place: Place, key: &Key) {
        self.needed_by.entry(place).or_default().insert(key.clone());
    }

    pub(super) fn need_no_more(&mut self, place: &Place, key: &Key) {
        if let Some(keys) = self.needed_by.get_mut(place) {
            keys.remove(key);
            if keys.is_empty() {
                self.needed_by.remove(place);
            }
        }
    }

    fn all(&self) -> BTreeSet<Key> {
        self.needed_by.values().flatten().cloned().collect()
    }
}
