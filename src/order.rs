//! The state record of one certificate, and the next step of its order.
//!
//! [`next`] is the only place that knows in which order things are done (RFC 8555 §7.4). It is
//! pure: an event comes in, the state that must be stored before anything else happens and the
//! one effect to carry out come out. Resumed after a crash, the first event is what the CA says
//! of the stored order, so nothing that was lost can lead to a second certificate.

mod ari;
mod asked;
mod choice;
mod terms;
mod view;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{Certificate, Facts, Key};
use crate::dns::{Handle, Task};
use crate::name::{Name, Names};
use crate::resolver::ChallengeKind;

pub use ari::{Ari, Polled, Window, after_error, learn};
pub use asked::{Asked, Declined, ask, is_past, outcome};
pub use choice::{Proof, Tried};
pub use terms::{Cause, Change, Exemption, Placed, Spec, Terms};
pub use view::{Chosen, Offer, OrderView, Status, Unproven};

pub use crate::http::shown;

/// Issuances and orders that a record remembers; older ones are forgotten.
const KEEP_ISSUED: usize = 8;
const KEEP_ORDERS: usize = 16;
const KEEP_FAILURES: usize = 8;
/// Of the names that failed at once so many are remembered: a record has a bound.
const KEEP_NAMES: usize = 8;

/// `state.json` of Secret `routecert-state-<id>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Version of this format; a newer one is never overwritten.
    pub v: u32,
    /// Namespace of the routes that want the certificate.
    pub owner: String,
    pub resolver: String,
    pub names: Names,
    /// Kinds of the routes that wanted it last: only their going away is a reason to remove it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// The order in flight. Key and URL are stored before anything is done with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// TXT records that may exist: listed before they are set, until they are known to be gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    /// Challenges that failed since the last success; the next order takes others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Tried>,
    /// The last failures since the last success, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    /// How many there were.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u32,
    /// A rehearsal succeeded since the last failure.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsed: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issued: Vec<Issued>,
    /// Orders that were placed: what the CA's limits count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Placed>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ari: Option<Ari>,
    /// Fingerprint of a certificate that was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<String>,
    /// A changed specification that waits, so that many certificates are not replaced at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changing: Option<Changing>,
    /// Copies in routes' namespaces that we made, by UID.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<CopyRef>,
    /// Since when no route wants the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unused_since: Option<Timestamp>,
    /// Taken over from elsewhere, and no route has wanted it yet: it is not removed before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub taken_over: bool,
    /// When the certificate was deleted; the record outlives it so that its counts are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// What a person asked for. Written by whoever asks, taken away by the leader that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

/// The format that this program writes.
pub const VERSION: u32 = 1;

impl State {
    pub fn new(owner: &str, resolver: &str, names: &Names) -> Self {
        Self {
            v: VERSION,
            owner: owner.to_owned(),
            resolver: resolver.to_owned(),
            names: names.clone(),
            kinds: Vec::new(),
            pending: None,
            records: Vec::new(),
            tried: Vec::new(),
            failures: Vec::new(),
            failed: 0,
            rehearsed: false,
            ari: None,
            revoked: None,
            changing: None,
            issued: Vec::new(),
            orders: Vec::new(),
            copies: Vec::new(),
            unused_since: None,
            taken_over: false,
            removed_at: None,
            asked: None,
        }
    }

    /// Of a certificate that was got by another program.
    pub fn taken_over(owner: &str, resolver: &str, names: &Names) -> Self {
        Self { taken_over: true, ..Self::new(owner, resolver, names) }
    }

    /// How a certificate was issued, if it was by us and is remembered.
    pub fn issuance_of(&self, facts: &Facts) -> Option<&Issued> {
        self.issued.iter().rev().find(|issued| issued.fingerprint == facts.fingerprint)
    }

    /// Lists the records, in place of what was known of them.
    pub fn note_records(&mut self, records: Vec<Record>) {
        for record in records {
            self.records.retain(|known| known.task != record.task);
            self.records.push(record);
        }
    }
}

