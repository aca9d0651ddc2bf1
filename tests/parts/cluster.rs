//! A real Kubernetes API: etcd, kube-apiserver, and the two controllers that namespaces and
//! aggregated roles need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};

use crate::parts::client;
use crate::parts::front::Front;
use crate::parts::process::{self, Process, Program};
use crate::parts::{keys, tools};

/// A cold machine is slow; the usual is seven seconds.
const READY: Duration = Duration::from_secs(90);

/// What ServiceAccounts ask for, one JSON object a line.
const AUDIT: &str = "audit.log";
const AUDITED: &str = r#"{"apiVersion": "audit.k8s.io/v1", "kind": "Policy",
  "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]}"#;

/// A running API. Everything ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    /// kubeconfig of a member of `system:masters`.
    pub admin: PathBuf,
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    server: Program,
    running: Mutex<Option<Process>>,
    token: String,
    /// Where etcd answers in plain text.
    pub etcd: u16,
    _etcd: Process,
    _controllers: Process,
}

impl Cluster {
    /// Starts it and waits for `/readyz`.
    pub fn start() -> Self {
        let programs = tools::folder("cluster");
        let folder = process::new_folder("cluster");
        let token = format!("{:032x}", rand::random::<u128>());
        write_keys(&folder, &token);
        let [port, client_port, peer_port] = process::free_ports();
        let etcd = Process::start(etcd(&programs, &folder, client_port, peer_port));
        let server = api_server(&programs, &folder, port, client_port);
        let admin = kubeconfig(&folder, "admin", &token, port, "default");
        let running = Process::start(server.clone());
        let cluster = Self {
            running: Mutex::new(Some(running)),
            _controllers: Process::start(controllers(&programs, &folder, &admin)),
            _etcd: etcd,
            admin,
            folder,
            programs,
            port,
            server,
            token,
            etcd: client_port,
        };
        cluster.await_ready();
        cluster
    }

    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// The API server goes away without a word; the objects stay in etcd.
    pub fn stop_api(&self) {
        drop(self.running.lock().unwrap().take());
    }

    /// It comes back on the same port, with the same keys and objects.
    pub fn start_api(&self) {
        *self.running.lock().unwrap() = Some(Process::start(self.server.clone()));
        self.await_ready();
    }

    fn await_ready(&self) {
        let authority = self.folder.join("authority.pem").display().to_string();
        let authorization = format!("Authorization: Bearer {}", self.token);
        let running = self.running.lock().unwrap();
        running.as_ref().unwrap().await_ready(READY, || {
            client::curl(
                self.port,
                &format!("{}/readyz", self.url()),
                &["--cacert", &authority, "-H", &authorization],
            )
            .is_ok_and(|reply| reply.status == 200)
        });
    }

    /// A new client of the administrator. It lives as long as the runtime that it is made in.
    pub async fn client(&self) -> kube::Client {
        Self::client_of(&self.admin).await
    }

    /// The same of somebody else.
    pub async fn client_of(kubeconfig: &Path) -> kube::Client {
        let file = Kubeconfig::read_from(kubeconfig).unwrap();
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(file, &options).await.unwrap();
        kube::Client::try_from(config).unwrap()
    }

