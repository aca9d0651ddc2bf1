//! When a certificate is renewed.

use super::*;
use crate::order::{Ari, Polled, Window, learn};

fn lives(hours: i64) -> Facts {
    let facts = facts("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z");
    let life = SignedDuration::from_secs(hours * 3600 - 1);
    Facts { not_after: facts.not_before + life, ..facts }
}

fn explicit(hours: u64) -> Expected {
    Expected { duration: Duration::from_hours(hours), is_explicit: true }
}

const UNSAID: Expected = Expected { duration: Duration::from_hours(2160), is_explicit: false };

/// Hours that are left at the renewal.
fn left(facts: &Facts, expected: Expected, dice: f64) -> i64 {
    let schedule = schedule(facts, expected, None, dice);
    // Rounded to the next: the last second of a life counts too.
    (facts.not_after.duration_since(schedule.at).as_secs() + 1) / 3600
}

#[test]
fn the_renewal_follows_the_table_of_the_seed() {
    for (hours, before_hours, every_minutes) in [
        (8760, 120 * 24, 7 * 24 * 60),
        (8759, 30 * 24, 24 * 60),
        (2160, 30 * 24, 24 * 60),
        (2159, 10 * 24, 12 * 60),
        (720, 10 * 24, 12 * 60),
        (168, 24, 60),
        (167, 8, 10),
        (24, 6, 10),
    ] {
        // Of 719 and 167 hours the row would be in the last twentieth: see below.
        let facts = lives(hours);
        let expected = explicit(u64::try_from(hours).unwrap());
        assert_eq!(left(&facts, expected, 0.0), before_hours, "{hours} h");
        let schedule = schedule(&facts, expected, None, 0.0);
        assert_eq!(schedule.interval, SignedDuration::from_mins(every_minutes), "{hours} h");
        assert_eq!(schedule.warning, None, "{hours} h");
    }
}

#[test]
fn with_a_twentieth_of_its_life_left_a_certificate_is_renewed_whatever_anybody_says() {
    assert_eq!(left(&lives(719), explicit(719), 0.0), 35);
    assert_eq!(left(&lives(10), explicit(10), 0.0), 0, "half an hour");
    let late = Window { start: at("2030-01-01T00:00:00Z"), end: at("2030-01-02T00:00:00Z") };
    let polled = Polled { window: late, retry_after: None };
    let ari = learn(None, "one", Some(polled), at("2026-01-01T00:00:00Z"), 0.5);
    let facts = lives(2000);
    let schedule = schedule(&facts, UNSAID, ari.as_ref(), 0.5);
    assert_eq!(schedule.at, facts.not_after - SignedDuration::from_hours(100));
}

#[test]
fn where_the_real_life_does_not_fit_the_row_a_part_of_it_is_left_and_both_figures_are_told() {
    for (real, configured, before, words) in [
        (720, 2160, 240, ["2160h", "720h"]),
        (160, 2160, 80, ["2160h", "160h"]),
        (24, 2160, 12, ["2160h", "24h"]),
        (24, 8760, 12, ["8760h", "24h"]),
        (239, 720, 119, ["720h", "239h"]),
        (240, 2160, 80, ["2160h", "240h"]),
    ] {
        let facts = lives(real);
        assert_eq!(left(&facts, explicit(configured), 0.0), before, "{real} of {configured}");
        let warning = schedule(&facts, explicit(configured), None, 0.0).warning.unwrap();
        assert!(words.iter().all(|word| warning.contains(word)), "{warning}");
    }
    let longer = schedule(&lives(43_824), explicit(2160), None, 0.0);
    assert_eq!(longer.warning, None, "the row holds for a longer life too");
    assert_eq!(left(&lives(4380), explicit(2160), 0.0), 720);
}

#[test]
fn where_nothing_is_configured_the_real_life_decides() {
    for (real, before) in [(2160, 720), (1536, 512), (1080, 360), (240, 80), (239, 119), (160, 80)]
    {
        assert_eq!(left(&lives(real), UNSAID, 0.0), before, "{real}");
    }
    assert_eq!(schedule(&lives(2160), UNSAID, None, 0.0).warning, None, "as was expected");
    let warning = schedule(&lives(1080), UNSAID, None, 0.0).warning.unwrap();
    assert!(warning.contains("not given") && warning.contains("1080h"), "{warning}");
}

#[test]
fn many_are_spread_and_none_later_than_a_tenth_of_the_period() {
    for hours in [160, 720, 2160] {
        let facts = lives(hours);
        let early = schedule(&facts, UNSAID, None, 0.0).at;
        let late = schedule(&facts, UNSAID, None, 0.999).at;
        let period = facts.not_after.duration_since(early);
        assert!(early < late && late.duration_since(early) <= period / 10, "{hours}");
        let left = facts.not_after.duration_since(late);
        assert!(left > life(&facts) / 10, "renewed before its last tenth: {hours}");
    }
}

