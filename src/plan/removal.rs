//! Whether so many certificates lost their routes at once that a fault is likelier than a wish.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat_n;

use jiff::{SignedDuration, Timestamp};

use crate::cert::Id;
use crate::order::State;

/// Those that became unused within so long count together.
pub(super) const TOGETHER: SignedDuration = SignedDuration::from_hours(1);
/// So few are no mass, whatever share of all they are.
const FEW: usize = 10;

/// Certificates that lost their routes, by when.
#[derive(Debug, Default)]
pub struct Removals {
    /// Those that were deleted since are among them, as long as their records are.
    unused: BTreeMap<Timestamp, BTreeSet<Id>>,
    /// What became unused until then may go.
    let_go: Option<Timestamp>,
}

impl Removals {
    /// What is known of a certificate is another than before.
    pub fn note(&mut self, id: &Id, before: Option<&State>, now: Option<&State>) {
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
    pub fn let_go(&mut self, until: Timestamp) -> Vec<Id> {
        self.let_go = self.let_go.max(Some(until));
        self.unused.range(..=until).flat_map(|(_, ids)| ids.iter().cloned()).collect()
    }

    /// Whether one that is unused since then went with too many others. `of`: how many
    /// certificates there are.
    pub fn is_mass(&self, since: Timestamp, of: usize) -> bool {
        if self.let_go.is_some_and(|until| since <= until) {
            return false;
        }
        let earliest = since.saturating_sub(TOGETHER).unwrap_or(Timestamp::MIN);
        let latest = since.saturating_add(TOGETHER).unwrap_or(Timestamp::MAX);
        let near = self.unused.range(earliest..=latest);
        let near = near.filter(|(time, _)| self.let_go < Some(**time));
        is_mass(near.flat_map(|(time, ids)| repeat_n(*time, ids.len())), of)
    }

    /// The one that became unused last before this one.
    pub fn before(&self, since: Timestamp, id: &Id) -> Option<&Id> {
        let together = self.unused.get(&since).and_then(|ids| ids.range(..id).next_back());
        let earlier = || self.unused.range(..since).next_back().and_then(|(_, ids)| ids.last());
        together.or_else(earlier)
    }
}

/// Whether more than the larger of ten and a tenth `of` all certificates became unused within an
/// hour. `times`: when each did, the earliest first.
fn is_mass(times: impl Iterator<Item = Timestamp> + Clone, of: usize) -> bool {
    let limit = FEW.max(of / 10);
    let later = times.clone().skip(limit);
    times.zip(later).any(|(first, last)| last.duration_since(first) <= TOGETHER)
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
        for one in 12..22 {
            unused(&mut removals, one, at(61));
        }
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

    fn at(minutes: &[i64]) -> Vec<Timestamp> {
        minutes.iter().map(|it| Timestamp::from_second(it * 60).unwrap()).collect()
    }

    fn mass(minutes: &[i64], of: usize) -> bool {
        is_mass(at(minutes).into_iter(), of)
    }

    #[test]
    fn ten_are_few_and_eleven_within_an_hour_are_a_mass() {
        assert!(!mass(&[], 0));
        assert!(!mass(&[0; 10], 10));
        assert!(mass(&[0; 11], 11));
        assert!(mass(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 60], 100));
        assert!(!mass(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 61], 100));
    }

    #[test]
    fn of_many_a_tenth_may_go() {
        assert!(!mass(&[0; 100], 1000));
        assert!(mass(&[0; 101], 1000));
        assert!(!mass(&[0; 100], 1009));
    }

    #[test]
    fn an_hour_may_begin_at_any_of_them() {
        let minutes: Vec<i64> = [0, 10].into_iter().chain([65; 11]).collect();
        assert!(mass(&minutes, 0));
        let slow: Vec<i64> = (0..100).map(|one| one * 7).collect();
        assert!(!mass(&slow, 0));
    }
}
