//! Who is next: by class, then namespaces in turn, then who came first.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::budget::{Class, Ticket};
use crate::cert::Id;
use crate::order::Exemption;

/// Who orders where: each has a line of its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    pub(super) ca: String,
    pub(super) name: String,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    tickets: BTreeMap<Id, Place>,
    lines: BTreeMap<Account, Line>,
    /// Those whose names have to wait, and until when.
    parked: BTreeSet<(Timestamp, Id)>,
    entered: u64,
}

#[derive(Debug)]
struct Place {
    ticket: Ticket,
    number: u64,
    parked: Option<Timestamp>,
}

/// Whether an order is counted against the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Costs {
    Nothing,
    AnOrder,
}

/// By namespace, who came first first.
type Spaces = BTreeMap<String, BTreeSet<(u64, Id)>>;

#[derive(Debug, Default)]
struct Line {
    /// By class, those that cost no new order first; then by namespace.
    waiting: BTreeMap<(Class, Costs), Spaces>,
    /// How many wait, by namespace.
    of_namespace: BTreeMap<String, usize>,
    /// When each namespace last had its turn.
    turns: BTreeMap<String, u64>,
    turn: u64,
    round: Round,
}

/// What there is to give; `None`: no limit is known.
#[derive(Debug, Default)]
struct Round {
    left: Option<i32>,
    /// What was and is to be given since more than one namespace waits, and who took how much.
    whole: i32,
    given: i32,
    taken: BTreeMap<String, i32>,
}

impl Queue {
    pub(super) fn enter(&mut self, ticket: Ticket) {
        let known = self.tickets.get_mut(&ticket.id);
        if let Some(place) = known.filter(|place| place.ticket.is_like(&ticket)) {
            place.ticket = ticket;
            return;
        }
        self.leave(&ticket.id);
        self.entered += 1;
        self.insert(Place { ticket, number: self.entered, parked: None });
    }

    pub(super) fn leave(&mut self, id: &Id) {
        let Some(place) = self.tickets.remove(id) else { return };
        match place.parked {
            Some(until) => drop(self.parked.remove(&(until, id.clone()))),
            None => self.take_out(&place),
        }
    }

    pub(super) fn ticket(&self, id: &Id) -> Option<&Ticket> {
        self.tickets.get(id).map(|place| &place.ticket)
    }

    pub(super) fn lines(&self) -> Vec<Account> {
        let busy = self.lines.iter().filter(|(_, line)| !line.of_namespace.is_empty());
        busy.map(|(account, _)| account.clone()).collect()
    }

    /// How many of the same account are at least as urgent and came before.
    pub(super) fn before(&self, ticket: &Ticket) -> usize {
        let Some(line) = self.lines.get(&ticket.account()) else { return 0 };
        let number = self.tickets.get(&ticket.id).map(|place| place.number).unwrap_or_default();
        let urgent: usize = line
            .waiting
            .range(..ticket.place())
            .flat_map(|(_, spaces)| spaces.values().map(BTreeSet::len))
            .sum();
        let same = line.waiting.get(&ticket.place()).into_iter().flat_map(BTreeMap::values);
        let same: usize = same.map(|ids| ids.range(..(number, ticket.id.clone())).count()).sum();
        urgent + same
    }

    pub(super) fn begin_round(&mut self, account: &Account, left: Option<i32>) {
        let Some(line) = self.lines.get_mut(account) else { return };
        if line.of_namespace.len() < 2 {
            line.round = Round::default();
        }
        line.round.left = left;
        line.round.whole = line.round.given.saturating_add(left.unwrap_or_default());
    }

    /// The next of the line, taken out of it; it has to be parked or taken.
    pub(super) fn next(&mut self, account: &Account) -> Option<Ticket> {
        let id = self.lines.get(account)?.first()?;
        let place = self.tickets.remove(&id)?;
        self.take_out(&place);
        Some(place.ticket)
    }

    pub(super) fn park(&mut self, ticket: Ticket, until: Timestamp) {
        self.entered += 1;
        self.parked.insert((until, ticket.id.clone()));
        let number = self.entered;
        self.tickets.insert(ticket.id.clone(), Place { ticket, number, parked: Some(until) });
    }

