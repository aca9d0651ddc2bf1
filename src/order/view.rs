//! What a CA says of an order, and the challenges that it offers.

use crate::name::Name;
use crate::resolver::ChallengeKind;

/// What the CA says of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderView {
    pub status: Status,
    /// Those that still wait for a challenge.
    pub unproven: Vec<Unproven>,
    /// Why the order is invalid, if it is.
    pub problem: Option<String>,
    /// Names that could not be proven, as the certificate has them.
    pub failed: Vec<Name>,
}

/// RFC 8555 §7.1.6. `Gone`: the CA no longer knows the order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Gone,
}

/// A pending authorization (RFC 8555 §7.1.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    pub authorization_url: String,
    /// What is to be proven, without `*.`.
    pub name: Name,
    /// The order has `*.` before the name.
    pub wildcard: bool,
    /// Challenges of a known kind; one of them is enough.
    pub offers: Vec<Offer>,
}

impl Unproven {
    /// The name as the certificate has it.
    pub fn full_name(&self) -> Name {
        let wildcard = self.wildcard.then(|| Name::parse(&format!("*.{}", self.name)).ok());
        wildcard.flatten().unwrap_or_else(|| self.name.clone())
    }
}

/// A challenge as the CA offers it; none of its text is checked (see [`crate::challenge::is_token`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    pub kind: ChallengeKind,
    pub url: String,
    pub token: String,
    /// Token and the account key's thumbprint (RFC 8555 §8.1).
    pub key_authorization: String,
}

/// The challenge by which an authorization is to be proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub authorization_url: String,
    pub challenge_url: String,
}
