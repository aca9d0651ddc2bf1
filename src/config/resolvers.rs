//! `certificatesResolvers`: each one usable, or left alone with the reasons why it is not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::cert::KeyType;
use crate::config::tree::shorten;
use crate::config::walk::{Typed, Walk};
use crate::config::{EntryPoint, Problem};
use crate::resolver::{CaTrust, HttpChallenge, Resolver};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const CERTIFICATES_HOURS: i64 = 2160;
/// A century: far beyond any certificate, far from overflow.
const MAX_HOURS: i64 = 100 * 8766;
const CLIENT_TIMEOUT: Duration = Duration::from_mins(2);
const RESPONSE_HEADER_TIMEOUT: Duration = Duration::from_secs(30);

const OTHER_CHALLENGES: [&str; 2] = ["dnsChallenge", "tlsChallenge"];

type Resolvers = BTreeMap<String, Result<Resolver, String>>;

pub(super) fn all(
    root: &Typed,
    entry_points: &BTreeMap<String, EntryPoint>,
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
                let mut look = Look { acme, entry_points, faults: Vec::new(), walk };
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

/// One resolver being looked at, and what was found wrong so far.
struct Look<'a> {
    acme: &'a Typed,
    entry_points: &'a BTreeMap<String, EntryPoint>,
    faults: Vec<String>,
    walk: &'a mut Walk,
}

impl Look<'_> {
    fn resolver(&mut self, name: &str) -> Result<Resolver, String> {
        let email = self.email();
        let ca_server = self.ca_server();
        let key_type = self.key_type();
        let certificates_duration = self.certificates_duration();
        let client_timeout = self.client_timeout();
        self.storage();
        self.eab();
        let challenge = self.http_challenge();
        match challenge {
            Some(http_challenge) if self.faults.is_empty() => Ok(Resolver {
                name: name.to_owned(),
                email,
                ca_server,
                trust: self.trust(),
                key_type,
                certificates_duration,
                client_timeout,
                http_challenge,
            }),
            _ => Err(self.faults.join("; ")),
        }
    }

    /// Something that makes only this resolver unusable.
    fn fault(&mut self, key: &str, message: &str) {
        let field = self.acme.at(key).unwrap_or(self.acme);
        let path = format!("{}.{key}", self.acme.key);
        let text = format!("{message}; routes with this resolver get no certificate");
        self.walk.warnings.push(Problem::at(&field.place, &path, text));
        self.faults.push(format!("{key}: {message}"));
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
        let old = ["https://acme-v01.api.letsencrypt.org", "http://acme-v01.api.letsencrypt.org"];
        if old.iter().any(|old| given.starts_with(old)) {
            self.warn("caServer", "this CA is no more; its successor acme-v02 is used");
            return LETS_ENCRYPT.to_owned();
        }
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
        if self.acme.filled("eab.kid").or_else(|| self.acme.filled("eab.hmacEncoded")).is_some() {
            self.fault("eab", "external account binding is not supported by this version");
        }
    }

    fn http_challenge(&mut self) -> Option<HttpChallenge> {
        let Some(challenge) = self.acme.at("httpChallenge") else {
            self.no_http_challenge();
            return None;
        };
        self.other_challenges();
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

    fn no_http_challenge(&mut self) {
        match OTHER_CHALLENGES.into_iter().find(|key| self.acme.at(key).is_some()) {
            Some(key) => self.fault(
                key,
                "this version proves names by HTTP-01 only; add httpChallenge.entryPoint",
            ),
            None => {
                self.fault("httpChallenge", "no challenge is set; add httpChallenge.entryPoint");
            }
        }
    }

    fn other_challenges(&mut self) {
        for key in OTHER_CHALLENGES {
            if self.acme.at(key).is_some() {
                self.warn(key, "not honoured by this version; names are proven by HTTP-01");
            }
        }
    }

    fn is_broken(&self, key: &str) -> bool {
        self.acme.at(key).is_some_and(Typed::is_broken)
    }

    fn trust(&self) -> CaTrust {
        CaTrust {
            certificates: self.acme.texts("caCertificates").iter().map(PathBuf::from).collect(),
            system_pool: self.acme.boolean("caSystemCertPool").unwrap_or_default(),
            server_name: self.acme.filled("caServerName"),
        }
    }
}
