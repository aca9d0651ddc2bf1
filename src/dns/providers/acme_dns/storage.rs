//! Where accounts at an acme-dns server are kept: a JSON file, or a server of the user's.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dns::{Api, Error, escape};

/// Some hundred bytes an account.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// What a file that is mounted by itself answers to a new one beside it or in its place.
const IN_PLACE: [ErrorKind; 4] = [
    ErrorKind::ResourceBusy,
    ErrorKind::CrossesDevices,
    ErrorKind::PermissionDenied,
    ErrorKind::ReadOnlyFilesystem,
];

pub(super) enum Storage {
    File(PathBuf),
    Server(Api),
}

/// As acme-dns answers a registration, and as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) fulldomain: String,
    pub(super) subdomain: String,
    pub(super) username: String,
    pub(super) password: String,
    #[serde(default)]
    pub(super) server_url: String,
}

impl Account {
    /// Where the record is.
    pub(super) fn host(&self) -> String {
        self.fulldomain.trim_end_matches('.').to_ascii_lowercase()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Saved {
    Alone,
    /// Whoever keeps the account has made the CNAME too.
    WithCname,
}

impl Storage {
    pub(super) async fn find(&self, domain: &str) -> Result<Option<Account>, Error> {
        match self {
            Self::File(path) => {
                let found = read(path)?.remove(domain);
                let account = found.map(serde_json::from_value).transpose();
                account.map_err(|error| fault(path, &format!("the account of {domain}: {error}")))
            }
            Self::Server(api) => {
                let call = api.get("look up the account", &format!("/{}", escape(domain)));
                let Some(reply) = call.header("accept", "application/json").find().await? else {
                    return Ok(None);
                };
                let account = serde_json::from_value(reply.json()?);
                account.map(Some).map_err(|error| reply.refused(&format!("no account: {error}")))
            }
        }
    }

    /// Whether an account can be kept.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Self::File(path) = self else { return Ok(()) };
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        file.map(drop).map_err(|error| fault(path, &error.to_string()))
    }

    pub(super) async fn save(&self, domain: &str, account: &Account) -> Result<Saved, Error> {
        match self {
            Self::File(path) => {
                let mut all = read(path)?;
                let value = serde_json::to_value(account);
                let value = value.map_err(|error| fault(path, &error.to_string()))?;
                all.insert(domain.to_owned(), value);
                write(path, &all).map_err(|error| fault(path, &error.to_string()))?;
                Ok(Saved::Alone)
            }
            Self::Server(api) => {
                let path = format!("/{}", escape(domain));
                let call = api.call(Method::POST, "keep the account", &path);
                let reply = call.header("accept", "application/json").json(account).send().await?;
                let is_made = reply.status() == http::StatusCode::CREATED;
                Ok(if is_made { Saved::WithCname } else { Saved::Alone })
            }
        }
    }
}

fn fault(path: &Path, cause: &str) -> Error {
    let message = format!("ACME_DNS_STORAGE_PATH {}: {cause}", path.display());
    Error::Settings { provider: "acmedns", message }
}

/// Accounts by domain; whatever else an account holds is kept. An absent or empty file has none.
fn read(path: &Path) -> Result<BTreeMap<String, Value>, Error> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(fault(path, &error.to_string())),
    };
    let mut text = String::new();
    let read = file.take(MAX_FILE).read_to_string(&mut text);
    read.map_err(|error| fault(path, &error.to_string()))?;
    if text.trim().is_empty() {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(&text).map_err(|error| {
        fault(path, &format!("is no JSON of accounts by domain: {error}; it is left as it is"))
    })
}

/// To a new file that takes the old one's place; where that cannot be done (a file that is mounted
/// by itself), in place.
fn write(path: &Path, all: &BTreeMap<String, Value>) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(all)?;
    let new = path.with_added_extension("new");
    match put(&new, &text).and_then(|()| std::fs::rename(&new, path)) {
        Err(error) if IN_PLACE.contains(&error.kind()) => {
            drop(std::fs::remove_file(&new));
            put(path, &text)
        }
        done => done,
    }
}

fn put(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
