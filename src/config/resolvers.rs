//! `certificatesResolvers`: each one usable, or left alone with the reasons why it is not.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use crate::cert::KeyType;
use crate::config::near::nearest;
use crate::config::settle::LETS_ENCRYPT;
use crate::config::tree::shorten;
use crate::config::typed::Typed;
use crate::config::value;
use crate::config::walk::Walk;
use crate::config::{EntryPoint, Problem, Surroundings};
use crate::provider;
use crate::provider::Provider;
use crate::resolver::{CaTrust, HttpChallenge, Resolver};

const CERTIFICATES_HOURS: i64 = 2160;
/// A century: far beyond any certificate, far from overflow.
const MAX_HOURS: i64 = 100 * 8766;
const CLIENT_TIMEOUT: Duration = Duration::from_mins(2);
const RESPONSE_HEADER_TIMEOUT: Duration = Duration::from_secs(30);

const DELAYS: [&str; 7] = [
    "certificateTimeout",
    "clientResponseHeaderTimeout",
    "clientTimeout",
    "dnsChallenge.delayBeforeCheck",
    "dnsChallenge.propagation.delayBeforeChecks",
    "httpChallenge.delay",
    "tlsChallenge.delay",
];

type Resolvers = BTreeMap<String, Result<Resolver, String>>;

pub(super) fn all(
    root: &Typed,
    entry_points: &BTreeMap<String, EntryPoint>,
    around: Surroundings<'_>,
    walk: &mut Walk,
) -> Resolvers {
    let mut found = BTreeMap::new();
    for (name, typed) in root.at("certificatesResolvers").into_iter().flat_map(Typed::entries) {
        match typed.at("acme") {
            Some(acme) if typed.at("tailscale").is_some() => {
                let message = "has both acme and tailscale; remove one of them";
                walk.errors.push(Problem::at(&acme.place, &typed.key, message));
            }
            Some(acme) if acme.is_broken() => {}
            Some(acme) => {
                let mut look = Look { acme, entry_points, around, reasons: Vec::new(), walk };
                found.insert(name.clone(), look.resolver(name));
            }
            None if typed.is_broken() => {}
            None => {
                let message = "has no acme section; the resolver is left out";
                walk.warnings.push(Problem::at(&typed.place, &typed.key, message));
            }
        }
    }
    found
}

/// One resolver being looked at, and why it cannot be used as far as is known.
struct Look<'a> {
    acme: &'a Typed,
    entry_points: &'a BTreeMap<String, EntryPoint>,
    around: Surroundings<'a>,
    reasons: Vec<String>,
    walk: &'a mut Walk,
}

