//! Facts about limits and turns.

use jiff::SignedDuration;

use super::*;
use crate::cert::KeyType;
use crate::name::Name;
use crate::order::{Cause, Spec, Terms};

const LE: &str = "https://acme-v02.api.letsencrypt.org/directory";
const OTHER: &str = "https://ca.example/dir";

fn now() -> Timestamp {
    "2027-01-15T08:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    now() + SignedDuration::from_secs(seconds)
}

fn names(texts: &[&str]) -> Names {
    Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
}

fn ticket(namespace: &str, name: &str, class: Class) -> Ticket {
    let names = names(&[name]);
    Ticket {
        id: Id::of(namespace, "le", &names),
        namespace: namespace.to_owned(),
        class,
        ca: LE.to_owned(),
        account: "account".to_owned(),
        names,
        exemption: Exemption::None,
        is_placed: false,
    }
}

fn enter(budget: &mut Budget, namespace: &str, count: usize, class: Class) {
    for number in 0..count {
        budget.enter(ticket(namespace, &format!("{namespace}-{number}.example"), class));
    }
}

fn of(granted: &[Ticket], namespace: &str) -> usize {
    granted.iter().filter(|ticket| ticket.namespace == namespace).count()
}

fn terms(ca: &str) -> Terms {
    Terms {
        spec: Spec {
            ca: ca.to_owned(),
            key_type: KeyType::Ec256,
            profile: None,
            explicit: Vec::new(),
        },
        cause: Cause::Other,
        exemption: Exemption::None,
        account: "account".to_owned(),
        fallback: None,
        rehearsal: false,
    }
}

/// A record in which the names were ordered and got at these times.
fn got(owner: &str, texts: &[&str], ca: &str, at: &[i64]) -> (Id, State) {
    let names = names(texts);
    let mut state = State::new(owner, "le", &names);
    for second in at {
        let terms = Some(terms(ca));
        let (at, not_after) = (after(*second), after(second + 7_776_000));
        state.orders.push(crate::order::placed(at, terms.as_ref().unwrap()));
        state.issued.push(Issued { at, fingerprint: String::new(), not_after, terms });
    }
    (Id::of(owner, "le", &names), state)
}

fn failure(kind: FailureKind, second: i64) -> Failure {
    Failure {
        at: after(second),
        kind,
        message: "no".to_owned(),
        not_before: None,
        ca: Some(LE.to_owned()),
        names: Vec::new(),
        tries: 1,
        narrow: false,
        rehearsal: false,
    }
}

/// Grants and ends at once what is granted, as if each order were refused before it is placed.
fn at_once(budget: &mut Budget, now: Timestamp) -> Vec<Ticket> {
    let mut all = Vec::new();
    loop {
        let granted = budget.grant(now);
        if granted.is_empty() {
            return all;
        }
        for ticket in granted {
            let mut state = State::new(&ticket.namespace, "le", &ticket.names);
            state.orders.push(crate::order::placed(now, &terms(&ticket.ca)));
            budget.note(&ticket.id, &state);
            budget.ended(&ticket.id);
            all.push(ticket);
        }
    }
}

#[test]
fn no_more_orders_begin_than_the_account_may_place() {
    let mut budget = Budget::new(32);
    enter(&mut budget, "shop", 1000, Class::First);
    assert_eq!(at_once(&mut budget, now()).len(), 294);
    let wake = budget.wake(now()).unwrap();
    assert!(wake > after(35) && wake <= after(37), "{wake}");
    assert_eq!(at_once(&mut budget, after(3600)).len(), 99, "one each 36 seconds");
}

#[test]
fn the_turn_of_the_last_of_many_is_told_in_advance() {
    let mut budget = Budget::new(usize::MAX);
    enter(&mut budget, "shop", 10_000, Class::First);
    assert_eq!(budget.grant(now()).len(), 294);
    let last = budget.queue.last();
    let expected = budget.expected(&last, now()).unwrap().duration_since(now());
    assert_eq!(expected.as_hours(), 97, "9,706 orders at one each 36 seconds");
}

#[test]
fn an_unknown_ca_has_no_limit_but_how_many_are_in_flight() {
    let mut budget = Budget::new(32);
    for number in 0..1000 {
        let ticket = ticket("shop", &format!("{number}.example"), Class::First);
        budget.enter(Ticket { ca: OTHER.to_owned(), ..ticket });
    }
    let granted = budget.grant(now());
    assert_eq!(granted.len(), 32);
    assert!(budget.grant(now()).is_empty());
    budget.ended(&granted[0].id);
    assert_eq!(budget.grant(now()).len(), 1);
}

