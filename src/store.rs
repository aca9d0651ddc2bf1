//! Versioned records: certificates, states, accounts, the challenge table.
//!
//! Every write is conditional: a create fails if the record is there, a replace or delete if it
//! is no longer the version that was read. Whoever loses learns it as [`Error::Conflict`] and
//! reads again.

mod cluster;
mod files;
mod format;
mod record;
mod table;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use kube::Client;

use crate::cert;
use crate::cert::{Certificate, Id, Key};
use crate::challenge::Answer;
use crate::cluster::{Fence, Seen, Trouble, explain};
use crate::name::Names;
use crate::order;
use crate::order::{Asked, Declined, State};
use crate::store::cluster::Cluster;
use crate::store::files::Files;
use crate::store::files::asks;
use crate::store::files::asks::Wish;
use crate::store::record::{Kind, Record};

pub use cluster::object::{CERTIFICATE_PREFIX, LABEL_KIND, content, copy_of};
pub use files::{AcmeJson, Found, Unusable, Visitor};
pub use format::account_hash;
pub use table::{Expected, Table};

/// The leader may write the same record meanwhile, a few times.
const MAX_TRIES: u32 = 5;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{object}: somebody else wrote it; it is read again")]
    Conflict { object: String },
    #[error("{object}: not allowed: {cause}")]
    Forbidden { object: String, cause: String },
    #[error("{object}: does not exist: {cause}")]
    Missing { object: String, cause: String },
    #[error("{object}: the API server did not do it: {cause}")]
    Failed { object: String, cause: String },
    #[error("{object}: cannot be read: {cause}; it is left as it is")]
    Corrupt { object: String, cause: String },
    #[error("{object}: written by a newer version of this program; it is left as it is")]
    TooNew { object: String },
}

impl Error {
    pub fn of(object: String, error: &kube::Error) -> Self {
        let cause = explain(error);
        let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
        match code {
            409 => Self::Conflict { object },
            403 => Self::Forbidden { object, cause },
            404 => Self::Missing { object, cause },
            _ => Self::Failed { object, cause },
        }
    }
}

/// One change of the certificates, never a snapshot of everything.
#[derive(Debug)]
pub enum Change {
    Put(Box<Entry>),
    Gone(Id),
    /// Everything that was there when the watch began has been told.
    Synced,
    /// The watch has trouble and goes on trying; what was told before still holds.
    Trouble(Trouble),
}

/// A certificate as it is stored.
#[derive(Debug)]
pub struct Entry {
    pub id: Id,
    /// `Err`: the record is there, but its content is no certificate with its key.
    pub content: Result<Certificate, cert::Error>,
    /// A write names the version that it read.
    pub version: String,
    pub uid: String,
    /// Namespace of the routes that it was got for.
    pub owner: String,
    pub resolver: String,
}

impl Entry {
    /// Of a certificate that has no record yet; `None`: it has no content either.
    fn into_state(self) -> Option<State> {
        let content = self.content.ok()?;
        Some(State::new(&self.owner, &self.resolver, &content.facts().names))
    }

    /// An entry that is served and nothing more, for tests of those who serve.
    #[cfg(test)]
    pub(crate) fn bare(id: Id, content: Result<Certificate, cert::Error>, version: &str) -> Self {
        let nothing = String::new;
        let (uid, owner, resolver) = (nothing(), nothing(), nothing());
        Self { id, content, version: version.to_owned(), uid, owner, resolver }
    }
}

/// The answers of one of the eight parts of the challenge table, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub index: u8,
    pub answers: BTreeMap<String, Answer>,
}

/// A record with what a conditional write of it must name.
#[derive(Debug, Clone)]
pub struct Versioned<T> {
    pub value: T,
    pub version: String,
}

/// An account as stored: the key comes first, the URL once the CA has answered.
#[derive(Debug, Clone)]
pub struct AccountRecord {
    pub key: Key,
    pub url: Option<String>,
    /// Mail addresses that the CA has as its contact, by the resolver that names them.
    pub contacts: BTreeMap<String, String>,
}

/// What identifies a certificate beyond its content.
#[derive(Debug, Clone, Copy)]
pub struct Label<'a> {
    pub id: &'a Id,
    pub owner: &'a str,
    pub resolver: &'a str,
    pub names: &'a Names,
}

/// The records of one installation.
#[derive(Clone)]
pub struct Store(Backend);

#[derive(Clone)]
enum Backend {
    Cluster(Cluster),
    Files(Files),
}

