//! A year of ten thousand certificates in seconds: the pure parts decide, and an exact model of
//! Let's Encrypt says what it would have refused.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use routecert::budget::{Budget, Ticket, exemption};
use routecert::cert::{Facts, Id, Key, KeyType};
use routecert::name::{Name, Names};
use routecert::order;
use routecert::order::{
    Exemption, Failure, FailureKind, Pending, Polled, Spec, State, Terms, Window,
};
use routecert::plan;
use routecert::plan::{Expected, Grounds, Held, Question, Step, Wanted, Why};
use routecert::resolver::Setting;

use crate::parts::lets_encrypt::{Exempt, LetsEncrypt, Order};

const CA: &str = "https://acme-v02.api.letsencrypt.org/directory";
const ACCOUNT: &str = "account";
const START: i64 = 1_800_000_000;
const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;
/// Hours of life, and how many such certificates there are.
const LIVES: [(i64, usize); 4] = [(2160, 3700), (1536, 3100), (1080, 3000), (160, 200)];
/// On which day what is changed or goes wrong.
const NEW_KEY_TYPE: i64 = 100;
const CA_AWAY: i64 = 150;
const REVOKED: i64 = 200;
const RESTARTS: [i64; 4] = [2, 101, 200, 290];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Look(usize),
    Poll(usize),
    Place(usize),
    Done(usize),
    /// The budget may have a turn to give.
    Turn,
    Rename(usize),
    ChangeKeyType,
    Revoke,
    Restart,
}

/// One certificate, and what is going on about it.
struct One {
    id: Id,
    names: Names,
    namespace: String,
    life: SignedDuration,
    spec: Spec,
    held: Held,
    state: State,
    look_at: Option<Timestamp>,
    flight: Option<Flight>,
    /// Its name cannot be proven then.
    bad: Option<(i64, i64)>,
    /// When a poll showed that it is revoked.
    shown: Option<Timestamp>,
}

struct Flight {
    grounds: Grounds,
    terms: Terms,
    why: Why,
    exempt: Option<Exempt>,
}

#[derive(Debug, Default)]
struct Seen {
    issued: usize,
    in_window: usize,
    late: Vec<String>,
    slowest: SignedDuration,
    replaced: usize,
    thin: Vec<String>,
    failed: usize,
}

struct Year {
    now: Timestamp,
    heap: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    number: u64,
    chance: u64,
    all: Vec<One>,
    by_id: BTreeMap<Id, usize>,
    /// What those that wait for their turn are to be ordered for.
    waiting: BTreeMap<usize, Flight>,
    budget: Budget,
    ca: LetsEncrypt,
    key: Key,
    changed_at: Option<Timestamp>,
    /// When the next [`Event::Turn`] is.
    turn_at: Option<Timestamp>,
    seen: Seen,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(START + second).unwrap()
}

fn millis(time: Timestamp) -> i64 {
    time.as_millisecond()
}

fn from_millis(time: i64) -> Timestamp {
    Timestamp::from_millisecond(time).unwrap()
}

fn names(texts: &[String]) -> Names {
    Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
}