#[test]
fn who_is_urgent_goes_first() {
    let mut budget = Budget::new(1);
    let classes = [Class::Retry, Class::Changed, Class::First, Class::NearExpiry, Class::Window];
    for class in classes {
        budget.enter(ticket("shop", &format!("{class:?}.example"), class));
    }
    let order: Vec<Class> = at_once(&mut budget, now()).iter().map(|one| one.class).collect();
    assert_eq!(order, classes.into_iter().rev().collect::<Vec<_>>());
}

#[test]
fn namespaces_take_turns_whoever_came_first() {
    let mut budget = Budget::new(usize::MAX);
    enter(&mut budget, "large", 1000, Class::First);
    enter(&mut budget, "small", 10, Class::First);
    let granted = budget.grant(now());
    assert_eq!(granted.len(), 294);
    assert_eq!(of(&granted[..20], "small"), 10);
}

#[test]
fn nobody_takes_more_than_half_of_what_is_left_while_others_wait() {
    let mut budget = Budget::new(usize::MAX);
    enter(&mut budget, "urgent", 1000, Class::NearExpiry);
    enter(&mut budget, "patient", 1000, Class::Changed);
    let granted = budget.grant(now());
    assert_eq!((of(&granted, "urgent"), of(&granted, "patient")), (147, 147));
    assert_eq!(granted[0].namespace, "urgent");
    for ticket in &granted {
        let mut state = State::new(&ticket.namespace, "le", &ticket.names);
        state.orders.push(crate::order::placed(now(), &terms(LE)));
        budget.note(&ticket.id, &state);
        budget.ended(&ticket.id);
    }
    // From now on the tokens come back one by one.
    let mut later = Vec::new();
    for minute in 1..60 {
        later.extend(at_once(&mut budget, after(60 * minute)));
    }
    assert!(later.len() > 90);
    assert!(of(&later, "urgent").abs_diff(of(&later, "patient")) <= 1);
}

#[test]
fn a_restart_forgets_no_order() {
    let mut budget = Budget::new(usize::MAX);
    let states: Vec<_> =
        (0..300).map(|number| got("shop", &[&format!("{number}.example")], LE, &[-60])).collect();
    budget.rebuild(states.iter().map(|(id, state)| (id, state)));
    enter(&mut budget, "shop", 10, Class::First);
    assert!(budget.grant(now()).is_empty());
    let elsewhere = Ticket { ca: OTHER.to_owned(), ..ticket("shop", "a.example", Class::First) };
    budget.enter(Ticket { id: Id::of("x", "y", &names(&["a.example"])), ..elsewhere });
    assert_eq!(budget.grant(now()).len(), 1, "another CA knows nothing of it");
}

#[test]
fn a_registered_domain_and_an_exact_set_have_limits_of_their_own() {
    let mut budget = Budget::new(usize::MAX);
    let many: Vec<_> =
        (0..49).map(|n| got("shop", &[&format!("{n}.a.example.co.uk")], LE, &[-600])).collect();
    let exact = got("shop", &["exact.example"], LE, &[-500, -400, -300, -200, -100]);
    budget.rebuild(many.iter().chain([&exact]).map(|(id, state)| (id, state)));
    budget.enter(ticket("shop", "new.example.co.uk", Class::First));
    budget.enter(ticket("other", "exact.example", Class::First));
    budget.enter(ticket("other", "free.co.uk", Class::First));
    let granted = budget.grant(now());
    assert_eq!(granted.len(), 1, "{granted:?}");
    assert_eq!(granted[0].names.to_string(), "free.co.uk");
    let wake = budget.wake(now()).unwrap().duration_since(now());
    assert_eq!(wake.as_hours(), 3, "a certificate each 202 minutes: {wake}");
}

#[test]
fn exempt_renewals_wait_for_no_token() {
    let mut budget = Budget::new(usize::MAX);
    enter(&mut budget, "shop", 400, Class::First);
    budget.grant(now());
    for (name, exemption, goes) in [
        ("same.example", Exemption::SameNames, true),
        ("window.example", Exemption::Window, true),
        ("none.example", Exemption::None, false),
    ] {
        budget.enter(Ticket { exemption, ..ticket("shop", name, Class::NearExpiry) });
        assert_eq!(!budget.grant(now()).is_empty(), goes, "{name}");
    }
}

