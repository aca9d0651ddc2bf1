//! One certificate: what to do next, why, when to look again, what to show. Pure.
//!
//! The chain of reasons is read from the top: the first that holds decides.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cert::Facts;
use crate::name::Names;
use crate::order::{Failure, FailureKind, Issued, State};

/// Pauses after the CA refused, by number of failures: a person has to mend something meanwhile.
const REFUSED: [SignedDuration; 4] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(10),
    SignedDuration::from_mins(100),
    SignedDuration::from_hours(24),
];
/// The CA could not be reached: nothing was counted there, so we may ask soon, and ever later.
const UNREACHABLE_FIRST: SignedDuration = SignedDuration::from_secs(5);
const UNREACHABLE_LAST: SignedDuration = SignedDuration::from_mins(5);
/// A CA that limits without saying for how long.
const LIMITED: SignedDuration = SignedDuration::from_hours(1);
/// So many issuances of one certificate within its lifetime, or a week, are a loop.
const LOOP_ISSUED: usize = 3;
/// A state record outlives its certificate, so that its counts do not start again.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What the store holds for the certificate; never PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// The Secret is there, its content is not what we wrote.
    Unreadable(String),
    Certificate(Facts),
}

/// What is asked of [`decide`].
#[derive(Debug)]
pub struct Question<'a> {
    /// The names, if a route wants the certificate.
    pub wanted: Option<&'a Names>,
    pub held: &'a Held,
    pub state: Option<&'a State>,
    /// `certificatesDuration` of the resolver.
    pub certificates_duration: Duration,
    pub remove_after: Duration,
    /// How long a host stays its last owner's: the record is kept as long.
    pub host_hold: Duration,
    pub now: Timestamp,
    /// Chance in 0..1, the same for the same certificate, so that many are spread over time.
    pub dice: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Place an order, or go on with the one in flight.
    Issue,
    /// Record that no route wants it from now on.
    NoteUnused,
    /// Record that a route wants it again.
    NoteUsed,
    /// Delete certificate and copies.
    Remove,
    /// Delete the state record.
    Forget,
}

/// For people and programs: what AcmeCertificate shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub ready: bool,
    pub reason: Why,
    pub message: String,
    pub not_after: Option<Timestamp>,
    pub renewal: Option<Timestamp>,
    /// When it is tried again after a failure.
    pub retry: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Issued,
    NotIssued,
    Issuing,
    RenewalDue,
    Expired,
    SecretUnreadable,
    WrongNames,
    Failed,
    RateLimited,
    LoopSuspected,
    Unused,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "Issued",
            Self::NotIssued => "NotIssued",
            Self::Issuing => "Issuing",
            Self::RenewalDue => "RenewalDue",
            Self::Expired => "Expired",
            Self::SecretUnreadable => "SecretUnreadable",
            Self::WrongNames => "WrongNames",
            Self::Failed => "Failed",
            Self::RateLimited => "RateLimited",
            Self::LoopSuspected => "LoopSuspected",
            Self::Unused => "Unused",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub step: Step,
    /// When to decide again if nothing happens before.
    pub wake: Option<Timestamp>,
    pub view: View,
}

pub fn decide(question: &Question<'_>) -> Decision {
    match question.wanted {
        None => unused(question),
        Some(names) => wanted(question, names),
    }
}

fn wanted(question: &Question<'_>, names: &Names) -> Decision {
    if question.state.is_some_and(|state| state.unused_since.is_some() || state.taken_over) {
        return Decision {
            step: Step::NoteUsed,
            ..still(question, Why::Issued, String::new(), None)
        };
    }
    let Some((why, message)) = reason_to_issue(question, names) else { return keep(question) };
    if let Some((blocked, until, message)) = blocked(question) {
        let mut decision = still(question, blocked, message, Some(until));
        decision.view.retry = Some(round(until));
        return decision;
    }
    let decision = still(question, why, message, None);
    Decision { step: Step::Issue, ..decision }
}

/// Why a certificate has to be got now; `None`: the one that is held is good.
fn reason_to_issue(question: &Question<'_>, names: &Names) -> Option<(Why, String)> {
    if question.state.is_some_and(|state| state.pending.is_some()) {
        return Some((Why::Issuing, "an order is in flight".to_owned()));
    }
    let facts = match question.held {
        Held::Nothing => return Some((Why::NotIssued, "no certificate yet".to_owned())),
        Held::Unreadable(cause) => {
            let message = format!("the Secret holds no usable certificate ({cause})");
            return Some((Why::SecretUnreadable, message));
        }
        Held::Certificate(facts) => facts,
    };
    if !facts.names.same_as(names) {
        let message = format!("the Secret holds a certificate for {}", facts.names);
        return Some((Why::WrongNames, message));
    }
    if facts.not_after <= question.now {
        return Some((Why::Expired, format!("expired at {}", facts.not_after)));
    }
    let renewal = renewal(facts, question.certificates_duration, question.dice);
    (renewal <= question.now)
        .then(|| (Why::RenewalDue, format!("renewal due since {}", round(renewal))))
}

/// Why nothing may be asked of the CA before a certain time.
fn blocked(question: &Question<'_>) -> Option<(Why, Timestamp, String)> {
    let state = question.state?;
    if let Some((why, until, message)) = pause(&state.failures, question.dice)
        && question.now < until
    {
        return Some((why, until, message));
    }
    if state.pending.is_some() {
        return None;
    }
    let until = loop_ends(&state.issued, question.now)?;
    let message = format!(
        "issued {LOOP_ISSUED} times in a short time: something deletes or changes its Secret; find \
         out what. The next order is placed after {}",
        round(until)
    );
    Some((Why::LoopSuspected, until, message))
}

