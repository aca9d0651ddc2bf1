//! The state record of one certificate, and the next step of its order.
//!
//! [`next`] is the only place that knows in which order things are done (RFC 8555 §7.4). It is
//! pure: an event comes in, the state that must be stored before anything else happens and the
//! one effect to carry out come out. Resumed after a crash, the first event is what the CA says
//! of the stored order, so nothing that was lost can lead to a second certificate.

mod ari;
mod terms;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{Certificate, Facts, Key};
use crate::challenge::Answer;
use crate::name::{Name, Names};

pub use ari::{Ari, Polled, Window, after_error, learn};
pub use terms::{Cause, Change, Exemption, Placed, Spec, Terms};

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
    /// Names that could not be proven.
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

/// A pending authorization with its HTTP-01 challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    pub token: String,
    pub answer: Answer,
    pub authorization_url: String,
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
    Seen(OrderView),
    /// The answers are visible to every proxy.
    Presented(Vec<Unproven>),
    /// Every authorization is valid or invalid.
    Settled(Vec<Unproven>),
    Withdrawn,
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
    Present(Vec<Unproven>),
    /// Tell the CA, and poll until each authorization is settled.
    Prove(Vec<Unproven>),
    /// Take the answers away.
    Withdraw(Vec<Unproven>),
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
    },
    /// The certificate with these facts is stored and counted.
    Done(Facts),
}

/// The state to store if it differs, and what to do then.
pub fn next(state: &State, event: Event) -> (State, Effect) {
    let mut state = state.clone();
    let effect = match event {
        Event::Begin | Event::Withdrawn => look_or_place(&state),
        Event::Placed { url, key, at, terms } => {
            remember(&mut state.orders, placed(at, &terms), KEEP_ORDERS);
            let ca = terms.spec.ca.clone();
            let pending = Pending { url, ca, key, placed_at: at, terms: Some(terms) };
            state.pending = Some(pending.clone());
            Effect::Look(pending)
        }
        Event::Seen(view) => seen(&mut state, view),
        Event::Presented(unproven) => Effect::Prove(unproven),
        Event::Settled(unproven) => Effect::Withdraw(unproven),
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

fn seen(state: &mut State, view: OrderView) -> Effect {
    let Some(pending) = state.pending.clone() else { return Effect::Place };
    match view.status {
        Status::Pending if !view.unproven.is_empty() => Effect::Present(view.unproven),
        // Every authorization is valid already; the CA is about to see it.
        Status::Pending | Status::Processing => Effect::Await(pending),
        Status::Ready => Effect::Finalize(pending),
        Status::Valid if pending.is_rehearsal() => {
            state.pending = None;
            state.rehearsed = true;
            Effect::Place
        }
        Status::Valid => Effect::Download(pending),
        Status::Invalid => {
            state.pending = None;
            let message = view.problem.unwrap_or_else(|| "the CA gave no reason".to_owned());
            Effect::GiveUp { kind: FailureKind::Refused, message, names: view.failed }
        }
        Status::Gone => {
            state.pending = None;
            Effect::Place
        }
    }
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

fn remember<T>(list: &mut Vec<T>, item: T, keep: usize) {
    list.push(item);
    let surplus = list.len().saturating_sub(keep);
    list.drain(..surplus);
}

/// Text from a CA or a DNS server as it may be shown: at most 512 bytes, no control characters.
pub fn shown(text: &str) -> String {
    let mut clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if clean.len() > 512 {
        let mut end = 509;
        while !clean.is_char_boundary(end) {
            end -= 1;
        }
        clean.truncate(end);
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::KeyType;
    use crate::name::Name;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

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
            narrow: false,
            rehearsal: false,
        }
    }

    fn placed() -> State {
        let key = Key::generate(KeyType::Ec256).unwrap();
        next(&fresh(), Event::Placed { url: "o".into(), key, at: at(0), terms: terms() }).0
    }

    fn view(status: Status) -> Event {
        let (unproven, failed) = (Vec::new(), Vec::new());
        Event::Seen(OrderView { status, unproven, problem: None, failed })
    }

    #[track_caller]
    fn leads_to(state: &State, event: Event, expected: &str) -> State {
        let (after, effect) = next(state, event);
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
    fn answers_are_taken_away_before_the_order_is_looked_at_again() {
        let state = placed();
        leads_to(&state, Event::Presented(Vec::new()), "Prove");
        leads_to(&state, Event::Settled(Vec::new()), "Withdraw");
        leads_to(&state, Event::Withdrawn, "Look");
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
        let state = next(&state, Event::Placed { url: "o".into(), key, at: at(2), terms }).0;
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

    #[test]
    fn text_from_outside_is_cut_and_cleaned() {
        assert_eq!(shown("a\u{1b}[31m\nb"), "a [31m b");
        assert!(shown(&"é".repeat(1000)).len() <= 512);
    }
}