#[test]
fn failures_of_a_name_hold_back_that_name_only() {
    let mut budget = Budget::new(usize::MAX);
    let (id, mut state) = got("shop", &["bad.example", "good.example"], LE, &[]);
    for second in -5..0 {
        let names = vec![Name::parse("bad.example").unwrap()];
        state.failures.push(Failure { names, ..failure(FailureKind::Refused, second) });
    }
    budget.note(&id, &state);
    budget.note(&id, &state);
    budget.enter(ticket("shop", "bad.example", Class::First));
    budget.enter(ticket("shop", "good.example", Class::First));
    let granted = budget.grant(now());
    assert_eq!(granted.len(), 1);
    assert_eq!(granted[0].names.to_string(), "good.example");
    assert_eq!(
        budget.wake(now()),
        budget.expected(&ticket("shop", "bad.example", Class::First).id, now())
    );
    assert_eq!(budget.grant(after(720)).len(), 1, "a token comes back each 12 minutes");
}

#[test]
fn nothing_begins_at_a_ca_that_said_when_to_come_back() {
    let mut budget = Budget::new(usize::MAX);
    let (id, mut state) = got("shop", &["a.example"], OTHER, &[]);
    state.failures.push(Failure {
        not_before: Some(after(120)),
        ca: Some(OTHER.to_owned()),
        ..failure(FailureKind::RateLimited, 0)
    });
    budget.rebuild([(&id, &state)]);
    budget.enter(Ticket { ca: OTHER.to_owned(), ..ticket("shop", "b.example", Class::First) });
    assert!(budget.grant(after(119)).is_empty());
    assert_eq!(budget.wake(now()), Some(after(120)));
    assert_eq!(budget.grant(after(120)).len(), 1);
}

#[test]
fn a_limit_of_one_certificate_closes_the_ca_for_nobody_else() {
    let exact = "too many certificates (5) already issued for this exact set of identifiers";
    assert!(is_about_names(LE, exact));
    assert!(!is_about_names(LE, "too many new orders (300) from this account"));
    assert!(!is_about_names(OTHER, exact), "of another CA nothing is known");
    let mut budget = Budget::new(usize::MAX);
    let (id, mut state) = got("shop", &["a.example"], LE, &[]);
    state.failures.push(Failure {
        not_before: Some(after(120)),
        narrow: true,
        ..failure(FailureKind::RateLimited, 0)
    });
    budget.note(&id, &state);
    budget.enter(ticket("shop", "b.example", Class::First));
    assert_eq!(budget.grant(now()).len(), 1);
}

#[test]
fn what_is_in_flight_is_kept_free_until_it_is_over() {
    let mut budget = Budget::new(usize::MAX);
    let (id, state) = got("shop", &["exact.example"], LE, &[-400, -300, -200, -100]);
    budget.note(&id, &state);
    budget.enter(ticket("one", "exact.example", Class::First));
    budget.enter(ticket("two", "exact.example", Class::First));
    let granted = budget.grant(now());
    assert_eq!(granted.len(), 1, "the fifth is in flight, a sixth would be one too many");
    budget.ended(&granted[0].id);
    assert_eq!(budget.grant(after(200_000)).len(), 1, "it came to nothing");
}

#[test]
fn one_that_is_not_wanted_any_more_leaves_the_queue() {
    let mut budget = Budget::new(usize::MAX);
    let ticket = ticket("shop", "a.example", Class::First);
    budget.enter(ticket.clone());
    assert!(budget.is_waiting(&ticket.id));
    budget.leave(&ticket.id);
    assert!(budget.grant(now()).is_empty() && budget.wake(now()).is_none());
}

#[test]
fn a_renewal_is_exempt_as_far_as_its_ca_would_say_so() {
    let (_, mut state) = got("shop", &["a.example"], LE, &[-7_000_000]);
    let facts = Facts {
        names: state.names.clone(),
        not_before: after(-7_000_000),
        not_after: after(776_000),
        fingerprint: String::new(),
        key_type: None,
        ari_id: Some("one".to_owned()),
    };
    let ask = |state: &State, (ca, account): (&str, &str), now: Timestamp| {
        exemption((ca, account), &state.names, (Some(state), Some(&facts)), [], now)
    };
    assert_eq!(ask(&state, (LE, "account"), now()), Exemption::SameNames);
    assert_eq!(ask(&state, (OTHER, "account"), now()), Exemption::None);
    assert_eq!(ask(&state, (LE, "account"), after(120 * 86_400 - 7_000_000)), Exemption::None);
    let window = crate::order::Window { start: after(-60), end: after(3600) };
    let polled = crate::order::Polled { window, retry_after: None };
    state.ari = crate::order::learn(None, "one", Some(polled), now(), 0.0);
    assert_eq!(ask(&state, (LE, "account"), now()), Exemption::Window);
    assert_eq!(ask(&state, (LE, "another"), now()), Exemption::SameNames);
    assert_eq!(ask(&state, (LE, "account"), after(3600)), Exemption::SameNames, "it is over");
}
