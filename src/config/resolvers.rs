//! `acme` of a resolver, static or an object's: usable, or left alone with the reasons why not.

mod dns;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use crate::cert::KeyType;
use crate::config::problem::{few, summary};
use crate::config::settle::LETS_ENCRYPT;
use crate::config::tree::{Place, shorten};
use crate::config::typed::Typed;
use crate::config::value;
use crate::config::walk::Walk;
use crate::config::{EntryPoint, Problem, Surroundings};
use crate::resolver::{
    CaTrust, Challenges, Eab, HttpChallenge, MacKey, Resolver, Setting, TlsChallenge,
};

const CERTIFICATES_HOURS: i64 = 2160;
/// A century: far beyond any certificate, far from overflow.
const MAX_HOURS: i64 = 100 * 8766;
/// Traefik's.
const STORAGE: &str = "acme.json";
const CLIENT_TIMEOUT: Duration = Duration::from_mins(2);
const RESPONSE_HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const CERTIFICATE_TIMEOUT: Duration = Duration::from_secs(30);

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

/// The file of each resolver; Traefik's default where none is given.
pub(super) fn storages(root: &Typed) -> BTreeMap<String, PathBuf> {
    let all = root.at("certificatesResolvers").into_iter().flat_map(Typed::entries);
    let path = |typed: &Typed| typed.filled("acme.storage").unwrap_or_else(|| STORAGE.to_owned());
    let all = all.filter(|(_, typed)| typed.at("acme").is_some());
    all.map(|(name, typed)| (name.clone(), path(typed).into())).collect()
}

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
                let mut look = Look::new(acme, entry_points, around, Origin::Static, walk);
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

/// `spec.acme` of a `CertificateResolver`.
pub(super) fn of_object(
    name: &str,
    acme: &Typed,
    entry_points: &BTreeMap<String, EntryPoint>,
    walk: &mut Walk,
) -> Result<Resolver, String> {
    let around = Surroundings::default();
    Look::new(acme, entry_points, around, Origin::Object, walk).resolver(name)
}

/// Who wrote a resolver: one may name files and variables of the process, the other must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Object,
    Static,
}

/// One resolver being looked at, and why it cannot be used as far as is known.
struct Look<'a> {
    acme: &'a Typed,
    entry_points: &'a BTreeMap<String, EntryPoint>,
    around: Surroundings<'a>,
    origin: Origin,
    reasons: Vec<String>,
    /// What is right, and cannot be used here and now.
    obstacles: Vec<String>,
    walk: &'a mut Walk,
}

impl<'a> Look<'a> {
    fn new(
        acme: &'a Typed,
        entry_points: &'a BTreeMap<String, EntryPoint>,
        around: Surroundings<'a>,
        origin: Origin,
        walk: &'a mut Walk,
    ) -> Self {
        let (reasons, obstacles) = (Vec::new(), Vec::new());
        Self { acme, entry_points, around, origin, reasons, obstacles, walk }
    }

    fn resolver(&mut self, name: &str) -> Result<Resolver, String> {
        let email = self.email();
        let ca_server = self.ca_server();
        let key_type = self.key_type();
        let certificates_duration = self.certificates_duration();
        self.delays();
        let (client_timeout, response_header_timeout) = self.client_timeouts();
        self.storage();
        let eab = self.eab();
        let trust = self.trust();
        let challenges = self.challenges();
        if !self.reasons.is_empty() {
            return Err(summary(&self.reasons));
        }
        Ok(Resolver {
            name: name.to_owned(),
            email,
            ca_server,
            trust,
            eab,
            key_type,
            preferred_chain: self.acme.filled("preferredChain"),
            email_addresses: self.acme.texts("emailAddresses"),
            disable_common_name: self.acme.boolean("disableCommonName").unwrap_or_default(),
            certificates_duration,
            client_timeout,
            response_header_timeout,
            certificate_timeout: self
                .acme
                .duration("certificateTimeout")
                .unwrap_or(CERTIFICATE_TIMEOUT),
            profile: self.acme.filled("profile"),
            challenges,
            explicit: self.explicit(),
            obstacles: few(std::mem::take(&mut self.obstacles)),
            taken_out: BTreeMap::new(),
        })
    }

    fn explicit(&self) -> BTreeSet<Setting> {
        let known = [
            ("caServer", Setting::CaServer),
            ("certificatesDuration", Setting::CertificatesDuration),
            ("keyType", Setting::KeyType),
        ];
        let given = known.into_iter().filter(|(key, _)| self.acme.at(key).is_some());
        given.map(|(_, setting)| setting).collect()
    }

    /// Something wrong that makes only this resolver unusable.
    fn fault(&mut self, key: &str, message: &str) {
        let field = self.acme.at(key).unwrap_or(self.acme);
        let path = format!("{}.{key}", self.acme.key);
        self.fault_at(&field.place, &path, message);
    }

    fn fault_at(&mut self, place: &Place, path: &str, message: &str) {
        let key = self.relative(path);
        self.reasons.push(format!("{key}: {message}"));
        let text = format!("{message}; routes with this resolver get no certificate");
        self.walk.faults.push(Problem::at(place, path, text));
    }

    /// Something right that stands in the way of every order, here and now.
    fn obstacle(&mut self, field: &Typed, message: &str) {
        let key = self.relative(&field.key);
        self.obstacles.push(format!("{key}: {message}"));
        let text = format!("{message}; routes with this resolver get no certificate");
        self.walk.warnings.push(Problem::at(&field.place, &field.key, text));
    }

