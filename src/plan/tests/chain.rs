//! Why a certificate is got: the first reason that holds.

use super::*;
use crate::order::Changing;
use crate::resolver::Setting;

const NOW: &str = "2026-01-10T00:00:00Z";

fn known() -> State {
    State { issued: vec![issued("2026-01-01T00:00:00Z", Cause::Other)], ..state() }
}

fn changed(change: impl FnOnce(&mut Spec)) -> Spec {
    let mut spec = Spec { explicit: vec![Setting::CaServer, Setting::KeyType], ..spec() };
    change(&mut spec);
    spec
}

fn with_spec(spec: Spec, held: &Held, state: &State, crowd: usize, dice: f64) -> Decision {
    let names = names(&["a.x"]);
    let wanted = Some(super::super::Wanted { names: &names, spec: Some(spec) });
    decide(&Question { wanted, crowd, dice, ..question(held, Some(state), NOW) })
}

#[test]
fn the_first_reason_that_holds_is_shown() {
    let key = changed(|spec| spec.key_type = KeyType::Ec384);
    let revoked = State { revoked: Some("f".to_owned()), ..known() };
    let both = changed(|spec| (spec.key_type, spec.ca) = (KeyType::Ec384, "https://b".to_owned()));
    let mut other = facts("2026-01-01T00:00:00Z", "2026-03-31T23:59:59Z");
    other.names = names(&["b.x"]);
    for (spec, held, state, why) in [
        (both.clone(), Held::Nothing, &revoked, Why::NotIssued),
        (both.clone(), Held::KeyMismatch, &revoked, Why::KeyMismatch),
        (both.clone(), Held::Unreadable("x".to_owned()), &revoked, Why::SecretUnreadable),
        (both.clone(), Held::Certificate(other), &revoked, Why::WrongNames),
        (both, held(), &revoked, Why::KeyTypeChanged),
        (changed(|spec| spec.ca = "https://b".to_owned()), held(), &revoked, Why::CaChanged),
        (
            changed(|spec| spec.profile = Some("short".to_owned())),
            held(),
            &revoked,
            Why::ProfileChanged,
        ),
        (spec(), held(), &revoked, Why::Revoked),
        (key, held(), &known(), Why::KeyTypeChanged),
    ] {
        let decision = with_spec(spec, &held, state, 0, 0.0);
        assert_eq!(decision.view.reason, why, "{decision:?}");
        assert!(matches!(decision.step, Step::Issue(_)), "{decision:?}");
    }
}

#[test]
fn a_changed_default_and_an_imported_certificate_are_no_reason() {
    let default = Spec { key_type: KeyType::Ec384, ca: "https://b".to_owned(), ..spec() };
    assert_eq!(with_spec(default, &held(), &known(), 0, 0.0).step, Step::Nothing);
    let key = changed(|spec| spec.key_type = KeyType::Ec384);
    let imported = Issued { terms: None, ..issued("2026-01-01T00:00:00Z", Cause::Other) };
    let imported = State { issued: vec![imported], ..state() };
    assert_eq!(with_spec(key.clone(), &held(), &imported, 0, 0.0).step, Step::Nothing);
    assert_eq!(with_spec(key, &held(), &state(), 0, 0.0).step, Step::Nothing, "no record of it");
}

#[test]
fn what_a_fallback_issued_is_as_it_is() {
    let mut state = known();
    let terms = state.issued[0].terms.as_mut().unwrap();
    (terms.fallback, terms.spec.ca) = (Some("other".to_owned()), "https://b".to_owned());
    let now = changed(|_| ());
    assert_eq!(with_spec(now, &held(), &state, 0, 0.0).step, Step::Nothing);
}

#[test]
fn few_changes_are_followed_at_once_and_many_over_a_day() {
    let key = changed(|spec| spec.key_type = KeyType::Ec384);
    assert!(matches!(with_spec(key.clone(), &held(), &known(), 9, 0.5).step, Step::Issue(_)));
    let decision = with_spec(key.clone(), &held(), &known(), 10, 0.5);
    let due = at("2026-01-10T12:00:00Z");
    let changing = Changing { to: key.clone(), due };
    assert_eq!(decision.step, Step::NoteChange(Some(changing.clone())));
    // Noted, it waits for its turn, whoever else is still waiting.
    let noted = State { changing: Some(changing), ..known() };
    let waits = with_spec(key.clone(), &held(), &noted, 0, 0.9);
    assert_eq!((waits.step, waits.wake), (Step::Nothing, Some(due)));
    assert!(waits.view.message.contains("keyType is EC384"), "{}", waits.view.message);
    let names = names(&["a.x"]);
    let held = held();
    let later = Question {
        wanted: Some(super::super::Wanted { names: &names, spec: Some(key) }),
        ..question(&held, Some(&noted), "2026-01-10T12:00:00Z")
    };
    assert_eq!(decide(&later).view.reason, Why::KeyTypeChanged);
    // Taken back, nothing is left of it.
    let back = with_spec(spec(), &held, &noted, 0, 0.0);
    assert_eq!(back.step, Step::NoteChange(None));
}

#[test]
fn what_a_person_asks_for_is_done() {
    let asked = |force| Some(Asked::Renew { at: at(NOW), force });
    for force in [true, false] {
        let state = State { asked: asked(force), ..known() };
        let decision = ask(Wanted::Yes, &held(), Some(&state), NOW);
        check(&decision, &ISSUE, Why::Forced, Some("2026-03-31T23:59:59Z"));
        let Step::Issue(grounds) = decision.step else { panic!() };
        assert_eq!(grounds.cause, if force { Cause::Forced } else { Cause::Other });
        let unused = ask(Wanted::No, &held(), Some(&state), NOW);
        assert_eq!(unused.step, Step::NoteUnused, "nobody renews what nobody wants");
    }
    let revoke = State { asked: Some(Asked::Revoke { at: at(NOW), reason: Some(1) }), ..known() };
    for wanted in [Wanted::Yes, Wanted::No] {
        let decision = ask(wanted, &held(), Some(&revoke), NOW);
        assert_eq!(decision.step, Step::Revoke { reason: Some(1) });
    }
}

#[test]
fn a_revoked_certificate_is_replaced_if_wanted_and_removed_if_not() {
    let mut state = State { revoked: Some("f".to_owned()), ..known() };
    assert_eq!(ask(Wanted::Yes, &held(), Some(&state), NOW).view.reason, Why::Revoked);
    state.unused_since = Some(at(NOW));
    assert_eq!(ask(Wanted::No, &held(), Some(&state), NOW).step, Step::Remove);
    state.revoked = Some("another".to_owned());
    assert_eq!(ask(Wanted::No, &held(), Some(&state), NOW).step, Step::Nothing);
}

#[test]
fn an_order_in_flight_is_gone_on_with_whatever_else_holds() {
    let mut state = known();
    state.pending = Some(crate::order::Pending {
        url: "o".to_owned(),
        ca: spec().ca,
        key: crate::cert::Key::generate(KeyType::Ec256).unwrap(),
        placed_at: at(NOW),
        challenges: std::collections::BTreeMap::new(),
        terms: None,
    });
    let decision = ask(Wanted::Yes, &held(), Some(&state), NOW);
    check(&decision, &ISSUE, Why::Issuing, Some("2026-03-31T23:59:59Z"));
}
