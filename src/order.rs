//! The state record of one certificate, and the next step of its order.
//!
//! [`next`] is the only place that knows in which order things are done (RFC 8555 §7.4). It is
//! pure: an event comes in, the state that must be stored before anything else happens and the
//! one effect to carry out come out. Resumed after a crash, the first event is what the CA says
//! of the stored order, so nothing that was lost can lead to a second certificate.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::cert::{Certificate, Facts, Key};
use crate::challenge::Answer;
use crate::name::Names;

/// Issuances and orders that a record remembers; older ones are forgotten.
const KEEP_ISSUED: usize = 8;
const KEEP_ORDERS: usize = 16;

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
    /// Failures since the last success, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<Failure>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issued: Vec<Issued>,
    /// When orders were placed: what the CA's limits count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Timestamp>,
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
        ca: String,
        key: Key,
        at: Timestamp,
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
    },
    /// The certificate with these facts is stored and counted.
    Done(Facts),
}

/// The state to store if it differs, and what to do then.
pub fn next(state: &State, event: Event) -> (State, Effect) {
    let mut state = state.clone();
    let effect = match event {
        Event::Begin | Event::Withdrawn => look_or_place(&state),
        Event::Placed { url, ca, key, at } => {
            remember(&mut state.orders, at, KEEP_ORDERS);
            let pending = Pending { url, ca, key, placed_at: at };
            state.pending = Some(pending.clone());
            Effect::Look(pending)
        }
        Event::Seen(view) => seen(&mut state, view),
        Event::Presented(unproven) => Effect::Prove(unproven),
        Event::Settled(unproven) => Effect::Withdraw(unproven),
        Event::Downloaded(certificate) => Effect::Keep(certificate),
        Event::Stored { at, certificate } => {
            count(&mut state, at, certificate.facts());
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
        Status::Valid => Effect::Download(pending),
        Status::Invalid => {
            state.pending = None;
            let message = view.problem.unwrap_or_else(|| "the CA gave no reason".to_owned());
            Effect::GiveUp { kind: FailureKind::Refused, message }
        }
        Status::Gone => {
            state.pending = None;
            Effect::Place
        }
    }
}

/// Records that the certificate is stored; the order is over.
fn count(state: &mut State, at: Timestamp, facts: &Facts) {
    let issued = Issued { at, fingerprint: facts.fingerprint.clone(), not_after: facts.not_after };
    remember(&mut state.issued, issued, KEEP_ISSUED);
    state.pending = None;
    state.failures.clear();
    state.unused_since = None;
    state.removed_at = None;
}

/// Records a failure. The order in flight stays if it can still be finished.
pub fn fail(state: &mut State, failure: Failure) {
    remember(&mut state.failures, failure, KEEP_ORDERS);
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

    fn placed() -> State {
        let key = Key::generate(KeyType::Ec256).unwrap();
        let event = Event::Placed { url: "o".into(), ca: "c".into(), key, at: at(0) };
        next(&fresh(), event).0
    }

    fn view(status: Status) -> Event {
        Event::Seen(OrderView { status, unproven: Vec::new(), problem: None })
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
        assert_eq!(state.orders, [at(0)]);
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
        let failure = Failure {
            at: at(1),
            kind: FailureKind::Refused,
            message: String::new(),
            not_before: None,
        };
        fail(&mut state, failure);
        let certificate = Certificate::self_signed(&state.names, at(2), 90).unwrap();
        let state = leads_to(&state, Event::Stored { at: at(3), certificate }, "Done");
        assert!(state.pending.is_none() && state.failures.is_empty());
        assert_eq!(state.issued.len(), 1);
    }

    #[test]
    fn a_record_stays_small() {
        let mut state = placed();
        for second in 0..100 {
            remember(&mut state.orders, at(second), KEEP_ORDERS);
        }
        assert_eq!(state.orders.len(), KEEP_ORDERS);
        assert_eq!(state.orders.last(), Some(&at(99)));
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
