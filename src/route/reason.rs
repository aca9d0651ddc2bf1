//! Why something is refused.

use serde::Serialize;

/// Why a route, or one certificate of it, gets nothing. The names are a contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Reason {
    Conflict,
    CrossNamespace,
    HostOwnedElsewhere,
    InvalidName,
    InvalidObject,
    InvalidRule,
    MissingService,
    NoNames,
    NoRight,
    NotAllowed,
    Passthrough,
    ResolverUnusable,
    SecretNotOurs,
    TooManyNames,
    UnknownEntryPoint,
    UnknownResolver,
    WildcardNeedsDns01,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::CrossNamespace => "CrossNamespace",
            Self::HostOwnedElsewhere => "HostOwnedElsewhere",
            Self::InvalidName => "InvalidName",
            Self::InvalidObject => "InvalidObject",
            Self::InvalidRule => "InvalidRule",
            Self::MissingService => "MissingService",
            Self::NoNames => "NoNames",
            Self::NoRight => "NoRight",
            Self::NotAllowed => "NotAllowed",
            Self::Passthrough => "Passthrough",
            Self::ResolverUnusable => "ResolverUnusable",
            Self::SecretNotOurs => "SecretNotOurs",
            Self::TooManyNames => "TooManyNames",
            Self::UnknownEntryPoint => "UnknownEntryPoint",
            Self::UnknownResolver => "UnknownResolver",
            Self::WildcardNeedsDns01 => "WildcardNeedsDns01",
        }
    }

    /// Whether it hides what the route would want if it were right: then nothing that its namespace
    /// holds may be taken for unwanted.
    pub fn hides_the_wish(self) -> bool {
        matches!(
            self,
            Self::InvalidObject
                | Self::InvalidRule
                | Self::ResolverUnusable
                | Self::UnknownEntryPoint
                | Self::UnknownResolver
        )
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub reason: Reason,
    pub message: String,
}

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
