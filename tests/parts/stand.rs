//! Everything that one scenario needs, wired together: namespaces and rights in a cluster, a CA,
//! an upstream, and the means to start controllers and proxies and to look at what they did.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};

use crate::parts::ca::Ca;
use crate::parts::client::{self, Chain, Reply};
use crate::parts::cluster::Cluster;
use crate::parts::faults::Faults;
use crate::parts::process;
use crate::parts::routecert::{self, Routecert, Settings};
use crate::parts::upstream::Upstream;
use crate::parts::{tools, wait};

/// For what takes the CA a few seconds at most.
const WITHIN: Duration = Duration::from_secs(45);

/// Namespaces `PREFIX-system` and `PREFIX-certs`, and for routes `PREFIX-routes`.
#[expect(missing_debug_implementations, reason = "a client has none")]
pub struct Stand<'c> {
    pub cluster: &'c Cluster,
    pub client: kube::Client,
    pub ca: Ca,
    pub upstream: Upstream,
    pub settings: Settings,
    /// Where the routes of [`Self::route`] are.
    pub routes: String,
    /// Logs and configuration files of the processes that it starts.
    pub folder: PathBuf,
    /// kubeconfig of the controller's ServiceAccount.
    pub controller: PathBuf,
    proxy: PathBuf,
    binary: PathBuf,
    started: AtomicUsize,
}

/// A certificate Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    pub secret: String,
    /// As the annotation says.
    pub names: Vec<String>,
    pub chain: Chain,
    /// `resourceVersion`: the same as before means that nothing was written.
    pub version: String,
}

impl<'c> Stand<'c> {
    /// Makes namespaces, rights, a CA and an upstream; starts no `routecert` yet. `prefix` is the
    /// scenario's own, so that many share a cluster.
    pub async fn new(cluster: &'c Cluster, binary: &Path, prefix: &str) -> Self {
        let routes = format!("{prefix}-routes");
        let [web, websecure] = process::free_ports();
        let ca = Ca::start_with(web, &[], &serde_json::json!({"tlsPort": websecure}));
        cluster.apply(&manifests(prefix));
        cluster.apply(&namespace_with_service(&routes));
        let system = format!("{prefix}-system");
        Self {
            client: cluster.client().await,
            upstream: Upstream::start(),
            settings: Settings {
                web,
                websecure,
                ca_server: ca.directory(),
                trust: ca.trust.clone(),
                controller_namespace: system.clone(),
                certificates_namespace: format!("{prefix}-certs"),
                namespaces: vec![routes.clone()],
                remove_after: "24h".to_owned(),
                // Resolvers that are objects belong to one controller of a cluster.
                crd: vec!["disableClusterScopeResources: true".to_owned()],
                ingress: None,
                file: String::new(),
                resolvers: vec![("le".to_owned(), "EC256".to_owned())],
                acme: Vec::new(),
                own: vec![self_check((web, websecure), ca.dns)],
                env: Vec::new(),
            },
            routes,
            folder: process::new_folder(prefix),
            controller: cluster.identity(&system, "routecert-controller"),
            proxy: cluster.identity(&system, "routecert-proxy"),
            binary: binary.to_owned(),
            started: AtomicUsize::new(0),
            cluster,
            ca,
        }
    }

    /// From now on `ca` is the CA that the resolvers ask.
    pub fn use_ca(&mut self, ca: Ca) {
        self.settings.ca_server = ca.directory();
        self.settings.trust.clone_from(&ca.trust);
        self.ca = ca;
    }

    /// From now on the resolvers ask the CA through a proxy that does what it is told.
    pub fn use_faults(&mut self) -> Faults {
        let faults = Faults::start(&self.ca, &["127.0.0.1"]);
        self.settings.ca_server = faults.directory();
        self.settings.trust.clone_from(&faults.trust);
        faults
    }

    /// A ready controller, as its own ServiceAccount.
    pub fn start_controller(&self) -> Routecert {
        let controller = self.launch("controller");
        controller.await_ready();
        controller
    }

    /// A ready proxy, as its own ServiceAccount.
    pub fn start_proxy(&self) -> Routecert {
        let proxy = self.launch("proxy");
        proxy.await_ready();
        proxy
    }

    /// Starts `controller`, `proxy` or `run` and waits for nothing.
    pub fn launch(&self, subcommand: &str) -> Routecert {
        let upstream = self.upstream.url();
        match subcommand {
            "controller" => self.launch_with(subcommand, &[]),
            _ => self.launch_with(subcommand, &["--upstream", &upstream]),
        }
    }

