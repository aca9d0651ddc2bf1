//! Why a certificate has to be got: a chain, the first that holds is the reason and is shown.

use jiff::{SignedDuration, Timestamp};

use crate::budget::Class;
use crate::cert::Facts;
use crate::order::{Asked, Cause, Change, Changing, Spec};
use crate::plan::schedule::{By, fraction, life, schedule};
use crate::plan::{Held, Question, Wanted, Why, round};

/// So many certificates of one resolver are replaced at once when their specification changes;
/// more are spread over a day.
const AT_ONCE: usize = 10;
const SPREAD: SignedDuration = SignedDuration::from_hours(24);

pub(super) struct Reason {
    pub(super) why: Why,
    pub(super) message: String,
    pub(super) class: Class,
    pub(super) cause: Cause,
    /// Of a renewal that is due: how often it is tried at least.
    pub(super) is_due: bool,
    pub(super) interval: SignedDuration,
}

pub(super) enum Verdict {
    /// The certificate that is held is good.
    Keep,
    Issue(Reason),
    /// Its specification changed; noted first, so that many wait for their turn over restarts too.
    Defer(Option<Changing>),
}

pub(super) fn verdict(question: &Question<'_>, wanted: &Wanted<'_>) -> Verdict {
    if question.state.is_some_and(|state| state.pending.is_some()) {
        let reason = Reason::new(Why::Issuing, "an order is in flight".to_owned(), Class::First);
        return Verdict::Issue(reason);
    }
    let facts = match question.held {
        Held::Certificate(facts) => facts,
        missing => return Verdict::Issue(forced_or(question, of_missing(missing))),
    };
    if !facts.names.same_as(wanted.names) {
        let message = format!("the Secret holds a certificate for {}", facts.names);
        let reason = Reason::new(Why::WrongNames, message, Class::First);
        return Verdict::Issue(forced_or(question, reason));
    }
    let due = due(question, facts);
    let change = change(question, wanted, facts);
    if let Some((change, spec)) = change {
        let changing = changing(question, spec);
        if changing.due <= question.now {
            return Verdict::Issue(forced_or(question, of_change(change, spec)));
        }
        let noted = question.state.and_then(|state| state.changing.as_ref()) == Some(&changing);
        if due.is_none() && !noted {
            return Verdict::Defer(Some(changing));
        }
    }
    let others = [revoked(question, facts), due, forced(question)];
    let first = others.into_iter().flatten().next();
    if let Some(reason) = first {
        return Verdict::Issue(forced_or(question, reason));
    }
    let noted = question.state.is_some_and(|state| state.changing.is_some());
    if noted && change.is_none() { Verdict::Defer(None) } else { Verdict::Keep }
}

impl Reason {
    fn new(why: Why, message: String, class: Class) -> Self {
        let (is_due, interval) = (false, SignedDuration::ZERO);
        Self { why, message, class, cause: Cause::Other, is_due, interval }
    }
}

/// What a person insists on passes the breaker, whatever the reason.
fn forced_or(question: &Question<'_>, mut reason: Reason) -> Reason {
    let force = matches!(
        question.state.and_then(|state| state.asked.as_ref()),
        Some(Asked::Renew { force: true, .. })
    );
    if force && reason.cause == Cause::Other {
        reason.cause = Cause::Forced;
    }
    reason
}

fn of_missing(held: &Held) -> Reason {
    let (why, message) = match held {
        Held::KeyMismatch => (
            Why::KeyMismatch,
            "the certificate and the key in the Secret do not belong together".to_owned(),
        ),
        Held::Unreadable(cause) => {
            (Why::SecretUnreadable, format!("the Secret holds no usable certificate ({cause})"))
        }
        Held::Nothing | Held::Certificate(_) => (Why::NotIssued, "no certificate yet".to_owned()),
    };
    Reason::new(why, message, Class::First)
}

