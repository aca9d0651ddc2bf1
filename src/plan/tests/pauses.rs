//! What holds an order back, and for how long.

use super::*;

const START: &str = "2026-01-01T00:00:00Z";

fn after(seconds: i64) -> Timestamp {
    at(START) + SignedDuration::from_secs(seconds)
}

fn with(state: &State, dice: f64, now: Timestamp) -> Decision {
    let names = names(&["a.x"]);
    let held = Held::Nothing;
    decide(&Question {
        wanted: Some(wants(&names)),
        now,
        dice,
        ..question(&held, Some(state), START)
    })
}

#[test]
fn a_refusal_is_tried_again_ever_later_give_or_take_a_tenth() {
    for (times, seconds) in [(1, 60), (2, 600), (3, 6000), (4, 86_400), (8, 86_400)] {
        let state = failed(FailureKind::Refused, times);
        let mut seen = Vec::new();
        for dice in [0.0, 0.1, 0.3, 0.5, 0.7, 0.9] {
            let decision = with(&state, dice, after(30));
            assert_eq!((decision.step, decision.view.reason), (Step::Nothing, Why::Failed));
            let wait = decision.wake.unwrap().duration_since(after(0)).as_secs();
            assert!(wait >= seconds * 9 / 10 - 1 && wait <= seconds * 11 / 10, "{times}: {wait}");
            seen.push(wait);
            let again = with(&state, dice, decision.wake.unwrap());
            assert!(matches!(again.step, Step::Issue(Grounds { class: Class::Retry, .. })));
        }
        seen.dedup();
        assert!(seen.len() > 3, "many are spread: {seen:?}");
    }
}

#[test]
fn an_unreachable_ca_is_tried_again_soon() {
    for (times, seconds) in [(1, 5), (2, 10), (8, 300)] {
        let decision = with(&failed(FailureKind::Unreachable, times), 0.5, after(1));
        let wait = decision.wake.unwrap().duration_since(after(0)).as_secs();
        assert!(wait >= seconds * 9 / 10 - 1 && wait <= seconds * 11 / 10, "{times}: {wait}");
    }
}

#[test]
fn the_word_of_the_ca_when_to_come_back_is_kept_even_if_a_person_insists() {
    let mut state = failed(FailureKind::RateLimited, 1);
    state.failures[0].not_before = Some(at("2026-01-03T00:00:00Z"));
    state.asked = Some(Asked::Renew { at: at("2026-01-02T00:00:00Z"), force: true });
    let decision = ask(Wanted::Yes, &Held::Nothing, Some(&state), "2026-01-02T00:00:00Z");
    check(&decision, &Step::Nothing, Why::RateLimited, Some("2026-01-03T00:00:00Z"));
}

#[test]
fn a_person_who_insists_passes_the_back_off_once() {
    let mut state = failed(FailureKind::Refused, 3);
    state.asked = Some(Asked::Renew { at: after(10), force: true });
    assert!(matches!(with(&state, 0.5, after(20)).step, Step::Issue(_)));
    let last = state.failures[0].clone();
    state.failures.push(Failure { at: after(25), ..last });
    assert_eq!(with(&state, 0.5, after(30)).step, Step::Nothing, "it failed since");
    state.asked = Some(Asked::Renew { at: after(28), force: false });
    assert_eq!(with(&state, 0.5, after(30)).step, Step::Nothing);
}

#[test]
fn a_renewal_that_is_due_is_tried_at_least_once_per_interval_of_the_table() {
    let week = Expected { duration: Duration::from_hours(168), is_explicit: true };
    let facts = facts(START, "2026-01-07T23:59:59Z");
    let held = Held::Certificate(facts);
    let mut state = failed(FailureKind::Refused, 8);
    let now = at("2026-01-07T12:00:00Z");
    for failure in &mut state.failures {
        failure.at = now;
    }
    let names = names(&["a.x"]);
    let ask = |state: &State| {
        let now = now + SignedDuration::from_secs(1);
        let question = question(&held, Some(state), START);
        decide(&Question { wanted: Some(wants(&names)), expected: week, now, ..question })
    };
    assert_eq!(ask(&state).wake, Some(at("2026-01-07T13:00:00Z")));
    state.failed = 200;
    let wake = ask(&state).wake;
    assert_eq!(wake, Some(at("2026-01-07T23:59:59Z")), "who never gives up is paused by the CA");
}

#[test]
fn a_name_that_failed_holds_back_the_certificates_that_have_it_and_no_others() {
    let bad = Name::parse("bad.x").unwrap();
    let mut other = State::new("shop", "le", &names(&["bad.x", "b.x"]));
    other.failures = failed(FailureKind::Refused, 2).failures;
    for failure in &mut other.failures {
        failure.names = vec![bad.clone()];
    }
    let others = [&other];
    let ask = |texts: &[&str], state: Option<&State>| {
        let names = names(texts);
        let held = Held::Nothing;
        let question = question(&held, state, START);
        decide(&Question {
            wanted: Some(wants(&names)),
            of_same_names: &others,
            now: after(60),
            dice: 0.5,
            ..question
        })
    };
    let held_back = ask(&["bad.x", "c.x"], None);
    assert_eq!((held_back.step, held_back.view.reason), (Step::Nothing, Why::Failed));
    assert!(held_back.view.message.contains("bad.x could not be proven"));
    assert!(matches!(ask(&["b.x", "c.x"], None).step, Step::Issue(_)));
    // Somebody proved it since.
    let mut proven = State::new("shop", "le", &names(&["bad.x", "c.x"]));
    proven.issued = vec![issued("2026-01-01T00:00:30Z", Cause::Due)];
    assert!(matches!(ask(&["bad.x", "c.x"], Some(&proven)).step, Step::Issue(_)));
}

