//! The upstream as it is configured: its address, its protocol and what it is trusted by.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use crate::proxy::route::Host;

/// Where requests go.
#[derive(Clone)]
pub struct Upstream {
    /// As it was given.
    text: String,
    pub(super) address: Address,
    pub(super) protocol: Protocol,
    pub(super) patience: Patience,
}

#[derive(Clone)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

#[derive(Clone)]
pub(super) enum Protocol {
    Http1,
    Https {
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    },
    /// HTTP/2 by prior knowledge (RFC 9113 §3.3).
    H2c,
}

/// Why an upstream cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadUpstream {
    #[error(
        "upstream `{0}`: not of the form http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or \
         unix:PATH"
    )]
    Form(String),
    #[error("upstream `{0}`: a path is not passed on; give only scheme, host and port")]
    Path(String),
    #[error("upstream CA file {path}: {error}")]
    CaFile { path: PathBuf, error: String },
    #[error("upstream `{0}`: this system has no root certificates; give a CA file")]
    NoRoots(String),
    #[error("upstream `{0}`: a CA file is only of use for https")]
    CaUnused(String),
    #[error("upstream `{upstream}`: {error}")]
    Tls { upstream: String, error: rustls::Error },
}

impl Upstream {
    /// `ca_file`: the roots (PEM) for https, in place of the system's.
    pub fn parse(text: &str, ca_file: Option<&Path>) -> Result<Self, BadUpstream> {
        let bad_form = || BadUpstream::Form(text.to_owned());
        let (scheme, rest) = text.split_once(':').ok_or_else(bad_form)?;
        if ca_file.is_some() && scheme != "https" {
            return Err(BadUpstream::CaUnused(text.to_owned()));
        }
        let (address, protocol) = match scheme {
            "unix" if rest.len() > 1 => (Address::Unix(rest.into()), Protocol::Http1),
            "http" => (tcp(text, rest, 80)?, Protocol::Http1),
            "h2c" => (tcp(text, rest, 80)?, Protocol::H2c),
            "https" => {
                let address = tcp(text, rest, 443)?;
                let protocol = https(text, &address, ca_file)?;
                (address, protocol)
            }
            _ => return Err(bad_form()),
        };
        Ok(Self { text: text.to_owned(), address, protocol, patience: Patience::default() })
    }

    #[cfg(test)]
    pub(in crate::proxy) fn with_reply_within(mut self, limit: Duration) -> Self {
        self.patience.reply = limit;
        self
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Upstream").field(&self.text).finish()
    }
}

fn tcp(text: &str, rest: &str, default_port: u16) -> Result<Address, BadUpstream> {
    let bad_form = || BadUpstream::Form(text.to_owned());
    let authority = rest.strip_prefix("//").ok_or_else(bad_form)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#']) {
        return Err(BadUpstream::Path(text.to_owned()));
    }
    let host = Host::parse(authority).ok_or_else(bad_form)?;
    let name = host.name.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(Address::Tcp { host: name, port: host.port.unwrap_or(default_port) })
}

fn https(text: &str, address: &Address, ca: Option<&Path>) -> Result<Protocol, BadUpstream> {
    let Address::Tcp { host, .. } = address else {
        return Err(BadUpstream::Form(text.to_owned()));
    };
    let name = ServerName::try_from(host.clone()).ok();
    let name = name.ok_or_else(|| BadUpstream::Form(text.to_owned()))?;
    let roots = match ca {
        Some(path) => file_roots(path)?,
        None => system_roots(text)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = |error| BadUpstream::Tls { upstream: text.to_owned(), error };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Protocol::Https { config: Arc::new(config), name })
}

fn file_roots(path: &Path) -> Result<RootCertStore, BadUpstream> {
    let bad = |error: String| BadUpstream::CaFile { path: path.to_owned(), error };
    let mut roots = RootCertStore::empty();
    let ders = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
    for der in ders {
        let der = der.map_err(|error| bad(error.to_string()))?;
        roots.add(der).map_err(|error| bad(error.to_string()))?;
    }
    if roots.is_empty() {
        Err(bad("it has no certificate in PEM form".to_owned()))
    } else {
        Ok(roots)
    }
}

fn system_roots(text: &str) -> Result<RootCertStore, BadUpstream> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(BadUpstream::NoRoots(text.to_owned())) } else { Ok(roots) }
}

/// How long the upstream may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// To accept a connection, TLS included.
    pub(super) connect: Duration,
    /// To begin its reply, counted from the last byte of the request.
    pub(super) reply: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), reply: Duration::from_mins(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let upstream = Upstream::parse(text, None).unwrap();
        let address = match &upstream.address {
            Address::Tcp { host, port } => format!("{host} {port}"),
            Address::Unix(path) => path.display().to_string(),
        };
        assert_eq!(address, expected);
        assert_eq!(upstream.to_string(), text);
    }

    #[test]
    fn an_upstream_is_an_address_and_a_protocol() {
        check("http://127.0.0.1:8080", "127.0.0.1 8080");
        check("http://app/", "app 80");
        check("h2c://[::1]:50051", "::1 50051");
        check("unix:/run/app.sock", "/run/app.sock");
    }

    #[test]
    fn what_is_none_says_what_one_is() {
        for bad in ["", "app:80", "ftp://app", "http:app", "http://", "http://a@b", "unix:"] {
            let error = Upstream::parse(bad, None).unwrap_err();
            assert!(matches!(error, BadUpstream::Form(_)), "{bad}: {error}");
        }
        let error = Upstream::parse("http://app/base", None).unwrap_err();
        assert!(matches!(error, BadUpstream::Path(_)), "{error}");
        let ca = Some(Path::new("/nowhere/ca.pem"));
        let error = Upstream::parse("https://app", ca).unwrap_err();
        assert!(error.to_string().starts_with("upstream CA file /nowhere/ca.pem"), "{error}");
        let error = Upstream::parse("http://app", ca).unwrap_err();
        assert!(matches!(error, BadUpstream::CaUnused(_)), "{error}");
    }
}
