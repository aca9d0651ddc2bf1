//! The static configuration: Traefik's files, flags and variables → one tree that knows where each
//! value stands → one [`Config`].

mod build;
mod effective;
mod environment;
mod flags;
mod live;
mod near;
mod object;
mod own;
mod plain;
mod problem;
mod process;
mod providers;
mod reference;
mod resolvers;
mod schema;
mod settle;
mod toml;
mod tree;
mod typed;
mod value;
mod walk;
mod words;
mod yaml;

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub use crate::config::effective::Effective;
pub use crate::config::live::{Allow, Live};
pub(crate) use crate::config::near::nearest;
pub(crate) use crate::config::plain::plain;
pub use crate::config::problem::{Problem, Reading};
pub use crate::config::reference::{json_schema, markdown};
use crate::config::tree::{Form, Node, Place, Value, merge};
pub(crate) use crate::config::value::boolean;
use crate::config::walk::Walk;
use crate::name::DomainPattern;
use crate::resolver::{DnsSwitches, Proxy, Resolver};
use crate::rule;

const MAX_BYTES: u64 = 1024 * 1024;
const MAX_PROBLEMS: usize = 200;
const TOO_LARGE: &str = "is larger than 1 MiB";
/// The later goes before the earlier.
const PREFIXES: [&str; 2] = ["TRAEFIK_", "ROUTECERT_"];

/// Where a configuration comes from: a flag goes before a variable, a variable before the file.
#[derive(Debug, Clone, Copy)]
pub struct Sources<'a> {
    /// TOML if its name ends in `.toml`, else YAML. No file is looked for unasked.
    pub file: Option<&'a Path>,
    pub environment: &'a BTreeMap<String, String>,
    /// Traefik's, one a word.
    pub flags: &'a [String],
}

/// What a configuration refers to outside of itself; `None`: not to be looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Surroundings<'a> {
    environment: Option<&'a BTreeMap<String, String>>,
    certificate_file: Option<LookAtFile>,
}

/// Says what is wrong with a file of certificates.
type LookAtFile = fn(&Path) -> Result<(), String>;

/// Reads all sources and puts them together.
pub fn read(sources: &Sources<'_>) -> Reading {
    let mut walk = Walk::default();
    let file = file(sources, &mut walk);
    let whole = Place::whole(
        &file.as_deref().map_or_else(|| "configuration".to_owned(), |it| it.display().to_string()),
    );
    let from_file = file.as_deref().map(|path| file_tree(path, &mut walk));
    let unreadable = matches!(from_file, Some(None)) && !walk.errors.is_empty();
    let mut layers = Vec::from_iter(from_file.flatten());
    for prefix in PREFIXES {
        layers.extend(environment::parse(sources.environment, prefix, &mut walk));
    }
    layers.extend(flags::parse(sources.flags, &mut walk));
    if unreadable {
        return Reading { faults: walk.faults, ..Reading::of(Err(walk.errors), walk.warnings) };
    }
    if layers.is_empty() && file.is_some() {
        return Reading::failed(Problem::at(&whole, "", "holds no configuration"));
    }
    let around = Surroundings {
        environment: Some(sources.environment),
        certificate_file: Some(certificate_file),
    };
    understand(layers, &whole, around, walk)
}

fn file(sources: &Sources<'_>, walk: &mut Walk) -> Option<PathBuf> {
    let flag = flags::config_file(sources.flags).map(PathBuf::from);
    let given = sources.file.map(Path::to_path_buf);
    if let (Some(given), Some(flag)) = (&given, &flag)
        && given != flag
    {
        let message = format!("names another file than --configfile {}", given.display());
        walk.errors.push(Problem::at(&Place::flag("--configFile", 0), "", message));
    }
    given.or(flag)
}

fn file_tree(path: &Path, walk: &mut Walk) -> Option<Node> {
    let name = path.display().to_string();
    match contents(path) {
        Ok(text) => text_tree(&name, &text, walk),
        Err(message) => {
            walk.errors.push(Problem::at(&Place::whole(&name), "", message));
            None
        }
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > usize::try_from(MAX_BYTES).unwrap_or(usize::MAX) {
        return Err(TOO_LARGE.to_owned());
    }
    Ok(bytes)
}

/// The text of a file of at most 1 MiB. `Err`: what is wrong, to be put behind the file's name.
pub(crate) fn contents(path: &Path) -> Result<String, String> {
    String::from_utf8(bytes(path)?).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        format!("is no UTF-8 text (line {})", line.filter(|byte| **byte == b'\n').count() + 1)
    })
}