/// How answers of the challenge table come to those who give them.
#[derive(Debug, Clone, Copy)]
struct Spreading {
    /// Answers that follow each other within this share their writes.
    gather: Duration,
    /// While many are expected, those that come within this do.
    most: Duration,
    /// How long an answer that is over waits for a write that it can share.
    linger: Duration,
    /// Between our watch showing an answer and telling the CA: other watches are as fast.
    settle: Duration,
}

impl Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Store").field(&self.certificates_place()).finish()
    }
}

impl Store {
    /// In Secrets and ConfigMaps of two namespaces.
    pub fn in_cluster(client: Client, certificates: &str, controller: &str) -> Self {
        Self(Backend::Cluster(Cluster {
            client,
            certificates_namespace: certificates.to_owned(),
            controller_namespace: controller.to_owned(),
        }))
    }

    /// In files, taken for this process until it ends. `storages`: the `acme.json` of each resolver;
    /// several may share one. `home`: owner of certificates that nobody says the owner of.
    pub fn in_files(
        storages: &BTreeMap<String, PathBuf>,
        home: &str,
    ) -> Result<Self, Vec<Unusable>> {
        Ok(Self(Backend::Files(Files::open(storages, home)?)))
    }

    /// Of a store that only one process has; `None`: several may, and a Lease says which acts.
    pub fn fence(&self) -> Option<Fence> {
        match &self.0 {
            Backend::Cluster(_) => None,
            Backend::Files(files) => Some(files.fence()),
        }
    }

    /// Where certificates are, for people.
    pub fn certificates_place(&self) -> String {
        match &self.0 {
            Backend::Cluster(cluster) => {
                format!("Secrets of namespace {}", cluster.certificates_namespace)
            }
            Backend::Files(files) => {
                let paths = files.paths();
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                paths.join(", ")
            }
        }
    }

    /// Where this one is, for people and programs.
    pub fn place_of(&self, id: &Id) -> String {
        let name = format!("{CERTIFICATE_PREFIX}{id}");
        match &self.0 {
            Backend::Cluster(cluster) => format!("{}/{name}", cluster.certificates_namespace),
            Backend::Files(_) => name,
        }
    }

