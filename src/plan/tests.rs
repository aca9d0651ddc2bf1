//! Tables: a situation, and what follows from it.

mod chain;
mod pauses;
mod times;

use super::*;
use crate::cert::KeyType;
use crate::name::Name;
use crate::order::{Exemption, Failure, FailureKind, Issued, Terms};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> Names {
    Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
}

fn facts(from: &str, to: &str) -> Facts {
    let (not_before, not_after) = (at(from), at(to));
    Facts {
        names: names(&["a.x"]),
        not_before,
        not_after,
        fingerprint: "f".to_owned(),
        key_type: Some(KeyType::Ec256),
        ari_id: Some("one".to_owned()),
    }
}

/// Held for 90 days from 1 January 2026, renewed by default on 2 March.
fn held() -> Held {
    Held::Certificate(facts("2026-01-01T00:00:00Z", "2026-03-31T23:59:59Z"))
}

fn spec() -> Spec {
    let ca = "https://ca.example/dir".to_owned();
    Spec { ca, key_type: KeyType::Ec256, profile: None, explicit: Vec::new() }
}

fn issued(at_: &str, cause: Cause) -> Issued {
    Issued {
        at: at(at_),
        fingerprint: "f".to_owned(),
        not_after: at("2026-03-31T23:59:59Z"),
        terms: Some(Terms {
            spec: spec(),
            cause,
            exemption: Exemption::None,
            account: "account".to_owned(),
            fallback: None,
            rehearsal: false,
        }),
    }
}

fn state() -> State {
    State::new("shop", "le", &names(&["a.x"]))
}

fn failed(kind: FailureKind, times: usize) -> State {
    let at = at("2026-01-01T00:00:00Z");
    let failure = Failure {
        at,
        kind,
        message: "no".to_owned(),
        not_before: None,
        ca: None,
        names: Vec::new(),
        tries: 0,
        narrow: false,
        rehearsal: false,
    };
    let failed = u32::try_from(times).unwrap();
    State { failures: vec![failure; times], failed, ..state() }
}

#[derive(Clone, Copy)]
enum Wanted {
    Yes,
    No,
}

/// Nothing else is known, and chance is such that no time is moved.
fn question<'a>(held: &'a Held, state: Option<&'a State>, now: &str) -> Question<'a> {
    Question {
        wanted: None,
        held,
        state,
        of_same_names: &[],
        crowd: 0,
        expected: Expected { duration: Duration::from_hours(2160), is_explicit: true },
        has_fallback: false,
        remove_after: Duration::from_hours(24),
        host_hold: Duration::from_hours(168),
        now: at(now),
        dice: 0.0,
    }
}

const ISSUE: Step = Step::Issue(Grounds { class: Class::First, cause: Cause::Other });

fn wants(names: &Names) -> super::Wanted<'_> {
    super::Wanted { names, spec: Some(spec()) }
}

fn ask(wanted: Wanted, held: &Held, state: Option<&State>, now: &str) -> Decision {
    let names = names(&["a.x"]);
    let question = question(held, state, now);
    let wanted = if matches!(wanted, Wanted::Yes) { Some(wants(&names)) } else { None };
    decide(&Question { wanted, ..question })
}

#[track_caller]
fn check(decision: &Decision, step: &Step, why: Why, wake: Option<&str>) {
    let (shown, is) = (format!("{decision:?}"), &decision.step);
    let same = is == step || matches!((is, step), (Step::Issue(_), Step::Issue(_)));
    assert!(same, "{shown}");
    assert_eq!(decision.view.reason, why, "{shown}");
    assert_eq!(decision.wake, wake.map(at), "{decision:?}");
}

#[test]
fn nothing_held_is_issued() {
    check(
        &ask(Wanted::Yes, &Held::Nothing, None, "2026-01-01T00:00:00Z"),
        &ISSUE,
        Why::NotIssued,
        None,
    );
}

#[test]
fn a_good_certificate_is_kept_until_a_third_is_left() {
    let decision = ask(Wanted::Yes, &held(), Some(&state()), "2026-03-01T23:59:58Z");
    check(&decision, &Step::Nothing, Why::Issued, Some("2026-03-01T23:59:59Z"));
    assert!(decision.view.ready);
    let decision = ask(Wanted::Yes, &held(), Some(&state()), "2026-03-02T00:00:00Z");
    check(&decision, &ISSUE, Why::RenewalDue, Some("2026-03-31T23:59:59Z"));
    assert!(decision.view.ready, "the old one is good while the new one is got");
}

#[test]
fn an_expired_certificate_is_not_ready() {
    let decision = ask(Wanted::Yes, &held(), Some(&state()), "2026-04-01T00:00:00Z");
    check(&decision, &ISSUE, Why::Expired, None);
    assert!(!decision.view.ready);
}

#[test]
fn what_somebody_put_into_the_secret_is_replaced() {
    let unreadable = Held::Unreadable("no key".to_owned());
    let decision = ask(Wanted::Yes, &unreadable, Some(&state()), "2026-01-01T00:00:00Z");
    check(&decision, &ISSUE, Why::SecretUnreadable, None);
    let mut other = facts("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z");
    other.names = names(&["b.x"]);
    let decision =
        ask(Wanted::Yes, &Held::Certificate(other), Some(&state()), "2026-01-01T00:00:00Z");
    assert_eq!((decision.step, decision.view.ready), (ISSUE, false));
}

#[test]
fn unused_is_noted_then_removed_then_forgotten() {
    let mut state = state();
    let now = "2026-01-02T00:00:00Z";
    check(
        &ask(Wanted::No, &held(), Some(&state), now),
        &Step::NoteUnused,
        Why::Unused,
        Some("2026-03-31T23:59:59Z"),
    );
    state.unused_since = Some(at(now));
    let before = ask(Wanted::No, &held(), Some(&state), "2026-01-02T23:59:59Z");
    check(&before, &Step::Nothing, Why::Unused, Some("2026-01-03T00:00:00Z"));
    assert_eq!(ask(Wanted::No, &held(), Some(&state), "2026-01-03T00:00:00Z").step, Step::Remove);
    assert_eq!(
        ask(Wanted::Yes, &held(), Some(&state), "2026-01-03T00:00:00Z").step,
        Step::NoteUsed
    );
    state.removed_at = Some(at("2026-01-03T00:00:00Z"));
    let gone = ask(Wanted::No, &Held::Nothing, Some(&state), "2026-01-04T00:00:00Z");
    check(&gone, &Step::Nothing, Why::Unused, Some("2026-01-10T00:00:00Z"));
    let gone = ask(Wanted::No, &Held::Nothing, Some(&state), "2026-01-10T00:00:00Z");
    assert_eq!(gone.step, Step::Forget);
}
