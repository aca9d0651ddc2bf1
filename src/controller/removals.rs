//! Certificates that lost their routes, by when: so many at once are deleted only if a person says
//! so.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat_n;

use jiff::Timestamp;

use crate::cert::Id;
use crate::order::State;
use crate::plan;

#[derive(Debug, Default)]
pub(super) struct Removals {
    /// Those that were deleted since are among them, as long as their records are.
    unused: BTreeMap<Timestamp, BTreeSet<Id>>,
    /// What became unused until then may go.
    let_go: Option<Timestamp>,
}

impl Removals {
    /// What is known of a certificate is another than before.
    pub(super) fn note(&mut self, id: &Id, before: Option<&State>, now: Option<&State>) {
        if let Some(since) = before.and_then(|state| state.unused_since) {
            let ids = self.unused.entry(since).or_default();
            ids.remove(id);
            if ids.is_empty() {
                self.unused.remove(&since);
            }
        }
        if let Some(since) = now.and_then(|state| state.unused_since) {
            self.unused.entry(since).or_default().insert(id.clone());
        }
    }

    /// Returns those that may go now.
    pub(super) fn let_go(&mut self, until: Timestamp) -> Vec<Id> {
        self.let_go = self.let_go.max(Some(until));
        self.unused.range(..=until).flat_map(|(_, ids)| ids.iter().cloned()).collect()
    }

    /// Whether one that is unused since then went with too many others. `of`: how many
    /// certificates there are.
    pub(super) fn is_mass(&self, since: Timestamp, of: usize) -> bool {
        if self.let_go.is_some_and(|until| since <= until) {
            return false;
        }
        let earliest = since.saturating_sub(plan::TOGETHER).unwrap_or(Timestamp::MIN);
        let latest = since.saturating_add(plan::TOGETHER).unwrap_or(Timestamp::MAX);
        let near = self.unused.range(earliest..=latest);
        let near = near.filter(|(time, _)| self.let_go < Some(**time));
        plan::is_mass(near.flat_map(|(time, ids)| repeat_n(*time, ids.len())), of)
    }

    /// The one that became unused last before this one.
    pub(super) fn before(&self, since: Timestamp, id: &Id) -> Option<&Id> {
        let together = self.unused.get(&since).and_then(|ids| ids.range(..id).next_back());
        let earlier = || self.unused.range(..since).next_back().and_then(|(_, ids)| ids.last());
        together.or_else(earlier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Name, Names};

    fn unused(removals: &mut Removals, number: usize, since: Timestamp) -> Id {
        let names = Names::new([Name::parse(&format!("a{number}.x")).unwrap()]).unwrap();
        let id = Id::of("shop", "le", &names);
        let state = State::new("shop", "le", &names);
        removals.note(&id, None, Some(&State { unused_since: Some(since), ..state }));
        id
    }

    #[test]
    fn what_was_let_go_holds_nothing_back_and_later_ones_are_counted_anew() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut removals = Removals::default();
        let ids: BTreeSet<Id> = (0..11).map(|one| unused(&mut removals, one, at(60))).collect();
        assert!(removals.is_mass(at(60), 11));
        let first = ids.first().unwrap();
        assert_eq!(removals.before(at(60), first), None);
        let gone: BTreeSet<Id> = removals.let_go(at(60)).into_iter().collect();
        assert_eq!(gone, ids);
        assert!(!removals.is_mass(at(60), 11));
        unused(&mut removals, 11, at(61));
        assert!(!removals.is_mass(at(61), 1));
        (12..22).for_each(|one| drop(unused(&mut removals, one, at(61))));
        assert!(removals.is_mass(at(61), 11));
        assert!(!removals.is_mass(at(60), 11));
    }

    #[test]
    fn one_that_is_wanted_again_counts_no_more() {
        let at = Timestamp::from_second(60).unwrap();
        let mut removals = Removals::default();
        let ids: Vec<Id> = (0..11).map(|one| unused(&mut removals, one, at)).collect();
        let names = Names::new([Name::parse("a0.x").unwrap()]).unwrap();
        let state = State { unused_since: Some(at), ..State::new("shop", "le", &names) };
        removals.note(&ids[0], Some(&state), None);
        assert!(!removals.is_mass(at, 11));
    }
}
