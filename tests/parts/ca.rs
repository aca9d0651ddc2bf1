//! A real ACME server: Pebble, with a DNS server that answers 127.0.0.1 for every name.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::parts::client::{self, Reply};
use crate::parts::front::Front;
use crate::parts::keys::ServerKeys;
use crate::parts::process::{self, Process, Program};
use crate::parts::{keys, tools};

const READY: Duration = Duration::from_secs(30);

/// Refuses one good nonce in twenty, as Pebble does by default: a client has to live with it.
#[derive(Debug)]
pub struct Ca {
    /// PEM of the authority of Pebble's own HTTPS certificate, for `caCertificates`.
    pub trust: PathBuf,
    pebble: Program,
    running: Mutex<Option<Process>>,
    pub port: u16,
    management: u16,
    names: Process,
    names_management: u16,
    /// Port of the DNS server that it asks.
    pub dns: u16,
}

impl Ca {
    /// HTTP-01 is looked for at `http_port` of this machine, TLS-ALPN-01 where `tlsPort` says.
    pub fn start(http_port: u16) -> Self {
        Self::start_with(http_port, &[], &serde_json::Value::Null)
    }

    /// With variables and, under the keys of its configuration, settings of Pebble's own.
    pub fn start_with(
        http_port: u16,
        env: &[(&'static str, &str)],
        settings: &serde_json::Value,
    ) -> Self {
        Self::start_asking(None, http_port, env, settings)
    }

    /// With another DNS server that it asks, `address:port`.
    pub fn start_asking(
        asks: Option<String>,
        http_port: u16,
        env: &[(&'static str, &str)],
        settings: &serde_json::Value,
    ) -> Self {
        let programs = tools::folder("pebble");
        let folder = process::new_folder("ca");
        let [port, management, tls_port, dns, names_management] = process::free_ports();
        let server = keys::server(&["127.0.0.1", "localhost"]);
        process::write(&folder, "pebble.pem", &server.chain);
        process::write(&folder, "pebble.key", &server.key);
        let config = config([port, management, http_port, tls_port], settings);
        process::write(&folder, "pebble.json", &config);
        let ca = Self {
            trust: process::write(&folder, "authority.pem", &server.authority),
            pebble: pebble(
                &programs,
                &folder,
                &asks.unwrap_or_else(|| format!("127.0.0.1:{dns}")),
                env,
            ),
            running: Mutex::new(None),
            port,
            management,
            names: Process::start(name_server(&programs, &folder, dns, names_management)),
            names_management,
            dns,
        };
        ca.resume();
        ca
    }

    /// The CA is gone, and with it its accounts, orders and issuer.
    pub fn stop(&self) {
        drop(self.running.lock().unwrap().take());
    }

    /// Starts it again on the same port: a new root, and nothing that it remembers.
    pub fn resume(&self) {
        let process = Process::start(self.pebble.clone());
        process.await_ready(READY, || self.manage("/roots/0").is_ok());
        self.names.await_ready(READY, || {
            std::net::TcpStream::connect(("127.0.0.1", self.names_management)).is_ok()
        });
        process::write(&self.pebble.folder, "root.pem", &self.manage("/roots/0").unwrap());
        *self.running.lock().unwrap() = Some(process);
    }

    /// Starts it anew, from now on with certificates that live so many seconds.
    pub fn live_for(&self, seconds: u32) {
        self.stop();
        let text = std::fs::read_to_string(self.pebble.folder.join("pebble.json")).unwrap();
        let mut config: serde_json::Value = serde_json::from_str(&text).unwrap();
        config["pebble"]["profiles"]["default"]["validityPeriod"] = seconds.into();
        process::write(&self.pebble.folder, "pebble.json", &config.to_string());
        self.resume();
    }

    /// The directory's URL, for `caServer`.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.port)
    }

    /// A proxy before the CA with the CA's own keys: the URLs that the CA makes lead through it.
    pub fn front(&self) -> Front {
        let read = |name| std::fs::read_to_string(self.pebble.folder.join(name)).unwrap();
        let keys = ServerKeys {
            authority: read("authority.pem"),
            chain: read("pebble.pem"),
            key: read("pebble.key"),
        };
        Front::start(self.port, &keys.authority, Some(&keys))
    }

    /// The directory as a client sees it.
    pub fn ask_directory(&self) -> Result<Reply, String> {
        let trust = self.trust.display().to_string();
        client::curl(self.port, &self.directory(), &["--cacert", &trust])
    }

    /// PEM of the root of the last start.
    pub fn root(&self) -> String {
        std::fs::read_to_string(self.root_file()).unwrap()
    }

    /// The same as a file, for curl and openssl.
    pub fn root_file(&self) -> PathBuf {
        self.pebble.folder.join("root.pem")
    }

    /// What its management interface says at `path`.
    pub fn manage(&self, path: &str) -> Result<String, String> {
        let url = format!("https://127.0.0.1:{}{path}", self.management);
        let trust = self.trust.display().to_string();
        let reply = client::curl(self.management, &url, &["--cacert", &trust])?;
        if reply.status == 200 { Ok(reply.body) } else { Err(format!("{path}: {reply:?}")) }
    }

    /// Orders placed over all its starts.
    pub fn orders(&self) -> usize {
        self.count("Added order ")
    }

    /// Certificates issued over all its starts.
    pub fn issued(&self) -> usize {
        self.count("Issued certificate serial ")
    }

    /// Accounts made over all its starts.
    pub fn accounts(&self) -> usize {
        self.count(" accounts in memory")
    }

    /// Challenges that it went to look at.
    pub fn validations(&self) -> usize {
        self.count("Pulled a task from the Tasks queue")
    }

    /// Everything that was asked of it, the directory included.
    pub fn requests(&self) -> usize {
        self.log().lines().filter(|line| is_request(line)).count()
    }

    fn count(&self, what: &str) -> usize {
        self.log().lines().filter(|line| line.contains(what)).count()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.pebble.folder.join("pebble.log")).unwrap()
    }

    /// The last lines of its log, for the message of a failure.
    pub fn tail(&self) -> String {
        self.running.lock().unwrap().as_ref().map(Process::tail).unwrap_or_default()
    }

    /// Looking up `name` fails from now on, so that no challenge for it succeeds.
    pub fn break_name(&self, name: &str) {
        self.tell_names("/set-servfail", name);
    }

    /// Undoes [`Self::break_name`].
    pub fn mend_name(&self, name: &str) {
        self.tell_names("/clear-servfail", name);
    }

    /// `name` has these addresses from now on; none: it has no address.
    pub fn place_name(&self, name: &str, addresses: &[&str]) {
        let host = format!("{name}.");
        self.tell("/add-a", &serde_json::json!({"host": host, "addresses": addresses}));
    }

    fn tell_names(&self, path: &str, name: &str) {
        self.tell(path, &serde_json::json!({"host": format!("{name}.")}));
    }

    fn tell(&self, path: &str, body: &serde_json::Value) {
        let url = format!("http://127.0.0.1:{}{path}", self.names_management);
        let body = body.to_string();
        let reply = client::curl(self.names_management, &url, &["--data", &body]).unwrap();
        assert_eq!(reply.status, 200, "{path} {body}: {reply:?}");
    }
}

/// Whether a log line tells of a request to the ACME interface.
fn is_request(line: &str) -> bool {
    line.contains(" -> calling handler()") && !line.contains(" /roots/")
}

fn config(
    [port, management, http_port, tls_port]: [u16; 4],
    settings: &serde_json::Value,
) -> String {
    let mut config = serde_json::json!({"pebble": {
        "listenAddress": format!("127.0.0.1:{port}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": "pebble.pem",
        "privateKey": "pebble.key",
        "httpPort": http_port,
        "tlsPort": tls_port,
        "externalAccountBindingRequired": false,
        "retryAfter": {"authz": 1, "order": 1},
        "keyAlgorithm": "ecdsa",
        "profiles": {"default": {"description": "90 days", "validityPeriod": 7_776_000}},
    }});
    for (key, value) in settings.as_object().into_iter().flatten() {
        config["pebble"][key] = value.clone();
    }
    config.to_string()
}

fn pebble(programs: &Path, folder: &Path, dns: &str, env: &[(&'static str, &str)]) -> Program {
    let mut variables = vec![("PEBBLE_VA_NOSLEEP", "1".to_owned())];
    variables.extend(env.iter().map(|(name, value)| (*name, (*value).to_owned())));
    Program {
        name: "pebble".to_owned(),
        path: programs.join("pebble"),
        args: ["-strict", "-config", "pebble.json", "-dnsserver", dns].map(str::to_owned).into(),
        env: variables,
        folder: folder.to_owned(),
    }
}

fn name_server(programs: &Path, folder: &Path, dns: u16, management: u16) -> Program {
    let dns = format!("127.0.0.1:{dns}");
    let management = format!("127.0.0.1:{management}");
    let args = [
        ["-http01", ""],
        ["-https01", ""],
        ["-tlsalpn01", ""],
        ["-doh", ""],
        ["-dnsserver", &dns],
        ["-management", &management],
        ["-defaultIPv4", "127.0.0.1"],
        ["-defaultIPv6", ""],
    ];
    Program {
        name: "pebble-challtestsrv".to_owned(),
        path: programs.join("pebble-challtestsrv"),
        args: args.concat().into_iter().map(str::to_owned).collect(),
        env: Vec::new(),
        folder: folder.to_owned(),
    }
}
