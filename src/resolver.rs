//! One certificates resolver: who signs, with which key, how a name is proven. Every field is valid.

use std::path::PathBuf;
use std::time::Duration;

use crate::cert::KeyType;

/// `certificatesResolvers.<name>.acme` as this program uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// As written; routes name it in exactly this spelling.
    pub name: String,
    /// Contact of the account. Empty: an account without one.
    pub email: String,
    /// Directory URL (RFC 8555 §7.1.1), `https://`.
    pub ca_server: String,
    /// How the CA's own HTTPS certificate is checked.
    pub trust: CaTrust,
    pub key_type: KeyType,
    /// What the CA is expected to issue; decides when to renew (seed, `certificatesDuration`).
    pub certificates_duration: Duration,
    /// Whole exchange with the CA, default 2 minutes.
    pub client_timeout: Duration,
    pub http_challenge: HttpChallenge,
}

/// `caCertificates`, `caSystemCertPool`, `caServerName`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaTrust {
    /// PEM files; empty: the system's roots.
    pub certificates: Vec<PathBuf>,
    /// Take the system's roots too when `certificates` is given.
    pub system_pool: bool,
    /// Expect this name in the CA's certificate instead of the URL's host.
    pub server_name: Option<String>,
}

/// HTTP-01 (RFC 8555 §8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpChallenge {
    /// Must be reachable by the CA on port 80.
    pub entry_point: String,
    /// Waited between publishing the answer and telling the CA.
    pub delay: Duration,
}
