//! `routecert run` without a cluster: a CA, an upstream, a file of routers and an `acme.json`.

use std::collections::BTreeMap;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64;

use crate::parts::ca::Ca;
use crate::parts::client::{self, Chain, Reply};
use crate::parts::process;
use crate::parts::routecert::{self, Routecert};
use crate::parts::upstream::Upstream;
use crate::parts::wait;

const WITHIN: Duration = Duration::from_secs(45);

/// Everything is in one folder.
#[derive(Debug)]
pub struct Alone {
    pub ca: Ca,
    pub upstream: Upstream,
    pub folder: PathBuf,
    /// `acme.json`; it need not be there.
    pub storage: PathBuf,
    /// More of resolver `le`, a line each.
    pub acme: Vec<String>,
    /// More of section `routecert`, a line each.
    pub own: Vec<String>,
    web: u16,
    pub websecure: u16,
    binary: PathBuf,
    started: AtomicUsize,
}

impl Alone {
    pub fn new(binary: &Path, name: &str) -> Self {
        Self::with_ca(binary, name, Ca::start)
    }

    /// With a CA that `ca` starts, which looks for HTTP-01 at the port that it is given.
    pub fn with_ca(binary: &Path, name: &str, ca: impl FnOnce(u16) -> Ca) -> Self {
        let [web, websecure] = process::free_ports();
        let folder = process::new_folder(name);
        std::fs::create_dir(folder.join("store")).unwrap();
        Self {
            ca: ca(web),
            upstream: Upstream::start(),
            storage: folder.join("store/acme.json"),
            folder,
            acme: Vec::new(),
            own: Vec::new(),
            web,
            websecure,
            binary: binary.to_owned(),
            started: AtomicUsize::new(0),
        }
    }

    /// The file has a router a host from now on, put there in one step.
    pub fn route(&self, hosts: &[&str]) {
        let router = |host: &&str| {
            let name = host.replace('.', "-");
            format!("    {name}: {{rule: Host(`{host}`), tls: {{certResolver: le}}}}\n")
        };
        let routers: String = hosts.iter().map(router).collect();
        let text =
            if hosts.is_empty() { String::new() } else { format!("http:\n  routers:\n{routers}") };
        let new = process::write(&self.folder, "routes.yml~", &text);
        std::fs::rename(new, self.folder.join("routes.yml")).unwrap();
    }

    /// The static configuration; health is asked at `admin`.
    pub fn yaml(&self, admin: u16) -> String {
        let Self { web, websecure, .. } = self;
        let (ca, trust) = (self.ca.directory(), self.ca.trust.display());
        let (storage, routes) = (self.storage.display(), self.folder.join("routes.yml"));
        let lines = |lines: &[String], indent| -> String {
            let indented = lines.iter().map(|line| [" ".repeat(indent), line.clone()].concat());
            indented.flat_map(|line| [line, "\n".to_owned()]).collect()
        };
        let http = "httpChallenge: {entryPoint: web}".to_owned();
        let challenge = self.acme.iter().any(|line| line.starts_with("httpChallenge"));
        let acme =
            if challenge { self.acme.clone() } else { [self.acme.clone(), vec![http]].concat() };
        format!(
            r#"entryPoints:
  web: {{address: "127.0.0.1:{web}", http: {{redirections: {{entryPoint: {{to: websecure}}}}}}}}
  websecure: {{address: "127.0.0.1:{websecure}"}}
certificatesResolvers:
  le:
    acme:
      email: a@example.com
      caServer: {ca}
      caCertificates: [{trust}]
      keyType: EC256
      storage: {storage}
{}providers: {{file: {{filename: {}}}}}
log: {{level: DEBUG}}
routecert:
  adminAddress: "127.0.0.1:{admin}"
{}"#,
            lines(&acme, 6),
            routes.display(),
            lines(&self.own, 2),
        )
    }

