//! What a leader knows of certificates and their state records, by id.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cert;
use crate::cert::{Facts, Id};
use crate::controller::copies::Place;
use crate::metrics::Standing;
use crate::name::{Name, Names};
use crate::order::{Ari, CopyRef, State};
use crate::plan::{Held, Removals, View};
use crate::store::{Entry, Versioned};
use crate::world::{Grip, Hold, Want};

const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(2);
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

/// The stored object behind a certificate.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) owner: String,
    pub(super) resolver: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    id: Id,
    fingerprint: String,
    ours: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Record {
    held: Option<Held>,
    stored: Option<Stored>,
    state: Option<Versioned<State>>,
    view: Option<View>,
    /// As it was measured last.
    standing: Option<Standing>,
    paused: Option<Timestamp>,
    /// Of the order that is under way.
    told: Option<String>,
    /// Interruptions in a row.
    interrupted: u32,
    /// UIDs of copies that were filled, whether or not the state lists them yet.
    copies: BTreeMap<Place, String>,
}

impl Record {
    fn state(&self) -> Option<&Versioned<State>> {
        self.state.as_ref()
    }
}

/// Records of every certificate that is stored, wanted or remembered.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Boxed: the nodes of a map that was filled in order are half empty.
    by_id: BTreeMap<Id, Box<Record>>,
    /// Those whose state has the name.
    by_name: BTreeMap<Name, BTreeSet<Id>>,
    /// What each copy was last asked to hold, so that it is asked once.
    asked: BTreeMap<Place, Asked>,
    /// Where each certificate was asked to be copied to.
    copied: BTreeMap<Id, BTreeSet<Place>>,
    inherited: bool,
    /// UIDs of every copy that we made.
    ours: BTreeMap<Place, BTreeSet<String>>,
    pub(super) removals: Removals,
}

impl Records {
    pub(super) fn new(states: Vec<(Id, Versioned<State>)>) -> Self {
        let mut records = Self { inherited: true, ..Self::default() };
        for (id, state) in states {
            records.put_state(&id, state);
        }
        records
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        self.by_id.keys().cloned()
    }

    /// Those whose routes are in `namespace`.
    pub(super) fn ids_of<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = Id> + 'a {
        let owned = move |record: &Record| {
            let stored = record.stored.as_ref().is_some_and(|stored| stored.owner == namespace);
            stored || record.state.as_ref().is_some_and(|state| state.value.owner == namespace)
        };
        self.by_id.iter().filter(move |(_, record)| owned(record)).map(|(id, _)| id.clone())
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.values().filter(|record| record.held.is_some()).count()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = (&Id, &State)> {
        self.by_id.iter().filter_map(|(id, record)| Some((id, &record.state()?.value)))
    }

    /// Other certificates with a state that shares a name with these: of the same resolver, or of
    /// exactly these names.
    pub(super) fn ids_of_same_names(
        &self,
        id: &Id,
        resolver: &str,
        names: &Names,
    ) -> BTreeSet<&Id> {
        let sharing = names.iter().filter_map(|name| self.by_name.get(name)).flatten();
        let fits = |other: &&Id| {
            *other != id
                && self
                    .state(other)
                    .is_some_and(|state| state.resolver == resolver || state.names.same_as(names))
        };
        sharing.filter(fits).collect()
    }

    pub(super) fn of_same_names(&self, id: &Id, resolver: &str, names: &Names) -> Vec<&State> {
        let ids = self.ids_of_same_names(id, resolver, names);
        ids.into_iter().filter_map(|other| self.state(other)).collect()
    }

    /// Orders that an earlier leader left in flight.
    pub(super) fn pending(&self) -> BTreeSet<Id> {
        let pending = |record: &Record| {
            record.state.as_ref().is_some_and(|state| state.value.pending.is_some())
        };
        self.by_id.iter().filter(|(_, record)| pending(record)).map(|(id, _)| id.clone()).collect()
    }

    pub(super) fn has_inherited(&self) -> bool {
        self.inherited
    }

    pub(super) fn forget_inherited(&mut self) {
        self.inherited = false;
    }

    pub(super) fn held(&self, id: &Id) -> &Held {
        self.by_id.get(id).and_then(|record| record.held.as_ref()).unwrap_or(&Held::Nothing)
    }

    pub(super) fn stored(&self, id: &Id) -> Option<&Stored> {
        self.by_id.get(id)?.stored.as_ref()
    }

    pub(super) fn fingerprint(&self, id: &Id) -> Option<String> {
        match self.held(id) {
            Held::Certificate(facts) => Some(facts.fingerprint.clone()),
            Held::Nothing | Held::Unreadable(_) | Held::KeyMismatch => None,
        }
    }

