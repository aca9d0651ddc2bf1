//! The state record of one certificate, and the next step of its order.
//!
//! [`next`] is the only place that knows in which order things are done (RFC 8555 §7.4). It is
//! pure: an event comes in, the state that must be stored before anything else happens and the
//! one effect to carry out come out. Resumed after a crash, the first event is what the CA says
//! of the stored order, so nothing that was lost can lead to a second certificate.

mod ari;
mod choice;
mod terms;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{Certificate, Facts, Key};
use crate::name::{Name, Names};
use crate::resolver::ChallengeKind;

pub use ari::{Ari, Polled, Window, after_error, learn};
pub use choice::{Proof, Tried};
pub use terms::{Cause, Change, Exemption, Placed, Spec, Terms};

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
    /// When the certificate was deleted; the record outlives it so that its counts are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed_at: Option<Timestamp>,
    /// What a person asked for. Written by whoever asks, taken away by the leader that did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
}

impl State {
    /// How a certificate was issued, if it was by us and is remembered.
    pub fn issuance_of(&self, facts: &Facts) -> Option<&Issued> {
        self.issued.iter().rev().find(|issued| issued.fingerprint == facts.fingerprint)
    }
}

/// `{"what": "renew", "at": …, "force": …}` or `{"what": "revoke", "at": …, "reason": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum Asked {
    /// A new certificate now. `force`: past the back-off and the loop breaker, never past what the
    /// CA said.
    Renew {
        at: Timestamp,
        #[serde(default)]
        force: bool,
    },
    /// Revoked at the CA; replaced if a route wants it, else removed.
    Revoke {
        at: Timestamp,
        /// RFC 5280 §5.3.1, as RFC 8555 §7.6 takes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<u8>,
    },
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
            removed_at: None,
            asked: None,
        }
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

/// What the CA says of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    pub status: Status,
    /// Those that still wait for a challenge.
    pub unproven: Vec<Unproven>,
    /// Why the order is invalid, if it is.
    pub problem: Option<String>,
    /// Names that could not be proven, as the certificate has them.
    pub failed: Vec<Name>,
}

/// RFC 8555 §7.1.6. `Gone`: the CA no longer knows the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Gone,
}

/// A pending authorization (RFC 8555 §7.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    pub authorization_url: String,
    /// What is to be proven, without `*.`.
    pub name: Name,
    /// The order has `*.` before the name.
    pub wildcard: bool,
    /// Challenges of a known kind; one of them is enough.
    pub offers: Vec<Offer>,
}

impl Unproven {
    /// The name as the certificate has it.
    pub fn full_name(&self) -> Name {
        let wildcard = self.wildcard.then(|| Name::parse(&format!("*.{}", self.name)).ok());
        wildcard.flatten().unwrap_or_else(|| self.name.clone())
    }
}

/// A challenge as the CA offers it; none of its text is checked (see [`crate::challenge::is_token`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub kind: ChallengeKind,
    pub url: String,
    pub token: String,
    /// Token and the account key's thumbprint (RFC 8555 §8.1).
    pub key_authorization: String,
}

/// The challenge by which an authorization is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub authorization_url: String,
    pub challenge_url: String,
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
    /// The answers are visible to every proxy.
    Presented(Vec<Proof>),
    /// Every authorization is valid or invalid, and the answers are taken away.
    Settled,
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
    /// Put the answers into the challenge table and wait until they can be seen.
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

