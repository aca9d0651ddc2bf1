//! A second ACME server, step-ca: another implementation, so that nothing depends on Pebble's ways.
//!
//! It verifies certificates of redirects, has one intermediate, sends no `Retry-After`, and keeps
//! its state in a database of its own.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use crate::parts::client;
use crate::parts::keys;
use crate::parts::process::{self, Process, Program};
use crate::parts::tools;

const READY: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct StepCa {
    process: Process,
    port: u16,
    folder: PathBuf,
}

impl StepCa {
    /// HTTP-01 is looked for at `http_port`, TLS-ALPN-01 at `tls_port`; every name is resolved by
    /// `dns` (`address:port`). Its certificates live `hours`.
    pub fn start((http_port, tls_port): (u16, u16), dns: &str, hours: u32) -> Self {
        let programs = tools::folder("step-ca");
        let folder = process::new_folder("step-ca");
        let [port] = process::free_ports();
        let authority = keys::authority("step-ca of the tests");
        process::write(&folder, "root.pem", &authority.root);
        process::write(&folder, "intermediate.pem", &authority.intermediate);
        process::write(&folder, "intermediate.key", &authority.intermediate_key);
        process::write(&folder, "ca.json", &config(port, &folder, hours));
        let process = Process::start(Program {
            name: "step-ca".to_owned(),
            path: programs.join("step-ca"),
            args: vec![
                "ca.json".to_owned(),
                "--insecure".to_owned(),
                format!("--acme-http-port={http_port}"),
                format!("--acme-tls-port={tls_port}"),
                format!("--resolver={dns}"),
            ],
            env: vec![("HOME", folder.display().to_string())],
            folder: folder.clone(),
        });
        let ca = Self { process, port, folder };
        ca.process.await_ready(READY, || ca.ask_directory().is_ok());
        ca
    }

    /// The directory's URL, for `caServer`.
    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/acme/acme/directory", self.port)
    }

    /// The root: of its own HTTPS certificate and of what it issues.
    pub fn root_file(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    /// How many orders were placed.
    pub fn orders(&self) -> usize {
        self.count("/acme/acme/new-order")
    }

    /// How often an account was registered or looked for.
    pub fn accounts(&self) -> usize {
        self.count("/acme/acme/new-account")
    }

    pub fn tail(&self) -> String {
        self.process.tail()
    }

    fn count(&self, path: &str) -> usize {
        let log = std::fs::read_to_string(self.folder.join("step-ca.log")).unwrap();
        let created = |line: &&str| line.contains(path) && line.contains("status=201");
        log.lines().filter(created).count()
    }

    fn ask_directory(&self) -> Result<client::Reply, String> {
        let trust = self.root_file().display().to_string();
        client::curl(self.port, &self.directory(), &["--cacert", &trust])
    }
}

fn config(port: u16, folder: &Path, hours: u32) -> String {
    let life = format!("{hours}h");
    json!({
        "root": "root.pem",
        "crt": "intermediate.pem",
        "key": "intermediate.key",
        "address": format!("127.0.0.1:{port}"),
        "dnsNames": ["127.0.0.1", "localhost"],
        "logger": {"format": "text"},
        "db": {"type": "badgerv2", "dataSource": folder.join("db")},
        "authority": {"provisioners": [{
            "type": "ACME",
            "name": "acme",
            "challenges": ["http-01", "tls-alpn-01", "dns-01"],
            "claims": {"defaultTLSCertDuration": life, "maxTLSCertDuration": life},
        }]},
    })
    .to_string()
}
