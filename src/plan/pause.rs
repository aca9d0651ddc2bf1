//! What holds an order back: failures of the certificate and of its names, and the loop breaker.

use jiff::{SignedDuration, Timestamp};

use crate::name::{Name, Names};
use crate::order::{Asked, Cause, Failure, FailureKind, State};
use crate::plan::reason::Reason;
use crate::plan::schedule::fraction;
use crate::plan::{Question, Why, round};

/// Pauses after the CA refused, by number of failures: a person has to mend something meanwhile.
const REFUSED: [SignedDuration; 4] = [
    SignedDuration::from_mins(1),
    SignedDuration::from_mins(10),
    SignedDuration::from_mins(100),
    SignedDuration::from_hours(24),
];
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// The CA could not be reached: nothing was counted there, so we may ask soon, and ever later.
const UNREACHABLE_FIRST: SignedDuration = SignedDuration::from_secs(5);
const UNREACHABLE_LAST: SignedDuration = SignedDuration::from_mins(5);
/// A CA that limits without saying for how long.
const LIMITED: SignedDuration = SignedDuration::from_hours(1);
/// After so many failures in a row even what is due waits a day: CAs pause those who never give
/// up (Let's Encrypt after 1,152, of which it forgives one a day).
const HOPELESS: u32 = 200;
/// So many issuances of one set of names within so long, beside those that were due, are a loop.
const LOOP_ISSUED: usize = 3;
const LOOP_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// So often may the first resolver fail before its fallback is used.
const FIRST_TRIES: u32 = 2;

pub(super) struct Blocked {
    pub(super) why: Why,
    pub(super) until: Timestamp,
    pub(super) message: String,
}

/// Why nothing may be asked of the CA before a certain time.
pub(super) fn blocked(question: &Question<'_>, reason: &Reason) -> Option<Blocked> {
    let own = question.state.and_then(|state| own_pause(question, state, reason));
    let others = question.wanted.as_ref().and_then(|wanted| {
        let names = wanted.names;
        names_pause(question, names)
    });
    let latest = own.into_iter().chain(others).max_by_key(|one| one.until);
    let latest = latest.filter(|one| question.now < one.until);
    if latest.is_some() || question.state.is_some_and(|state| state.pending.is_some()) {
        return latest;
    }
    if reason.cause != Cause::Other {
        return None;
    }
    let until = loop_ends(question)?;
    let message = format!(
        "issued {LOOP_ISSUED} times in 7 days though no renewal was due: something deletes or \
         changes its Secret, or the route or the resolver changes again and again; find out what. \
         The next order is placed after {}, or by `routecert renew --force`",
        round(until)
    );
    Some(Blocked { why: Why::LoopSuspected, until, message })
}

fn own_pause(question: &Question<'_>, state: &State, reason: &Reason) -> Option<Blocked> {
    let last = state.failures.last()?;
    let forced = matches!(state.asked, Some(Asked::Renew { at, force: true }) if last.at < at);
    // What a CA says that is only rehearsed at holds nobody back from the real one.
    let not_before = last.not_before.filter(|_| !last.rehearsal);
    if (forced && not_before.is_none()) || goes_elsewhere(question, state) {
        return None;
    }
    let mut pause = pause(&state.failures, question.dice);
    if reason.is_due && last.kind == FailureKind::Refused && state.failed < HOPELESS {
        pause = pause.min(reason.interval);
    }
    let until = not_before.unwrap_or_else(|| last.at + pause);
    let why = match last.kind {
        FailureKind::RateLimited => Why::RateLimited,
        FailureKind::Unreachable | FailureKind::Refused => Why::Failed,
    };
    let message = format!("{}; tried again after {}", told(last), round(until));
    Some(Blocked { why, until, message })
}

/// Which of the names could not be proven stands before what the CA says, unless it says so itself.
fn told(failure: &Failure) -> String {
    let unsaid = |name: &&Name| !failure.message.contains(name.as_str());
    let names: Vec<&str> = failure.names.iter().filter(unsaid).map(Name::as_str).collect();
    let rehearsal = match &failure.ca {
        Some(ca) if failure.rehearsal => format!(" (rehearsal at {ca})"),
        _ => String::new(),
    };
    match names.as_slice() {
        [] => format!("{}{rehearsal}", failure.message),
        names => format!("{}: {}{rehearsal}", names.join(", "), failure.message),
    }
}