    pub(super) fn state(&self, id: &Id) -> Option<&State> {
        Some(&self.by_id.get(id)?.state.as_ref()?.value)
    }

    /// Whose names these are by the record: a namespace that had a certificate for them.
    pub(super) fn holding(&self, id: &Id, host_hold: Duration, now: Timestamp) -> Option<Hold> {
        let state = self.state(id)?;
        let first = state.issued.first()?.at;
        let since = state.orders.first().map_or(first, |order| first.min(order.at));
        let lapsed = self.hold_ends(id, host_hold).is_some_and(|end| end <= now);
        let grip = if lapsed { Grip::WhileClaimed } else { Grip::Firm };
        Some(Hold { since, namespace: state.owner.clone(), names: state.names.clone(), grip })
    }

    /// When a host may pass to another namespace, if no route of its own comes back.
    pub(super) fn hold_ends(&self, id: &Id, host_hold: Duration) -> Option<Timestamp> {
        let since = self.state(id)?.unused_since?;
        let hold = SignedDuration::try_from(host_hold).unwrap_or(SignedDuration::MAX);
        Some(since.saturating_add(hold).unwrap_or(Timestamp::MAX))
    }

    pub(super) fn state_version(&self, id: &Id) -> Option<String> {
        Some(self.by_id.get(id)?.state.as_ref()?.version.clone())
    }

    pub(super) fn view(&self, id: &Id) -> Option<&View> {
        self.by_id.get(id)?.view.as_ref()
    }

    pub(super) fn put(&mut self, entry: Entry) {
        let record = self.by_id.entry(entry.id).or_default();
        record.held = Some(match &entry.content {
            Ok(certificate) => Held::Certificate(certificate.facts().clone()),
            Err(cert::Error::KeyMismatch) => Held::KeyMismatch,
            Err(error) => Held::Unreadable(error.to_string()),
        });
        record.stored = Some(Stored { owner: entry.owner, resolver: entry.resolver });
    }

    pub(super) fn gone(&mut self, id: &Id) {
        if let Some(record) = self.by_id.get_mut(id) {
            record.held = None;
            record.stored = None;
        }
    }

    /// Known at once, so that a slow watch is no reason for a second order.
    pub(super) fn issued(&mut self, id: &Id, facts: Facts) {
        self.by_id.entry(id.clone()).or_default().held = Some(Held::Certificate(facts));
    }

    pub(super) fn put_state(&mut self, id: &Id, state: Versioned<State>) {
        self.replace_state(id, Some(state));
    }

    pub(super) fn replace_state(&mut self, id: &Id, mut state: Option<Versioned<State>>) {
        for State { kinds, issued, orders, .. } in state.iter_mut().map(|state| &mut state.value) {
            kinds.shrink_to_fit();
            issued.shrink_to_fit();
            orders.shrink_to_fit();
        }
        for copy in state.iter().flat_map(|state| &state.value.copies) {
            let place = (copy.namespace.clone(), copy.name.clone());
            self.ours.entry(place).or_default().insert(copy.uid.clone());
        }
        self.unname(id);
        for name in state.iter().flat_map(|state| state.value.names.iter()) {
            self.by_name.entry(name.clone()).or_default().insert(id.clone());
        }
        let record = self.by_id.entry(id.clone()).or_default();
        let (before, now) = (record.state.as_ref(), state.as_ref());
        self.removals.note(id, before.map(|it| &it.value), now.map(|it| &it.value));
        record.state = state;
    }

    fn unname(&mut self, id: &Id) {
        let state = self.by_id.get(id).and_then(|record| record.state());
        for name in state.into_iter().flat_map(|state| state.value.names.iter()) {
            if let Some(ids) = self.by_name.get_mut(name) {
                ids.remove(id);
                if ids.is_empty() {
                    self.by_name.remove(name);
                }
            }
        }
    }

    /// What a poll told that is not worth a write of its own.
    pub(super) fn note_ari(&mut self, id: &Id, ari: Ari) {
        let state = self.by_id.get_mut(id).and_then(|record| record.state.as_mut());
        if let Some(state) = state {
            state.value.ari = Some(ari);
        }
    }

    /// Drops what is left of a certificate that nobody wants and that is not stored.
    pub(super) fn forget(&mut self, id: &Id) {
        self.unname(id);
        self.removals.note(id, self.state(id).cloned().as_ref(), None);
        self.by_id.remove(id);
    }