fn texts(names: &Names) -> Vec<String> {
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

impl Year {
    fn new() -> Self {
        let mut year = Self {
            now: at(0),
            heap: BinaryHeap::new(),
            number: 0,
            chance: 0x9e37_79b9_7f4a_7c15,
            all: Vec::new(),
            by_id: BTreeMap::new(),
            waiting: BTreeMap::new(),
            budget: Budget::new(32),
            ca: LetsEncrypt::default(),
            key: Key::generate(KeyType::Ec256).unwrap(),
            changed_at: None,
            turn_at: None,
            seen: Seen::default(),
        };
        for (hours, count) in LIVES {
            for _ in 0..count {
                year.add(hours);
            }
        }
        for index in 0..year.all.len() {
            year.push(at(0), Event::Look(index));
        }
        for _ in 0..300 {
            let (when, which) = (year.below(YEAR), year.below(10_000));
            year.push(at(when), Event::Rename(usize::try_from(which).unwrap()));
        }
        year.push(at(NEW_KEY_TYPE * DAY), Event::ChangeKeyType);
        year.push(at(REVOKED * DAY), Event::Revoke);
        for day in RESTARTS {
            year.push(at(day * DAY + 3600), Event::Restart);
        }
        year
    }

    /// Most domains have five certificates, the first one a hundred and twenty.
    fn add(&mut self, hours: i64) {
        let index = self.all.len();
        let domain = if index < 120 { 0 } else { index / 5 };
        let mut set = vec![format!("h{index}.d{domain}-x.com")];
        if index.is_multiple_of(7) {
            set.push(format!("w{index}.d{domain}-x.com"));
        }
        let names = names(&set);
        let namespace = format!("n{}", if index.is_multiple_of(3) { 0 } else { index % 50 });
        let id = Id::of(&namespace, "le", &names);
        let bad = index.is_multiple_of(50).then(|| {
            let from = self.below(YEAR);
            (from, from + 2 * DAY)
        });
        self.by_id.insert(id.clone(), index);
        self.all.push(One {
            state: State::new(&namespace, "le", &names),
            id,
            names,
            namespace,
            life: SignedDuration::from_hours(hours),
            spec: Spec {
                ca: CA.to_owned(),
                key_type: KeyType::Rsa4096,
                profile: None,
                explicit: Vec::new(),
            },
            held: Held::Nothing,
            look_at: None,
            flight: None,
            bad,
            shown: None,
        });
    }

    /// xorshift: the same year each time.
    fn below(&mut self, limit: i64) -> i64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        i64::try_from(self.chance >> 1).unwrap() % limit
    }

    fn push(&mut self, when: Timestamp, event: Event) {
        self.number += 1;
        if let Event::Look(index) = event {
            self.all[index].look_at = Some(when);
        }
        self.heap.push(Reverse((when, self.number, event)));
    }

    fn run(mut self) -> Self {
        while let Some(Reverse((when, _, event))) = self.heap.pop() {
            if when >= at(YEAR) {
                break;
            }
            self.now = when;
            match event {
                Event::Look(index) if self.all[index].look_at == Some(when) => self.look(index),
                Event::Look(_) | Event::Turn => {}
                Event::Poll(index) => self.poll(index),
                Event::Place(index) => self.place(index),
                Event::Done(index) => self.done(index),
                Event::Rename(index) => self.rename(index),
                Event::ChangeKeyType => self.change_key_type(),
                Event::Revoke => self.revoke(),
                Event::Restart => self.restart(),
            }
            self.turn();
        }
        self
    }

    fn look(&mut self, index: usize) {
        let one = &self.all[index];
        if one.flight.is_some() {
            return;
        }
        let together = self.changed_at.is_some_and(|at| self.now < at + seconds(DAY));
        let decision = plan::decide(&Question {
            wanted: Some(Wanted { names: &one.names, spec: Some(one.spec.clone()) }),
            held: &one.held,
            state: Some(&one.state),
            of_same_names: &[],
            crowd: if together { 100 } else { 0 },
            expected: Expected { duration: Duration::from_hours(2160), is_explicit: false },
            has_fallback: false,
            remove_after: Duration::from_hours(24),
            host_hold: Duration::from_hours(168),
            now: self.now,
            dice: one.id.share(),
        });
        match decision.step {
            Step::Issue(grounds) => self.enter(index, grounds, decision.view.reason),
            Step::NoteChange(changing) => {
                self.all[index].state.changing = changing;
                self.push(self.now, Event::Look(index));
            }
            Step::Nothing => {
                self.budget.leave(&self.all[index].id.clone());
                if let Some(wake) = decision.wake {
                    self.push(wake.max(self.now + seconds(1)), Event::Look(index));
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn enter(&mut self, index: usize, grounds: Grounds, why: Why) {
        let exempt = self.exemption(index);
        let one = &mut self.all[index];
        let terms = Terms {
            spec: one.spec.clone(),
            cause: grounds.cause,
            exemption: exempt,
            account: ACCOUNT.to_owned(),
            fallback: None,
            rehearsal: false,
        };
        let ticket = Ticket {
            id: one.id.clone(),
            namespace: one.namespace.clone(),
            class: grounds.class,
            ca: CA.to_owned(),
            account: ACCOUNT.to_owned(),
            names: one.names.clone(),
            exemption: exempt,
            is_placed: false,
        };
        self.waiting.insert(index, Flight { grounds, terms, why, exempt: None });
        self.budget.enter(ticket);
        // A ticket may lose its exemption while it waits: looked at again as the controller does.
        let expected = self.budget.expected(&self.all[index].id.clone(), self.now);
        let again =
            expected.unwrap_or_else(|| self.now + seconds(1800)).max(self.now + seconds(60));
        self.push(again, Event::Look(index));
    }

    fn exemption(&self, index: usize) -> Exemption {
        let one = &self.all[index];
        let facts = if let Held::Certificate(facts) = &one.held { Some(facts) } else { None };
        exemption((CA, ACCOUNT), &one.names, (Some(&one.state), facts), [], self.now)
    }

    fn turn(&mut self) {
        for ticket in self.budget.grant(self.now) {
            let index = self.by_id[&ticket.id];
            let mut flight = self.waiting.remove(&index).unwrap();
            flight.terms.exemption = self.exemption(index);
            self.all[index].flight = Some(flight);
            let wait = 1 + self.below(20);
            self.push(self.now + seconds(wait), Event::Place(index));
        }
        let wake = self.budget.wake(self.now).map(|wake| wake.max(self.now + seconds(1)));
        let planned = self.turn_at.filter(|planned| *planned > self.now);
        if let Some(wake) = wake.filter(|wake| planned.is_none_or(|planned| *wake < planned)) {
            self.turn_at = Some(wake);
            self.push(wake, Event::Turn);
        }
    }

    fn is_away(&self) -> bool {
        let passed = self.now.as_second() - START - CA_AWAY * DAY;
        (0..3 * 3600).contains(&passed)
    }

    fn place(&mut self, index: usize) {
        if self.is_away() {
            return self.fail(index, FailureKind::Unreachable, None);
        }
        let one = &self.all[index];
        let replaces =
            if let Held::Certificate(facts) = &one.held { facts.ari_id.clone() } else { None };
        let set = texts(&one.names);
        let order = Order { account: ACCOUNT, names: &set, replaces: replaces.as_deref() };
        match self.ca.place(order, millis(self.now)) {
            Err(refusal) => {
                let until = self.now + SignedDuration::from_millis(refusal.retry_after);
                self.fail(index, FailureKind::RateLimited, Some(until));
            }
            Ok(exempt) => {
                let (now, key) = (self.now, self.key.clone());
                let one = &mut self.all[index];
                let flight = one.flight.as_mut().unwrap();
                flight.exempt = Some(exempt);
                let (url, ca, terms) = ("o".to_owned(), CA.to_owned(), Some(flight.terms.clone()));
                one.state.orders.push(order::placed(now, &flight.terms));
                let surplus = one.state.orders.len().saturating_sub(16);
                one.state.orders.drain(..surplus);
                let challenges = BTreeMap::new();
                one.state.pending =
                    Some(Pending { url, ca, key, placed_at: now, challenges, terms });
                let wait = 5 + self.below(60);
                self.push(now + seconds(wait), Event::Done(index));
            }
        }
    }

    fn done(&mut self, index: usize) {
        let passed = self.now.as_second() - START;
        let bad = self.all[index].bad.is_some_and(|(from, to)| (from..to).contains(&passed));
        if bad {
            let name = self.all[index].names.iter().next().unwrap().as_str().to_owned();
            self.ca.fail(ACCOUNT, &name, millis(self.now));
            return self.fail(index, FailureKind::Refused, None);
        }
        self.issue(index);
    }

    fn issue(&mut self, index: usize) {
        let now = self.now;
        let one = &self.all[index];
        let flight = one.flight.as_ref().unwrap();
        let replaces =
            if let Held::Certificate(facts) = &one.held { facts.ari_id.clone() } else { None };
        let set = texts(&one.names);
        let order = Order { account: ACCOUNT, names: &set, replaces: replaces.as_deref() };
        let certificate = format!("c{}", self.number);
        let life = i64::try_from(one.life.as_millis()).unwrap();
        self.ca.issue(order, flight.exempt.unwrap(), (&certificate, life), millis(now));
        self.judge(index);
        let window = self.window(&certificate);
        let dice = f64::from(u32::try_from(self.below(1 << 31)).unwrap()) / f64::from(1_u32 << 31);
        let one = &mut self.all[index];
        let not_before = now - SignedDuration::from_hours(1);
        let facts = Facts {
            names: one.names.clone(),
            not_before,
            not_after: not_before + one.life - seconds(1),
            fingerprint: certificate.clone(),
            key_type: Some(one.spec.key_type),
            ari_id: Some(certificate.clone()),
        };
        order::count(&mut one.state, now, &facts);
        let polled = Polled { window, retry_after: None };
        one.state.ari = order::learn(None, &certificate, Some(polled), now, dice);
        one.held = Held::Certificate(facts);
        one.shown = None;
        self.ended(index);
    }

    fn window(&self, certificate: &str) -> Window {
        let (start, end) = self.ca.window(certificate).unwrap();
        Window { start: from_millis(start), end: from_millis(end) }
    }

    /// What has to hold for each certificate that is got.
    fn judge(&mut self, index: usize) {
        let one = &self.all[index];
        let flight = one.flight.as_ref().unwrap();
        self.seen.issued += 1;
        if flight.why == Why::WindowOpen && one.shown.is_none() && one.state.failures.is_empty() {
            if flight.exempt == Some(Exempt::Window) {
                self.seen.in_window += 1;
            } else {
                self.seen.late.push(format!("{} {:?} {}", one.id, flight.grounds, self.now));
            }
        }
        if let Some(shown) = one.shown {
            self.seen.replaced += 1;
            self.seen.slowest = self.seen.slowest.max(self.now.duration_since(shown));
        }
        if let Held::Certificate(facts) = &one.held
            && facts.not_after.duration_since(self.now) < one.life / 50
        {
            self.seen.thin.push(format!("{} {} {:?}", one.id, self.now, one.state.failures));
        }
    }

    fn fail(&mut self, index: usize, kind: FailureKind, not_before: Option<Timestamp>) {
        self.seen.failed += 1;
        let now = self.now;
        let one = &mut self.all[index];
        one.state.pending = None;
        let refused = kind == FailureKind::Refused;
        let failure = Failure {
            at: now,
            kind,
            message: "no".to_owned(),
            not_before,
            ca: Some(CA.to_owned()),
            names: if refused { one.names.iter().take(1).cloned().collect() } else { Vec::new() },
            tries: u8::from(refused),
            narrow: false,
            rehearsal: false,
        };
        order::fail(&mut one.state, failure);
        self.ended(index);
    }

    fn ended(&mut self, index: usize) {
        let one = &mut self.all[index];
        one.flight = None;
        self.budget.note(&one.id, &one.state);
        self.budget.ended(&one.id);
        self.push(self.now, Event::Look(index));
    }

    fn poll(&mut self, index: usize) {
        let dice = f64::from(u32::try_from(self.below(1000)).unwrap()) / 1000.0;
        let Held::Certificate(facts) = &self.all[index].held else { return };
        let certificate = facts.ari_id.clone().unwrap();
        let window = self.window(&certificate);
        let polled = Polled { window, retry_after: None };
        let now = self.now;
        let one = &mut self.all[index];
        let before = one.state.ari.as_ref().map(|ari| ari.window);
        one.state.ari = order::learn(one.state.ari.as_ref(), &certificate, Some(polled), now, dice);
        if before != Some(window) {
            one.shown = Some(now);
            self.push(now, Event::Look(index));
        }
    }

    /// A route has another name from now on: another certificate, and nobody wants the old one.
    fn rename(&mut self, index: usize) {
        if self.all[index].flight.is_some() {
            return;
        }
        let one = &mut self.all[index];
        let old = one.id.clone();
        let set = vec![format!("r{}.{}", self.number, one.names.iter().next().unwrap())];
        one.names = names(&set);
        one.id = Id::of(&one.namespace, "le", &one.names);
        one.state = State::new(&one.namespace, "le", &one.names);
        one.held = Held::Nothing;
        one.shown = None;
        self.by_id.insert(one.id.clone(), index);
        self.budget.leave(&old);
        self.waiting.remove(&index);
        self.push(self.now, Event::Look(index));
    }

    fn change_key_type(&mut self) {
        self.changed_at = Some(self.now);
        for index in 0..self.all.len() {
            if self.all[index].life == SignedDuration::from_hours(1080) {
                let spec = &mut self.all[index].spec;
                (spec.key_type, spec.explicit) = (KeyType::Ec256, vec![Setting::KeyType]);
                self.push(self.now, Event::Look(index));
            }
        }
    }

    /// A third of everything is revoked; each certificate is asked about within six hours.
    fn revoke(&mut self) {
        for index in (0..self.all.len()).step_by(3) {
            let Held::Certificate(facts) = &self.all[index].held else { continue };
            self.ca.revoke(&facts.ari_id.clone().unwrap(), millis(self.now));
            let within = self.below(6 * 3600);
            self.push(self.now + seconds(within), Event::Poll(index));
        }
    }

    /// What is not in the records is forgotten; what is in flight is gone on with.
    fn restart(&mut self) {
        self.budget = Budget::new(32);
        self.waiting.clear();
        let flying: Vec<usize> =
            (0..self.all.len()).filter(|index| self.all[*index].flight.is_some()).collect();
        let states = self.all.iter().map(|one| (&one.id, &one.state));
        self.budget.rebuild(states);
        for index in 0..self.all.len() {
            if !flying.contains(&index) {
                self.push(self.now, Event::Look(index));
            }
        }
    }
}

#[test]
fn a_year_of_ten_thousand_certificates_meets_no_limit_and_no_expiry() {
    let year = Year::new().run();
    let seen = &year.seen;
    let refusals = &year.ca.refusals;
    assert!(refusals.is_empty(), "{} refusals, first {:?}", refusals.len(), refusals.first());
    assert!(seen.late.is_empty(), "{} late, first {:?}", seen.late.len(), seen.late.first());
    assert!(seen.thin.is_empty(), "{:?}", seen.thin.first());
    assert!(seen.replaced > 3000, "{}", seen.replaced);
    assert!(seen.slowest <= SignedDuration::from_hours(6), "{}", seen.slowest);
    assert!(seen.issued > 80_000 && seen.in_window > 60_000 && seen.failed > 100);
    for one in &year.all {
        let Held::Certificate(facts) = &one.held else {
            let late = one.names.iter().any(|name| name.as_str().starts_with('r'));
            assert!(late || one.bad.is_some(), "{} never got one", one.names);
            continue;
        };
        assert!(facts.not_after.duration_since(at(YEAR)) >= one.life / 50, "{}", one.names);
    }
}

#[test]
fn the_model_counts_as_lets_encrypt_does() {
    const HOUR: i64 = 3_600_000;
    let mut ca = LetsEncrypt::default();
    let set = |text: &str| vec![text.to_owned()];
    let mut refused = 0;
    for number in 0..400 {
        let names = set(&format!("{number}.d{number}.com"));
        let order = Order { account: "a", names: &names, replaces: None };
        refused += usize::from(ca.place(order, 0).is_err());
    }
    assert_eq!(refused, 100, "300 orders at once");
    assert_eq!(ca.refusals[0].retry_after, 36_000);
    let names = set("x.one.com");
    let order = Order { account: "b", names: &names, replaces: None };
    for _ in 0..5 {
        let exempt = ca.place(order, HOUR).unwrap();
        ca.issue(order, exempt, ("c", 90 * 24 * HOUR), HOUR);
    }
    assert_eq!(ca.place(order, HOUR).unwrap_err().retry_after, 168 * HOUR / 5);
    let (start, end) = ca.window("c").unwrap();
    assert_eq!((end - start) / HOUR, 43);
    let renewal = Order { replaces: Some("c"), ..order };
    assert_eq!(ca.place(renewal, start), Ok(Exempt::Window), "no limit counts");
    assert_eq!(ca.place(renewal, end), Ok(Exempt::SameNames));
    assert_eq!(ca.place(Order { account: "z", ..renewal }, start), Ok(Exempt::SameNames));
    let names = set("bad.two.com");
    let order = Order { account: "b", names: &names, replaces: None };
    (0..5).for_each(|_| ca.fail("b", "bad.two.com", HOUR));
    assert_eq!(ca.place(order, HOUR).unwrap_err().retry_after, HOUR / 5);
    assert_eq!(ca.place(Order { account: "c", ..order }, HOUR), Ok(Exempt::No));
}