    /// The same with `more` on its command line, and nothing else.
    pub fn launch_with(&self, subcommand: &str, more: &[&str]) -> Routecert {
        let [admin] = process::free_ports();
        self.launch_as(subcommand, (&self.settings.yaml(admin), admin), more)
    }

    /// The same with a configuration of its own, which has this port for its health.
    pub fn launch_as(
        &self,
        subcommand: &str,
        (yaml, admin): (&str, u16),
        more: &[&str],
    ) -> Routecert {
        let count = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let identity = if subcommand == "proxy" { &self.proxy } else { &self.controller };
        let kubeconfig = identity.display().to_string();
        let mut args = vec![subcommand, "--kubeconfig", &kubeconfig];
        args.extend(more);
        let name = format!("{subcommand}-{count}");
        Routecert {
            process: routecert::start_with(
                (&self.binary, Some(&self.ca.trust)),
                &self.settings.env,
                (&self.folder, &name),
                yaml,
                &args,
            ),
            admin,
        }
    }

    /// Applies an IngressRoute of our group. `tls` is YAML: `{certResolver: le}`.
    pub fn route(&self, name: &str, rule: &str, tls: &str) {
        self.cluster.apply(&self.manifest(name, rule, tls));
    }

    /// What [`Self::route`] applies, for many at once.
    pub fn manifest(&self, name: &str, rule: &str, tls: &str) -> String {
        route("routecert.dev", &self.routes, name, rule, tls)
    }

    /// The same in Traefik's group.
    pub fn traefik_route(&self, name: &str, rule: &str, tls: &str) {
        self.cluster.apply(&route("traefik.io", &self.routes, name, rule, tls));
    }

    pub fn delete_route(&self, name: &str) {
        self.cluster.kubectl(&["delete", "rcingressroute", name, "-n", &self.routes], "");
    }

    /// Asks the proxy for `https://HOST/PATH` as a client that trusts only the CA's root.
    pub fn get(&self, url: &str) -> Result<Reply, String> {
        let root = self.ca.root_file().display().to_string();
        let secure = url.starts_with("https:");
        let port = if secure { self.settings.websecure } else { self.settings.web };
        client::curl(port, url, &["--cacert", &root])
    }

    /// The chain that the proxy shows for `sni`.
    pub fn served(&self, sni: &str) -> Result<Chain, String> {
        client::served(self.settings.websecure, sni)
    }

    /// All certificate Secrets, by their names joined with commas.
    pub async fn certificates(&self) -> Result<BTreeMap<String, Issued>, String> {
        let namespace = &self.settings.certificates_namespace;
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        let ours = ListParams::default().labels("routecert.dev/kind=certificate");
        let list = secrets.list(&ours).await.map_err(|e| e.to_string())?;
        let issued = list.items.into_iter().map(Issued::read);
        Ok(issued.map(|issued| (issued.names.join(","), issued)).collect())
    }

    /// Waits for the certificate Secret of exactly these names.
    pub async fn certificate(&self, names: &str) -> Issued {
        self.eventually(&format!("a certificate for {names}"), async || {
            let all = self.certificates().await?;
            all.get(names).cloned().ok_or_else(|| format!("there are {:?}", all.keys()))
        })
        .await
    }