/// The state to store if it differs, and what to do then. `kinds`: the challenges that can be used,
/// the best first.
pub fn next(state: &State, event: Event, kinds: &[ChallengeKind]) -> (State, Effect) {
    let mut state = state.clone();
    let effect = match event {
        Event::Begin | Event::Settled => look_or_place(&state),
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
            Effect::Present(proofs)
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
    let more = |name: &Name| choice::untried(kinds, name, &state.tried, at).is_some();
    if !failed.is_empty() && failed.iter().all(more) {
        return Effect::Place;
    }
    let of_failed = state.tried.extract_if(.., |one| failed.contains(&one.name));
    let of_failed: Vec<Tried> = of_failed.collect();
    let tries = failed.iter().map(|name| of_failed.iter().filter(|one| one.name == *name).count());
    let tries = u8::try_from(tries.max().unwrap_or_default()).unwrap_or(u8::MAX).max(1);
    let told = of_failed.iter().filter(|one| !one.message.is_empty());
    let told: Vec<String> =
        told.map(|one| format!("{}: {}", one.kind.as_str(), one.message)).collect();
    let message = if message.is_empty() { told.join("; ") } else { message };
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
mod tests {
    use super::*;
    use crate::cert::KeyType;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    const ALL: [ChallengeKind; 3] =
        [ChallengeKind::TlsAlpn01, ChallengeKind::Http01, ChallengeKind::Dns01];

    fn fresh() -> State {
        State::new("shop", "le", &Names::new([Name::parse("a.x").unwrap()]).unwrap())
    }

    fn terms() -> Terms {
        Terms {
            spec: Spec {
                ca: "c".to_owned(),
                key_type: KeyType::Ec256,
                profile: None,
                explicit: Vec::new(),
            },
            cause: Cause::Other,
            exemption: Exemption::None,
            account: "a".to_owned(),
            fallback: None,
            rehearsal: false,
        }
    }

    fn refused() -> Failure {
        Failure {
            at: at(1),
            kind: FailureKind::Refused,
            message: String::new(),
            not_before: None,
            ca: None,
            names: Vec::new(),
            tries: 0,
            narrow: false,
            rehearsal: false,
        }
    }

    fn placed() -> State {
        let key = Key::generate(KeyType::Ec256).unwrap();
        let event = Event::Placed { url: "o".into(), key, at: at(0), terms: terms() };
        next(&fresh(), event, &ALL).0
    }

    fn view(status: Status) -> Event {
        let (unproven, failed) = (Vec::new(), Vec::new());
        Event::Seen { view: OrderView { status, unproven, problem: None, failed }, at: at(0) }
    }

    #[track_caller]
    fn leads_to(state: &State, event: Event, expected: &str) -> State {
        let (after, effect) = next(state, event, &ALL);
        let shown = format!("{effect:?}");
        assert!(shown.starts_with(expected), "{shown}");
        after
    }

    #[test]
    fn an_order_and_its_key_are_in_the_state_before_it_is_looked_at() {
        let state = leads_to(&fresh(), Event::Begin, "Place");
        assert_eq!(state, fresh());
        let state = placed();
        assert_eq!(state.pending.as_ref().unwrap().url, "o");
        assert_eq!(state.orders, [super::placed(at(0), &terms())]);
        leads_to(&state, Event::Begin, "Look");
    }

    #[test]
    fn the_status_at_the_ca_decides_where_an_order_goes_on() {
        let state = placed();
        leads_to(&state, view(Status::Pending), "Await");
        leads_to(&state, view(Status::Ready), "Finalize");
        leads_to(&state, view(Status::Processing), "Await");
        leads_to(&state, view(Status::Valid), "Download");
        let after = leads_to(&state, view(Status::Invalid), "GiveUp");
        assert!(after.pending.is_none());
        let after = leads_to(&state, view(Status::Gone), "Place");
        assert!(after.pending.is_none());
    }

    #[test]
    fn the_ca_is_told_once_the_answers_can_be_seen() {
        let state = placed();
        leads_to(&state, Event::Presented(Vec::new()), "Prove");
        leads_to(&state, Event::Settled, "Look");
    }

    /// An authorization for `name` that offers challenges of these kinds.
    fn unproven(name: &str, offered: &[ChallengeKind]) -> Unproven {
        let offer = |kind: &ChallengeKind| Offer {
            kind: *kind,
            url: kind.as_str().to_owned(),
            token: "t".to_owned(),
            key_authorization: "t.k".to_owned(),
        };
        let wildcard = name.starts_with("*.");
        Unproven {
            authorization_url: name.to_owned(),
            name: Name::parse(name.trim_start_matches("*.")).unwrap(),
            wildcard,
            offers: offered.iter().map(offer).collect(),
        }
    }

    fn pending_with(unproven: Vec<Unproven>) -> Event {
        let view =
            OrderView { status: Status::Pending, unproven, problem: None, failed: Vec::new() };
        Event::Seen { view, at: at(1) }
    }

    fn failed(names: &[&str], second: i64) -> Event {
        let failed = names.iter().map(|name| Name::parse(name).unwrap()).collect();
        let problem = Some(format!("no at {second}"));
        let view = OrderView { status: Status::Invalid, unproven: Vec::new(), problem, failed };
        Event::Seen { view, at: at(second) }
    }

    /// A new order, and how it proves its names, as its state says.
    fn place(state: &State, kinds: &[ChallengeKind], second: i64) -> (State, String) {
        let key = Key::generate(KeyType::Ec256).unwrap();
        let event = Event::Placed { url: "o".into(), key, at: at(second), terms: terms() };
        let state = next(state, event, kinds).0;
        let challenges = state.pending.as_ref().unwrap().challenges.iter();
        let told = challenges.map(|(name, kind)| format!("{name} {}", kind.as_str()));
        let told = told.collect::<Vec<_>>().join(", ");
        (state, told)
    }

    fn names(texts: &[&str]) -> Names {
        Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
    }

    #[test]
    fn wildcards_are_proven_by_dns_01_and_the_rest_by_the_first_that_can_be_used() {
        let state = State::new("shop", "le", &names(&["a.x", "*.a.x"]));
        let (state, told) = place(&state, &ALL, 0);
        assert_eq!(told, "*.a.x dns-01, a.x tls-alpn-01");
        let both = vec![unproven("a.x", &ALL), unproven("*.a.x", &ALL[2..])];
        let (after, effect) = next(&state, pending_with(both), &ALL);
        assert_eq!(after, state, "what is chosen is stored with the order");
        let Effect::Present(proofs) = effect else { panic!("{effect:?}") };
        let told: Vec<_> = proofs.iter().map(|it| (it.name.as_str(), it.kind)).collect();
        assert_eq!(told, [("a.x", ChallengeKind::TlsAlpn01), ("*.a.x", ChallengeKind::Dns01)]);
        assert_eq!(proofs[0].chosen.challenge_url, "tls-alpn-01");
    }

    #[test]
    fn what_the_ca_does_not_offer_gives_way_to_what_it_does() {
        let (state, _) = place(&fresh(), &ALL, 0);
        let offered = vec![unproven("a.x", &[ChallengeKind::Dns01, ChallengeKind::Http01])];
        let (after, effect) = next(&state, pending_with(offered), &ALL);
        assert!(matches!(&effect, Effect::Present(it) if it[0].kind == ChallengeKind::Http01));
        let stored = after.pending.unwrap().challenges;
        assert!(stored.values().eq([&ChallengeKind::Http01]));
        let only = vec![unproven("a.x", &ALL[2..])];
        let (after, effect) = next(&state, pending_with(only), &ALL[..2]);
        let Effect::GiveUp { message, .. } = effect else { panic!("{effect:?}") };
        assert!(message.starts_with("a.x: ") && message.contains("tls-alpn-01, http-01"));
        assert!(after.pending.is_none(), "such an order is of no use");
    }

    #[test]
    fn a_challenge_that_failed_is_followed_by_the_next_one_at_once() {
        let state = State::new("shop", "le", &names(&["a.x", "b.x"]));
        let (state, told) = place(&state, &ALL, 0);
        assert_eq!(told, "a.x tls-alpn-01, b.x tls-alpn-01");
        let state = leads_to(&state, failed(&["b.x"], 1), "Place");
        let (state, told) = place(&state, &ALL, 2);
        assert_eq!(told, "a.x tls-alpn-01, b.x http-01");
        let state = leads_to(&state, failed(&["b.x"], 3), "Place");
        let (state, told) = place(&state, &ALL, 4);
        assert_eq!(told, "a.x tls-alpn-01, b.x dns-01");
        let told = "tls-alpn-01: no at 1; http-01: no at 3; dns-01: no at 5";
        let expected = format!("GiveUp {{ kind: Refused, message: \"{told}\"");
        let state = leads_to(&state, failed(&["b.x"], 5), &expected);
        let (_, told) = place(&state, &ALL, 60);
        assert_eq!(told, "a.x tls-alpn-01, b.x tls-alpn-01", "after the pause from the start");
    }

    #[test]
    fn one_name_without_a_challenge_left_ends_it_and_another_day_begins_anew() {
        let state = State::new("shop", "le", &names(&["a.x", "*.a.x"]));
        let (state, _) = place(&state, &ALL, 0);
        leads_to(&state, failed(&["a.x", "*.a.x"], 1), "GiveUp");
        let state = leads_to(&state, failed(&["a.x"], 1), "Place");
        assert_eq!(place(&state, &ALL, 2).1, "*.a.x dns-01, a.x http-01");
        assert_eq!(place(&state, &ALL, 86_500).1, "*.a.x dns-01, a.x tls-alpn-01");
    }

    #[test]
    fn a_token_that_is_none_is_refused_where_it_is_chosen() {
        let (state, _) = place(&fresh(), &ALL, 0);
        let mut bad = unproven("a.x", &ALL);
        bad.offers[1].token = "../x".to_owned();
        leads_to(&state, pending_with(vec![bad.clone()]), "Present");
        bad.offers[0].token = "../x".to_owned();
        leads_to(&state, pending_with(vec![bad]), "GiveUp");
    }

    #[test]
    fn a_stored_certificate_ends_the_order_and_forgets_the_failures() {
        let mut state = placed();
        fail(&mut state, refused());
        let certificate = Certificate::self_signed(&state.names, at(2), 90).unwrap();
        let state = leads_to(&state, Event::Stored { at: at(3), certificate, ari: None }, "Done");
        assert!(state.pending.is_none() && state.failures.is_empty());
        assert_eq!(state.issued.len(), 1);
    }

    #[test]
    fn a_record_stays_small() {
        let mut state = placed();
        for second in 0..100 {
            remember(&mut state.orders, super::placed(at(second), &terms()), KEEP_ORDERS);
        }
        assert_eq!(state.orders.len(), KEEP_ORDERS);
        assert_eq!(state.orders.last().unwrap().at, at(99));
    }

    #[test]
    fn a_record_of_the_longest_names_and_messages_stays_within_64_kib() {
        let long = |n: usize| format!("{n:03}.{}.{0}.{0}.{}.x", "a".repeat(61), "b".repeat(58));
        let long: Vec<Name> = (0..100).map(|n| Name::parse(&long(n)).unwrap()).collect();
        let mut state = State::new("shop", "le", &Names::new(long.clone()).unwrap());
        let mut terms = terms();
        terms.spec.ca = format!("https://{}", "c".repeat(100));
        terms.account = "d".repeat(40);
        for second in 0..40 {
            remember(&mut state.orders, super::placed(at(second), &terms), KEEP_ORDERS);
            let certificate = Facts {
                names: state.names.clone(),
                not_before: at(0),
                not_after: at(1),
                fingerprint: "e".repeat(64),
                key_type: None,
                ari_id: None,
            };
            count(&mut state, at(second), &certificate);
        }
        for _ in 0..40 {
            let message = shown(&"\"".repeat(1000));
            fail(&mut state, Failure { message, names: long.clone(), ..refused() });
        }
        let length = serde_json::to_string(&state).unwrap().len();
        assert!(length <= 64 * 1024, "{length}");
        assert_eq!(state.failed, 40);
    }

    #[test]
    fn due_renewals_do_not_make_the_others_forgotten() {
        let mut state = fresh();
        let facts = Certificate::self_signed(&state.names, at(0), 1).unwrap().facts().clone();
        for second in 0..30 {
            state = State { pending: placed().pending, ..state };
            let cause = if second == 3 { Cause::Other } else { Cause::Due };
            let terms = Some(Terms { cause, ..terms() });
            state.pending = state.pending.map(|pending| Pending { terms, ..pending });
            count(&mut state, at(second), &facts);
        }
        assert_eq!(state.issued.len(), KEEP_ISSUED);
        assert_eq!(state.issued.first().unwrap().at, at(3));
        assert_eq!(state.issued.last().unwrap().at, at(29));
    }

    #[test]
    fn a_rehearsal_comes_after_a_refusal_and_its_certificate_is_not_fetched() {
        let mut state = fresh();
        assert!(!needs_rehearsal(&state));
        fail(&mut state, refused());
        assert!(needs_rehearsal(&state));
        let key = Key::generate(KeyType::Ec256).unwrap();
        let terms = Terms { rehearsal: true, ..terms() };
        let state = next(&state, Event::Placed { url: "o".into(), key, at: at(2), terms }, &ALL).0;
        leads_to(&state, view(Status::Ready), "Finalize");
        let mut state = leads_to(&state, view(Status::Valid), "Place");
        assert!(state.pending.is_none() && !needs_rehearsal(&state));
        fail(&mut state, refused());
        assert!(needs_rehearsal(&state), "the CA itself refused again");
        let kind = FailureKind::Unreachable;
        fail(&mut state, Failure { kind, rehearsal: true, ..refused() });
        assert!(!needs_rehearsal(&state), "where no rehearsal can be held none is waited for");
    }

    #[test]
    fn what_a_person_asks_for_is_readable_and_needs_no_more_than_it_says() {
        let at = "2027-01-15T08:00:00Z".parse().unwrap();
        for (json, asked) in [
            (r#"{"what":"renew","at":"2027-01-15T08:00:00Z"}"#, Asked::Renew { at, force: false }),
            (
                r#"{"what":"revoke","at":"2027-01-15T08:00:00Z","reason":1}"#,
                Asked::Revoke { at, reason: Some(1) },
            ),
        ] {
            assert_eq!(serde_json::from_str::<Asked>(json).unwrap(), asked);
        }
        let without = serde_json::to_value(fresh()).unwrap();
        assert_eq!(without.get("asked"), None);
    }
}
