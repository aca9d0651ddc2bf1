//! The static configuration: Traefik's YAML → one tree that knows its lines → one [`Config`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::resolver::Resolver;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    pub name: String,
    /// `None`: all addresses, IPv4 and IPv6.
    pub host: Option<IpAddr>,
    pub port: u16,
    /// `http.redirections.entryPoint`.
    pub redirect: Option<Redirect>,
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
    pub cert_auth_file_path: Option<std::path::PathBuf>,
}

/// A bearer token; its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// The result of reading: a configuration only if there was no error.
#[derive(Debug)]
pub struct Reading {
    pub config: Result<Config, Vec<Problem>>,
    pub warnings: Vec<Problem>,
}
