//! The static configuration: Traefik's YAML → one tree that knows its lines → one [`Config`].

mod build;
mod near;
mod resolvers;
mod schema;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod walk;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use crate::config::tree::{Place, shorten};
use crate::config::walk::{Typed, Walk};
use crate::resolver::Resolver;

const MAX_BYTES: u64 = 1024 * 1024;
const MAX_PROBLEMS: usize = 200;
const TOO_LARGE: &str = "is larger than 1 MiB";

/// Reads one YAML file.
pub fn read(path: &Path) -> Reading {
    let name = path.display().to_string();
    match contents(path) {
        Ok(text) => parse(&name, &text),
        Err(message) => Reading::failed(Problem::at(&Place::whole(&name), "", message)),
    }
}

fn contents(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) {
        return Err(TOO_LARGE.to_owned());
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        format!("is no UTF-8 text (line {})", line.filter(|byte| **byte == b'\n').count() + 1)
    })
}

/// Reads YAML text; `file_name` is what places are named by.
pub fn parse(file_name: &str, text: &str) -> Reading {
    let whole = Place::whole(file_name);
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        return Reading::failed(Problem::at(&whole, "", TOO_LARGE));
    }
    let mut walk = Walk::default();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let Some(tree) = yaml::parse(file_name, text, &mut walk.errors) else {
        if walk.errors.is_empty() {
            walk.errors.push(Problem::at(&whole, "", "holds no configuration"));
        }
        return Reading { config: Err(walk.errors), warnings: walk.warnings };
    };
    let typed = walk.root(&tree, schema::ROOT);
    let config = build::config(&typed, &mut walk);
    let without_use = [
        (&walk.foreign, "Traefik settings that routecert has no use for"),
        (&walk.not_yet, "known, but not honoured by this version"),
    ];
    for (keys, what) in without_use {
        if !keys.is_empty() {
            let message = format!("{what}: {}", keys.join(", "));
            walk.warnings.push(Problem::at(&whole, "", message));
        }
    }
    limit(&mut walk.errors, &whole);
    limit(&mut walk.warnings, &whole);
    let config = if walk.errors.is_empty() { Ok(config) } else { Err(walk.errors) };
    Reading { config, warnings: walk.warnings }
}

/// Nobody reads more, and a broken generator can make very many.
fn limit(problems: &mut Vec<Problem>, whole: &Place) {
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        problems.truncate(MAX_PROBLEMS);
        problems.push(Problem::at(whole, "", format!("and {more} more of this kind")));
    }
}

/// Everything that a process needs to know before it starts. Valid as a whole; what is wrong with
/// one resolver makes only that resolver unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub entry_points: BTreeMap<String, EntryPoint>,
    /// By name as written. `Err`: why the resolver cannot be used, for the routes that name it.
    pub resolvers: BTreeMap<String, Result<Resolver, String>>,
    pub kubernetes_crd: Option<KubernetesCrd>,
    pub log: Log,
    pub own: Own,
}

/// One listener. TLS and plain HTTP share it: the first byte of a connection tells them apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryPoint {
    pub name: String,
    /// `None`: all addresses, IPv4 and IPv6.
    pub host: Option<IpAddr>,
    pub port: u16,
    /// `http.redirections.entryPoint`.
    pub redirect: Option<Redirect>,
    /// `http.tls`: what routes without a `tls` of their own get.
    pub tls: Option<EntryPointTls>,
}

/// `entryPoints.<name>.http.tls`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryPointTls {
    pub cert_resolver: Option<String>,
    /// Empty: the names of each route's rule.
    pub domains: Vec<Domain>,
}

/// The names of one certificate, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain {
    pub main: String,
    pub sans: Vec<String>,
}

/// Where plain requests (those that ask for no challenge) are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub scheme: String,
    /// Of the entry point that `to` names, or of `to: ":443"`.
    pub port: u16,
    pub permanent: bool,
}

/// `providers.kubernetesCRD`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KubernetesCrd {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    pub label_selector: Option<String>,
    pub ingress_class: Option<String>,
    /// API server URL, with its bearer token and CA file.
    pub endpoint: Option<String>,
    pub token: Option<Token>,
    /// PEM.
    pub cert_auth_file_path: Option<std::path::PathBuf>,
}

/// A bearer token, or the path of a file that holds it; its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// `log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `trace`, `debug`, `info`, `warn` or `error`.
    pub level: String,
    pub format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    Common,
    Json,
}

/// The section `routecert:`, the settings that Traefik does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Own {
    pub certificates_namespace: String,
    /// `None`: the Pod's own or the kubeconfig's.
    pub controller_namespace: Option<String>,
    /// How long a certificate outlives its last route.
    pub remove_after: Duration,
    /// `/livez` and `/readyz`, `host:port`.
    pub admin_address: String,
}

/// What is wrong, or worth a word, at one place of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `file:line:column`, or the file alone.
    pub place: String,
    /// The key with its path, `certificatesResolvers.le.acme.keyType`; empty for the whole text.
    pub key: String,
    pub message: String,
}

impl Problem {
    fn at(place: &Place, key: &str, message: impl Into<String>) -> Self {
        Self { place: place.to_string(), key: key.to_owned(), message: message.into() }
    }

    /// `value` stands at `field` instead of what was `expected`.
    fn about(field: &Typed, value: &str, expected: &str) -> Self {
        Self::at(&field.place, &field.key, format!("`{}`: {expected}", shorten(value)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The result of reading: a configuration only if there was no error.
#[derive(Debug)]
pub struct Reading {
    pub config: Result<Config, Vec<Problem>>,
    pub warnings: Vec<Problem>,
}

impl Reading {
    fn failed(problem: Problem) -> Self {
        Self { config: Err(vec![problem]), warnings: Vec::new() }
    }
}
