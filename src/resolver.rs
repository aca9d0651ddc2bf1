//! One certificates resolver: who signs, with which key, how a name is proven. Every field is valid.

mod proxy;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

use crate::cert::KeyType;
use crate::name::Name;

pub use crate::resolver::proxy::Proxy;

/// Certificates hold this many names at the CAs that say a number.
const MAX_NAMES: usize = 100;
/// Let's Encrypt's profiles `tlsserver` and `shortlived` (<https://letsencrypt.org/docs/profiles/>).
const MAX_NAMES_OF_SHORT_PROFILES: usize = 25;
const PRODUCTION: &str = "https://acme-v02.api.letsencrypt.org/directory";
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";
const LETS_ENCRYPT: &str = "api.letsencrypt.org";

/// Hosts of the directories of CAs that browsers trust, and what ends in one of them behind a dot.
/// They issue only for names in the public DNS (Baseline Requirements §4.2.2).
const PUBLIC_CAS: &[&str] = &[
    "acme-api.actalis.com",
    "acme-v02.harica.gr",
    "acme.certum.pl",
    "acme.digicert.com",
    "acme.freessl.cn",
    "acme.litessl.com",
    "acme.ssl.com",
    "acme.trustasia.com",
    "acme.zerossl.com",
    "api.buypass.com",
    "api.test4.buypass.no",
    "pki.goog",
    "sectigo.com",
    LETS_ENCRYPT,
];

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
    /// Account elsewhere at the CA that ours is bound to (RFC 8555 §7.3.4).
    pub eab: Option<Eab>,
    pub key_type: KeyType,
    /// Of several chains the one whose topmost issuer has this common name.
    pub preferred_chain: Option<String>,
    /// Named in signing requests beside the hosts.
    pub email_addresses: Vec<String>,
    /// Signing requests have no common name.
    pub disable_common_name: bool,
    /// What the CA is expected to issue; decides when to renew (seed, `certificatesDuration`).
    pub certificates_duration: Duration,
    /// Whole exchange with the CA, default 2 minutes.
    pub client_timeout: Duration,
    /// From a request to the head of its reply, default 30 s.
    pub response_header_timeout: Duration,
    /// How long a worker waits for an order that the CA works on, default 30 s; the order itself
    /// goes on after that.
    pub certificate_timeout: Duration,
    /// Asked for in new orders (draft-ietf-acme-profiles).
    pub profile: Option<String>,
    pub challenges: Challenges,
    /// What somebody wrote down of what has a default.
    pub explicit: BTreeSet<Setting>,
    /// Why nothing can be ordered here and now, though the settings are right.
    pub obstacles: Vec<String>,
    /// Challenges that are set but cannot be carried out, and why; see [`Self::usable`].
    pub taken_out: BTreeMap<ChallengeKind, String>,
}

/// A setting for which it matters whether it is a default of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Setting {
    CaServer,
    CertificatesDuration,
    KeyType,
}

/// The connection to the CA: `caCertificates`, `caSystemCertPool`, `caServerName`, and the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CaTrust {
    /// PEM files; empty: the system's roots.
    pub certificates: Vec<PathBuf>,
    /// Take the system's roots too when `certificates` is given.
    pub system_pool: bool,
    /// Expect this name in the CA's certificate instead of the URL's host.
    pub server_name: Option<String>,
    /// `HTTPS_PROXY` and `NO_PROXY` of the process.
    pub proxy: Option<Proxy>,
}

/// External account binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Eab {
    pub kid: String,
    pub key: MacKey,
}

/// Where the key is that signs a binding.
#[derive(Clone, PartialEq, Eq)]
pub enum MacKey {
    /// The key itself, decoded.
    Given(Vec<u8>),
    /// Read when it is needed, so that it is nowhere else.
    Secret(SecretKey),
}

impl MacKey {
    /// Base64url without padding, as CAs give it; padding and plain base64 are taken too.
    pub fn decode(text: &str) -> Option<Vec<u8>> {
        let plain = text.trim().trim_end_matches('=').replace('+', "-").replace('/', "_");
        BASE64URL_NOPAD.decode(plain.as_bytes()).ok().filter(|key| !key.is_empty())
    }
}

/// Shows no key.
impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given(***)"),
            Self::Secret(secret) => f.debug_tuple("Secret").field(secret).finish(),
        }
    }
}

/// How names can be proven: those that are set, at least one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Challenges {
    pub http: Option<HttpChallenge>,
    pub tls: Option<TlsChallenge>,
    pub dns: Option<DnsChallenge>,
}

/// HTTP-01 (RFC 8555 §8.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpChallenge {
    /// Must be reachable by the CA on port 80.
    pub entry_point: String,
    /// Waited between publishing the answer and telling the CA.
    pub delay: Duration,
}

/// TLS-ALPN-01 (RFC 8737).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsChallenge {
    /// Waited between publishing the answer and telling the CA.
    pub delay: Duration,
}

/// DNS-01 (RFC 8555 §8.4).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsChallenge {
    /// Code of the provider for every zone that no solver has; empty: `solvers` have all.
    pub provider: String,
    /// Of a `CertificateResolver`: providers with credentials of their own, the first whose zone
    /// fits counts.
    pub solvers: Vec<Solver>,
    /// DNS servers to ask, `host` or `host:port`; empty: the system's.
    pub resolvers: Vec<String>,
    pub propagation: Propagation,
    pub switches: DnsSwitches,
    /// Why it cannot be carried out here and now: missing variables, a provider not built yet.
    pub obstacles: Vec<String>,
}