impl Look<'_> {
    fn resolver(&mut self, name: &str) -> Result<Resolver, String> {
        let email = self.email();
        let ca_server = self.ca_server();
        let key_type = self.key_type();
        let certificates_duration = self.certificates_duration();
        self.delays();
        let client_timeout = self.client_timeout();
        self.storage();
        self.eab();
        let trust = self.trust();
        let challenge = self.challenges();
        match challenge {
            Some(http_challenge) if self.reasons.is_empty() => Ok(Resolver {
                name: name.to_owned(),
                email,
                ca_server,
                trust,
                key_type,
                certificates_duration,
                client_timeout,
                http_challenge,
            }),
            _ => Err(self.reasons.join("; ")),
        }
    }

    /// Something wrong that makes only this resolver unusable.
    fn fault(&mut self, key: &str, message: &str) {
        let problem = self.reason(key, message);
        self.walk.faults.push(problem);
    }

    /// Something right that this version cannot do.
    fn unusable(&mut self, key: &str, message: &str) {
        let problem = self.reason(key, message);
        self.walk.warnings.push(problem);
    }

    fn reason(&mut self, key: &str, message: &str) -> Problem {
        let field = self.acme.at(key).unwrap_or(self.acme);
        let path = format!("{}.{key}", self.acme.key);
        let text = format!("{message}; routes with this resolver get no certificate");
        self.reasons.push(format!("{key}: {message}"));
        Problem::at(&field.place, &path, text)
    }

    fn warn(&mut self, key: &str, message: &str) {
        let field = self.acme.at(key).unwrap_or(self.acme);
        let path = format!("{}.{key}", self.acme.key);
        self.walk.warnings.push(Problem::at(&field.place, &path, message));
    }

    fn email(&mut self) -> String {
        let email = self.acme.filled("email").unwrap_or_default();
        if email.trim().is_empty() && !self.is_broken("email") {
            self.warn("email", "is empty; the CA cannot tell anybody about problems");
        }
        email
    }

    fn ca_server(&mut self) -> String {
        let Some(given) = self.acme.filled("caServer") else { return LETS_ENCRYPT.to_owned() };
        let uri: Option<http::Uri> = given.parse().ok();
        let https = uri.as_ref().and_then(http::Uri::scheme_str) == Some("https");
        if !https || uri.as_ref().and_then(http::Uri::host).is_none_or(str::is_empty) {
            self.fault("caServer", "must be a URL that begins with https://");
        }
        given
    }

    fn key_type(&mut self) -> KeyType {
        let Some(given) = self.acme.filled("keyType") else { return KeyType::Rsa4096 };
        let known = KeyType::ALL.into_iter().find(|known| known.as_str() == given);
        known.unwrap_or_else(|| {
            let all = KeyType::ALL.map(KeyType::as_str).join(", ");
            let shown = shorten(&given);
            self.fault("keyType", &format!("`{shown}` is unknown; expected one of {all}"));
            KeyType::Rsa4096
        })
    }

    fn certificates_duration(&mut self) -> Duration {
        let hours = self.acme.integer("certificatesDuration").unwrap_or(CERTIFICATES_HOURS);
        if !(1..=MAX_HOURS).contains(&hours) {
            self.fault("certificatesDuration", "must be at least 1 (hours), and credible");
        }
        Duration::from_hours(u64::try_from(hours.clamp(1, MAX_HOURS)).unwrap_or(1))
    }

    fn delays(&mut self) {
        for key in DELAYS {
            if self.acme.is_negative(key) {
                self.fault(key, value::NEGATIVE);
            }
        }
    }

    fn client_timeout(&mut self) -> Duration {
        let whole = self.acme.duration("clientTimeout").unwrap_or(CLIENT_TIMEOUT);
        let header = self.acme.duration("clientResponseHeaderTimeout");
        let header = header.unwrap_or(RESPONSE_HEADER_TIMEOUT);
        if whole < header {
            let message = format!("must be at least clientResponseHeaderTimeout ({header:?})");
            self.fault("clientTimeout", &message);
        }
        whole
    }

    /// Certificates live in the cluster, but an empty path is refused as Traefik does.
    fn storage(&mut self) {
        if self.acme.text("storage") == Some("") {
            self.fault("storage", "is empty; give a path, or leave the key out");
        }
    }

    fn eab(&mut self) {
        let (kid, key) = (self.acme.filled("eab.kid"), self.acme.filled("eab.hmacEncoded"));
        match (kid, key) {
            (None, None) => {}
            (None, Some(_)) => self.fault("eab.kid", "is missing beside hmacEncoded"),
            (Some(_), None) => self.fault("eab.hmacEncoded", "is missing beside kid"),
            (Some(_), Some(key)) => {
                self.mac_key(&key);
                let message = "external account binding is not supported by this version";
                self.unusable("eab", message);
            }
        }
    }

    fn mac_key(&mut self, key: &str) {
        if BASE64URL_NOPAD.decode(key.as_bytes()).is_ok() {
            return;
        }
        let plain = key.trim_end_matches('=').replace('+', "-").replace('/', "_");
        if BASE64URL_NOPAD.decode(plain.as_bytes()).is_ok() {
            let message = "is not base64url without padding, but can be read";
            self.warn("eab.hmacEncoded", message);
        } else {
            self.fault("eab.hmacEncoded", "is no base64url text, as the CA gives it");
        }
    }

    fn challenges(&mut self) -> Option<HttpChallenge> {
        let dns = self.dns_challenge();
        let tls = self.acme.at("tlsChallenge").is_some();
        let others: Vec<&str> = [(dns, "dnsChallenge"), (tls, "tlsChallenge")]
            .iter()
            .filter(|c| c.0)
            .map(|c| c.1)
            .collect();
        if self.acme.at("httpChallenge").is_some() {
            for key in others {
                self.warn(key, "not honoured by this version; names are proven by HTTP-01");
            }
            return self.http_challenge();
        }
        match others.first() {
            Some(key) => self.unusable(
                key,
                "this version proves names by HTTP-01 only; add httpChallenge.entryPoint",
            ),
            None => {
                self.fault("httpChallenge", "no challenge is set; add httpChallenge.entryPoint");
            }
        }
        None
    }

    fn http_challenge(&mut self) -> Option<HttpChallenge> {
        let challenge = self.acme.at("httpChallenge")?;
        if challenge.is_broken() || challenge.at("entryPoint").is_some_and(Typed::is_broken) {
            return None;
        }
        let Some(entry_point) = challenge.filled("entryPoint") else {
            self.fault("httpChallenge.entryPoint", "is missing; name the entry point on port 80");
            return None;
        };
        if !self.entry_points.contains_key(&entry_point) {
            let names: Vec<&str> = self.entry_points.keys().map(String::as_str).collect();
            let shown = shorten(&entry_point);
            let message =
                format!("there is no entry point `{shown}`; expected one of {}", names.join(", "));
            self.fault("httpChallenge.entryPoint", &message);
        }
        let delay = challenge.duration("delay").unwrap_or_default();
        Some(HttpChallenge { entry_point, delay })
    }

    /// Whether names are to be proven by DNS-01. Without a provider Traefik leaves it off.
    fn dns_challenge(&mut self) -> bool {
        for item in self.acme.items("dnsChallenge.resolvers") {
            if let Some(Err(message)) = item.as_text().map(value::server) {
                self.walk.warnings.push(Problem::at(&item.place, &item.key, message));
            }
        }
        let Some(code) = self.acme.filled("dnsChallenge.provider") else {
            if self.acme.at("dnsChallenge").is_some() {
                self.warn("dnsChallenge.provider", "is missing; DNS-01 stays off");
            }
            return false;
        };
        match provider::find(&code) {
            Some(provider) => self.provider(&provider, &code),
            None => self.unknown_provider(&code),
        }
        true
    }

    fn provider(&mut self, provider: &Provider, written: &str) {
        let key = "dnsChallenge.provider";
        if provider.gone {
            self.warn(key, &format!("the service of {} has shut down", provider.name));
        }
        if !provider.codes().any(|code| code == written) {
            self.warn(key, &format!("is written `{}` elsewhere", provider.code));
        }
        let Some(environment) = self.around.environment else { return };
        let missing =
            provider.missing(|name| environment.get(name).is_some_and(|value| !value.is_empty()));
        if !missing.is_empty() {
            let missing = missing.join(", ");
            self.warn(
                key,
                &format!("variables that {} needs are not set: {missing}", provider.name),
            );
        }
    }

    fn unknown_provider(&mut self, code: &str) {
        let near = nearest(code, provider::all().flat_map(Provider::codes));
        let advice = near.map_or_else(
            || "the codes are in the documentation".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        let message = format!("no DNS provider has the code `{}`; {advice}", shorten(code));
        self.fault("dnsChallenge.provider", &message);
    }

    fn is_broken(&self, key: &str) -> bool {
        self.acme.at(key).is_some_and(Typed::is_broken)
    }

    fn trust(&mut self) -> CaTrust {
        let look = self.around.certificate_file;
        for item in self.acme.items("caCertificates") {
            let path = item.as_text().zip(look);
            if let Some(Err(message)) = path.map(|(path, look)| look(Path::new(path))) {
                self.walk.warnings.push(Problem::about(
                    item,
                    item.as_text().unwrap_or_default(),
                    &message,
                ));
            }
        }
        CaTrust {
            certificates: self.acme.texts("caCertificates").iter().map(PathBuf::from).collect(),
            system_pool: self.acme.boolean("caSystemCertPool").unwrap_or_default(),
            server_name: self.acme.filled("caServerName"),
        }
    }
}