/// What the connection to a CA needs of such a file.
fn certificate_file(path: &Path) -> Result<(), String> {
    let mut found = 0;
    for der in CertificateDer::pem_slice_iter(&bytes(path)?) {
        let der = der.map_err(|error| format!("is no valid PEM: {error}"))?;
        found += 1;
        x509_parser::parse_x509_certificate(&der)
            .map_err(|error| format!("certificate {found} in it cannot be read: {error}"))?;
    }
    if found == 0 { Err("has no certificate in PEM form".to_owned()) } else { Ok(()) }
}

fn text_tree(name: &str, text: &str, walk: &mut Walk) -> Option<Node> {
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_BYTES) {
        walk.errors.push(Problem::at(&Place::whole(name), "", TOO_LARGE));
        return None;
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let parse = if is_toml(name) { toml::parse } else { yaml::parse };
    parse(name, text, &mut walk.errors)
}

fn is_toml(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|it| it.eq_ignore_ascii_case("toml"))
}

/// Reads the text of one file; `file_name` is what places are named by.
pub fn parse(file_name: &str, text: &str) -> Reading {
    let whole = Place::whole(file_name);
    let mut walk = Walk::default();
    let Some(tree) = text_tree(file_name, text, &mut walk) else {
        if walk.errors.is_empty() {
            walk.errors.push(Problem::at(&whole, "", "holds no configuration"));
        }
        return Reading::of(Err(walk.errors), walk.warnings);
    };
    understand(vec![tree], &whole, Surroundings::default(), walk)
}

/// From the layers, the weakest first, to what they mean together.
fn understand(
    layers: Vec<Node>,
    whole: &Place,
    around: Surroundings<'_>,
    mut walk: Walk,
) -> Reading {
    let nothing = Node { place: whole.clone(), value: Value::Map(Vec::new()) };
    let tree = layers.into_iter().reduce(merge).unwrap_or(nothing);
    settle::old_settings(&tree, &mut walk);
    let mut typed = walk.root(&tree, schema::ROOT);
    let no_variables = BTreeMap::new();
    settle::resolvers(&mut typed, around.environment.unwrap_or(&no_variables), &mut walk);
    let mut config = build::config(&typed, around, &mut walk);
    if let Some(environment) = around.environment {
        config.surround(environment, &mut walk);
    }
    settle::entry_points(&mut typed, &tree);
    walk.without_use(whole);
    let variables = process::shown(config.dns, config.proxy.as_ref());
    let effective = Some(Effective::of(&typed, variables));
    for problems in [&mut walk.errors, &mut walk.faults, &mut walk.warnings, &mut walk.advice] {
        limit(problems, whole);
    }
    let config = if walk.errors.is_empty() { Ok(config) } else { Err(walk.errors) };
    let (faults, advice) = (walk.faults, walk.advice);
    Reading { faults, advice, effective, ..Reading::of(config, walk.warnings) }
}

/// Nobody reads more, and a broken generator can make very many.
fn limit(problems: &mut Vec<Problem>, whole: &Place) {
    Problem::sort(problems);
    let more = problems.len().saturating_sub(MAX_PROBLEMS);
    if more > 0 {
        problems.truncate(MAX_PROBLEMS);
        let problem = Problem::at(whole, "", format!("and {more} more of this kind"));
        problems.push(Problem { order: (Form::Flag(usize::MAX), 0, 0), ..problem });
    }
}

/// Everything that a process needs to know before it starts. Valid as a whole; what is wrong with
/// one resolver makes only that resolver unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub entry_points: BTreeMap<String, EntryPoint>,
    /// By name as written. `Err`: why the resolver cannot be used, for the routes that name it.
    pub resolvers: BTreeMap<String, Result<Resolver, String>>,
    /// `storage` of each of them, usable or not.
    pub storages: BTreeMap<String, PathBuf>,
    pub kubernetes_crd: Option<KubernetesCrd>,
    pub kubernetes_ingress: Option<KubernetesIngress>,
    pub file: Option<FileProvider>,
    /// `core.defaultRuleSyntax`: of rules that do not say theirs.
    pub default_rule_syntax: rule::Syntax,
    /// `core.strictTLSOptions`: routes of one host with different TLS options are refused.
    pub strict_tls_options: bool,
    pub log: Log,
    pub dns: DnsSwitches,
    /// How CAs and the APIs of DNS providers are reached; every resolver has it in its `trust`.
    pub proxy: Option<Proxy>,
    pub own: Own,
}

impl Config {
    /// Where certificates are kept: in the cluster if routes come from there.
    pub fn store(&self) -> StoreKind {
        let from_cluster = self.kubernetes_crd.is_some() || self.kubernetes_ingress.is_some();
        let by_routes = match (from_cluster, &self.file) {
            (false, Some(_)) => StoreKind::File,
            _ => StoreKind::Secrets,
        };
        self.own.store.unwrap_or(by_routes)
    }

