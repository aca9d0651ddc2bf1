//! The condition `Ready` of our objects.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::controller::publish::bounded;

/// The API server takes 32 KiB; nobody reads more than this.
const MAX_MESSAGE: usize = 4096;

/// What is said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) ready: bool,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    pub(super) generation: i64,
}

/// `lastTransitionTime` moves only when `status` does.
pub(super) fn ready(word: &Word<'_>, present: &[Condition], now: Timestamp) -> Condition {
    let status = if word.ready { "True" } else { "False" };
    let earlier = present.iter().find(|condition| condition.type_ == "Ready");
    let since = earlier
        .filter(|condition| condition.status == status)
        .map_or_else(|| Time(to_second(now)), |condition| condition.last_transition_time.clone());
    Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: word.reason.to_owned(),
        message: bounded::cut(word.message, MAX_MESSAGE),
        last_transition_time: since,
        observed_generation: Some(word.generation),
    }
}

/// The API server keeps whole seconds: more would differ at the next look.
fn to_second(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let first: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
        let later: Timestamp = "2026-01-02T00:00:00Z".parse().unwrap();
        let issuing = Word { ready: false, reason: "Issuing", message: "", generation: 1 };
        let failed = Word { reason: "Failed", ..issuing.clone() };
        let issued = Word { ready: true, ..failed.clone() };
        let one = ready(&issuing, &[], first);
        assert_eq!(one.last_transition_time.0.to_string(), "2026-01-01T00:00:00Z");
        let two = ready(&failed, std::slice::from_ref(&one), later);
        assert_eq!(two.last_transition_time, one.last_transition_time);
        assert_eq!(ready(&issued, &[two], later).last_transition_time.0, later);
    }
}