    /// Starts `run` and waits for nothing.
    pub fn launch(&self) -> Routecert {
        let [admin] = process::free_ports();
        let count = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let upstream = self.upstream.url();
        let args = ["run", "--upstream", &upstream];
        let binary = (self.binary.as_path(), None);
        let yaml = self.yaml(admin);
        let process = routecert::start(binary, &self.folder, &format!("run-{count}"), &yaml, &args);
        Routecert { process, admin }
    }

    /// Starts `run` and waits until it is ready.
    pub fn start(&self) -> Routecert {
        let run = self.launch();
        run.await_ready();
        run
    }

    /// The configuration in a file, for other subcommands.
    pub fn configuration(&self) -> PathBuf {
        let [admin] = process::free_ports();
        process::write(&self.folder, "static.yml", &self.yaml(admin))
    }

    /// Puts a file in the place of `acme.json`.
    pub fn store(&self, text: &str, mode: u32) {
        drop(std::fs::remove_file(&self.storage));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(mode).open(&self.storage).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }

    /// The text of `acme.json`; nothing if it is not there.
    pub fn stored(&self) -> String {
        std::fs::read_to_string(&self.storage).unwrap_or_default()
    }

    /// The certificates in `acme.json`, by their names joined with commas.
    pub fn certificates(&self) -> Result<BTreeMap<String, Chain>, String> {
        let text = self.stored();
        if text.is_empty() {
            return Ok(BTreeMap::new());
        }
        let json: serde_json::Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let resolvers = json.as_object().ok_or("no object")?.values();
        let all = resolvers.filter_map(|one| one["Certificates"].as_array()).flatten();
        let read = |one: &serde_json::Value| {
            let pem = BASE64.decode(one["certificate"].as_str().unwrap().as_bytes()).unwrap();
            let chain = Chain::from_pem(&String::from_utf8(pem).unwrap());
            (chain.names().join(","), chain)
        };
        Ok(all.map(read).collect())
    }

    /// Waits for the certificate of exactly these names in `acme.json`.
    pub async fn certificate(&self, names: &str) -> Chain {
        self.eventually(&format!("a certificate for {names}"), async || {
            let all = self.certificates()?;
            all.get(names).cloned().ok_or_else(|| format!("there are {:?}", all.keys()))
        })
        .await
    }

    /// The chain that is shown for `sni`.
    pub fn served(&self, sni: &str) -> Result<Chain, String> {
        client::served(self.websecure, sni)
    }

    /// Waits until this chain is shown for `sni`.
    pub async fn serves(&self, sni: &str, chain: &Chain) {
        self.eventually(&format!("{sni} to be served"), async || {
            let served = self.served(sni)?;
            if served == *chain { Ok(()) } else { Err(format!("{:?} is", served.names())) }
        })
        .await;
    }

    /// Asks for `https://HOST/PATH` as a client that trusts only the CA's root.
    pub fn get(&self, url: &str) -> Result<Reply, String> {
        let root = self.ca.root_file().display().to_string();
        client::curl(self.websecure, url, &["--cacert", &root])
    }

    /// Waits for a line in the log.
    pub async fn logs(&self, run: &Routecert, what: &str) {
        self.eventually(&format!("`{what}` in the log"), async || {
            if run.process.log().contains(what) { Ok(()) } else { Err("it is not".to_owned()) }
        })
        .await;
    }

    #[track_caller]
    pub fn eventually<'a, T: 'a>(
        &'a self,
        what: &'a str,
        condition: impl AsyncFnMut() -> Result<T, String> + 'a,
    ) -> impl Future<Output = T> + 'a {
        wait::eventually(what, WITHIN, || self.tails(), condition)
    }

    fn tails(&self) -> String {
        let files = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let logs = files.filter(|path| path.extension().is_some_and(|end| end == "log"));
        logs.map(|log| process::last_lines(&log)).collect::<String>() + &self.ca.tail()
    }
}
