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
    OwnerUnknown,
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
            Self::OwnerUnknown => "OwnerUnknown",
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
                | Self::OwnerUnknown
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

/// Of one message, in bytes: what routes say is in it, and there may be very many routes.
const MAX_MESSAGE: usize = 2048;

impl Refusal {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: plain(&message.into(), MAX_MESSAGE) }
    }
}

/// Text with words of tenants in it, as it may stand in a log or on a terminal: `max` bytes at most,
/// and nothing in it that is obeyed instead of shown, such as escapes and changes of direction.
pub(crate) fn plain(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for letter in text.chars() {
        if shown.len() + letter.len_utf8() + '…'.len_utf8() > max {
            shown.push('…');
            break;
        }
        shown.push(if is_obeyed(letter) { '\u{fffd}' } else { letter });
    }
    shown
}

fn is_obeyed(letter: char) -> bool {
    let turns = matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    letter.is_control() || turns || matches!(letter, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_tenants_are_one_bounded_line_that_a_terminal_only_shows() {
        let refusal = Refusal::new(Reason::InvalidName, "a\u{1b}[31m\n\u{9b}b\u{202e}c");
        assert_eq!(refusal.message, "a\u{fffd}[31m\u{fffd}\u{fffd}b\u{fffd}c");
        let long = Refusal::new(Reason::InvalidName, "ö".repeat(1 << 20)).message;
        assert!(long.len() <= MAX_MESSAGE && long.ends_with("ö…"), "{}", long.len());
    }
}
