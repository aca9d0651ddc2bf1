//! What the CAs allow: their published limits as token buckets, filled from the state records, and
//! the queue of the certificates that wait for them. Pure.
//!
//! A limit is asked before an order is placed, so that the CA never has to refuse one; while an
//! order is in flight, what it may cost is kept free. Times are when we learnt of a thing, which is
//! never before the CA did it: our buckets are never fuller than the CA's.

mod bucket;
mod limits;
mod queue;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::budget::bucket::{Bucket, Key};
use crate::budget::limits::Limits;
use crate::budget::queue::Queue;
use crate::cert::{Facts, Id};
use crate::name::{Name, Names, registered_domain};
use crate::order::{Exemption, Failure, FailureKind, Issued, Placed, State};

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// A renewal in the window that the CA suggested.
    Window,
    NearExpiry,
    First,
    /// The specification changed.
    Changed,
    /// It failed before.
    Retry,
}

/// A certificate that waits to be ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    pub id: Id,
    /// Those that share a CA share fairly, by the namespace of their routes.
    pub namespace: String,
    pub class: Class,
    /// Directory of the CA.
    pub ca: String,
    /// Name of the account's record.
    pub account: String,
    pub names: Names,
    pub exemption: Exemption,
    /// An order that was placed before is gone on with: it costs nothing more.
    pub is_placed: bool,
}

/// Which state entries were counted already, by the time of the last.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    order: Option<Timestamp>,
    issued: Option<Timestamp>,
    failure: Option<Timestamp>,
}

#[derive(Debug)]
pub struct Budget {
    /// Orders in flight at once at one CA.
    parallel: usize,
    buckets: BTreeMap<Key, Bucket>,
    counted: BTreeMap<Id, Counted>,
    /// Until when a CA wants to hear nothing.
    closed: BTreeMap<String, Timestamp>,
    queue: Queue,
    /// In flight, and what is kept free for each.
    flying: BTreeMap<Id, (Ticket, Vec<Key>)>,
    flying_at: BTreeMap<String, usize>,
}

impl Budget {
    pub fn new(parallel: usize) -> Self {
        Self {
            parallel,
            buckets: BTreeMap::new(),
            counted: BTreeMap::new(),
            closed: BTreeMap::new(),
            queue: Queue::default(),
            flying: BTreeMap::new(),
            flying_at: BTreeMap::new(),
        }
    }

