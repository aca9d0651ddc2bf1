//! What can go wrong with a TXT record. No message holds a credential.

use std::time::Duration;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Nothing was sent: a person must set or mend a variable first.
    #[error("{provider}: {message}")]
    Settings { provider: &'static str, message: String },
    /// No answer: whether the step was carried out is not known, and it can be done again.
    #[error("{provider}: {step}: {cause}")]
    Unreachable { provider: &'static str, step: &'static str, cause: String },
    /// The provider answered no.
    #[error("{provider}: {step}: {cause}")]
    Refused { provider: &'static str, step: &'static str, cause: String },
    /// The provider answered: not now.
    #[error("{provider}: {step}: {cause}")]
    Busy {
        provider: &'static str,
        step: &'static str,
        cause: String,
        /// What the provider asks to wait, if it says so.
        retry_after: Option<Duration>,
    },
}
