//! Renewal information (RFC 9773): the window that the CA suggests, and the instant chosen in it.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// However seldom the CA wants to be asked: a window moved into the past is seen within this time.
const POLL_AT_LEAST: SignedDuration = SignedDuration::from_hours(6);
const POLL_AT_MOST: SignedDuration = SignedDuration::from_mins(1);
/// After an error that says nothing about when to come back.
const AFTER_ERROR: SignedDuration = SignedDuration::from_hours(1);
/// The end of a window is left free for the order itself: outside it counts against limits.
const KEPT_FREE: i32 = 20;

/// What a state record knows of one certificate's renewal information.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ari {
    /// Which certificate (RFC 9773 §4.1): for any other one it says nothing.
    pub id: String,
    pub window: Window,
    /// When to renew: chosen once for a window.
    pub chosen: Timestamp,
    pub next_poll: Timestamp,
    /// The CA would not have the certificate replaced by an order of ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// One answer to a poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polled {
    pub window: Window,
    /// The CA's `Retry-After`.
    pub retry_after: Option<SignedDuration>,
}

/// What is known after a poll about the certificate `id`. An error (`None`) or a window that ends
/// before it begins leaves what was known. `dice`: chance in 0..1.
pub fn learn(
    known: Option<&Ari>,
    id: &str,
    polled: Option<Polled>,
    now: Timestamp,
    dice: f64,
) -> Option<Ari> {
    let known = known.filter(|ari| ari.id == id);
    let Some(polled) = polled.filter(|polled| polled.window.start <= polled.window.end) else {
        return known.map(|ari| Ari { next_poll: after(now, AFTER_ERROR), ..ari.clone() });
    };
    let pause = polled.retry_after.unwrap_or(POLL_AT_LEAST);
    let next_poll = after(now, pause.clamp(POLL_AT_MOST, POLL_AT_LEAST));
    if let Some(ari) = known.filter(|ari| ari.window == polled.window) {
        return Some(Ari { next_poll, ..ari.clone() });
    }
    Some(Ari {
        id: id.to_owned(),
        window: polled.window,
        chosen: choose(polled.window, dice),
        next_poll,
        refused: known.is_some_and(|ari| ari.refused),
    })
}

/// When to ask about a certificate of which nothing is known yet and that cannot be asked about
/// now.
pub fn after_error(now: Timestamp) -> Timestamp {
    after(now, AFTER_ERROR)
}

fn choose(window: Window, dice: f64) -> Timestamp {
    let length = window.end.duration_since(window.start);
    let length = length - length / KEPT_FREE;
    let into = length.as_secs_f64() * dice.clamp(0.0, 1.0);
    let into = SignedDuration::try_from_secs_f64(into).unwrap_or_default();
    after(window.start, into)
}

fn after(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.saturating_add(by).unwrap_or(Timestamp::MAX)
}

impl Ari {
    /// Whether an order placed now is inside the window, with a little to spare for its way.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.window.start <= now && after(now, SignedDuration::from_mins(1)) < self.window.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn polled(start: &str, end: &str) -> Polled {
        Polled { window: Window { start: at(start), end: at(end) }, retry_after: None }
    }

    const NOW: &str = "2027-01-01T00:00:00Z";
    const START: &str = "2027-02-01T00:00:00Z";
    const END: &str = "2027-02-02T16:00:00Z";

    fn first(dice: f64) -> Ari {
        learn(None, "one", Some(polled(START, END)), at(NOW), dice).unwrap()
    }

    #[test]
    fn the_instant_is_chosen_in_the_window_and_never_at_its_very_end() {
        assert_eq!(first(0.0).chosen, at(START));
        assert_eq!(first(0.5).chosen, at("2027-02-01T19:00:00Z"));
        assert_eq!(first(1.0).chosen, at("2027-02-02T14:00:00Z"));
    }

    #[test]
    fn the_instant_stays_while_the_window_is_the_same() {
        let known = first(0.25);
        let later = at("2027-01-05T00:00:00Z");
        let again = learn(Some(&known), "one", Some(polled(START, END)), later, 0.9).unwrap();
        assert_eq!((again.chosen, again.next_poll), (known.chosen, at("2027-01-05T06:00:00Z")));
        let json = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Ari>(&json).unwrap(), known, "a restart changes nothing");
    }

    #[test]
    fn a_window_moved_into_the_past_is_due_at_once() {
        let known = first(0.5);
        let now = at("2027-01-05T00:00:00Z");
        let moved = Some(polled("2027-01-04T23:00:00Z", "2027-01-04T23:30:00Z"));
        let moved = learn(Some(&known), "one", moved, now, 0.99).unwrap();
        assert!(moved.chosen < now);
        assert!(!moved.is_open(now), "such an order is not exempt");
    }

    #[test]
    fn an_error_keeps_the_window_of_the_same_certificate_only() {
        let known = first(0.5);
        let now = at("2027-01-05T00:00:00Z");
        let kept = learn(Some(&known), "one", None, now, 0.0).unwrap();
        assert_eq!((kept.window, kept.chosen), (known.window, known.chosen));
        assert_eq!(kept.next_poll, at("2027-01-05T01:00:00Z"));
        assert_eq!(learn(Some(&known), "two", None, now, 0.0), None);
        let backward = Some(polled(END, START));
        assert_eq!(learn(Some(&known), "one", backward, now, 0.0).unwrap().window, known.window);
    }

    #[test]
    fn another_certificate_starts_anew() {
        let known = Ari { refused: true, ..first(0.5) };
        let other = learn(Some(&known), "two", Some(polled(START, END)), at(NOW), 0.0).unwrap();
        assert_eq!((other.id.as_str(), other.chosen, other.refused), ("two", at(START), false));
    }

    #[test]
    fn odd_windows_and_waits_are_lived_with() {
        for (start, end) in [(START, START), ("9999-01-01T00:00:00Z", "9999-12-30T00:00:00Z")] {
            let ari = learn(None, "one", Some(polled(start, end)), at(NOW), 0.999).unwrap();
            assert!(ari.window.start <= ari.chosen && ari.chosen <= ari.window.end);
        }
        for (seconds, next) in [
            (0, "2027-01-01T00:01:00Z"),
            (-5, "2027-01-01T00:01:00Z"),
            (3600, "2027-01-01T01:00:00Z"),
            (604_800, "2027-01-01T06:00:00Z"),
        ] {
            let mut answer = polled(START, END);
            answer.retry_after = Some(SignedDuration::from_secs(seconds));
            let ari = learn(None, "one", Some(answer), at(NOW), 0.5).unwrap();
            assert_eq!(ari.next_poll, at(next), "{seconds}");
        }
    }
}