    /// Counts everything that the records tell, in the order in which it happened.
    pub fn rebuild<'a>(&mut self, states: impl IntoIterator<Item = (&'a Id, &'a State)>) {
        let mut events = Vec::new();
        for (id, state) in states {
            events.extend(self.news(id, state));
        }
        events.sort_by_key(|event| event.at);
        for event in events {
            self.take(&event);
        }
    }

    /// Counts what is new in a record. Idempotent.
    pub fn note(&mut self, id: &Id, state: &State) {
        for event in self.news(id, state) {
            self.take(&event);
        }
    }

    /// The certificate is gone, and its record with it.
    pub fn forget(&mut self, id: &Id) {
        self.leave(id);
        self.counted.remove(id);
    }

    /// Waits for its turn from now on; one that waits already keeps its place if its class is the
    /// same.
    pub fn enter(&mut self, ticket: Ticket) {
        if !self.flying.contains_key(&ticket.id) {
            self.queue.enter(ticket);
        }
    }

    /// Is not to be ordered any more, or not now.
    pub fn leave(&mut self, id: &Id) {
        self.queue.leave(id);
    }

    pub fn is_waiting(&self, id: &Id) -> bool {
        self.queue.ticket(id).is_some()
    }

    /// The order is over, or was never placed. What it cost is told by [`Self::note`] before.
    pub fn ended(&mut self, id: &Id) {
        let Some((ticket, keys)) = self.flying.remove(id) else { return };
        for key in keys {
            self.bucket(&key).release();
        }
        if let Some(count) = self.flying_at.get_mut(&ticket.ca) {
            *count = count.saturating_sub(1);
        }
    }

    /// Those whose turn it is, in their order.
    pub fn grant(&mut self, now: Timestamp) -> Vec<Ticket> {
        self.queue.unpark(now);
        let mut granted = Vec::new();
        for line in self.queue.lines() {
            if self.closed_until(&line.ca, now).is_none() {
                self.grant_line(&line, now, &mut granted);
            }
        }
        granted
    }

    fn grant_line(&mut self, line: &queue::Account, now: Timestamp, granted: &mut Vec<Ticket>) {
        let orders = Limits::of(&line.ca).map(|_| Key::Orders(line.ca.clone(), line.name.clone()));
        let left = orders.map(|key| self.bucket(&key).left(now));
        self.queue.begin_round(line, left);
        while self.flying_at.get(&line.ca).copied().unwrap_or_default() < self.parallel {
            let Some(ticket) = self.queue.next(line) else { return };
            let keys = keys(&ticket);
            let until = keys.iter().filter_map(|key| self.bucket(key).free_at(now)).max();
            if let Some(until) = until {
                self.queue.park(ticket, until);
                continue;
            }
            self.fly(&ticket, keys);
            self.queue.taken(line, &ticket);
            granted.push(ticket);
        }
    }

    fn fly(&mut self, ticket: &Ticket, keys: Vec<Key>) {
        for key in &keys {
            self.bucket(key).reserve();
        }
        *self.flying_at.entry(ticket.ca.clone()).or_default() += 1;
        self.flying.insert(ticket.id.clone(), (ticket.clone(), keys));
    }

    /// When the turn of one that waits will come, as far as limits tell; `None`: at any moment.
    pub fn expected(&mut self, id: &Id, now: Timestamp) -> Option<Timestamp> {
        let ticket = self.queue.ticket(id)?.clone();
        let before = self.queue.before(&ticket);
        let of_names = keys(&ticket).into_iter().filter_map(|key| {
            let ahead = if matches!(key, Key::Orders(..)) { before } else { 0 };
            self.bucket(&key).free_after(ahead, now)
        });
        let latest = of_names.max();
        latest.into_iter().chain(self.closed_until(&ticket.ca, now)).max()
    }

    /// When [`Self::grant`] may give something that it does not give now, if nothing happens
    /// before.
    pub fn wake(&mut self, now: Timestamp) -> Option<Timestamp> {
        let mut first = self.queue.first_parked();
        for line in self.queue.lines() {
            let closed = self.closed_until(&line.ca, now);
            let orders = Key::Orders(line.ca.clone(), line.name.clone());
            let known = Limits::of(&line.ca).is_some();
            let free = if known { self.bucket(&orders).free_at(now) } else { None };
            first = first.into_iter().chain(closed.into_iter().chain(free).max()).min();
        }
        first
    }

    /// Nothing is sent to the CA before.
    pub fn closed_until(&self, ca: &str, now: Timestamp) -> Option<Timestamp> {
        self.closed.get(ca).copied().filter(|until| now < *until)
    }

    fn bucket(&mut self, key: &Key) -> &mut Bucket {
        let rate = Limits::of(key.ca()).map(|limits| limits.rate(key)).unwrap_or_default();
        self.buckets.entry(key.clone()).or_insert_with(|| Bucket::new(rate))
    }

    /// What the record holds that was not counted yet.
    fn news<'a>(&mut self, id: &Id, state: &'a State) -> Vec<Event<'a>> {
        let counted = self.counted.entry(id.clone()).or_default();
        let known = *counted;
        let is_new = |at: Timestamp, last: Option<Timestamp>| last.is_none_or(|last| last < at);
        let orders = state.orders.iter().filter(|one| is_new(one.at, known.order));
        let issued = state.issued.iter().filter(|one| is_new(one.at, known.issued));
        let failures = state.failures.iter().filter(|one| is_new(one.at, known.failure));
        *counted = Counted {
            order: state.orders.last().map(|one| one.at).max(known.order),
            issued: state.issued.last().map(|one| one.at).max(known.issued),
            failure: state.failures.last().map(|one| one.at).max(known.failure),
        };
        let orders = orders.map(|one| Event { at: one.at, what: What::Order(one) });
        let issued = issued.map(|one| Event { at: one.at, what: What::Issued(one, &state.names) });
        let failures = failures.map(|one| Event { at: one.at, what: What::Failure(one) });
        orders.chain(issued).chain(failures).collect()
    }

    fn take(&mut self, event: &Event<'_>) {
        match &event.what {
            What::Order(order) => {
                let (Some(ca), Some(account)) = (&order.ca, &order.account) else { return };
                if order.exemption == Exemption::None {
                    self.spend(&Key::Orders(ca.clone(), account.clone()), event.at);
                }
            }
            What::Issued(issued, names) => {
                let Some(terms) = &issued.terms else { return };
                for key in of_certificate(&terms.spec.ca, names, terms.exemption) {
                    self.spend(&key, event.at);
                }
            }
            What::Failure(failure) => self.take_failure(failure),
        }
    }

    fn take_failure(&mut self, failure: &Failure) {
        let Some(ca) = &failure.ca else { return };
        if failure.kind == FailureKind::Refused {
            for name in &failure.names {
                for _ in 0..failure.tries.max(1) {
                    self.spend(&Key::Failures(ca.clone(), name.without_wildcard()), failure.at);
                }
            }
        }
        if failure.kind == FailureKind::RateLimited
            && !failure.narrow
            && let Some(until) = failure.not_before
        {
            let closed = self.closed.entry(ca.clone()).or_insert(until);
            *closed = until.max(*closed);
        }
    }

    fn spend(&mut self, key: &Key, at: Timestamp) {
        if Limits::of(key.ca()).is_some() {
            self.bucket(key).spend(at);
        }
    }
}

