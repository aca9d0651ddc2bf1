//! What follows what in an order, and how its names are proven.

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
    leads_to(&state, Event::Settled(Vec::new()), "Look");
}

#[test]
fn a_txt_record_is_listed_before_it_is_set_and_until_it_is_gone() {
    let (state, _) = place(&fresh(), &ALL[2..], 0);
    let offered = pending_with(vec![unproven("a.x", &ALL)]);
    let (state, effect) = next(&state, offered, &ALL[2..]);
    let Effect::Locate(proofs) = effect else { panic!("{effect:?}") };
    let task = Task {
        domain: Name::parse("a.x").unwrap(),
        fqdn: "_acme-challenge.a.x".to_owned(),
        value: "v".to_owned(),
        token: "t".to_owned(),
        key_authorization: "t.k".to_owned(),
    };
    let intended = Record { resolver: "le".to_owned(), task, handle: None };
    assert!(intended.proves(&proofs[0]));
    let located = Event::Located { proofs: proofs.clone(), records: vec![intended.clone()] };
    let state = leads_to(&state, located, "Record");
    assert_eq!(state.records, std::slice::from_ref(&intended));
    let made = Record { handle: Some(Handle("id".into())), ..intended };
    let recorded = Event::Recorded { proofs, records: vec![made.clone()] };
    let state = leads_to(&state, recorded, "Present");
    assert_eq!(state.records, std::slice::from_ref(&made));
    let json = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<State>(&json).unwrap(), state);
    let state = leads_to(&state, Event::Settled(vec![made]), "Look");
    assert_eq!(state.records, []);
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
    let view = OrderView { status: Status::Pending, unproven, problem: None, failed: Vec::new() };
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
    let Effect::Locate(proofs) = effect else { panic!("{effect:?}") };
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
fn a_name_that_no_challenge_was_chosen_for_ends_the_order() {
    let (state, _) = place(&fresh(), &ALL, 0);
    leads_to(&state, failed(&["x"], 1), "GiveUp");
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