#[test]
fn the_row_is_never_due_in_the_first_half_of_a_life_whatever_is_configured() {
    for real in 1..9000 {
        for configured in [1, 24, 167, 168, 720, 2160, 8760, 87_660] {
            let facts = lives(real);
            let at = schedule(&facts, explicit(configured), None, 0.0).at;
            let passed = at.duration_since(facts.not_before);
            assert!(
                passed + SignedDuration::from_secs(1) >= life(&facts) / 2,
                "{real} {configured}"
            );
        }
    }
}

#[test]
fn the_instant_that_was_chosen_in_the_window_decides_for_its_certificate_only() {
    let window = Window { start: at("2026-02-01T00:00:00Z"), end: at("2026-02-02T00:00:00Z") };
    let polled = Polled { window, retry_after: None };
    let ari: Ari = learn(None, "one", Some(polled), at("2026-01-01T00:00:00Z"), 0.5).unwrap();
    let state = State { ari: Some(ari.clone()), ..state() };
    let before = ask(Wanted::Yes, &held(), Some(&state), "2026-02-01T11:00:00Z");
    assert_eq!((before.step, before.wake), (Step::Nothing, Some(ari.chosen)));
    let open = ask(Wanted::Yes, &held(), Some(&state), "2026-02-01T12:00:00Z");
    check(&open, &ISSUE, Why::WindowOpen, Some("2026-03-31T23:59:59Z"));
    let Step::Issue(grounds) = open.step else { panic!("{open:?}") };
    assert_eq!((grounds.class, grounds.cause), (Class::Window, Cause::Due));
    let other = State { ari: Some(Ari { id: "two".to_owned(), ..ari }), ..state };
    let decision = ask(Wanted::Yes, &held(), Some(&other), "2026-02-01T12:00:00Z");
    assert_eq!(decision.step, Step::Nothing);
}

#[test]
fn a_window_moved_into_the_past_is_acted_on_at_once_and_once() {
    let now = "2026-01-10T00:00:00Z";
    let window = Window { start: at("2026-01-09T23:00:00Z"), end: at("2026-01-09T23:30:00Z") };
    let polled = Polled { window, retry_after: None };
    let ari = learn(None, "one", Some(polled), at(now), 0.5);
    let mut state = State { ari, ..state() };
    state.issued = vec![issued("2026-01-01T00:00:00Z", Cause::Other)];
    let decision = ask(Wanted::Yes, &held(), Some(&state), now);
    check(&decision, &ISSUE, Why::WindowOpen, Some("2026-03-31T23:59:59Z"));
    let Step::Issue(grounds) = decision.step else { panic!() };
    assert_eq!(grounds.class, Class::NearExpiry, "outside the window it is not exempt");
    assert_eq!(grounds.cause, Cause::Other, "a CA that says so again and again is a loop");
    // The new certificate has another name there.
    let new = Facts { ari_id: Some("two".to_owned()), ..lives(2160) };
    let decision = ask(Wanted::Yes, &Held::Certificate(new), Some(&state), now);
    assert_eq!(decision.step, Step::Nothing);
}

#[test]
fn a_life_under_an_hour_is_served_and_told() {
    let short = facts("2026-01-01T00:00:00Z", "2026-01-01T00:30:00Z");
    let held = Held::Certificate(short);
    let decision = ask(Wanted::Yes, &held, Some(&state()), "2026-01-01T00:10:00Z");
    check(&decision, &Step::Nothing, Why::LifetimeTooShort, Some("2026-01-01T00:14:59.5Z"));
    assert!(decision.view.ready);
    let due = ask(Wanted::Yes, &held, Some(&state()), "2026-01-01T00:15:00Z");
    assert!(matches!(due.step, Step::Issue(_)));
}

#[test]
fn clocks_that_jump_an_hour_and_certificates_that_begin_in_the_past_lead_to_no_loop() {
    let backdated = facts("2025-12-31T23:00:00Z", "2026-03-31T22:59:59Z");
    let mut state = state();
    state.issued = vec![issued("2026-01-01T00:00:00Z", Cause::Other)];
    for now in ["2025-12-31T22:30:00Z", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"] {
        let held = Held::Certificate(backdated.clone());
        let decision = ask(Wanted::Yes, &held, Some(&state), now);
        assert_eq!(decision.step, Step::Nothing, "{now}: {decision:?}");
    }
}
