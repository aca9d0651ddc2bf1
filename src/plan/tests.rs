//! Tables: a situation, and what follows from it.

use super::*;
use crate::name::Name;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> Names {
    Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
}

fn facts(from: &str, to: &str) -> Facts {
    let (not_before, not_after) = (at(from), at(to));
    Facts { names: names(&["a.x"]), not_before, not_after, fingerprint: "f".to_owned() }
}

/// Held from 1 January to 1 April 2026, renewed by default on 2 March.
fn held() -> Held {
    Held::Certificate(facts("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z"))
}

fn state() -> State {
    State::new("shop", "le", &names(&["a.x"]))
}

fn failed(kind: FailureKind, times: usize) -> State {
    let at = at("2026-01-01T00:00:00Z");
    let failure = Failure { at, kind, message: "no".to_owned(), not_before: None };
    State { failures: vec![failure; times], ..state() }
}

#[derive(Clone, Copy)]
enum Wanted {
    Yes,
    No,
}

fn ask(wanted: Wanted, held: &Held, state: Option<&State>, now: &str) -> Decision {
    let names = names(&["a.x"]);
    decide(&Question {
        wanted: matches!(wanted, Wanted::Yes).then_some(&names),
        held,
        state,
        certificates_duration: Duration::from_hours(2160),
        remove_after: Duration::from_hours(24),
        host_hold: Duration::from_hours(168),
        now: at(now),
        dice: 0.0,
    })
}

#[track_caller]
fn check(decision: &Decision, step: Step, why: Why, wake: Option<&str>) {
    assert_eq!((decision.step, decision.view.reason), (step, why), "{decision:?}");
    assert_eq!(decision.wake, wake.map(at), "{decision:?}");
}

#[test]
fn nothing_held_is_issued() {
    check(
        &ask(Wanted::Yes, &Held::Nothing, None, "2026-01-01T00:00:00Z"),
        Step::Issue,
        Why::NotIssued,
        None,
    );
}

#[test]
fn a_good_certificate_is_kept_until_a_third_is_left() {
    let decision = ask(Wanted::Yes, &held(), Some(&state()), "2026-03-01T23:59:59Z");
    check(&decision, Step::Nothing, Why::Issued, Some("2026-03-02T00:00:00Z"));
    assert!(decision.view.ready);
    let decision = ask(Wanted::Yes, &held(), Some(&state()), "2026-03-02T00:00:00Z");
    check(&decision, Step::Issue, Why::RenewalDue, Some("2026-04-01T00:00:00Z"));
    assert!(decision.view.ready, "the old one is good while the new one is got");
}

#[test]
fn an_expired_certificate_is_not_ready() {
    let decision = ask(Wanted::Yes, &held(), Some(&state()), "2026-04-01T00:00:00Z");
    check(&decision, Step::Issue, Why::Expired, None);
    assert!(!decision.view.ready);
}

#[test]
fn what_somebody_put_into_the_secret_is_replaced() {
    let unreadable = Held::Unreadable("no key".to_owned());
    let decision = ask(Wanted::Yes, &unreadable, Some(&state()), "2026-01-01T00:00:00Z");
    check(&decision, Step::Issue, Why::SecretUnreadable, None);
    let mut other = facts("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z");
    other.names = names(&["b.x"]);
    let decision =
        ask(Wanted::Yes, &Held::Certificate(other), Some(&state()), "2026-01-01T00:00:00Z");
    assert_eq!((decision.step, decision.view.ready), (Step::Issue, false));
}

#[test]
fn a_refusal_is_tried_again_ever_later() {
    for (times, until) in [
        (1, "2026-01-01T00:01:00Z"),
        (2, "2026-01-01T00:10:00Z"),
        (3, "2026-01-01T01:40:00Z"),
        (4, "2026-01-02T00:00:00Z"),
        (9, "2026-01-02T00:00:00Z"),
    ] {
        let state = failed(FailureKind::Refused, times);
        let decision = ask(Wanted::Yes, &Held::Nothing, Some(&state), "2026-01-01T00:00:30Z");
        check(&decision, Step::Nothing, Why::Failed, Some(until));
        check(
            &ask(Wanted::Yes, &Held::Nothing, Some(&state), until),
            Step::Issue,
            Why::NotIssued,
            None,
        );
    }
}