    /// Runs kubectl as the administrator; panics with what it said if it fails.
    pub fn kubectl(&self, args: &[&str], stdin: &str) -> String {
        let output = self.try_kubectl(args, stdin);
        assert!(
            output.status.success(),
            "kubectl {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same where a failure, or a warning on standard error, is what is looked at.
    pub fn try_kubectl(&self, args: &[&str], stdin: &str) -> Output {
        self.kubectl_as(&self.admin, args, stdin)
    }

    /// The same as somebody else, see [`Self::identity`].
    pub fn kubectl_as(&self, kubeconfig: &Path, args: &[&str], stdin: &str) -> Output {
        let mut command = Command::new(self.programs.join("kubectl"));
        process::clean_environment(&mut command, &self.folder);
        command.env("KUBECONFIG", kubeconfig).args(args);
        process::run(command, stdin)
    }

    pub fn apply(&self, yaml: &str) -> String {
        self.kubectl(&["apply", "-f", "-"], yaml)
    }

    /// A file, or all files of a folder.
    pub fn apply_path(&self, path: &Path) -> String {
        self.kubectl(&["apply", "-f", &path.display().to_string()], "")
    }

    /// Applies a folder of CRDs and waits until their kinds are served.
    pub fn apply_crds(&self, folder: &Path) {
        self.apply_path(folder);
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all"], "");
    }

    /// For a person's shell.
    pub fn kubectl_program(&self) -> PathBuf {
        self.programs.join("kubectl")
    }

    /// A proxy before the API server; see [`Self::through`].
    pub fn front(&self) -> Front {
        let authority = std::fs::read_to_string(self.folder.join("authority.pem")).unwrap();
        Front::start(self.port, &authority, None)
    }

    /// A kubeconfig like `identity`, but through the proxy.
    pub fn through(&self, front: &Front, identity: &Path) -> PathBuf {
        let text = std::fs::read_to_string(identity).unwrap();
        let text = text.replace(&self.url(), &format!("http://127.0.0.1:{}", front.port));
        process::write(&self.folder, &format!("front-{}.kubeconfig", front.port), &text)
    }

    /// What a ServiceAccount has asked for so far, as the audit log has it.
    pub fn asked_by(&self, namespace: &str, account: &str) -> Vec<serde_json::Value> {
        let user = format!("system:serviceaccount:{namespace}:{account}");
        let log = std::fs::read_to_string(self.folder.join(AUDIT)).unwrap_or_default();
        let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events = whole.map(|line| serde_json::from_str(line).unwrap());
        events.filter(|event: &serde_json::Value| event["user"]["username"] == *user).collect()
    }

    /// The same counted by verb and resource. A request that goes on, such as a watch, counts once
    /// it is answered.
    pub fn asked(&self, namespace: &str, account: &str) -> BTreeMap<String, usize> {
        let mut asked = BTreeMap::new();
        for event in self.asked_by(namespace, account) {
            if event["verb"] != "watch" || event["stage"] == "ResponseStarted" {
                let text = |value: &serde_json::Value| value.as_str().unwrap_or("?").to_owned();
                let (verb, object) = (text(&event["verb"]), &event["objectRef"]);
                let part = object["subresource"].as_str().map(|part| format!("/{part}"));
                let what =
                    format!("{verb} {}{}", text(&object["resource"]), part.unwrap_or_default());
                *asked.entry(what).or_default() += 1;
            }
        }
        asked
    }

    /// A kubeconfig with a token of this ServiceAccount, which must exist; its context's namespace
    /// is the account's own.
    pub fn identity(&self, namespace: &str, account: &str) -> PathBuf {
        let token =
            self.kubectl(&["create", "token", account, "-n", namespace, "--duration", "24h"], "");
        let name = format!("{namespace}.{account}");
        kubeconfig(&self.folder, &name, token.trim(), self.port, namespace)
    }
}

fn write_keys(folder: &Path, token: &str) {
    let server = keys::server(&["127.0.0.1", "localhost", "kubernetes.default.svc"]);
    process::write(folder, "authority.pem", &server.authority);
    process::write(folder, "server.pem", &server.chain);
    process::write(folder, "server.key", &server.key);
    let (private, public) = keys::signing();
    process::write(folder, "audit.yaml", AUDITED);
    process::write(folder, "accounts.key", &private);
    process::write(folder, "accounts.pub", &public);
    process::write(folder, "tokens.csv", &format!("{token},admin,admin,system:masters\n"));
}

fn etcd(programs: &Path, folder: &Path, client: u16, peer: u16) -> Program {
    let client = format!("http://127.0.0.1:{client}");
    let peer = format!("http://127.0.0.1:{peer}");
    let args = [
        "--data-dir=etcd-data".to_owned(),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={peer}"),
        format!("--initial-advertise-peer-urls={peer}"),
        format!("--initial-cluster=default={peer}"),
        "--unsafe-no-fsync".to_owned(),
    ];
    program(programs, folder, "etcd", args.into())
}

fn api_server(programs: &Path, folder: &Path, port: u16, etcd: u16) -> Program {
    let args = [
        format!("--etcd-servers=http://127.0.0.1:{etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--advertise-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        "--cert-dir=.".to_owned(),
        "--tls-cert-file=server.pem".to_owned(),
        "--tls-private-key-file=server.key".to_owned(),
        "--service-account-key-file=accounts.pub".to_owned(),
        "--service-account-signing-key-file=accounts.key".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        "--token-auth-file=tokens.csv".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--endpoint-reconciler-type=none".to_owned(),
        "--audit-policy-file=audit.yaml".to_owned(),
        format!("--audit-log-path={AUDIT}"),
        "--audit-log-maxsize=1000".to_owned(),
    ];
    program(programs, folder, "kube-apiserver", args.into())
}

fn controllers(programs: &Path, folder: &Path, admin: &Path) -> Program {
    let args = [
        format!("--kubeconfig={}", admin.display()),
        "--controllers=namespace-controller,clusterrole-aggregation-controller".to_owned(),
        "--leader-elect=false".to_owned(),
        "--secure-port=0".to_owned(),
    ];
    program(programs, folder, "kube-controller-manager", args.into())
}

fn program(programs: &Path, folder: &Path, name: &str, args: Vec<String>) -> Program {
    Program {
        name: name.to_owned(),
        path: programs.join(name),
        args,
        env: Vec::new(),
        folder: folder.to_owned(),
    }
}

/// Writes `NAME.kubeconfig`.
fn kubeconfig(folder: &Path, name: &str, token: &str, port: u16, namespace: &str) -> PathBuf {
    let authority = folder.join("authority.pem");
    let text = serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority": authority}}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {
            "cluster": "it", "user": name, "namespace": namespace}}],
    });
    process::write(folder, &format!("{name}.kubeconfig"), &text.to_string())
}