/// One TXT record of DNS-01.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The resolver whose provider has it.
    #[serde(default)]
    pub resolver: String,
    #[serde(flatten)]
    pub task: Task,
    /// What the provider said when it had set it. `None`: it may have, or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<Handle>,
}

impl Record {
    /// Whether it is what the CA is to see for `proof`.
    pub fn proves(&self, proof: &Proof) -> bool {
        self.task.domain == proof.name.without_wildcard() && self.task.token == proof.token
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// Order URL (RFC 8555 §7.1.3).
    pub url: String,
    /// Directory of the CA that the order was placed at.
    pub ca: String,
    /// Key of the certificate to come.
    pub key: Key,
    pub placed_at: Timestamp,
    /// How each name is to be proven.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub challenges: BTreeMap<Name, ChallengeKind>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

impl Pending {
    pub fn is_rehearsal(&self) -> bool {
        self.terms.as_ref().is_some_and(|terms| terms.rehearsal)
    }
}

/// From when on the certificate is replaced by one of this specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changing {
    pub to: Spec,
    pub due: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    pub at: Timestamp,
    pub kind: FailureKind,
    /// For people; bounded and without control characters.
    pub message: String,
    /// The CA's `Retry-After`, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// Directory of the CA that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// Names that could not be proven; empty: it is about none of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<Name>,
    /// In how many ways each of these failed, one after the other.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub tries: u8,
    /// What the CA limits is only these names, not everything that is asked of it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub narrow: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub rehearsal: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureKind {
    /// The CA could not be asked: nothing counted against a limit.
    Unreachable,
    /// The CA said no, or could not validate a name.
    Refused,
    /// The CA said: not now.
    RateLimited,
}

impl FailureKind {
    /// As metrics name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::Refused => "Refused",
            Self::RateLimited => "RateLimited",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Issued {
    pub at: Timestamp,
    pub fingerprint: String,
    pub not_after: Timestamp,
    /// `None`: not known, as of an imported certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
}

impl Issued {
    pub fn cause(&self) -> Cause {
        self.terms.as_ref().map(|terms| terms.cause).unwrap_or_default()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyRef {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// What happened, told to [`next`].
#[derive(Debug)]
pub enum Event {
    /// The worker begins, or begins again after a restart.
    Begin,
    Placed {
        url: String,
        key: Key,
        at: Timestamp,
        terms: Terms,
    },
    Seen {
        view: OrderView,
        at: Timestamp,
    },
    /// Where the TXT records of these belong.
    Located {
        proofs: Vec<Proof>,
        records: Vec<Record>,
    },
    /// The TXT records are set.
    Recorded {
        proofs: Vec<Proof>,
        records: Vec<Record>,
    },
    /// The answers are visible to whoever looks.
    Presented(Vec<Proof>),
    /// Every authorization is valid or invalid, and the answers are taken away; so are these
    /// records.
    Settled(Vec<Record>),
    Downloaded(Certificate),
    Stored {
        at: Timestamp,
        certificate: Certificate,
        /// What the CA suggests for its renewal, if it was asked and said something.
        ari: Option<Ari>,
    },
}

/// The one thing to do now.
#[derive(Debug)]
pub enum Effect {
    /// newOrder with a new key.
    Place,
    /// Ask the CA for the order and its authorizations.
    Look(Pending),
    /// Find out where TXT records belong.
    Locate(Vec<Proof>),
    /// Set the TXT records that the state lists.
    Record(Vec<Proof>),
    /// Put the answers into the challenge table and wait until all can be seen.
    Present(Vec<Proof>),
    /// Tell the CA, and poll; take each answer away as soon as its authorization is settled.
    Prove(Vec<Proof>),
    /// Send the CSR.
    Finalize(Pending),
    /// Poll the order, which the CA is processing.
    Await(Pending),
    Download(Pending),
    /// Write the certificate Secret.
    Keep(Certificate),
    /// The order cannot be finished.
    GiveUp {
        kind: FailureKind,
        message: String,
        /// Those that could not be proven.
        names: Vec<Name>,
        tries: u8,
    },
    /// The certificate with these facts is stored and counted.
    Done(Facts),
}

impl Effect {
    /// Whether what a CA is to see is made, shown or looked at by it, or may be in a moment.
    pub fn proves(&self) -> bool {
        matches!(
            self,
            Self::Look(_) | Self::Locate(_) | Self::Record(_) | Self::Present(_) | Self::Prove(_)
        )
    }
}

/// The state to store if it differs, and what to do then. `kinds`: the challenges that can be used,
/// the best first.
pub fn next(state: &State, event: Event, kinds: &[ChallengeKind]) -> (State, Effect) {
    let mut state = state.clone();
    let effect = match event {
        Event::Begin => look_or_place(&state),
        Event::Settled(gone) => {
            state.records.retain(|record| !gone.contains(record));
            look_or_place(&state)
        }
        Event::Located { proofs, records } => {
            state.note_records(records);
            Effect::Record(proofs)
        }
        Event::Recorded { proofs, records } => {
            state.note_records(records);
            Effect::Present(proofs)
        }
        Event::Placed { url, key, at, terms } => {
            remember(&mut state.orders, placed(at, &terms), KEEP_ORDERS);
            let challenges = choice::plan(&state.names, kinds, &state.tried, at);
            let ca = terms.spec.ca.clone();
            let terms = Some(terms);
            let pending = Pending { url, ca, key, placed_at: at, challenges, terms };
            state.pending = Some(pending.clone());
            Effect::Look(pending)
        }
        Event::Seen { view, at } => seen(&mut state, view, kinds, at),
        Event::Presented(proofs) => Effect::Prove(proofs),
        Event::Downloaded(certificate) => Effect::Keep(certificate),
        Event::Stored { at, certificate, ari } => {
            count(&mut state, at, certificate.facts());
            state.ari = ari;
            Effect::Done(certificate.facts().clone())
        }
    };
    (state, effect)
}

fn look_or_place(state: &State) -> Effect {
    state.pending.clone().map_or(Effect::Place, Effect::Look)
}

fn seen(state: &mut State, view: OrderView, kinds: &[ChallengeKind], at: Timestamp) -> Effect {
    let Some(pending) = state.pending.clone() else { return Effect::Place };
    match view.status {
        Status::Pending if !view.unproven.is_empty() => {
            proofs(state, pending, &view.unproven, kinds)
        }
        // Every authorization is valid already; the CA is about to see it.
        Status::Pending | Status::Processing => Effect::Await(pending),
        Status::Ready => Effect::Finalize(pending),
        Status::Valid if pending.is_rehearsal() => {
            state.pending = None;
            state.rehearsed = true;
            Effect::Place
        }
        Status::Valid => Effect::Download(pending),
        Status::Invalid => invalid(state, &pending, view, (kinds, at)),
        Status::Gone => {
            state.pending = None;
            Effect::Place
        }
    }
}

fn proofs(
    state: &mut State,
    mut pending: Pending,
    unproven: &[Unproven],
    kinds: &[ChallengeKind],
) -> Effect {
    let chosen = unproven.iter().map(|one| choice::choose(&pending, one, kinds));
    match chosen.collect::<Result<Vec<Proof>, String>>() {
        Ok(proofs) => {
            let taken = proofs.iter().map(|proof| (proof.name.clone(), proof.kind));
            pending.challenges.extend(taken);
            state.pending = Some(pending);
            if proofs.iter().any(|proof| proof.kind == ChallengeKind::Dns01) {
                Effect::Locate(proofs)
            } else {
                Effect::Present(proofs)
            }
        }
        Err(message) => {
            state.pending = None;
            let (names, tries) = (Vec::new(), 0);
            Effect::GiveUp { kind: FailureKind::Refused, message, names, tries }
        }
    }
}

/// Another order at once if each name that failed has a challenge left.
fn invalid(
    state: &mut State,
    pending: &Pending,
    view: OrderView,
    (kinds, at): (&[ChallengeKind], Timestamp),
) -> Effect {
    state.pending = None;
    let mut message = view.problem.unwrap_or_else(|| "the CA gave no reason".to_owned());
    let failed = view.failed;
    for name in &failed {
        let Some(kind) = pending.challenges.get(name) else { continue };
        state.tried.retain(|one| one.name != *name || one.kind != *kind);
        let message = std::mem::take(&mut message);
        state.tried.push(Tried { name: name.clone(), kind: *kind, at, message });
    }
    let more = |name: &Name| {
        pending.challenges.contains_key(name)
            && choice::untried(kinds, name, &state.tried, at).is_some()
    };
    if !failed.is_empty() && failed.iter().all(more) {
        return Effect::Place;
    }
    let told = choice::told(&state.tried, &failed);
    let tries_of = |name: &Name| state.tried.iter().filter(|one| one.name == *name).count();
    let tries = failed.iter().map(tries_of).max().unwrap_or_default();
    let tries = u8::try_from(tries).unwrap_or(u8::MAX).max(1);
    state.tried.retain(|one| !failed.contains(&one.name));
    let message = if told.is_empty() { message } else { told };
    Effect::GiveUp { kind: FailureKind::Refused, message, names: failed, tries }
}

/// Records that the certificate is stored; the order is over.
pub fn count(state: &mut State, at: Timestamp, facts: &Facts) {
    let terms = state.pending.take().and_then(|pending| pending.terms);
    let (fingerprint, not_after) = (facts.fingerprint.clone(), facts.not_after);
    state.issued.push(Issued { at, fingerprint, not_after, terms });
    if state.issued.len() > KEEP_ISSUED {
        // Many renewals that were due must not make the others forgotten.
        let due = state.issued.iter().position(|one| one.cause() == Cause::Due);
        state.issued.remove(due.filter(|due| *due < KEEP_ISSUED).unwrap_or_default());
    }
    state.tried.clear();
    state.failures.clear();
    state.failed = 0;
    state.rehearsed = false;
    state.revoked = None;
    state.changing = None;
    state.unused_since = None;
    state.taken_over = false;
    state.removed_at = None;
    if matches!(state.asked, Some(Asked::Renew { .. })) {
        state.asked = None;
    }
}

/// Records a failure. The order in flight stays if it can still be finished.
pub fn fail(state: &mut State, mut failure: Failure) {
    failure.names.truncate(KEEP_NAMES);
    remember(&mut state.failures, failure, KEEP_FAILURES);
    state.failed = state.failed.saturating_add(1);
    state.rehearsed = false;
}

/// An order as the limits of the CA will count it.
pub fn placed(at: Timestamp, terms: &Terms) -> Placed {
    Placed {
        at,
        ca: Some(terms.spec.ca.clone()),
        account: Some(terms.account.clone()),
        exemption: terms.exemption,
    }
}

/// Whether a rehearsal has to succeed before the CA itself is asked again: it refused, and none
/// succeeded since. A rehearsal that could not be held is not waited for.
pub fn needs_rehearsal(state: &State) -> bool {
    let refused = state.failures.iter().any(|one| one.kind == FailureKind::Refused);
    let last = state.failures.last();
    let not_held = last.is_some_and(|one| one.rehearsal && one.kind != FailureKind::Refused);
    refused && !state.rehearsed && !not_held
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_nothing(number: &u8) -> bool {
    *number == 0
}

fn remember<T>(list: &mut Vec<T>, item: T, keep: usize) {
    list.push(item);
    let surplus = list.len().saturating_sub(keep);
    list.drain(..surplus);
}

#[cfg(test)]
mod tests;
