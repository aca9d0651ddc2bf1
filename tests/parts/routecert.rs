//! The program itself: its configuration from a template, and its start as one of its subcommands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::parts::client;
use crate::parts::process::{self, Process, Program};

const READY: Duration = Duration::from_secs(30);

/// What the configuration says.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Ports of the entry points.
    pub web: u16,
    pub websecure: u16,
    pub ca_server: String,
    /// PEM of whom to trust when talking to the CA.
    pub trust: PathBuf,
    pub controller_namespace: String,
    pub certificates_namespace: String,
    /// Where routes are read; empty: everywhere.
    pub namespaces: Vec<String>,
    pub remove_after: String,
    /// More of `providers.kubernetesCRD` than `namespaces`, `key: value` each.
    pub crd: Vec<String>,
    /// `providers.kubernetesIngress`, `key: value` each; `None`: Ingresses are not read. Its
    /// namespaces are the same.
    pub ingress: Option<Vec<String>>,
    /// `providers.file` as YAML; empty: no such provider.
    pub file: String,
    /// Name and `keyType` of each resolver; all are of the same account.
    pub resolvers: Vec<(String, String)>,
    /// Settings of resolvers beside or instead of the usual ones: resolver (empty: all), key, YAML
    /// (empty: the key is left out).
    pub acme: Vec<(&'static str, &'static str, String)>,
    /// More of `routecert`, `key: value` each.
    pub own: Vec<String>,
    /// Variables of the process.
    pub env: Vec<(&'static str, String)>,
}

impl Settings {
    /// The configuration file of a process whose health is asked at `admin`.
    pub fn yaml(&self, admin: u16) -> String {
        let Self { web, websecure, remove_after, .. } = self;
        let Self { controller_namespace, certificates_namespace, .. } = self;
        let resolvers: String =
            self.resolvers.iter().map(|(name, key_type)| self.resolver(name, key_type)).collect();
        let crd = self.provider(&self.crd);
        let ingress = self.ingress.as_ref().map(|more| self.provider(more));
        let ingress = ingress.map(|all| format!(", kubernetesIngress: {{{all}}}"));
        let ingress = ingress.unwrap_or_default();
        let own = self.own.iter().fold(String::new(), |all, line| all + "  " + line + "\n");
        let file = match self.file.as_str() {
            "" => String::new(),
            file => format!(", file: {file}"),
        };
        format!(
            r#"entryPoints:
  web:
    address: "127.0.0.1:{web}"
    http: {{redirections: {{entryPoint: {{to: websecure, scheme: https, permanent: true}}}}}}
  websecure: {{address: "127.0.0.1:{websecure}"}}
certificatesResolvers:
{resolvers}providers: {{kubernetesCRD: {{{crd}}}{ingress}{file}}}
log: {{level: DEBUG}}
routecert:
  certificatesNamespace: {certificates_namespace}
  controllerNamespace: {controller_namespace}
  removeAfter: {remove_after}
  adminAddress: "127.0.0.1:{admin}"
{own}"#
        )
    }

    fn provider(&self, more: &[String]) -> String {
        let namespaces = match self.namespaces.as_slice() {
            [] => None,
            some => Some(format!("namespaces: [{}]", some.join(", "))),
        };
        namespaces.iter().chain(more).cloned().collect::<Vec<_>>().join(", ")
    }

    fn resolver(&self, name: &str, key_type: &str) -> String {
        let mut keys: BTreeMap<&str, String> = [
            ("email", "a@example.com".to_owned()),
            ("caServer", self.ca_server.clone()),
            ("caCertificates", format!("[{}]", self.trust.display())),
            ("keyType", key_type.to_owned()),
            ("storage", "acme.json".to_owned()),
            ("httpChallenge", "{entryPoint: web}".to_owned()),
        ]
        .into();
        let meant = self.acme.iter().filter(|one| one.0.is_empty() || one.0 == name);
        keys.extend(meant.map(|(_, key, value)| (*key, value.clone())));
        let given = keys.iter().filter(|(_, value)| !value.is_empty());
        given.fold(format!("  {name}:\n    acme:\n"), |yaml, (key, value)| {
            yaml + &format!("      {key}: {value}\n")
        })
    }
}

/// A running `routecert`.
#[derive(Debug)]
pub struct Routecert {
    pub process: Process,
    pub admin: u16,
}

impl Routecert {
    /// Whether `/readyz` says yes.
    pub fn is_ready(&self) -> bool {
        let url = format!("http://127.0.0.1:{}/readyz", self.admin);
        client::curl(self.admin, &url, &[]).is_ok_and(|reply| reply.status == 200)
    }

    /// Waits for `/readyz`; panics with the last log lines if it ends before.
    pub fn await_ready(&self) {
        self.process.await_ready(READY, || self.is_ready());
    }
}

/// Starts `binary SUBCOMMAND --configfile …` with `yaml` and waits for nothing. `name` names the
/// log and the configuration file in `folder`. `roots`, a PEM file, stand for those of the
/// system.
pub fn start(
    of: (&Path, Option<&Path>),
    folder: &Path,
    name: &str,
    yaml: &str,
    args: &[&str],
) -> Process {
    start_with(of, &[], (folder, name), yaml, args)
}

/// The same with more variables.
pub fn start_with(
    (binary, roots): (&Path, Option<&Path>),
    env: &[(&'static str, String)],
    (folder, name): (&Path, &str),
    yaml: &str,
    args: &[&str],
) -> Process {
    let file = process::write(folder, &format!("{name}.yaml"), yaml);
    let (subcommand, rest) = args.split_first().unwrap();
    let mut all = vec![(*subcommand).to_owned(), "--configfile".to_owned()];
    all.push(file.display().to_string());
    all.extend(rest.iter().map(|arg| (*arg).to_owned()));
    Process::start(Program {
        name: name.to_owned(),
        path: binary.to_owned(),
        args: all,
        env: roots
            .map(|file| ("SSL_CERT_FILE", file.display().to_string()))
            .into_iter()
            .chain(env.iter().cloned())
            .collect(),
        folder: folder.to_owned(),
    })
}
