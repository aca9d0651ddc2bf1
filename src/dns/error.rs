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
    /// A server gave no answer, or none that serves.
    #[error("{kind} of `{name}`: {server}: {cause}")]
    Lookup { name: String, kind: &'static str, server: String, cause: String },
    /// The CNAMEs of the name lead nowhere.
    #[error("CNAMEs of `{name}`: {cause}; mend them in the zone")]
    Alias { name: String, cause: String },
    /// No zone has the name.
    #[error(
        "no zone for `{name}`: no SOA record at it or above it up to `{suffix}`; is the domain \
         registered and delegated, and do the resolvers know it?"
    )]
    NoZone { name: String, suffix: String },
    /// The record is set and cannot be seen in time.
    #[error("TXT `{name}` cannot be seen after {seconds} s: {seen}")]
    NotVisible { name: String, seconds: u64, seen: String },
}
