//! When a certificate is renewed: where its CA says something, then; else by the seed's table, as
//! far as the certificate's real lifetime allows it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cert::Facts;
use crate::order::Ari;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);
/// Below this the rest that is left at a renewal is a half, else a third.
const SHORT: SignedDuration = SignedDuration::from_hours(240);
/// With less of its life left than one part in so many, whatever the CA says has no say any more.
const LAST_PART: i32 = 20;

/// `certificatesDuration` of the resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    pub duration: Duration,
    /// Whether somebody wrote it down.
    pub is_explicit: bool,
}

/// When to renew one certificate, and how it came to that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    pub at: Timestamp,
    pub by: By,
    /// A renewal that is due is tried again at least so often.
    pub interval: SignedDuration,
    /// The CA does not issue for as long as the configuration says.
    pub warning: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The instant chosen in the window that the CA suggested.
    Window,
    Lifetime,
}

/// The real lifetime: the second in which it ends counts too (RFC 5280 §4.1.2.5).
pub fn life(facts: &Facts) -> SignedDuration {
    facts.not_after.duration_since(facts.not_before) + SignedDuration::from_secs(1)
}

/// `dice`: in 0..1, the same for the same certificate, so that many are spread over time.
pub fn schedule(facts: &Facts, expected: Expected, ari: Option<&Ari>, dice: f64) -> Schedule {
    let life = life(facts);
    let row = Row::of(SignedDuration::try_from(expected.duration).unwrap_or(SignedDuration::MAX));
    let fits = expected.is_explicit && row.before <= life / 2;
    let before = if fits { row.before } else { share(life) };
    let last = facts.not_after - life / LAST_PART;
    let ari = ari.filter(|ari| Some(&ari.id) == facts.ari_id.as_ref());
    if let Some(ari) = ari {
        let interval = Row::of(life).every;
        return Schedule { at: ari.chosen.min(last), by: By::Window, interval, warning: None };
    }
    let jitter = fraction(before, dice / 10.0);
    Schedule {
        at: (facts.not_after - before + jitter).min(last),
        by: By::Lifetime,
        interval: if fits { row.every } else { Row::of(life).every },
        warning: (!fits).then(|| warning(expected, life)).flatten(),
    }
}

/// A row of the seed's table.
#[derive(Debug, Clone, Copy)]
struct Row {
    before: SignedDuration,
    every: SignedDuration,
}

impl Row {
    fn of(duration: SignedDuration) -> Self {
        let (before, every) = match duration {
            long if long >= DAY * 365 => (DAY * 120, DAY * 7),
            long if long >= DAY * 90 => (DAY * 30, DAY),
            long if long >= DAY * 30 => (DAY * 10, HOUR * 12),
            long if long >= DAY * 7 => (DAY, HOUR),
            long if long >= DAY => (HOUR * 6, SignedDuration::from_mins(10)),
            _ => (SignedDuration::from_mins(20), SignedDuration::from_mins(1)),
        };
        Self { before, every }
    }
}

fn share(life: SignedDuration) -> SignedDuration {
    if life < SHORT { life / 2 } else { life / 3 }
}

/// Both figures, unless the real one is what was expected, give or take a twentieth.
fn warning(expected: Expected, life: SignedDuration) -> Option<String> {
    let figure = SignedDuration::try_from(expected.duration).unwrap_or(SignedDuration::MAX);
    if (figure - life).abs() <= figure / 20 {
        return None;
    }
    let said = if expected.is_explicit { "is" } else { "is not given, which means" };
    let rest = if life < SHORT { "half" } else { "a third" };
    Some(format!(
        "certificatesDuration {said} {}h, but the CA issues for {}: renewed when {rest} of that is \
         left",
        figure.as_hours(),
        shown(life)
    ))
}

fn shown(life: SignedDuration) -> String {
    match life.as_secs() {
        seconds if seconds >= 3600 => format!("{}h", (seconds + 1800) / 3600),
        seconds => format!("{seconds}s"),
    }
}

pub(super) fn fraction(of: SignedDuration, share: f64) -> SignedDuration {
    SignedDuration::try_from_secs_f64(of.as_secs_f64() * share).unwrap_or_default()
}