struct Event<'a> {
    at: Timestamp,
    what: What<'a>,
}

enum What<'a> {
    Order(&'a Placed),
    Issued(&'a Issued, &'a Names),
    Failure(&'a Failure),
}

/// The buckets that an order for the ticket is counted in, or has to find not empty.
fn keys(ticket: &Ticket) -> Vec<Key> {
    if Limits::of(&ticket.ca).is_none() || ticket.is_placed || ticket.exemption == Exemption::Window
    {
        return Vec::new();
    }
    let mut keys = of_certificate(&ticket.ca, &ticket.names, ticket.exemption);
    if ticket.exemption == Exemption::None {
        keys.push(Key::Orders(ticket.ca.clone(), ticket.account.clone()));
    }
    let names: BTreeSet<_> = ticket.names.iter().map(Name::without_wildcard).collect();
    keys.extend(names.into_iter().map(|name| Key::Failures(ticket.ca.clone(), name)));
    keys
}

/// What a certificate costs once it is issued.
fn of_certificate(ca: &str, names: &Names, exemption: Exemption) -> Vec<Key> {
    if exemption == Exemption::Window {
        return Vec::new();
    }
    let mut keys = vec![Key::Exact(ca.to_owned(), Id::of_names(names))];
    if exemption == Exemption::None {
        let domains: BTreeSet<&str> =
            names.iter().map(|name| registered_domain(name.as_str())).collect();
        let key = |domain: &str| Key::Domain(ca.to_owned(), domain.to_owned());
        keys.extend(domains.into_iter().map(key));
    }
    keys
}

/// Which limits an order for these names would not count against. `others`: records of other
/// certificates; `account`: that the order is placed by.
pub fn exemption<'a>(
    (ca, account): (&str, &str),
    names: &Names,
    (state, held): (Option<&'a State>, Option<&Facts>),
    others: impl IntoIterator<Item = &'a State>,
    now: Timestamp,
) -> Exemption {
    let by_us = |issued: &Issued| {
        issued.terms.as_ref().is_none_or(|terms| terms.spec.ca == ca && terms.account == account)
    };
    if let (Some(state), Some(held)) = (state, held)
        && let Some(ari) = state.ari.as_ref().filter(|ari| !ari.refused && ari.is_open(now))
        && held.ari_id.as_ref() == Some(&ari.id)
        && state.issued.iter().any(|one| one.fingerprint == held.fingerprint && by_us(one))
    {
        return Exemption::Window;
    }
    let same = others.into_iter().chain(state).filter(|other| other.names.same_as(names));
    let at_ca = |issued: &&Issued| issued.terms.as_ref().is_none_or(|terms| terms.spec.ca == ca);
    let latest = same.flat_map(|state| state.issued.iter().filter(at_ca)).map(|one| one.at).max();
    match latest {
        Some(at) if now < at + limits::SAME_NAMES => Exemption::SameNames,
        _ => Exemption::None,
    }
}

/// Whether a limit that the CA told of is about the names of one certificate only: it does not
/// close the CA for the others.
pub fn is_about_names(ca: &str, message: &str) -> bool {
    let phrases = ["exact set of", "failed authorizations", "already issued for", "paused"];
    Limits::of(ca).is_some() && phrases.iter().any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests;
