//! Real clients: `curl` for HTTP, `openssl s_client` for what a server shows in the handshake.

use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

use crate::parts::process;

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("no JSON, {e}: {}", self.body))
    }
}

/// Asks for `url` at `port` of this machine, whatever host and port the URL names: its host is the
/// SNI and the Host header. `args` are curl's own. `Err`: what curl says.
pub fn curl(port: u16, url: &str, args: &[&str]) -> Result<Reply, String> {
    let mut command = Command::new("curl");
    process::clean_environment(&mut command, &std::env::temp_dir());
    command
        .args(["--silent", "--show-error", "--include", "--max-time", "20"])
        .args(["--connect-to", &format!("::127.0.0.1:{port}")])
        .args(args)
        .arg(url);
    let output = process::run(command, "");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    read_reply(&String::from_utf8_lossy(&output.stdout))
}

fn read_reply(text: &str) -> Result<Reply, String> {
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("no HTTP: {text}"))?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let status = status.ok_or_else(|| format!("no status line: {head}"))?;
    Ok(Reply { status, headers, body: body.to_owned() })
}

/// One connection with HTTP/1.1 over TLS that stays open between requests.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Empty<Bytes>>,
    host: String,
    _driver: JoinSet<()>,
}

impl Connection {
    /// To `host` at `port` of this machine; trusts only `root`.
    pub async fn open(port: u16, host: &str, root: &str) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in Chain::from_pem(root).certificates {
            roots.add(certificate).unwrap();
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        let mut driver = JoinSet::new();
        driver.spawn(async { drop(connection.await) });
        Self { sender, host: host.to_owned(), _driver: driver }
    }

    /// The status of the answer; `Err`: the connection is gone.
    pub async fn get(&mut self, path: &str) -> Result<u16, String> {
        self.sender.ready().await.map_err(|e| e.to_string())?;
        let request = http::Request::get(path).header("host", &self.host).body(Empty::new());
        let response = self.sender.send_request(request.unwrap()).await;
        let response = response.map_err(|e| e.to_string())?;
        let status = response.status().as_u16();
        response.into_body().collect().await.map_err(|e| e.to_string())?;
        Ok(status)
    }
}

/// What a server, or a Secret, shows: the certificate first, then its issuers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub certificates: Vec<CertificateDer<'static>>,
}

/// The chain that the server at `port` shows to a client that asks for `sni`; empty: none is sent.
/// `Err`: there was no handshake.
pub fn served(port: u16, sni: &str) -> Result<Chain, String> {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-showcerts", "-connect", &format!("127.0.0.1:{port}")]);
    if sni.is_empty() {
        command.arg("-noservername");
    } else {
        command.args(["-servername", sni]);
    }
    let output = process::run(command, "");
    let chain = Chain::from_pem(&String::from_utf8_lossy(&output.stdout));
    if chain.certificates.is_empty() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(chain)
}

impl Chain {
    /// Takes every certificate in `text`, whatever stands between them.
    pub fn from_pem(text: &str) -> Self {
        let certificates = CertificateDer::pem_slice_iter(text.as_bytes());
        Self { certificates: certificates.map(|block| block.unwrap()).collect() }
    }

    fn leaf(&self) -> X509Certificate<'_> {
        X509Certificate::from_der(&self.certificates[0]).unwrap().1
    }

    /// The DNS names of the certificate, sorted.
    pub fn names(&self) -> Vec<String> {
        let leaf = self.leaf();
        let names = leaf.subject_alternative_name().unwrap();
        let mut names: Vec<String> = names
            .iter()
            .flat_map(|extension| &extension.value.general_names)
            .filter_map(|name| match name {
                x509_parser::extensions::GeneralName::DNSName(dns) => Some((*dns).to_owned()),
                _ => None,
            })
            .collect();
        names.sort();
        names
    }

    /// Common name of its subject.
    pub fn subject(&self) -> String {
        let leaf = self.leaf();
        let mut names = leaf.subject().iter_common_name();
        names.next().unwrap().as_str().unwrap().to_owned()
    }

    /// Kind and size of its key, as `keyType` names them.
    pub fn key(&self) -> String {
        match self.leaf().public_key().parsed().unwrap() {
            PublicKey::EC(point) => format!("EC{}", point.key_size()),
            PublicKey::RSA(key) => format!("RSA{}", key.key_size()),
            other => format!("{other:?}"),
        }
    }

    /// Tells one issuance from another.
    pub fn serial(&self) -> String {
        self.leaf().raw_serial_as_string()
    }

    /// Whether a client that trusts only `root` accepts it for `name`. `Err`: why not.
    pub fn verify(&self, root: &str, name: &str) -> Result<(), String> {
        let (leaf, issuers) = self.certificates.split_first().ok_or("no certificate")?;
        let mut roots = RootCertStore::empty();
        for certificate in Self::from_pem(root).certificates {
            roots.add(certificate).map_err(|e| format!("root: {e}"))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|e| e.to_string())?;
        let server = ServerName::try_from(name.to_owned()).map_err(|e| e.to_string())?;
        verifier
            .verify_server_cert(leaf, issuers, &server, &[], UnixTime::now())
            .map(drop)
            .map_err(|e| format!("{name}: {e}"))
    }
}