    pub(super) fn taken(&mut self, account: &Account, ticket: &Ticket) {
        let Some(line) = self.lines.get_mut(account) else { return };
        line.turn += 1;
        line.turns.insert(ticket.namespace.clone(), line.turn);
        if ticket.costs() == Costs::AnOrder {
            line.round.left = line.round.left.map(|left| left - 1);
            line.round.given = line.round.given.saturating_add(1);
            *line.round.taken.entry(ticket.namespace.clone()).or_default() += 1;
        }
    }

    pub(super) fn unpark(&mut self, now: Timestamp) {
        while let Some((until, id)) =
            self.parked.first().cloned().filter(|(until, _)| *until <= now)
        {
            self.parked.remove(&(until, id.clone()));
            if let Some(place) = self.tickets.remove(&id) {
                self.insert(Place { parked: None, ..place });
            }
        }
    }

    /// Who entered last.
    #[cfg(test)]
    pub(super) fn last(&self) -> Id {
        let (id, _) = self.tickets.iter().max_by_key(|(_, place)| place.number).unwrap();
        id.clone()
    }

    pub(super) fn first_parked(&self) -> Option<Timestamp> {
        self.parked.first().map(|(until, _)| *until)
    }

    fn insert(&mut self, place: Place) {
        let Place { ticket, number, .. } = &place;
        let line = self.lines.entry(ticket.account()).or_default();
        let spaces = line.waiting.entry(ticket.place()).or_default();
        spaces.entry(ticket.namespace.clone()).or_default().insert((*number, ticket.id.clone()));
        *line.of_namespace.entry(ticket.namespace.clone()).or_default() += 1;
        self.tickets.insert(ticket.id.clone(), place);
    }

    fn take_out(&mut self, place: &Place) {
        let Place { ticket, number, .. } = place;
        let Some(line) = self.lines.get_mut(&ticket.account()) else { return };
        if let Some(spaces) = line.waiting.get_mut(&ticket.place()) {
            if let Some(ids) = spaces.get_mut(&ticket.namespace) {
                ids.remove(&(*number, ticket.id.clone()));
                if ids.is_empty() {
                    spaces.remove(&ticket.namespace);
                }
            }
            if spaces.is_empty() {
                line.waiting.remove(&ticket.place());
            }
        }
        if let Some(count) = line.of_namespace.get_mut(&ticket.namespace) {
            *count -= 1;
            if *count == 0 {
                line.of_namespace.remove(&ticket.namespace);
            }
        }
    }
}

impl Line {
    fn first(&self) -> Option<Id> {
        let turn = |namespace: &str| self.turns.get(namespace).copied().unwrap_or_default();
        self.waiting.iter().find_map(|((_, costs), spaces)| {
            let free = *costs == Costs::Nothing;
            let may = spaces.iter().filter(|(namespace, _)| free || self.may_take(namespace));
            let (_, ids) = may.min_by_key(|(namespace, _)| turn(namespace))?;
            ids.first().map(|(_, id)| id.clone())
        })
    }

    /// While others wait, nobody takes more than half of what is left.
    fn may_take(&self, namespace: &str) -> bool {
        let Some(left) = self.round.left else { return true };
        if left <= 0 {
            return false;
        }
        let alone = self.of_namespace.keys().all(|other| other == namespace);
        if alone {
            return true;
        }
        let taken = self.round.taken.get(namespace).copied().unwrap_or_default();
        taken < self.round.whole / 2 + self.round.whole % 2
    }
}

impl Ticket {
    fn account(&self) -> Account {
        Account { ca: self.ca.clone(), name: self.account.clone() }
    }

    fn costs(&self) -> Costs {
        let free = self.is_placed || self.exemption != Exemption::None;
        if free { Costs::Nothing } else { Costs::AnOrder }
    }

    fn place(&self) -> (Class, Costs) {
        (self.class, self.costs())
    }

    /// Whether it stands in the same place of the queue.
    fn is_like(&self, other: &Self) -> bool {
        (&self.namespace, self.place(), &self.ca, &self.account)
            == (&other.namespace, other.place(), &other.ca, &other.account)
    }
}