/// How long the last of these failures holds back.
fn pause(failures: &[Failure], dice: f64) -> SignedDuration {
    let Some(last) = failures.last() else { return SignedDuration::ZERO };
    let count = failures.iter().filter(|one| one.kind == last.kind).count();
    let pause = match last.kind {
        FailureKind::Unreachable => doubled(count),
        FailureKind::Refused => REFUSED.get(count.saturating_sub(1)).copied().unwrap_or(LONGEST),
        FailureKind::RateLimited => LIMITED,
    };
    // Not the same share each time: those that failed together once do not stay together.
    let dice = (dice + 0.618 * f64::from(u8::try_from(count).unwrap_or(u8::MAX))).fract();
    pause + fraction(pause, dice / 5.0 - 0.1)
}

fn doubled(count: usize) -> SignedDuration {
    let shift = u32::try_from(count.saturating_sub(1)).unwrap_or(u32::MAX).min(16);
    UNREACHABLE_FIRST.saturating_mul(1 << shift).min(UNREACHABLE_LAST)
}

/// A name that another certificate of the resolver could not prove: it would fail here too.
fn names_pause(question: &Question<'_>, names: &Names) -> Option<Blocked> {
    let blocking = |name: &Name| {
        let about = |state: &&&State| !state.failures.is_empty();
        let states = question.of_same_names.iter().filter(about);
        let until = states.filter_map(|state| until_of(question, state, name)).max()?;
        let message = format!(
            "{name} could not be proven for another certificate ({}); tried again after {}",
            until.1,
            round(until.0)
        );
        Some(Blocked { why: Why::Failed, until: until.0, message })
    };
    names.iter().filter_map(blocking).max_by_key(|one| one.until)
}

fn until_of(question: &Question<'_>, state: &State, name: &Name) -> Option<(Timestamp, String)> {
    let about: Vec<Failure> =
        state.failures.iter().filter(|one| one.names.contains(name)).cloned().collect();
    let last = about.last()?;
    // Somebody proved it since.
    let proven = |state: &&State| {
        state.names.iter().any(|one| one == name)
            && state.issued.last().is_some_and(|issued| last.at < issued.at)
    };
    let proven =
        question.of_same_names.iter().copied().chain(question.state).any(|one| proven(&one));
    (!proven).then(|| (last.at + pause(&about, question.dice), last.message.clone()))
}

/// When the loop breaker lets go: once the oldest of the last issuances has left the window.
fn loop_ends(question: &Question<'_>) -> Option<Timestamp> {
    let wanted = question.wanted.as_ref()?;
    let others = question.of_same_names.iter().copied();
    let same = others.filter(|state| state.names.same_as(wanted.names));
    let issued = question.state.into_iter().chain(same).flat_map(|state| &state.issued);
    let mut times: Vec<Timestamp> =
        issued.filter(|one| one.cause() == Cause::Other).map(|one| one.at).collect();
    times.sort_unstable();
    let until = *times.iter().rev().nth(LOOP_ISSUED - 1)? + LOOP_WINDOW;
    (question.now < until).then_some(until)
}

/// Whether the next try is the fallback's: the first resolver, whose CA is `ca`, failed again and
/// again, or is limited for long. Every second try is still its own.
pub fn uses_fallback(state: &State, ca: &str) -> bool {
    let again = state.failed >= FIRST_TRIES && state.failed.is_multiple_of(2);
    again || is_limited(state, ca)
}

fn is_limited(state: &State, ca: &str) -> bool {
    state.failures.last().is_some_and(|last| {
        last.kind == FailureKind::RateLimited
            && last.ca.as_deref() == Some(ca)
            && last.not_before.is_some_and(|until| until > last.at + LIMITED)
    })
}

/// What held the first resolver back does not hold its fallback when that one's turn first comes.
fn goes_elsewhere(question: &Question<'_>, state: &State) -> bool {
    let Some(wanted) = question.wanted.as_ref().filter(|_| question.has_fallback) else {
        return false;
    };
    let ca = wanted.spec.as_ref().map(|spec| spec.ca.as_str()).unwrap_or_default();
    state.failed == FIRST_TRIES || is_limited(state, ca)
}