    /// Returns how it was measured before.
    pub(super) fn measure(&mut self, id: &Id, now: Option<Standing>) -> Option<Standing> {
        match now {
            None => self.by_id.get_mut(id)?.standing.take(),
            Some(now) => self.by_id.entry(id.clone()).or_default().standing.replace(now),
        }
    }

    pub(super) fn show(&mut self, id: &Id, view: View) {
        self.by_id.entry(id.clone()).or_default().view = Some(view);
    }

    pub(super) fn tell(&mut self, id: &Id, told: Option<String>) {
        if let Some(record) = self.by_id.get_mut(id) {
            record.told = told;
        }
    }

    pub(super) fn told(&self, id: &Id) -> Option<&str> {
        self.by_id.get(id)?.told.as_deref()
    }

    /// After something that is no failure of the CA (a lost write, an API server away): each
    /// time longer, since a step begun anew may ask the CA anew.
    pub(super) fn pause(&mut self, id: &Id, now: Timestamp) {
        let record = self.by_id.entry(id.clone()).or_default();
        let pause = FIRST_PAUSE.saturating_mul(1 << record.interrupted.min(10)).min(LONGEST_PAUSE);
        record.interrupted += 1;
        record.paused = Some(now + pause);
    }

    /// Nothing is to be done for it before.
    pub(super) fn pause_until(&mut self, id: &Id, until: Timestamp) {
        self.by_id.entry(id.clone()).or_default().paused = Some(until);
    }

    pub(super) fn unpause(&mut self, id: &Id) {
        let record = self.by_id.entry(id.clone()).or_default();
        (record.interrupted, record.paused) = (0, None);
    }

    pub(super) fn paused(&self, id: &Id, now: Timestamp) -> Option<Timestamp> {
        self.by_id.get(id)?.paused.filter(|until| now < *until)
    }

    pub(super) fn note_copy(&mut self, id: &Id, place: &Place, uid: &str) {
        let record = self.by_id.entry(id.clone()).or_default();
        record.copies.insert(place.clone(), uid.to_owned());
        self.ours.entry(place.clone()).or_default().insert(uid.to_owned());
    }

    /// UIDs of the copy at `place` that are known to be ours, whichever certificate it held: a route
    /// whose names change goes on filling the same Secret.
    pub(super) fn copies_at(&self, place: &Place) -> BTreeSet<String> {
        self.ours.get(place).cloned().unwrap_or_default()
    }

    /// Whether the copy has not been asked for exactly this yet.
    pub(super) fn asks_for_copy(
        &mut self,
        place: &Place,
        id: &Id,
        fingerprint: &str,
        ours: &BTreeSet<String>,
    ) -> bool {
        let asked =
            Asked { id: id.clone(), fingerprint: fingerprint.to_owned(), ours: ours.clone() };
        self.copied.entry(id.clone()).or_default().insert(place.clone());
        self.asked.insert(place.clone(), asked.clone()).as_ref() != Some(&asked)
    }

    /// Copies that were asked for and are none of `places` any more.
    pub(super) fn drop_copies(&mut self, id: &Id, places: &[Place]) -> Vec<Place> {
        let Some(copied) = self.copied.get_mut(id) else { return Vec::new() };
        let mut left: Vec<Place> =
            copied.iter().filter(|place| !places.contains(place)).cloned().collect();
        copied.retain(|place| places.contains(place));
        // One that another certificate fills by now is none of ours to leave.
        left.retain(|place| self.asked.get(place).is_some_and(|asked| asked.id == *id));
        for place in &left {
            self.asked.remove(place);
        }
        left
    }

    /// The state with every known copy and these kinds in it, if that differs from what is stored.
    pub(super) fn state_with_wishes(
        &self,
        id: &Id,
        want: &Want,
        kinds: Vec<String>,
    ) -> Option<State> {
        let record = self.by_id.get(id)?;
        let state = self.state(id).cloned();
        let mut state =
            state.unwrap_or_else(|| State::new(&want.owner, &want.resolver, &want.names));
        let before = (state.copies.clone(), std::mem::replace(&mut state.kinds, kinds));
        for ((namespace, name), uid) in &record.copies {
            if !state.copies.iter().any(|copy| copy.uid == *uid) {
                state.copies.retain(|copy| copy.namespace != *namespace || copy.name != *name);
                let copy =
                    CopyRef { namespace: namespace.clone(), name: name.clone(), uid: uid.clone() };
                state.copies.push(copy);
            }
        }
        // Kinds alone are no reason for a record: one that is there may be unreadable.
        let known = record.state.is_some();
        let changed = before.0 != state.copies || (known && before.1 != state.kinds);
        changed.then_some(state)
    }
}