#[test]
fn which_of_several_names_failed_is_told() {
    let mut state = failed(FailureKind::Refused, 1);
    state.failures[0].names = vec![Name::parse("bad.x").unwrap()];
    let message = with(&state, 0.5, after(1)).view.message;
    assert!(message.starts_with("bad.x: no; tried again after 2026-01-01T00:0"), "{message}");
}

fn got(times: &[(&str, Cause)]) -> State {
    State { issued: times.iter().map(|(at, cause)| issued(at, *cause)).collect(), ..state() }
}

#[test]
fn a_loop_is_broken_unless_a_person_insists() {
    let three = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"];
    let mut state = got(&three.map(|at| (at, Cause::Other)));
    let now = "2026-01-01T03:00:00Z";
    for held in [Held::Nothing, Held::KeyMismatch, Held::Unreadable(String::new())] {
        let decision = ask(Wanted::Yes, &held, Some(&state), now);
        check(&decision, &Step::Nothing, Why::LoopSuspected, Some("2026-01-08T00:00:00Z"));
    }
    state.asked = Some(Asked::Renew { at: at(now), force: true });
    let decision = ask(Wanted::Yes, &Held::Nothing, Some(&state), now);
    assert_eq!(decision.step, Step::Issue(Grounds { class: Class::First, cause: Cause::Forced }));
}

#[test]
fn renewals_that_were_due_and_forced_ones_are_no_loop() {
    let many = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z", "2026-01-01T02:00:00Z"];
    for cause in [Cause::Due, Cause::Forced] {
        let state = got(&many.map(|at| (at, cause)));
        let decision = ask(Wanted::Yes, &Held::Nothing, Some(&state), "2026-01-01T03:00:00Z");
        assert!(matches!(decision.step, Step::Issue(_)), "{decision:?}");
    }
}

#[test]
fn an_old_certificate_put_back_again_and_again_is_a_loop_too() {
    let state = got(&[("2026-03-20T00:00:00Z", Cause::Due)]);
    let mut new = state.issued[0].clone();
    new.not_after = at("2026-06-18T00:00:00Z");
    let state = State { issued: vec![new], ..state };
    let decision = ask(Wanted::Yes, &held(), Some(&state), "2026-03-20T00:01:00Z");
    let Step::Issue(grounds) = decision.step else { panic!("{decision:?}") };
    assert_eq!((decision.view.reason, grounds.cause), (Why::RenewalDue, Cause::Other));
}

#[test]
fn one_set_of_names_counts_as_one_whoever_wants_it() {
    let mut other = got(&[(START, Cause::Other), ("2026-01-01T00:00:10Z", Cause::Other)]);
    other.resolver = "another".to_owned();
    let own = got(&[("2026-01-01T00:00:20Z", Cause::Other)]);
    let names = names(&["a.x"]);
    let others = [&other];
    let held = Held::Nothing;
    let question = Question {
        wanted: Some(wants(&names)),
        of_same_names: &others,
        ..question(&held, Some(&own), "2026-01-01T00:01:00Z")
    };
    let decision = decide(&question);
    check(&decision, &Step::Nothing, Why::LoopSuspected, Some("2026-01-08T00:00:00Z"));
}

#[test]
fn a_fallback_has_its_turn_when_the_first_failed_again_and_is_held_back_by_nothing() {
    let names = names(&["a.x"]);
    let held = Held::Nothing;
    let ask = |state: &State, has_fallback| {
        let now = after(1);
        let question = question(&held, Some(state), START);
        decide(&Question { wanted: Some(wants(&names)), has_fallback, now, dice: 0.5, ..question })
            .step
    };
    let ca = spec().ca;
    for (times, uses, goes) in
        [(1, false, false), (2, true, true), (3, false, false), (4, true, false)]
    {
        let state = failed(FailureKind::Refused, times);
        assert_eq!(uses_fallback(&state, &ca), uses, "{times}");
        assert_eq!(matches!(ask(&state, true), Step::Issue(_)), goes, "{times}");
        assert!(!matches!(ask(&state, false), Step::Issue(_)), "{times}");
    }
    let mut limited = failed(FailureKind::RateLimited, 1);
    limited.failures[0].ca = Some(ca.clone());
    limited.failures[0].not_before = Some(after(86_400));
    assert!(uses_fallback(&limited, &ca) && matches!(ask(&limited, true), Step::Issue(_)));
    limited.failures[0].ca = Some("https://fallback".to_owned());
    assert!(!uses_fallback(&limited, &ca), "it is the fallback that is limited");
}
