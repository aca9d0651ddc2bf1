//! What a person asks for by hand: put into a state record, and what became of it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::order::State;

/// `{"what": "renew", "at": …, "force": …}` or `{"what": "revoke", "at": …, "reason": …}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub enum Asked {
    /// A new certificate now. `force`: past the back-off and the loop breaker, never past what the
    /// CA said.
    Renew {
        at: Timestamp,
        #[serde(default)]
        force: bool,
    },
    /// Revoked at the CA; replaced if a route wants it, else removed.
    Revoke {
        at: Timestamp,
        /// RFC 5280 §5.3.1, as RFC 8555 §7.6 takes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<u8>,
    },
}

/// Why a wish changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Declined {
    #[error("the same was asked for at {0} and is not done yet")]
    Already(Timestamp),
    #[error("its revocation was asked for at {0}, which replaces it")]
    IsRevoked(Timestamp),
    #[error("no route wants it since {0}, so it is not renewed")]
    Unused(Timestamp),
    #[error("it was deleted at {0}")]
    Removed(Timestamp),
}

/// The state with the wish in it.
pub fn ask(state: &State, wish: Asked) -> Result<State, Declined> {
    if let Some(removed_at) = state.removed_at {
        return Err(Declined::Removed(removed_at));
    }
    match (&state.asked, &wish) {
        (Some(Asked::Revoke { at, .. }), Asked::Renew { .. }) => {
            return Err(Declined::IsRevoked(*at));
        }
        (Some(before), wish) if before.is_as_much_as(wish) => {
            return Err(Declined::Already(before.at()));
        }
        _ => {}
    }
    match (state.unused_since, &wish) {
        (Some(since), Asked::Renew { .. }) => Err(Declined::Unused(since)),
        _ => Ok(State { asked: Some(wish), ..state.clone() }),
    }
}

/// Whether a wish is about an earlier certificate than the one that there is.
pub fn is_past(state: &State, wish: &Asked) -> bool {
    state.issued.last().is_some_and(|last| wish.at() < last.at)
}

impl Asked {
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Renew { at, .. } | Self::Revoke { at, .. } => *at,
        }
    }

    fn is_as_much_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Renew { force, .. }, Self::Renew { force: wanted, .. }) => *force || !*wanted,
            (Self::Revoke { reason, .. }, Self::Revoke { reason: wanted, .. }) => reason == wanted,
            _ => false,
        }
    }
}

/// What became of a wish: the state when it was taken, and as it is now. `None`: nothing yet;
/// `Err`: it failed, and why.
pub fn outcome(wish: &Asked, before: &State, now: &State) -> Option<Result<(), String>> {
    let renewed = now.issued.last() != before.issued.last() && now.issued.last().is_some();
    let failure = now.failures.last().filter(|failure| Some(*failure) != before.failures.last());
    match wish {
        _ if renewed => Some(Ok(())),
        Asked::Renew { .. } => failure.map(|failure| Err(failure.message.clone())),
        Asked::Revoke { .. } if now.asked.is_some() => None,
        Asked::Revoke { .. } if now.revoked.is_some() && now.revoked != before.revoked => {
            Some(Ok(()))
        }
        Asked::Revoke { .. } => {
            Some(Err("the CA did not revoke it; the controller's log says why".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Name, Names};
    use crate::order::Issued;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn state() -> State {
        State::new("shop", "le", &Names::new([Name::parse("a.x").unwrap()]).unwrap())
    }

    fn issued(second: i64) -> Issued {
        let fingerprint = second.to_string();
        Issued { at: at(second), fingerprint, not_after: at(second + 90), terms: None }
    }

    fn renew(at: Timestamp) -> Asked {
        Asked::Renew { at, force: false }
    }

    fn forced(at: Timestamp) -> Asked {
        Asked::Renew { at, force: true }
    }

    #[test]
    fn the_same_is_asked_once_and_more_is_asked_again() {
        let first = ask(&state(), renew(at(1))).unwrap();
        assert_eq!(ask(&first, renew(at(2))), Err(Declined::Already(at(1))));
        let again = ask(&first, forced(at(2))).unwrap();
        assert_eq!(ask(&again, renew(at(3))), Err(Declined::Already(at(2))));
        let revoke = |second, reason| Asked::Revoke { at: at(second), reason };
        let revoked = ask(&again, revoke(4, None)).unwrap();
        assert_eq!(revoked.asked, Some(revoke(4, None)));
        assert!(ask(&revoked, revoke(5, Some(1))).is_ok());
        assert_eq!(ask(&revoked, forced(at(5))), Err(Declined::IsRevoked(at(4))));
    }

    #[test]
    fn what_nobody_wants_is_revoked_but_not_renewed() {
        let unused = State { unused_since: Some(at(1)), ..state() };
        assert_eq!(ask(&unused, forced(at(2))), Err(Declined::Unused(at(1))));
        assert!(ask(&unused, Asked::Revoke { at: at(2), reason: None }).is_ok());
        let removed = State { removed_at: Some(at(2)), ..unused };
        let revoke = Asked::Revoke { at: at(3), reason: None };
        assert_eq!(ask(&removed, revoke), Err(Declined::Removed(at(2))));
    }

    #[test]
    fn a_wish_about_an_earlier_certificate_is_past() {
        let state = State { issued: vec![issued(5)], ..state() };
        let revoke = Asked::Revoke { at: at(4), reason: Some(1) };
        assert!(is_past(&state, &revoke));
        assert!(!is_past(&state, &renew(at(6))));
    }

    #[test]
    fn a_wish_is_done_when_the_record_says_so() {
        let wish = renew(at(6));
        let before = ask(&State { issued: vec![issued(5)], ..state() }, wish.clone()).unwrap();
        assert_eq!(outcome(&wish, &before, &before), None);
        let now = State { issued: vec![issued(5), issued(7)], asked: None, ..before.clone() };
        assert_eq!(outcome(&wish, &before, &now), Some(Ok(())));

        let wish = Asked::Revoke { at: at(6), reason: None };
        let before = ask(&State { asked: None, ..before }, wish.clone()).unwrap();
        assert_eq!(outcome(&wish, &before, &before), None);
        let refused = State { asked: None, ..before.clone() };
        assert!(outcome(&wish, &before, &refused).unwrap().is_err());
        let revoked = State { revoked: Some("5".to_owned()), ..refused };
        assert_eq!(outcome(&wish, &before, &revoked), Some(Ok(())));
    }
}
