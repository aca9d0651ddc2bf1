//! The law of every decision: once its step is done nothing is to be done, whatever the situation.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::name::Name;
use crate::order::{Failure, FailureKind, Issued};

/// What is known of one certificate.
#[derive(Debug, Clone)]
struct Situation {
    wanted: Option<Names>,
    held: Held,
    state: Option<State>,
    dice: f64,
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// Hours before or after now.
fn moment(hours: std::ops::Range<i64>) -> impl Strategy<Value = Timestamp> {
    hours.prop_map(|hours| now() + SignedDuration::from_hours(hours))
}

fn names() -> impl Strategy<Value = Names> {
    select(vec!["a.x", "b.x"]).prop_map(|text| Names::new([Name::parse(text).unwrap()]).unwrap())
}

fn held() -> impl Strategy<Value = Held> {
    let facts = (names(), moment(-3000..1), 1..3000i64).prop_map(|(names, not_before, hours)| {
        let not_after = not_before + SignedDuration::from_hours(hours);
        certificate(names, not_before, not_after, "f")
    });
    prop_oneof![
        1 => Just(Held::Nothing),
        1 => Just(Held::Unreadable("no key".to_owned())),
        4 => facts,
    ]
}

fn certificate(
    names: Names,
    not_before: Timestamp,
    not_after: Timestamp,
    fingerprint: &str,
) -> Held {
    let (key_type, ari_id) = (None, None);
    let fingerprint = fingerprint.to_owned();
    Held::Certificate(Facts { names, not_before, not_after, fingerprint, key_type, ari_id })
}

fn state() -> impl Strategy<Value = State> {
    let kinds = vec![FailureKind::Unreachable, FailureKind::Refused, FailureKind::RateLimited];
    let failure = (moment(-200..1), select(kinds), prop::option::of(moment(-10..10)));
    let failures = prop::collection::vec(failure, 0..4);
    let issued = prop::collection::vec(moment(-400..1), 0..5);
    let since = || prop::option::weighted(0.3, moment(-400..1));
    (names(), failures, issued, since(), since()).prop_map(
        |(names, failures, mut issued, unused_since, removed_at)| {
            issued.sort();
            let life = SignedDuration::from_hours(2160);
            let failure = |(at, kind, not_before)| Failure {
                at,
                kind,
                not_before,
                message: "no".to_owned(),
                ca: None,
                names: Vec::new(),
                tries: 0,
                narrow: false,
                rehearsal: false,
            };
            State {
                failures: failures.into_iter().map(failure).collect(),
                issued: issued.into_iter().map(|at| issuance(at, at + life)).collect(),
                unused_since,
                removed_at: removed_at.filter(|_| unused_since.is_some()),
                ..State::new("shop", "le", &names)
            }
        },
    )
}

fn issuance(at: Timestamp, not_after: Timestamp) -> Issued {
    Issued { at, not_after, fingerprint: "f".to_owned(), terms: None }
}

fn situation() -> impl Strategy<Value = Situation> {
    (prop::option::of(names()), held(), prop::option::of(state()), 0.0..1.0f64).prop_map(
        |(wanted, held, state, dice)| {
            let is_gone = state.as_ref().is_some_and(|state| state.removed_at.is_some());
            let held = if is_gone { Held::Nothing } else { held };
            Situation { wanted, held, state, dice }
        },
    )
}

impl Situation {
    fn decide(&self) -> Decision {
        decide(&Question {
            wanted: self.wanted.as_ref().map(|names| Wanted { names, spec: None }),
            held: &self.held,
            state: self.state.as_ref(),
            of_same_names: &[],
            crowd: 0,
            expected: Expected { duration: Duration::from_hours(2160), is_explicit: true },
            has_fallback: false,
            remove_after: Duration::from_hours(24),
            host_hold: Duration::from_hours(168),
            now: now(),
            dice: self.dice,
        })
    }

    /// What a step leaves when all goes well.
    fn after(mut self, step: &Step) -> Self {
        let facts = match &self.held {
            Held::Certificate(facts) => Some(facts.names.clone()),
            _ => None,
        };
        let names = self.wanted.clone().or(facts);
        let fresh = names.map(|names| State::new("shop", "le", &names));
        match step {
            Step::Nothing | Step::NoteChange(_) | Step::Revoke { .. } => {}
            Step::Forget => self.state = None,
            Step::NoteUnused => {
                let state = self.state.or(fresh);
                self.state = state.map(|state| State { unused_since: Some(now()), ..state });
            }
            Step::NoteUsed => {
                let used = |state| State { unused_since: None, removed_at: None, ..state };
                self.state = self.state.map(used);
            }
            Step::Remove => {
                self.held = Held::Nothing;
                let removed = |state| State { removed_at: Some(now()), pending: None, ..state };
                self.state = self.state.map(removed);
            }
            Step::Issue(_) => {
                let names = self.wanted.clone().unwrap();
                let not_after = now() + SignedDuration::from_hours(2160);
                let mut state = self.state.or(fresh).unwrap();
                state.issued.push(issuance(now(), not_after));
                (state.failures, state.pending) = (Vec::new(), None);
                self.state = Some(state);
                self.held = certificate(names, now(), not_after, "g");
            }
        }
        self
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// A note that a route wants it again may be followed by an order; nothing else by anything.
    #[test]
    fn deciding_after_acting_gives_no_step(situation in situation()) {
        // Of a Secret that cannot be read and has no record nobody knows what it was.
        let is_known = situation.state.is_some() || !matches!(situation.held, Held::Unreadable(_));
        prop_assume!(is_known || situation.wanted.is_some());
        let mut steps = Vec::new();
        let mut now = situation;
        loop {
            let step = now.decide().step;
            if step == Step::Nothing {
                break;
            }
            prop_assert!(!steps.contains(&step), "{step:?} after {steps:?}: {now:?}");
            steps.push(step.clone());
            now = now.after(&step);
        }
        let noted = steps.iter().filter(|step| **step != Step::NoteUsed).count();
        prop_assert!(noted <= 1, "{steps:?}");
        let wants = now.wanted.is_some();
        let unasked = steps.iter().any(|step| matches!(step, Step::Issue(_) | Step::NoteUsed));
        prop_assert!(wants || !unasked, "{steps:?}");
    }

    /// Else it would never be looked at again.
    #[test]
    fn whatever_is_to_be_done_later_has_its_time(situation in situation()) {
        let decision = situation.decide();
        let is_due = |reason| matches!(reason, Why::Failed | Why::RateLimited | Why::LoopSuspected);
        if decision.step == Step::Nothing && is_due(decision.view.reason) {
            prop_assert!(decision.wake.is_some_and(|at| at > now()), "{decision:?}");
        }
    }
}