/// Until when the last failure holds us back.
fn pause(failures: &[Failure], dice: f64) -> Option<(Why, Timestamp, String)> {
    let last = failures.last()?;
    let in_a_row = failures.iter().rev().take_while(|one| one.kind == last.kind).count();
    let (why, pause) = match last.kind {
        FailureKind::Unreachable => (Why::Failed, doubled(in_a_row)),
        FailureKind::Refused => {
            let longest = REFUSED.last().copied().unwrap_or(LIMITED);
            (Why::Failed, REFUSED.get(in_a_row.saturating_sub(1)).copied().unwrap_or(longest))
        }
        FailureKind::RateLimited => (Why::RateLimited, LIMITED),
    };
    let until = last.not_before.unwrap_or_else(|| last.at + pause + fraction(pause, dice / 10.0));
    let message = format!("{}; tried again after {}", last.message, round(until));
    Some((why, until, message))
}

fn doubled(in_a_row: usize) -> SignedDuration {
    let shift = u32::try_from(in_a_row.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    UNREACHABLE_FIRST.saturating_mul(1 << shift).min(UNREACHABLE_LAST)
}

/// When the loop breaker lets go: once the oldest of the last issuances has left the window.
fn loop_ends(issued: &[Issued], now: Timestamp) -> Option<Timestamp> {
    let oldest = issued.iter().rev().nth(LOOP_ISSUED - 1)?;
    let lifetime = oldest.not_after.duration_since(oldest.at);
    let window = (lifetime / 2).min(SignedDuration::from_hours(7 * 24));
    let until = oldest.at + window;
    (now < until).then_some(until)
}

fn keep(question: &Question<'_>) -> Decision {
    let Held::Certificate(facts) = question.held else {
        return still(question, Why::NotIssued, String::new(), None);
    };
    let renewal = renewal(facts, question.certificates_duration, question.dice);
    let message = format!("valid until {}; renewed after {}", facts.not_after, round(renewal));
    still(question, Why::Issued, message, Some(renewal))
}

fn still(question: &Question<'_>, why: Why, message: String, wake: Option<Timestamp>) -> Decision {
    let facts = match question.held {
        Held::Certificate(facts) => Some(facts),
        Held::Nothing | Held::Unreadable(_) => None,
    };
    let fits = |facts: &&Facts| question.wanted.is_none_or(|names| facts.names.same_as(names));
    let valid = facts.filter(fits).filter(|facts| question.now < facts.not_after);
    let renewal = facts.map(|facts| renewal(facts, question.certificates_duration, question.dice));
    let expiry = valid.map(|facts| facts.not_after);
    let view = View {
        ready: valid.is_some(),
        reason: why,
        message,
        not_after: facts.map(|facts| facts.not_after),
        renewal: renewal.filter(|_| question.wanted.is_some()).map(round),
        retry: None,
    };
    // What is shown changes when a certificate expires, even if nothing can be done about it.
    Decision { step: Step::Nothing, wake: wake.into_iter().chain(expiry).min(), view }
}

fn unused(question: &Question<'_>) -> Decision {
    let nothing = |step, wake| Decision {
        step,
        ..still(question, Why::Unused, "no route wants it".to_owned(), wake)
    };
    let Some(state) = question.state else {
        // A certificate without a record: found, not made by this installation's memory.
        let step = if *question.held == Held::Nothing { Step::Nothing } else { Step::NoteUnused };
        return nothing(step, None);
    };
    if let Some(removed_at) = state.removed_at {
        let held = state.unused_since.map(|since| later(since, question.host_hold));
        let forget = later(removed_at, FORGET_AFTER.unsigned_abs()).max(held.unwrap_or(removed_at));
        let step = if forget <= question.now { Step::Forget } else { Step::Nothing };
        return nothing(step, Some(forget));
    }
    if state.taken_over {
        let message = "taken over; no route has wanted it yet".to_owned();
        return still(question, Why::Unused, message, None);
    }
    let Some(since) = state.unused_since else { return nothing(Step::NoteUnused, None) };
    let remove = later(since, question.remove_after);
    if remove <= question.now {
        return nothing(Step::Remove, None);
    }
    let message =
        format!("no route wants it since {}; deleted after {}", round(since), round(remove));
    still(question, Why::Unused, message, Some(remove))
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// When to renew: by the seed's table, never later than the certificate's real life allows.
pub fn renewal(facts: &Facts, certificates_duration: Duration, dice: f64) -> Timestamp {
    let life = facts.not_after.duration_since(facts.not_before);
    let share = if life < SignedDuration::from_hours(240) { life / 2 } else { life / 3 };
    let before = renew_period(certificates_duration).min(share);
    facts.not_after - before + fraction(before, dice / 10.0)
}

/// The seed's table, `certificatesDuration` → Renew Period.
fn renew_period(duration: Duration) -> SignedDuration {
    const DAY: u64 = 24;
    match duration.as_secs() / 3600 {
        hours if hours >= 365 * DAY => SignedDuration::from_hours(120 * 24),
        hours if hours >= 90 * DAY => SignedDuration::from_hours(30 * 24),
        hours if hours >= 30 * DAY => SignedDuration::from_hours(10 * 24),
        hours if hours >= 7 * DAY => SignedDuration::from_hours(24),
        hours if hours >= DAY => SignedDuration::from_hours(6),
        _ => SignedDuration::from_mins(20),
    }
}

fn fraction(of: SignedDuration, share: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(of.as_secs_f64() * share).unwrap_or_default()
}

/// Shown to the second.
fn round(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
