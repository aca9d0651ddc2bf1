//! An `acme.json` that is no store of this process: what another program wrote, to be taken over,
//! or what another program is to read.

use std::path::Path;
use std::sync::Arc;

use crate::cert::Certificate;
use crate::cert::Id;
use crate::name::Name;
use crate::store::files::disk;
use crate::store::files::disk::Unusable;
use crate::store::files::document::{Document, Fault, Filed, Parts};
use crate::store::files::in_place::{self, Content};

/// The whole file.
#[derive(Default)]
pub struct AcmeJson(Document);

/// One certificate of it.
#[derive(Debug)]
pub struct Found {
    pub resolver: String,
    /// As its `domain` says.
    pub domain: String,
    /// `Err`: why it cannot be used.
    pub content: Result<Certificate, String>,
}

impl std::fmt::Debug for AcmeJson {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.resolvers()).finish()
    }
}

impl AcmeJson {
    /// Reads a file, whoever else can: its keys are not ours. `flat`: the resolver for a file of
    /// Traefik 1.
    pub fn read(path: &Path, flat: Option<&str>) -> Result<Self, Unusable> {
        let unusable = |fault| Unusable::of(path, fault);
        let bytes = disk::read_any(path)?.unwrap_or_default();
        let (Content::Is(bytes) | Content::Recovered(bytes)) = in_place::content(&bytes);
        let text = str::from_utf8(bytes).map_err(|it| unusable(Fault::Broken(it.to_string())))?;
        let document = match (Document::parse(text), flat) {
            (Err(Fault::Flat), Some(resolver)) => Document::parse_flat(text, resolver),
            (parsed, _) => parsed,
        };
        document.map(Self).map_err(unusable)
    }

    pub fn resolvers(&self) -> impl Iterator<Item = &str> {
        self.0.resolvers()
    }

    pub fn certificates(&self) -> impl Iterator<Item = Found> + '_ {
        self.0.certificates().map(|(resolver, filed)| found(resolver, filed))
    }

    /// Traefik's account at a resolver's CA, as JSON.
    pub fn account(&self, resolver: &str) -> Option<Arc<str>> {
        self.0.account(resolver)
    }

    pub fn add_account(&mut self, resolver: &str, account: &str) {
        self.0.add_account(resolver, account);
    }

    /// Files a certificate; one of the same id is replaced.
    pub fn add(&mut self, resolver: &str, id: &Id, certificate: &Certificate) {
        let names = certificate.facts().names.iter().map(Name::as_str).map(str::to_owned);
        let parts = Parts {
            domain: names.collect(),
            chain: certificate.chain().to_owned(),
            key: certificate.key().pem().to_owned(),
        };
        self.0.set(resolver, id, &parts);
    }

    /// Writes a file that must not be there yet, for its owner alone.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        disk::create(path, &self.0.render())
    }
}

fn found(resolver: &str, filed: &Filed) -> Found {
    let parts = filed.parts();
    let domain = parts.as_ref().map(|parts| parts.domain.join(", ")).unwrap_or_default();
    let content = parts.and_then(|parts| {
        Certificate::parse(&parts.chain, &parts.key).map_err(|error| error.to_string())
    });
    Found { resolver: resolver.to_owned(), domain, content }
}
