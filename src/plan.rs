//! One certificate: what to do next, why, when to look again, what to show. Pure.
//!
//! The chain of reasons is read from the top: the first that holds decides.

mod pause;
mod reason;
mod removal;
mod schedule;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::budget::Class;
use crate::cert::Facts;
use crate::name::Names;
use crate::order::{Asked, Cause, Changing, Spec, State};
use crate::plan::reason::{Reason, Verdict};

pub use pause::uses_fallback;
pub use removal::Removals;
pub use schedule::{By, Expected, Schedule, life, schedule};

/// A state record outlives its certificate, so that its counts do not start again.
const FORGET_AFTER: SignedDuration = SignedDuration::from_hours(7 * 24);
/// Shorter lives than this cannot be managed reliably (seed, `certificatesDuration`).
const TOO_SHORT: SignedDuration = SignedDuration::from_hours(1);

/// What the store holds for the certificate; never PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    Nothing,
    /// The Secret is there, its content is not what we wrote.
    Unreadable(String),
    /// Certificate and key do not belong together.
    KeyMismatch,
    Certificate(Facts),
}

/// What routes want.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    pub names: &'a Names,
    /// `None`: the resolver is not known now, so nothing about it can have changed.
    pub spec: Option<Spec>,
}

/// What is asked of [`decide`].
#[derive(Debug)]
pub struct Question<'a> {
    /// `None`: no route wants the certificate.
    pub wanted: Option<Wanted<'a>>,
    pub held: &'a Held,
    pub state: Option<&'a State>,
    /// Records of other certificates that share a name with it: of the same resolver, or of the
    /// same set of names.
    pub of_same_names: &'a [&'a State],
    /// How many other certificates of the resolver are being replaced because their specification
    /// changed.
    pub crowd: usize,
    pub expected: Expected,
    /// Another resolver stands in for one that fails.
    pub has_fallback: bool,
    /// With so many others at once it lost its routes that nobody may have wanted that (see
    /// [`Removals`]).
    pub is_mass: bool,
    pub remove_after: Duration,
    /// How long a host stays its last owner's: the record is kept as long.
    pub host_hold: Duration,
    pub now: Timestamp,
    /// Chance in 0..1, the same for the same certificate, so that many are spread over time.
    pub dice: f64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Nothing,
    /// Place an order, or go on with the one in flight.
    Issue(Grounds),
    /// Record from when on a changed specification counts, or that there is none any more.
    NoteChange(Option<Changing>),
    /// Tell the CA that the certificate must not be trusted any more.
    Revoke {
        reason: Option<u8>,
    },
    /// Record that no route wants it from now on.
    NoteUnused,
    /// Record that a route wants it again.
    NoteUsed,
    /// Delete certificate and copies.
    Remove,
    /// Delete the state record.
    Forget,
}

/// What an order is for: its place in the queue, and how the loop breaker counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grounds {
    pub class: Class,
    pub cause: Cause,
}

/// For people and programs: what AcmeCertificate shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub ready: bool,
    pub reason: Why,
    pub message: String,
    pub not_after: Option<Timestamp>,
    pub renewal: Option<Timestamp>,
    /// Something about the resolver that is to be told once.
    pub warning: Option<String>,
    /// When it is tried again after a failure.
    pub retry: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Issued,
    LifetimeTooShort,
    NotIssued,
    Issuing,
    WrongNames,
    KeyMismatch,
    SecretUnreadable,
    KeyTypeChanged,
    CaChanged,
    ProfileChanged,
    Revoked,
    WindowOpen,
    RenewalDue,
    Expired,
    Forced,
    Failed,
    RateLimited,
    LoopSuspected,
    Unused,
    MassRemovalHeld,
}

impl Why {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "Issued",
            Self::LifetimeTooShort => "LifetimeTooShort",
            Self::NotIssued => "NotIssued",
            Self::Issuing => "Issuing",
            Self::WrongNames => "WrongNames",
            Self::KeyMismatch => "KeyMismatch",
            Self::SecretUnreadable => "SecretUnreadable",
            Self::KeyTypeChanged => "KeyTypeChanged",
            Self::CaChanged => "CaChanged",
            Self::ProfileChanged => "ProfileChanged",
            Self::Revoked => "Revoked",
            Self::WindowOpen => "WindowOpen",
            Self::RenewalDue => "RenewalDue",
            Self::Expired => "Expired",
            Self::Forced => "Forced",
            Self::Failed => "Failed",
            Self::RateLimited => "RateLimited",
            Self::LoopSuspected => "LoopSuspected",
            Self::Unused => "Unused",
            Self::MassRemovalHeld => "MassRemovalHeld",
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
    if let Some(revocation) = revocation(question) {
        return revocation;
    }
    match &question.wanted {
        None => unused(question),
        Some(wanted) => decide_wanted(question, wanted),
    }
}

/// A person's word comes before everything else, wanted or not.
fn revocation(question: &Question<'_>) -> Option<Decision> {
    let Some(Asked::Revoke { at, reason }) = question.state?.asked else { return None };
    let message = format!("its revocation was asked for at {}", round(at));
    let decision = still(question, Why::Revoked, message, None);
    Some(Decision { step: Step::Revoke { reason }, ..decision })
}