    /// What holds for the whole process, whatever the configuration says.
    fn surround(&mut self, environment: &BTreeMap<String, String>, walk: &mut Walk) {
        self.dns = process::dns(environment, walk);
        self.proxy = process::proxy(environment, walk);
        for resolver in self.resolvers.values_mut().flatten() {
            resolver.trust.proxy.clone_from(&self.proxy);
            if let Some(dns) = &mut resolver.challenges.dns {
                dns.switches = self.dns;
            }
        }
    }
}

/// One listener. TLS and plain HTTP share it: the first byte of a connection tells them apart.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EntryPoint {
    pub name: String,
    /// `None`: all addresses, IPv4 and IPv6.
    pub host: Option<IpAddr>,
    pub port: u16,
    /// Routes that name no entry point get this one; if none is marked so, all.
    pub as_default: bool,
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
#[expect(clippy::struct_excessive_bools, reason = "the keys of Traefik")]
pub struct KubernetesCrd {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    pub label_selector: Option<String>,
    pub ingress_class: Option<String>,
    pub allow_cross_namespace: bool,
    pub allow_external_name_services: bool,
    pub allow_empty_services: bool,
    /// Read nothing outside of namespaces.
    pub disable_cluster_scope_resources: bool,
    /// API server URL, with its bearer token and CA file.
    pub endpoint: Option<String>,
    pub token: Option<Token>,
    /// PEM.
    pub cert_auth_file_path: Option<PathBuf>,
}

/// `providers.kubernetesIngress`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KubernetesIngress {
    /// Empty: all namespaces.
    pub namespaces: Vec<String>,
    pub label_selector: Option<String>,
    pub ingress_class: Option<String>,
    /// Read no `IngressClass`.
    pub disable_ingress_class_lookup: bool,
    /// Read nothing outside of namespaces.
    pub disable_cluster_scope_resources: bool,
    /// API server URL, with its bearer token and CA file.
    pub endpoint: Option<String>,
    pub token: Option<Token>,
    /// PEM.
    pub cert_auth_file_path: Option<PathBuf>,
}

impl KubernetesIngress {
    /// Whether the IngressClass of an Ingress is asked for its controller.
    pub fn looks_up_classes(&self) -> bool {
        !self.disable_ingress_class_lookup && !self.disable_cluster_scope_resources
    }
}

/// `providers.file`: one of the two paths is there, and if both are, the directory counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProvider {
    pub filename: Option<PathBuf>,
    pub directory: Option<PathBuf>,
    pub watch: bool,
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
#[expect(clippy::struct_excessive_bools, reason = "each is a key of its own")]
pub struct Own {
    pub certificates_namespace: String,
    /// `None`: the Pod's own or the kubeconfig's.
    pub controller_namespace: Option<String>,
    /// How long a certificate outlives its last route.
    pub remove_after: Duration,
    /// How long a host stays its last owner's after its last route.
    pub host_hold: Duration,
    /// Any namespace may have certificates for any host.
    pub allow_cross_namespace_hosts: bool,
    /// Ask the CAs when to renew (RFC 9773).
    pub ari: bool,
    /// Renew with the key that there is.
    pub keep_keys: bool,
    /// More about resolvers, by name.
    pub resolvers: BTreeMap<String, OwnResolver>,
    /// Go before holding and age.
    pub grants: Vec<Grant>,
    /// Where a TLSStore or TLSOption `default` counts; `None`: the controller's namespace.
    pub default_tls_resources_namespace: Option<String>,
    /// `/livez` and `/readyz`, `host:port`.
    pub admin_address: String,
    pub self_check: SelfCheck,
    /// `None`: by what routes come from, see [`Config::store`].
    pub store: Option<StoreKind>,
}

/// Where records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreKind {
    /// Secrets of the cluster.
    Secrets,
    /// The `storage` of each resolver.
    File,
}

/// `routecert.selfCheck`: what a CA may meet is looked at before it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SelfCheck {
    pub enabled: bool,
    /// For one name.
    pub timeout: Duration,
    /// DNS servers to ask, `host` or `host:port`; empty: the system's.
    pub resolvers: Vec<String>,
    /// In place of 80 and 443.
    pub http_port: u16,
    pub tls_port: u16,
}

/// `routecert.resolvers.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnResolver {
    pub ari: Option<bool>,
    /// Directory of a CA that is tried first after a failure.
    pub rehearsal_ca_server: Option<String>,
    /// Name of the resolver that is used when this one fails again and again.
    pub fallback_resolver: Option<String>,
}

impl Own {
    /// Whether the CA of the resolver is asked when to renew.
    pub fn asks_when_to_renew(&self, resolver: &str) -> bool {
        self.resolvers.get(resolver).and_then(|one| one.ari).unwrap_or(self.ari)
    }
}

/// Names that only these namespaces may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub namespaces: Vec<String>,
    pub domains: Vec<DomainPattern>,
}

#[cfg(test)]
mod tests;