fn change<'a>(
    question: &Question<'_>,
    wanted: &'a Wanted<'_>,
    facts: &Facts,
) -> Option<(Change, &'a Spec)> {
    let terms = question.state?.issuance_of(facts)?.terms.as_ref()?;
    let spec = wanted.spec.as_ref()?;
    // What another resolver did in our place is as it is until the renewal.
    let own = terms.fallback.is_none();
    spec.change_since(&terms.spec).filter(|_| own).map(|change| (change, spec))
}

fn changing(question: &Question<'_>, spec: &Spec) -> Changing {
    let known = question.state.and_then(|state| state.changing.as_ref());
    if let Some(known) = known.filter(|changing| changing.to == *spec) {
        return known.clone();
    }
    let wait = fraction(SPREAD, question.dice);
    let wait = if question.crowd < AT_ONCE { SignedDuration::ZERO } else { wait };
    Changing { to: spec.clone(), due: question.now + wait }
}

/// What is shown of a certificate whose replacement waits for its turn.
pub(super) fn waiting_change(
    question: &Question<'_>,
    facts: &Facts,
) -> Option<(Timestamp, String)> {
    let (change, spec) = change(question, question.wanted.as_ref()?, facts)?;
    let due = question.state?.changing.as_ref().filter(|one| one.to == *spec)?.due;
    let what = of_change(change, spec).message;
    Some((due, format!("{what}; with many others, so it is replaced after {}", round(due))))
}

fn of_change(change: Change, spec: &Spec) -> Reason {
    let (why, message) = match change {
        Change::KeyType => {
            (Why::KeyTypeChanged, format!("keyType is {} now", spec.key_type.as_str()))
        }
        Change::Ca => (Why::CaChanged, format!("caServer is {} now", spec.ca)),
        Change::Profile => (
            Why::ProfileChanged,
            match &spec.profile {
                Some(profile) => format!("profile is {profile} now"),
                None => "no profile is asked for any more".to_owned(),
            },
        ),
    };
    Reason::new(why, message, Class::Changed)
}

fn revoked(question: &Question<'_>, facts: &Facts) -> Option<Reason> {
    let revoked = question.state?.revoked.as_ref()?;
    let message = "the certificate was revoked".to_owned();
    (*revoked == facts.fingerprint).then(|| Reason::new(Why::Revoked, message, Class::First))
}

fn due(question: &Question<'_>, facts: &Facts) -> Option<Reason> {
    let ari = question.state.and_then(|state| state.ari.as_ref());
    let schedule = schedule(facts, question.expected, ari, question.dice);
    if question.now < schedule.at {
        return None;
    }
    let left = facts.not_after.duration_since(question.now);
    let (why, message) = match schedule.by {
        _ if left <= SignedDuration::ZERO => {
            (Why::Expired, format!("expired at {}", facts.not_after))
        }
        By::Window if left > life(facts) / 20 => {
            let since = round(schedule.at);
            (Why::WindowOpen, format!("the CA suggests to renew; the instant chosen was {since}"))
        }
        By::Window | By::Lifetime => {
            (Why::RenewalDue, format!("renewal due since {}", round(schedule.at)))
        }
    };
    let open = why == Why::WindowOpen && ari.is_some_and(|ari| ari.is_open(question.now));
    let class = if open { Class::Window } else { Class::NearExpiry };
    let cause = if is_expected(question) { Cause::Due } else { Cause::Other };
    let interval = schedule.interval;
    Some(Reason { cause, is_due: true, interval, ..Reason::new(why, message, class) })
}

/// A renewal soon after the last issuance is none that was due, whatever the Secret holds by now.
fn is_expected(question: &Question<'_>) -> bool {
    let last = question.state.and_then(|state| state.issued.last());
    last.is_none_or(|last| {
        let life = last.not_after.duration_since(last.at);
        question.now.duration_since(last.at) >= life / 3
    })
}

fn forced(question: &Question<'_>) -> Option<Reason> {
    let state = question.state?;
    let Some(Asked::Renew { at, force }) = state.asked else { return None };
    let cause = if force { Cause::Forced } else { Cause::Other };
    let message = format!("asked for at {}", round(at));
    Some(Reason { cause, ..Reason::new(Why::Forced, message, Class::First) })
}
