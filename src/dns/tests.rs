//! Providers against servers on the loopback address.

mod acme_dns;
mod contract;
mod fakes;
mod files;
mod httpreq;
mod manual;
mod replay;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;

use crate::dns::{
    Context, Done, Error, Exchange, FindZone, Provider, Task, Variables, Zones, provider,
};
use crate::http::Client;
use crate::name::Name;
use crate::resolver::CaTrust;

/// The client that the program uses.
fn client() -> Client {
    Client::for_apis(&CaTrust::default(), Duration::from_secs(20)).unwrap()
}

/// Knows these zones; `example.com` if there are none.
struct Known(Vec<String>);

impl FindZone for Known {
    fn zone_of<'a>(&'a self, fqdn: &'a str) -> Done<'a, String> {
        let fits = |zone: &&String| fqdn == **zone || fqdn.ends_with(&format!(".{zone}"));
        let found = self.0.iter().filter(fits).max_by_key(|zone| zone.len());
        let found = found.cloned().unwrap_or_else(|| "example.com".to_owned());
        Box::pin(async { Ok(found) })
    }
}

fn context(variables: Variables, exchange: Arc<dyn Exchange>) -> Context {
    let now = "2026-11-24T07:29:11Z".parse().unwrap();
    let zones = Zones(Arc::new(Known(Vec::new())));
    Context { code: "", variables, exchange, zones, now }
}

fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A provider of the static configuration, with these variables.
fn built(code: &str, variables: &BTreeMap<String, String>) -> Result<Box<dyn Provider>, Error> {
    let variables = Variables::of_process(Arc::new(variables.clone()));
    provider(code, &context(variables, Arc::new(client())))
}

/// The same with those of an object.
fn of_object(code: &str, variables: &BTreeMap<String, String>) -> Result<Box<dyn Provider>, Error> {
    provider(code, &context(Variables::given(variables.clone()), Arc::new(client())))
}

fn value_of(key_authorization: &str) -> String {
    let sha256 = &aws_lc_rs::digest::SHA256;
    let digest = aws_lc_rs::digest::digest(sha256, key_authorization.as_bytes());
    BASE64URL_NOPAD.encode(digest.as_ref())
}

/// The task of one of the names of a certificate, told apart by its token.
fn task(domain: &str, fqdn: &str, token: &str) -> Task {
    let key_authorization = format!("{token}.thumbprint");
    Task {
        domain: Name::parse(domain).unwrap(),
        fqdn: fqdn.to_owned(),
        value: value_of(&key_authorization),
        token: token.to_owned(),
        key_authorization,
    }
}

/// A file of `tests/data/dns`.
fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/dns").join(name)
}

/// A new folder, taken away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("routecert-dns-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file; its path.
    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}