/// What variables of the process say about all DNS-01 challenges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DnsSwitches {
    /// `LEGO_DISABLE_CNAME_SUPPORT`: records are set at the name itself, whatever it points to.
    pub disable_cname_support: bool,
    /// `LEGO_EXPERIMENTAL_DNS_TCP_ONLY`: DNS servers are asked by TCP only.
    pub tcp_only: bool,
}

/// One provider with credentials from Secrets of the controller's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Solver {
    /// Domains for whose names it is; empty: all.
    pub zones: Vec<Name>,
    /// Code of the provider.
    pub provider: String,
    /// By variable.
    pub env: BTreeMap<String, SecretKey>,
    /// What the machine itself is allowed to do, such as an instance's role, counts too.
    pub ambient: bool,
}

/// One value of a Secret in the controller's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretKey {
    pub name: String,
    pub key: String,
}

/// `dnsChallenge.propagation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "the keys of Traefik")]
pub struct Propagation {
    /// Waited before the first look.
    pub delay_before_checks: Duration,
    /// Do not look at all.
    pub disable_checks: bool,
    /// Do not ask the zone's own servers.
    pub disable_ans_checks: bool,
    /// All of `resolvers` must have the record.
    pub require_all_rns: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ChallengeKind {
    #[serde(rename = "dns-01")]
    Dns01,
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// Why a resolver cannot prove a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    #[error("a wildcard can only be proven by DNS-01, which the resolver does not have")]
    NeedsDns01,
    /// The challenge for it is set but was taken out by [`Resolver::usable`].
    #[error("{0}")]
    Obstacle(String),
}

impl ChallengeKind {
    /// In the order in which they are tried, as in Traefik.
    const PREFERENCE: [Self; 3] = [Self::TlsAlpn01, Self::Http01, Self::Dns01];

    /// Whether it can prove `name`: a wildcard needs DNS-01.
    pub fn suits(self, name: &Name) -> bool {
        self == Self::Dns01 || !name.is_wildcard()
    }

    /// As ACME names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns01 => "dns-01",
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

impl Resolver {
    /// How `name` is proven first: a wildcard by DNS-01 only, any other name by the first that is
    /// set of TLS-ALPN-01, HTTP-01 and DNS-01. The others follow if that fails.
    pub fn challenge_of(&self, name: &Name) -> Result<ChallengeKind, Lack> {
        let mut kinds = self.challenges.kinds().into_iter();
        if let Some(kind) = kinds.find(|kind| kind.suits(name)) {
            return Ok(kind);
        }
        let mut suiting = ChallengeKind::PREFERENCE.iter().filter(|kind| kind.suits(name));
        let obstacle = suiting.find_map(|kind| self.taken_out.get(kind));
        Err(obstacle.map_or(Lack::NeedsDns01, |why| Lack::Obstacle(why.clone())))
    }

    /// As a running program can use it: what this version cannot carry out is taken out. `Err`:
    /// nothing can be ordered, and why.
    pub fn usable(mut self) -> Result<Self, String> {
        if !self.obstacles.is_empty() {
            return Err(self.obstacles.join("; "));
        }
        if let Some(dns) = self.challenges.dns.take_if(|dns| !dns.obstacles.is_empty()) {
            let why = format!("dnsChallenge: {}", dns.obstacles.join("; "));
            self.taken_out.insert(ChallengeKind::Dns01, why);
        }
        if self.challenges == Challenges::default() {
            let why: Vec<&str> = self.taken_out.values().map(String::as_str).collect();
            return Err(why.join("; "));
        }
        Ok(self)
    }

    /// The same at a CA where a failure costs nothing: the one given, else Let's Encrypt's staging
    /// when the CA is its production.
    pub fn rehearsal(&self, given: Option<&str>) -> Option<Self> {
        let staging = (self.ca_server == PRODUCTION).then_some(STAGING);
        let ca_server = given.or(staging).filter(|ca| *ca != self.ca_server)?;
        Some(Self { ca_server: ca_server.to_owned(), ..self.clone() })
    }

    /// Whether the CA is known to issue only for names in the public DNS.
    pub fn public_ca(&self) -> bool {
        PUBLIC_CAS.iter().any(|known| self.ca_is_at(known))
    }

    /// How many names one certificate of this CA and profile may have.
    pub fn max_names(&self) -> usize {
        let short = matches!(self.profile.as_deref(), Some("tlsserver" | "shortlived"));
        if short && self.ca_is_at(LETS_ENCRYPT) { MAX_NAMES_OF_SHORT_PROFILES } else { MAX_NAMES }
    }

    fn ca_is_at(&self, known: &str) -> bool {
        let uri: Option<http::Uri> = self.ca_server.parse().ok();
        let host = uri.as_ref().and_then(http::Uri::host).unwrap_or_default().to_lowercase();
        let above = host.strip_suffix(known);
        above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
    }
}

impl Challenges {
    /// Those that are set, in the order in which they are tried.
    pub fn kinds(&self) -> Vec<ChallengeKind> {
        ChallengeKind::PREFERENCE.into_iter().filter(|kind| self.has(*kind)).collect()
    }

    fn has(&self, kind: ChallengeKind) -> bool {
        match kind {
            ChallengeKind::Dns01 => self.dns.is_some(),
            ChallengeKind::Http01 => self.http.is_some(),
            ChallengeKind::TlsAlpn01 => self.tls.is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
