//! What every record is to a backend: named bytes with a version. Pure.

use std::collections::BTreeMap;
use std::fmt;

/// Kinds of records; a name is unique within its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// By id: chain and key.
    Certificate,
    /// By id.
    State,
    /// By the account's hash.
    Account,
    /// By the hash of its resolver's name: an account that another program made, to be given back.
    Foreign,
    /// By number: one shard of the challenge table.
    Challenges,
    /// One: what a person said of certificates that are held back from removal.
    Removal,
}

/// What is told of a record beside its content, for those who only look for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum About {
    /// Namespace of the routes.
    Owner,
    Resolver,
    /// With commas.
    Names,
}

/// A record as a backend has it, or is to have it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) about: BTreeMap<About, String>,
    pub(super) data: BTreeMap<String, Vec<u8>>,
    /// Empty: not stored yet.
    pub(super) version: String,
    /// Tells it from an earlier one of this name; may be empty.
    pub(super) uid: String,
    /// Where it is, for people.
    pub(super) place: String,
}

impl Record {
    pub(super) fn new(kind: Kind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
            about: BTreeMap::new(),
            data: BTreeMap::new(),
            version: String::new(),
            uid: String::new(),
            place: String::new(),
        }
    }

    pub(super) fn about(&self, what: About) -> String {
        self.about.get(&what).cloned().unwrap_or_default()
    }

    /// Text under `key`; what is not there, or no text, is empty.
    pub(super) fn text(&self, key: &str) -> String {
        let bytes = self.data.get(key).cloned();
        String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

/// Shows no content: most of it is secret.
impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
