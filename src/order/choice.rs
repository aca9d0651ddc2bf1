//! Which challenge proves which name, and which one is next after one that failed.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::challenge;
use crate::name::{Name, Names};
use crate::order::{Chosen, Offer, Pending, Unproven};
use crate::resolver::ChallengeKind;

/// A challenge that failed is passed over for so long, unless the others failed too.
const PASSED_OVER: SignedDuration = SignedDuration::from_hours(24);

/// A challenge that failed since the last success. A failed authorization cannot be tried again
/// (RFC 8555 §7.1.6), so the next order takes another challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub name: Name,
    pub kind: ChallengeKind,
    pub at: Timestamp,
    /// What the CA said of the order, at one of its names.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// An authorization, and the challenge that it is to be proven by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub chosen: Chosen,
    /// As the certificate has it.
    pub name: Name,
    pub kind: ChallengeKind,
    /// Checked (RFC 8555 §8.3).
    pub token: String,
    pub key_authorization: String,
}

/// For each name of a new order the first of `kinds` that did not fail.
pub(super) fn plan(
    names: &Names,
    kinds: &[ChallengeKind],
    tried: &[Tried],
    at: Timestamp,
) -> BTreeMap<Name, ChallengeKind> {
    let of = |name: &Name| {
        let mut suiting = suiting(kinds, name);
        untried(kinds, name, tried, at).or_else(|| suiting.next()).map(|kind| (name.clone(), kind))
    };
    names.iter().filter_map(of).collect()
}

/// The first of `kinds` that suits `name` and did not fail.
pub(super) fn untried(
    kinds: &[ChallengeKind],
    name: &Name,
    tried: &[Tried],
    at: Timestamp,
) -> Option<ChallengeKind> {
    let failed = |kind: &ChallengeKind| {
        let mut of_name = tried.iter().filter(|one| one.name == *name && one.kind == *kind);
        of_name.any(|one| at < one.at + PASSED_OVER)
    };
    suiting(kinds, name).find(|kind| !failed(kind))
}

fn suiting<'a>(
    kinds: &'a [ChallengeKind],
    name: &'a Name,
) -> impl Iterator<Item = ChallengeKind> + 'a {
    kinds.iter().copied().filter(|kind| kind.suits(name))
}

/// What the CA said of the orders in which one of `names` failed, by challenge.
pub(super) fn told(tried: &[Tried], names: &[Name]) -> String {
    let of_names = tried.iter().filter(|one| names.contains(&one.name));
    let orders: Vec<Timestamp> = of_names.map(|one| one.at).collect();
    let told = tried.iter().filter(|one| orders.contains(&one.at) && !one.message.is_empty());
    let told = told.map(|one| format!("{}: {}", one.kind.as_str(), one.message));
    told.collect::<Vec<_>>().join("; ")
}

/// Takes the challenge that was planned, else the first that the CA offers. `Err`: for people.
pub(super) fn choose(
    pending: &Pending,
    unproven: &Unproven,
    kinds: &[ChallengeKind],
) -> Result<Proof, String> {
    let name = unproven.full_name();
    let planned = pending.challenges.get(&name).copied();
    let others = suiting(kinds, &name).filter(|kind| Some(*kind) != planned);
    let offered = |kind| unproven.offers.iter().find(|offer| offer.kind == kind);
    let offer: &Offer = planned.into_iter().chain(others).find_map(offered).ok_or_else(|| {
        let kinds: Vec<&str> = suiting(kinds, &name).map(ChallengeKind::as_str).collect();
        format!("{name}: the CA offers no challenge of those that can be used ({})", {
            if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") }
        })
    })?;
    if !challenge::is_token(&offer.token) {
        return Err(format!("{name}: the CA sent a token that is none (RFC 8555 §8.3)"));
    }
    Ok(Proof {
        chosen: Chosen {
            authorization_url: unproven.authorization_url.clone(),
            challenge_url: offer.url.clone(),
        },
        name,
        kind: offer.kind,
        token: offer.token.clone(),
        key_authorization: offer.key_authorization.clone(),
    })
}
