//! What a rule is matched against: an HTTP request, or the start of a TLS connection.

use std::net::IpAddr;

use crate::rule::target;

#[derive(Debug, Clone)]
pub enum Request {
    Http(HttpRequest),
    Tcp(Connection),
}

/// An HTTP request in the forms that rules are compared with.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    pub(super) method: String,
    /// Without port and brackets, lower case.
    pub(super) host: String,
    /// The same as v2's host templates see it.
    pub(super) bare_host: String,
    pub(super) path: Vec<u8>,
    pub(super) query: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) client: Option<IpAddr>,
}

/// A TCP connection with what its first TLS message says.
#[derive(Debug, Clone)]
pub struct Connection {
    pub(super) sni: String,
    pub(super) alpn: Vec<String>,
    pub(super) client: Option<IpAddr>,
}

impl HttpRequest {
    /// `host` is that of the request's header, maybe with a port, and `target` the path and query.
    /// `None` if the path has broken escapes: such a request is refused before any rule is asked.
    pub fn new(method: &str, host: &str, target: &str) -> Option<Self> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (bare, unbracketed) = match without_port(host) {
            Some(bare) => (bare, bare),
            None => (host, without_brackets(host)),
        };
        Some(Self {
            method: method.to_owned(),
            host: unbracketed.trim().to_lowercase(),
            bare_host: bare.to_owned(),
            path: target::routing_path(path)?,
            query: target::query(query),
            headers: Vec::new(),
            client: None,
        })
    }

    /// One more line of the header; `Host` is not one of those that rules see.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Who opened the connection, whatever the request says.
    #[must_use]
    pub fn with_client(mut self, client: Option<IpAddr>) -> Self {
        self.client = client;
        self
    }
}

impl Connection {
    /// `sni` is empty without one.
    pub fn new(sni: &str, alpn: Vec<String>, client: Option<IpAddr>) -> Self {
        Self { sni: sni.trim().to_lowercase(), alpn, client }
    }
}

/// `None` if there is no port, or something else is wrong with the address.
fn without_port(address: &str) -> Option<&str> {
    let (before, _) = address.rsplit_once(':')?;
    let host = match before.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?,
        None if before.contains(':') => return None,
        None => before,
    };
    let bracketed = usize::from(before.starts_with('['));
    let brackets = |bracket: char| address.matches(bracket).count();
    (brackets('[') == bracketed && brackets(']') == bracketed).then_some(host)
}

fn without_brackets(address: &str) -> &str {
    if !address.contains(':') {
        return address;
    }
    let inside = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.unwrap_or(address)
}