    /// All certificates and their changes, for ever.
    pub fn certificates(&self) -> BoxStream<'static, Change> {
        let seen = self.watch(Kind::Certificate);
        seen.filter_map(|seen| std::future::ready(format::change(seen))).boxed()
    }

    /// Writes key and chain in one step. `version`: of the record that it replaces.
    pub async fn keep(
        &self,
        label: Label<'_>,
        certificate: &Certificate,
        version: Option<&str>,
    ) -> Result<(), Error> {
        self.put(format::of_certificate(label, certificate), version).await.map(drop)
    }

    /// The certificate as it is now, past any cache.
    pub async fn certificate(&self, id: &Id) -> Result<Option<Entry>, Error> {
        let record = self.get(Kind::Certificate, id.as_str()).await?;
        Ok(record.and_then(|record| format::entry(&record)))
    }

    pub async fn remove_certificate(&self, entry: &Entry) -> Result<(), Error> {
        let is = (entry.uid.as_str(), entry.version.as_str());
        self.delete(Kind::Certificate, entry.id.as_str(), is).await
    }

    /// Every state record. One that cannot be read is an error of its own, not of the others.
    pub async fn states(&self) -> Result<Vec<Result<(Id, Versioned<State>), Error>>, Error> {
        let records = self.list(Kind::State).await?;
        Ok(records.iter().filter_map(format::state).collect())
    }

    /// State records in which a person asks for something: those that there are, and each when it
    /// is written.
    pub fn asked(&self) -> BoxStream<'static, Id> {
        let asked = |seen| match seen {
            Seen::Put(record) => format::asks(&record),
            Seen::Trouble(trouble) => {
                tracing::warn!("state records cannot be watched: {trouble}");
                None
            }
            Seen::Gone { .. } | Seen::Synced => None,
        };
        self.watch(Kind::State).filter_map(move |seen| std::future::ready(asked(seen))).boxed()
    }

    /// Until when certificates became unused that a person lets go, whenever it is said.
    pub fn let_go(&self) -> BoxStream<'static, Timestamp> {
        let said = |seen| match seen {
            Seen::Put(record) => format::let_go(&record),
            Seen::Gone { .. } | Seen::Synced | Seen::Trouble(_) => None,
        };
        self.watch(Kind::Removal).filter_map(move |seen| std::future::ready(said(seen))).boxed()
    }

    /// Lets go what became unused until then; what was let go before stays so.
    pub async fn put_let_go(&self, until: Timestamp) -> Result<(), Error> {
        let there = self.get(Kind::Removal, format::REMOVAL).await?;
        let until = there.as_ref().and_then(format::let_go).max(Some(until)).unwrap_or(until);
        let version = there.map(|record| record.version);
        self.put(format::of_removal(until), version.as_deref()).await.map(drop)
    }

    /// The state as it is now, past any cache.
    pub async fn state(&self, id: &Id) -> Result<Option<Versioned<State>>, Error> {
        let record = self.get(Kind::State, id.as_str()).await?;
        let found = record.as_ref().and_then(format::state).transpose()?;
        Ok(found.map(|(_, state)| state))
    }

    /// Returns the new version.
    pub async fn put_state(
        &self,
        id: &Id,
        state: &State,
        version: Option<&str>,
    ) -> Result<String, Error> {
        self.put(format::of_state(id, state), version).await
    }

    /// Puts a wish into the record of a certificate, and returns the record with it, or as it is and
    /// why nothing was written. `None`: there is no such certificate.
    pub async fn ask(
        &self,
        id: &Id,
        wish: &Asked,
    ) -> Result<Option<Result<State, (State, Declined)>>, Error> {
        let mut tries = 0;
        loop {
            let there = self.state(id).await?;
            let version = there.as_ref().map(|it| it.version.clone());
            let state = match there {
                Some(there) => Some(there.value),
                None => self.certificate(id).await?.and_then(Entry::into_state),
            };
            let Some(state) = state else { return Ok(None) };
            let asked = match order::ask(&state, wish.clone()) {
                Ok(asked) => asked,
                Err(declined) => return Ok(Some(Err((state, declined)))),
            };
            match self.put_state(id, &asked, version.as_deref()).await {
                Err(Error::Conflict { .. }) if tries < MAX_TRIES => tries += 1,
                put => return put.map(|_| Some(Ok(asked))),
            }
        }
    }

    /// Takes what people ask for beside files and puts it into the records, for ever. In a cluster
    /// they put it there themselves.
    pub async fn take_wishes(self) {
        let Backend::Files(files) = &self.0 else { return };
        let storages = files.paths();
        let mut changes = asks::changes(&storages, "ask");
        while changes.next().await.is_some() {
            for storage in &storages {
                if let Err(error) = self.take_from(storage).await {
                    tracing::error!("{}.ask: {error}; what is in it stays", storage.display());
                }
            }
        }
    }

    async fn take_from(&self, storage: &Path) -> Result<(), Box<dyn std::error::Error>> {
        let Some(taken) = asks::take(storage)? else { return Ok(()) };
        if taken.spoilt > 0 {
            tracing::warn!("{}.ask: {} lines say nothing", storage.display(), taken.spoilt);
        }
        for wish in &taken.wishes {
            self.grant(wish).await?;
        }
        Ok(taken.empty()?)
    }

    async fn grant(&self, wish: &Wish) -> Result<(), Error> {
        let (certificate, asked) = match wish {
            Wish::LetGo { let_go } => return self.put_let_go(*let_go).await,
            Wish::Certificate { certificate, asked } => (certificate, asked),
        };
        let id = Id::from_object_name("", certificate);
        let granted = match &id {
            Some(id) if self.is_past(id, asked).await? => return Ok(()),
            Some(id) => self.ask(id, asked).await?,
            None => None,
        };
        match granted {
            Some(Ok(state)) => tracing::info!(names = %state.names, "a person asks: {asked:?}"),
            Some(Err((state, declined))) => {
                tracing::warn!(names = %state.names, "not done what a person asks for: {declined}");
            }
            None => {
                tracing::warn!("a person asks for something of a certificate that is not there");
            }
        }
        Ok(())
    }

    /// Killed before it could empty the file, the process finds in it what is done.
    async fn is_past(&self, id: &Id, wish: &Asked) -> Result<bool, Error> {
        let state = self.state(id).await?;
        Ok(state.is_some_and(|state| order::is_past(&state.value, wish)))
    }

    /// The state of one certificate, again at each change, for ever. `None`: there is none.
    pub fn state_of(&self, id: &Id) -> BoxStream<'static, Option<State>> {
        let wanted = id.clone();
        let state = move |seen| match seen {
            Seen::Put(record) => {
                let (id, state) = format::state(&record)?.ok()?;
                (id == wanted).then_some(Some(state.value))
            }
            Seen::Gone { name, .. } => (name == wanted.as_str()).then_some(None),
            Seen::Synced | Seen::Trouble(_) => None,
        };
        self.watch(Kind::State).filter_map(move |seen| std::future::ready(state(seen))).boxed()
    }

    /// Forgets a record whose certificate has been gone for long.
    pub async fn remove_state(&self, id: &Id, version: &str) -> Result<(), Error> {
        self.delete(Kind::State, id.as_str(), ("", version)).await
    }

    pub async fn account(&self, hash: &str) -> Result<Option<Versioned<AccountRecord>>, Error> {
        let record = self.get(Kind::Account, hash).await?;
        record.as_ref().map(format::account).transpose()
    }

    pub async fn put_account(
        &self,
        hash: &str,
        record: &AccountRecord,
        version: Option<&str>,
    ) -> Result<String, Error> {
        self.put(format::of_account(hash, record), version).await
    }

    /// Keeps what another program needs to go on with its account; one that is there stays.
    pub async fn keep_foreign_account(&self, resolver: &str, account: &str) -> Result<(), Error> {
        match self.put(format::of_foreign(resolver, account), None).await {
            Ok(_) | Err(Error::Conflict { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// By resolver.
    pub async fn foreign_accounts(&self) -> Result<BTreeMap<String, String>, Error> {
        Ok(self.list(Kind::Foreign).await?.iter().map(format::foreign).collect())
    }

    /// A value that a resolver names; `Err(Missing)` if there is none, or nothing in it.
    pub async fn credential(&self, name: &str, key: &str) -> Result<Vec<u8>, Error> {
        match &self.0 {
            Backend::Cluster(cluster) => cluster.credential(name, key).await,
            Backend::Files(_) => {
                let cause = "credentials in Secrets are for records in a cluster".to_owned();
                Err(Error::Missing { object: format!("Secret {name}"), cause })
            }
        }
    }

    /// The challenge table: each shard's present content, again at each change.
    pub fn challenges(&self) -> BoxStream<'static, Shard> {
        let seen = self.watch(Kind::Challenges);
        seen.filter_map(|seen| std::future::ready(format::shard_change(seen))).boxed()
    }

    /// One shard as it is now, past any cache; an absent one is empty.
    pub async fn challenge_shard(&self, index: u8) -> Result<Shard, Error> {
        Ok(self.shard(index).await?.0)
    }

    /// The same with its version, if it is there.
    async fn shard(&self, index: u8) -> Result<(Shard, Option<String>), Error> {
        let record = self.get(Kind::Challenges, &index.to_string()).await?;
        let shard = record.as_ref().and_then(format::shard);
        let shard = shard.unwrap_or(Shard { index, answers: BTreeMap::new() });
        Ok((shard, record.map(|record| record.version)))
    }

    async fn put_shard(&self, shard: &Shard, version: Option<&str>) -> Result<String, Error> {
        self.put(format::of_shard(shard), version).await
    }

    fn spreading(&self) -> Spreading {
        match &self.0 {
            Backend::Cluster(_) => Spreading {
                gather: Duration::from_millis(50),
                most: Duration::from_secs(2),
                linger: Duration::from_millis(500),
                settle: Duration::from_millis(200),
            },
            // The only proxy is in this process, and the table in its memory.
            Backend::Files(_) => Spreading {
                gather: Duration::ZERO,
                most: Duration::ZERO,
                linger: Duration::ZERO,
                settle: Duration::ZERO,
            },
        }
    }

    async fn get(&self, kind: Kind, name: &str) -> Result<Option<Record>, Error> {
        match &self.0 {
            Backend::Cluster(cluster) => cluster.get(kind, name).await,
            Backend::Files(files) => Ok(files.get(kind, name)),
        }
    }

    async fn list(&self, kind: Kind) -> Result<Vec<Record>, Error> {
        match &self.0 {
            Backend::Cluster(cluster) => cluster.list(kind).await,
            Backend::Files(files) => Ok(files.list(kind)),
        }
    }

    async fn put(&self, record: Record, version: Option<&str>) -> Result<String, Error> {
        match &self.0 {
            Backend::Cluster(cluster) => cluster.put(record, version).await,
            Backend::Files(files) => files.put(record, version).await,
        }
    }

    /// `is`: UID (it may be empty) and version.
    async fn delete(&self, kind: Kind, name: &str, is: (&str, &str)) -> Result<(), Error> {
        match &self.0 {
            Backend::Cluster(cluster) => cluster.delete(kind, name, is).await,
            Backend::Files(files) => files.delete(kind, name, is.1).await,
        }
    }

    fn watch(&self, kind: Kind) -> BoxStream<'static, Seen<Record>> {
        match &self.0 {
            Backend::Cluster(cluster) => cluster.watch(kind),
            Backend::Files(files) => files.watch(kind),
        }
    }
}