    /// A path from the resolver on.
    fn relative<'p>(&self, path: &'p str) -> &'p str {
        let inside = path.strip_prefix(self.acme.key.as_str());
        inside.map_or(path, |inside| inside.trim_start_matches('.'))
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
        let Some(given) = self.acme.filled("keyType") else {
            if !self.is_broken("keyType") {
                self.advise_keys("RSA4096 by default");
            }
            return KeyType::Rsa4096;
        };
        let known = KeyType::ALL.into_iter().find(|known| known.as_str() == given);
        if matches!(known, Some(KeyType::Rsa4096 | KeyType::Rsa8192)) {
            self.advise_keys(&given);
        }
        known.unwrap_or_else(|| {
            let all = KeyType::ALL.map(KeyType::as_str).join(", ");
            let shown = shorten(&given);
            self.fault("keyType", &format!("`{shown}` is unknown; expected one of {all}"));
            KeyType::Rsa4096
        })
    }

    fn advise_keys(&mut self, present: &str) {
        let field = self.acme.at("keyType").unwrap_or(self.acme);
        let message = format!("{present}; EC256 is as strong, and its handshakes cost far less");
        let path = format!("{}.keyType", self.acme.key);
        self.walk.advice.push(Problem::at(&field.place, &path, message));
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

    /// Of the whole exchange, and of its first part.
    fn client_timeouts(&mut self) -> (Duration, Duration) {
        let whole = self.acme.duration("clientTimeout").unwrap_or(CLIENT_TIMEOUT);
        let header = self.acme.duration("clientResponseHeaderTimeout");
        let header = header.unwrap_or(RESPONSE_HEADER_TIMEOUT);
        if whole < header {
            let message = format!("must be at least clientResponseHeaderTimeout ({header:?})");
            self.fault("clientTimeout", &message);
        }
        (whole, header)
    }

    /// An empty path is refused as Traefik does.
    fn storage(&mut self) {
        if self.acme.text("storage") == Some("") {
            self.fault("storage", "is empty; give a path, or leave the key out");
        }
    }

    fn eab(&mut self) -> Option<Eab> {
        let eab = self.acme.at("eab")?;
        let (kid, key) = (eab.filled("kid"), eab.filled("hmacEncoded"));
        let written = match self.origin {
            Origin::Object => "hmacSecretRef",
            Origin::Static => "hmacEncoded",
        };
        let has_key = match self.origin {
            Origin::Object => eab.at(written).is_some(),
            Origin::Static => key.is_some(),
        };
        match (kid, has_key) {
            (None, false) => None,
            (None, true) => {
                self.fault("eab.kid", &format!("is missing beside {written}"));
                None
            }
            (Some(_), false) => {
                self.fault(&format!("eab.{written}"), "is missing beside kid");
                None
            }
            (Some(kid), true) => {
                let key = match key {
                    Some(key) => self.mac_key(&key),
                    None => self.secret_key(eab.at(written)?).map(MacKey::Secret),
                };
                Some(Eab { kid, key: key? })
            }
        }
    }

    fn mac_key(&mut self, text: &str) -> Option<MacKey> {
        let Some(key) = MacKey::decode(text) else {
            self.fault("eab.hmacEncoded", "is no base64url text, as the CA gives it");
            return None;
        };
        if BASE64URL_NOPAD.decode(text.as_bytes()).is_err() {
            let message = "is not base64url without padding, but can be read";
            self.warn("eab.hmacEncoded", message);
        }
        Some(MacKey::Given(key))
    }

    fn challenges(&mut self) -> Challenges {
        let set = |key: &str| self.acme.at(key).is_some();
        let none = !["dnsChallenge", "httpChallenge", "tlsChallenge"].into_iter().any(set);
        let challenges = Challenges {
            http: self.http_challenge(),
            tls: self.tls_challenge(),
            dns: self.dns_challenge(),
        };
        if none || (challenges == Challenges::default() && !self.is_in_doubt()) {
            self.fault("httpChallenge", "no challenge is set; add httpChallenge.entryPoint");
        }
        challenges
    }

    /// Whether something about the challenges is wrong already, so that none is no surprise.
    fn is_in_doubt(&self) -> bool {
        let keys = ["dnsChallenge", "httpChallenge", "tlsChallenge"];
        let about_one = |reason: &String| keys.iter().any(|key| reason.starts_with(key));
        self.reasons.iter().any(about_one)
            || keys.iter().any(|key| self.is_broken(key))
            || self.is_broken("httpChallenge.entryPoint")
            || self.is_broken("dnsChallenge.provider")
    }

    fn tls_challenge(&self) -> Option<TlsChallenge> {
        let challenge = self.acme.at("tlsChallenge").filter(|it| !it.is_broken())?;
        Some(TlsChallenge { delay: challenge.duration("delay").unwrap_or_default() })
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

    fn is_broken(&self, key: &str) -> bool {
        self.acme.at(key).is_some_and(Typed::is_broken)
    }

    fn trust(&mut self) -> CaTrust {
        let look = self.around.certificate_file;
        let acme = self.acme;
        for item in acme.items("caCertificates") {
            let path = item.as_text().unwrap_or_default();
            if let Some(Err(message)) = look.map(|look| look(Path::new(path))) {
                self.obstacle(item, &format!("`{}`: {message}", shorten(path)));
            }
        }
        if let Some(name) = acme.filled("caServerName")
            && rustls_pki_types::ServerName::try_from(name.as_str()).is_err()
        {
            let message = format!("`{}` is no name that a certificate could have", shorten(&name));
            self.fault("caServerName", &message);
        }
        CaTrust {
            certificates: acme.texts("caCertificates").iter().map(PathBuf::from).collect(),
            system_pool: acme.boolean("caSystemCertPool").unwrap_or_default(),
            server_name: acme.filled("caServerName"),
            proxy: None,
        }
    }
}
