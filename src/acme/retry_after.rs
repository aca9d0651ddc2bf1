//! When the CA wants to be asked again (RFC 9110 §10.2.3).

use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::{DATE, RETRY_AFTER};
use jiff::{SignedDuration, Timestamp};

/// Limits of CAs end within a week; a longer wait would be a mistake that nobody could undo here.
const LONGEST: Duration = Duration::from_hours(7 * 24);

/// From the moment that the reply came, or a time of the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    In(Duration),
    At(Timestamp),
}

impl RetryAfter {
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.trim().parse::<u32>() {
            return Some(Self::In(Duration::from_secs(seconds.into())));
        }
        date(text).map(Self::At)
    }

    /// A date counts from the reply's own, so that no clock but the CA's has to be right.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match Self::parse(text(RETRY_AFTER)?)? {
            Self::At(time) => Some(match text(DATE).and_then(date) {
                Some(sent) => {
                    let wait = time.duration_since(sent).max(SignedDuration::ZERO);
                    Self::In(wait.unsigned_abs())
                }
                None => Self::At(time),
            }),
            seconds @ Self::In(_) => Some(seconds),
        }
    }

    /// At most a week from `now`.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        let after = |wait| {
            let wait = SignedDuration::try_from(wait).unwrap_or_default();
            now.checked_add(wait).unwrap_or(now)
        };
        match self {
            Self::In(wait) => after(wait.min(LONGEST)),
            Self::At(time) => time.min(after(LONGEST)),
        }
    }

    /// How long to wait, as far as no clock is needed to tell.
    pub(super) fn wait(self) -> Option<Duration> {
        match self {
            Self::In(wait) => Some(wait.min(LONGEST)),
            Self::At(_) => None,
        }
    }
}

fn date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|date| date.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
        let resolved = |text| RetryAfter::parse(text).map(|after| after.resolve(now).to_string());
        assert_eq!(resolved("3600").as_deref(), Some("2026-11-25T01:00:00Z"));
        let date = "Wed, 25 Nov 2026 02:00:00 GMT";
        assert_eq!(resolved(date).as_deref(), Some("2026-11-25T02:00:00Z"));
        let week = Some("2026-12-02T00:00:00Z");
        assert_eq!(resolved("4000000000").as_deref(), week);
        assert_eq!(resolved("Thu, 25 Nov 2066 02:00:00 GMT").as_deref(), week);
        assert_eq!(resolved("soon"), None);
        assert_eq!(resolved("-1"), None);
    }

    #[test]
    fn a_date_counts_from_the_date_of_the_reply() {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, "Wed, 25 Nov 2026 02:00:00 GMT".parse().unwrap());
        headers.insert(DATE, "Wed, 25 Nov 2026 01:59:00 GMT".parse().unwrap());
        assert_eq!(RetryAfter::of(&headers), Some(RetryAfter::In(Duration::from_mins(1))));
        headers.insert(DATE, "Wed, 25 Nov 2026 03:00:00 GMT".parse().unwrap());
        assert_eq!(RetryAfter::of(&headers), Some(RetryAfter::In(Duration::ZERO)));
        headers.remove(DATE);
        assert!(matches!(RetryAfter::of(&headers), Some(RetryAfter::At(_))));
    }
}