    /// An object of our group in the routes' namespace, as JSON. `kind`: `IngressRoute`,
    /// `IngressRouteTCP` or `AcmeCertificate`.
    pub async fn object(&self, kind: &str, name: &str) -> Result<serde_json::Value, String> {
        let group = GroupVersionKind::gvk("routecert.dev", "v1alpha1", kind);
        let short = if kind == "AcmeCertificate" { "" } else { "rc" };
        let plural = format!("{short}{}s", kind.to_ascii_lowercase());
        let resource = ApiResource::from_gvk_with_plural(&group, &plural);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.routes, &resource);
        let object = api.get(name).await.map_err(|e| e.to_string())?;
        serde_json::to_value(object).map_err(|e| e.to_string())
    }

    /// The reason of the condition Ready of one of our routes; `Err` while there is none.
    pub async fn reason(&self, route: &str) -> Result<String, String> {
        let object = self.object("IngressRoute", route).await?;
        let conditions = object.pointer("/status/conditions").and_then(|c| c.as_array());
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition["type"] == "Ready")
            .and_then(|condition| condition["reason"].as_str())
            .map(str::to_owned)
            .ok_or_else(|| format!("no condition Ready: {}", object["status"]))
    }

    /// Writes that certificates led to so far, as the audit log has it, by what was written: `state`,
    /// `certificate`, `challenges` and `AcmeCertificate`. Account, Lease, Events, copies and the
    /// status of routes are left out.
    pub fn writes(&self) -> BTreeMap<&'static str, usize> {
        let mut writes = BTreeMap::new();
        let account = "routecert-controller";
        for event in self.cluster.asked_by(&self.settings.controller_namespace, account) {
            let of = |key: &str| event["objectRef"][key].as_str().unwrap_or_default();
            let what = match (of("resource"), of("name")) {
                ("acmecertificates", _) => "AcmeCertificate",
                ("secrets", name) if name.starts_with("routecert-state-") => "state",
                ("secrets", _) if of("namespace") == self.settings.certificates_namespace => {
                    "certificate"
                }
                ("configmaps", name) if name.starts_with("routecert-challenges-") => "challenges",
                _ => continue,
            };
            if !matches!(event["verb"].as_str(), Some("get" | "list" | "watch")) {
                *writes.entry(what).or_default() += 1;
            }
        }
        writes
    }

    /// [`wait::eventually`] with this stand's logs.
    #[track_caller]
    pub fn eventually<'a, T: 'a>(
        &'a self,
        what: &'a str,
        condition: impl AsyncFnMut() -> Result<T, String> + 'a,
    ) -> impl Future<Output = T> + 'a {
        wait::eventually(what, WITHIN, || self.tails(), condition)
    }

    /// The last log lines of every `routecert` that was started, and of the CA.
    pub fn tails(&self) -> String {
        let files = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let mut logs: Vec<PathBuf> =
            files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
        logs.sort();
        logs.iter().map(|log| process::last_lines(log)).collect::<String>() + &self.ca.tail()
    }
}

impl Issued {
    fn read(secret: Secret) -> Self {
        let annotations = secret.metadata.annotations.unwrap_or_default();
        let names = annotations.get("routecert.dev/names").map(String::as_str).unwrap_or_default();
        let data = secret.data.unwrap_or_default();
        let chain = data.get("tls.crt").map(|bytes| String::from_utf8_lossy(&bytes.0));
        Self {
            secret: secret.metadata.name.unwrap_or_default(),
            names: names.split(',').map(str::to_owned).collect(),
            chain: Chain::from_pem(&chain.unwrap_or_default()),
            version: secret.metadata.resource_version.unwrap_or_default(),
        }
    }
}

/// The self-check where the CA looks, which no name server but the CA's own knows.
pub fn self_check((http, tls): (u16, u16), dns: u16) -> String {
    format!(
        "selfCheck: {{resolvers: ['127.0.0.1:{dns}'], httpPort: {http}, tlsPort: {tls}, timeout: 3}}"
    )
}

/// Namespaces, accounts and rights, with `prefix` in place of `routecert` in the namespaces.
fn manifests(prefix: &str) -> String {
    let folder = tools::clone_root().join("tests/manifests");
    ["namespaces.yaml", "controller.yaml", "proxy.yaml"]
        .map(|name| std::fs::read_to_string(folder.join(name)).unwrap())
        .join("---\n")
        .replace("routecert-system", &format!("{prefix}-system"))
        .replace("routecert-certs", &format!("{prefix}-certs"))
        .replace("routecert-controller-routes", &format!("{prefix}-controller-routes"))
        .replace("routecert-controller-cluster", &format!("{prefix}-controller-cluster"))
        .replace("routecert-controller-copies", &format!("{prefix}-controller-copies"))
}

/// YAML of a namespace, and of the Service `app` in it that routes lead to.
pub fn namespace_with_service(name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}
---
{}",
        service(name, "app")
    )
}

/// YAML of a Service.
pub fn service(namespace: &str, name: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, \
         spec: {{ports: [{{port: 80}}]}}}}\n"
    )
}

fn route(group: &str, namespace: &str, name: &str, rule: &str, tls: &str) -> String {
    format!(
        "apiVersion: {group}/v1alpha1
kind: IngressRoute
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  entryPoints: [websecure]
  routes:
    - match: {rule}
      kind: Rule
      services: [{{name: app, port: 80}}]
  tls: {tls}
"
    )
}