fn decide_wanted(question: &Question<'_>, wanted: &Wanted<'_>) -> Decision {
    if question.state.is_some_and(|state| state.unused_since.is_some() || state.taken_over) {
        return Decision {
            step: Step::NoteUsed,
            ..still(question, Why::Issued, String::new(), None)
        };
    }
    match reason::verdict(question, wanted) {
        Verdict::Keep => keep(question),
        Verdict::Issue(reason) => issue(question, reason),
        Verdict::Defer(changing) => Decision { step: Step::NoteChange(changing), ..keep(question) },
    }
}

fn issue(question: &Question<'_>, reason: Reason) -> Decision {
    if let Some(blocked) = pause::blocked(question, &reason) {
        let mut decision = still(question, blocked.why, blocked.message, Some(blocked.until));
        decision.view.retry = Some(round(blocked.until));
        return decision;
    }
    let failed = question.state.is_some_and(|state| !state.failures.is_empty());
    let is_late = match question.held {
        Held::Certificate(facts) => facts.not_after.duration_since(question.now) < life(facts) / 20,
        _ => false,
    };
    let class = if failed && !is_late { Class::Retry } else { reason.class };
    let grounds = Grounds { class, cause: reason.cause };
    let decision = still(question, reason.why, reason.message, None);
    Decision { step: Step::Issue(grounds), ..decision }
}

fn keep(question: &Question<'_>) -> Decision {
    let Held::Certificate(facts) = question.held else {
        return still(question, Why::NotIssued, String::new(), None);
    };
    let schedule = schedule_of(question, facts);
    let mut message =
        format!("valid until {}; renewed after {}", facts.not_after, round(schedule.at));
    let mut wake = schedule.at;
    if let Some((due, waiting)) = reason::waiting_change(question, facts) {
        message = format!("{message}; {waiting}");
        wake = wake.min(due);
    }
    let short = life(facts) < TOO_SHORT;
    if short {
        message = format!(
            "{message}; it lives {} seconds, and less than an hour cannot be renewed in time \
             reliably: have the CA issue for longer",
            life(facts).as_secs()
        );
    }
    if let Some(warning) = &schedule.warning {
        message = format!("{message}; {warning}");
    }
    let why = if short { Why::LifetimeTooShort } else { Why::Issued };
    still(question, why, message, Some(wake))
}

fn schedule_of(question: &Question<'_>, facts: &Facts) -> Schedule {
    let ari = question.state.and_then(|state| state.ari.as_ref());
    schedule(facts, question.expected, ari, question.dice)
}

fn still(question: &Question<'_>, why: Why, message: String, wake: Option<Timestamp>) -> Decision {
    let facts = match question.held {
        Held::Certificate(facts) => Some(facts),
        Held::Nothing | Held::Unreadable(_) | Held::KeyMismatch => None,
    };
    let names = question.wanted.as_ref().map(|wanted| wanted.names);
    let fits = |facts: &&Facts| names.is_none_or(|names| facts.names.same_as(names));
    let valid = facts.filter(fits).filter(|facts| question.now < facts.not_after);
    let schedule = facts.filter(|_| names.is_some()).map(|facts| schedule_of(question, facts));
    let expiry = valid.map(|facts| facts.not_after);
    let view = View {
        ready: valid.is_some(),
        reason: why,
        message,
        not_after: facts.map(|facts| facts.not_after),
        renewal: schedule.as_ref().map(|schedule| round(schedule.at)),
        warning: schedule.and_then(|schedule| schedule.warning),
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
    let is_revoked = is_revoked(question, state);
    let is_mass = question.is_mass && !is_revoked;
    if !is_mass && (remove <= question.now || is_revoked) {
        return nothing(Step::Remove, None);
    }
    let (why, message) = why_unused(since, is_mass, question.remove_after);
    // Routes that come back end a mass, too.
    let wake = if is_mass { question.now + removal::TOGETHER } else { remove };
    still(question, why, message, Some(wake))
}

/// What is shown of a certificate that no route wants since then.
#[expect(clippy::fn_params_excessive_bools, reason = "it is what was found, not a switch")]
pub fn why_unused(since: Timestamp, is_mass: bool, remove_after: Duration) -> (Why, String) {
    let shown = round(since);
    if is_mass {
        let message = format!(
            "no route wants it since {shown}, and within an hour the same became of so many others \
             that a fault is likely: none of them is deleted until their routes are back or \
             `routecert gc --confirm` lets them go"
        );
        return (Why::MassRemovalHeld, message);
    }
    let remove = round(later(since, remove_after));
    (Why::Unused, format!("no route wants it since {shown}; deleted after {remove}"))
}

/// What must not be trusted is of no use to anybody.
fn is_revoked(question: &Question<'_>, state: &State) -> bool {
    match question.held {
        Held::Certificate(facts) => state.revoked.as_ref() == Some(&facts.fingerprint),
        Held::Nothing | Held::Unreadable(_) | Held::KeyMismatch => false,
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Shown to the second.
pub fn round(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod laws;
#[cfg(test)]
mod tests;