#[test]
fn an_unreachable_ca_is_tried_again_soon() {
    for (times, until) in
        [(1, "2026-01-01T00:00:05Z"), (2, "2026-01-01T00:00:10Z"), (16, "2026-01-01T00:05:00Z")]
    {
        let state = failed(FailureKind::Unreachable, times);
        let decision = ask(Wanted::Yes, &Held::Nothing, Some(&state), "2026-01-01T00:00:01Z");
        check(&decision, Step::Nothing, Why::Failed, Some(until));
    }
}

#[test]
fn the_word_of_the_ca_when_to_come_back_is_kept() {
    let mut state = failed(FailureKind::RateLimited, 1);
    state.failures[0].not_before = Some(at("2026-01-03T00:00:00Z"));
    let decision = ask(Wanted::Yes, &Held::Nothing, Some(&state), "2026-01-02T00:00:00Z");
    check(&decision, Step::Nothing, Why::RateLimited, Some("2026-01-03T00:00:00Z"));
}

#[test]
fn a_loop_is_broken() {
    let issued = |day: &str| Issued {
        at: at(day),
        fingerprint: String::new(),
        not_after: at("2026-04-01T00:00:00Z"),
    };
    let mut state = state();
    state.issued = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"]
        .map(issued)
        .to_vec();
    let decision = ask(Wanted::Yes, &Held::Nothing, Some(&state), "2026-01-01T03:00:00Z");
    check(&decision, Step::Nothing, Why::LoopSuspected, Some("2026-01-08T00:00:00Z"));
}

#[test]
fn unused_is_noted_then_removed_then_forgotten() {
    let mut state = state();
    let now = "2026-01-02T00:00:00Z";
    check(
        &ask(Wanted::No, &held(), Some(&state), now),
        Step::NoteUnused,
        Why::Unused,
        Some("2026-04-01T00:00:00Z"),
    );
    state.unused_since = Some(at(now));
    let before = ask(Wanted::No, &held(), Some(&state), "2026-01-02T23:59:59Z");
    check(&before, Step::Nothing, Why::Unused, Some("2026-01-03T00:00:00Z"));
    assert_eq!(ask(Wanted::No, &held(), Some(&state), "2026-01-03T00:00:00Z").step, Step::Remove);
    assert_eq!(
        ask(Wanted::Yes, &held(), Some(&state), "2026-01-03T00:00:00Z").step,
        Step::NoteUsed
    );
    state.removed_at = Some(at("2026-01-03T00:00:00Z"));
    let gone = ask(Wanted::No, &Held::Nothing, Some(&state), "2026-01-04T00:00:00Z");
    check(&gone, Step::Nothing, Why::Unused, Some("2026-01-10T00:00:00Z"));
    let gone = ask(Wanted::No, &Held::Nothing, Some(&state), "2026-01-10T00:00:00Z");
    assert_eq!(gone.step, Step::Forget);
}

#[test]
fn the_renewal_follows_the_table_of_the_seed() {
    // A certificate that lives as long as the configuration says.
    for (hours, before_hours) in [
        (8760, 120 * 24),
        (2160, 30 * 24),
        (2159, 10 * 24),
        (720, 10 * 24),
        (719, 24),
        (168, 24),
        (167, 6),
        (24, 6),
    ] {
        let from = at("2026-01-01T00:00:00Z");
        let facts = Facts {
            not_after: from + SignedDuration::from_hours(hours),
            ..facts("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
        };
        let duration = Duration::from_secs(3600 * u64::try_from(hours).unwrap());
        let expected = facts.not_after - SignedDuration::from_hours(before_hours);
        assert_eq!(renewal(&facts, duration, 0.0), expected, "{hours} h");
    }
}

#[test]
fn a_shorter_life_than_configured_is_used_to_its_half_at_least() {
    let day = facts("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let default = Duration::from_hours(2160);
    assert_eq!(renewal(&day, default, 0.0), at("2026-01-01T12:00:00Z"));
    let month = facts("2026-01-01T00:00:00Z", "2026-01-31T00:00:00Z");
    assert_eq!(renewal(&month, default, 0.0), at("2026-01-21T00:00:00Z"));
    assert!(renewal(&month, default, 0.99) < at("2026-01-22T00:00:00Z"));
}
