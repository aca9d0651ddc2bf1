//! Versioned records in the cluster: certificates, states, accounts, the challenge table.
//!
//! Every write is conditional: a create fails if the object is there, a replace or delete if it
//! is no longer the version that was read. Whoever loses learns it as [`Error::Conflict`] and
//! reads again. Nothing is force-applied.

mod format;
mod table;

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, ObjectMeta, PostParams, Preconditions};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cert;
use crate::cert::{Certificate, Id, Key};
use crate::challenge;
use crate::challenge::Answer;
use crate::cluster;
use crate::cluster::{Seen, Trouble};
use crate::name::Names;
use crate::order::State;

pub use format::{
    CERTIFICATE_PREFIX, KIND_CERTIFICATE, KIND_COPY, LABEL_KIND, account_hash, certificate_secret,
    content,
};
pub use table::Table;

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
        let cause = cluster::explain(error);
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
    /// `Err`: the Secret is there, but its content is no certificate with its key.
    pub content: Result<Certificate, cert::Error>,
    /// The object's `resourceVersion`; a write names the version that it read.
    pub version: String,
    pub uid: String,
    /// Namespace of the routes that it was got for.
    pub owner: String,
    pub resolver: String,
}

impl Entry {
    /// An entry that is served and nothing more, for tests of those who serve.
    #[cfg(test)]
    pub(crate) fn bare(id: Id, content: Result<Certificate, cert::Error>, version: &str) -> Self {
        let nothing = String::new;
        let (uid, owner, resolver) = (nothing(), nothing(), nothing());
        Self { id, content, version: version.to_owned(), uid, owner, resolver }
    }
}

/// The answers of one of the eight ConfigMaps of the challenge table, as they are now.
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
pub struct Store {
    client: Client,
    certificates_namespace: String,
    controller_namespace: String,
}

impl Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("certificates_namespace", &self.certificates_namespace)
            .field("controller_namespace", &self.controller_namespace)
            .finish_non_exhaustive()
    }
}

impl Store {
    pub fn new(client: Client, certificates_namespace: &str, controller_namespace: &str) -> Self {
        Self {
            client,
            certificates_namespace: certificates_namespace.to_owned(),
            controller_namespace: controller_namespace.to_owned(),
        }
    }

    pub fn certificates_namespace(&self) -> &str {
        &self.certificates_namespace
    }

    /// All certificates and their changes, for ever.
    pub fn certificates(&self) -> BoxStream<'static, Change> {
        let config = watcher::Config::default().labels(&format!("{LABEL_KIND}={KIND_CERTIFICATE}"));
        let seen = cluster::watch::<Secret>(self.secrets(&self.certificates_namespace), config);
        seen.filter_map(|seen| std::future::ready(format::change(seen))).boxed()
    }

    /// Writes key and chain in one request. `version`: of the Secret that it replaces.
    pub async fn keep(
        &self,
        label: Label<'_>,
        certificate: &Certificate,
        version: Option<&str>,
    ) -> Result<(), Error> {
        let mut secret = format::secret_of(label, certificate);
        secret.metadata.namespace = Some(self.certificates_namespace.clone());
        self.write(&self.secrets(&self.certificates_namespace), secret, version).await.map(drop)
    }

    /// The certificate as it is now, past any cache.
    pub async fn certificate(&self, id: &Id) -> Result<Option<Entry>, Error> {
        let name = format!("{CERTIFICATE_PREFIX}{id}");
        let secret = self.read(&self.secrets(&self.certificates_namespace), &name).await?;
        Ok(secret.and_then(|secret| format::entry(&secret)))
    }

    pub async fn remove_certificate(&self, entry: &Entry) -> Result<(), Error> {
        let name = format!("{CERTIFICATE_PREFIX}{}", entry.id);
        let api = self.secrets(&self.certificates_namespace);
        delete(&api, &name, &entry.uid, &entry.version).await
    }

    /// Every state record. One that cannot be read is an error of its own, not of the others.
    pub async fn states(&self) -> Result<Vec<Result<(Id, Versioned<State>), Error>>, Error> {
        let api = self.secrets(&self.controller_namespace);
        let params = ListParams::default().labels(&format!("{LABEL_KIND}={}", format::KIND_STATE));
        let object = format!("secrets of namespace {}", self.controller_namespace);
        let list = api.list(&params).await.map_err(|error| Error::of(object, &error))?;
        Ok(list.items.iter().filter_map(format::state).collect())
    }

    /// State records in which a person asks for something: those that there are, and each when it
    /// is written.
    pub fn asked(&self) -> BoxStream<'static, Id> {
        let config =
            watcher::Config::default().labels(&format!("{LABEL_KIND}={}", format::KIND_STATE));
        let seen = cluster::watch::<Secret>(self.secrets(&self.controller_namespace), config);
        let asked = |seen| match seen {
            Seen::Put(secret) => format::asks(&secret),
            Seen::Trouble(trouble) => {
                tracing::warn!("state records cannot be watched: {trouble}");
                None
            }
            Seen::Gone { .. } | Seen::Synced => None,
        };
        seen.filter_map(move |seen| std::future::ready(asked(seen))).boxed()
    }

    /// The state as it is now, past any cache.
    pub async fn state(&self, id: &Id) -> Result<Option<Versioned<State>>, Error> {
        let name = format!("{}{id}", format::STATE_PREFIX);
        let secret = self.read(&self.secrets(&self.controller_namespace), &name).await?;
        let found = secret.as_ref().and_then(format::state).transpose()?;
        Ok(found.map(|(_, state)| state))
    }

    /// Returns the new version.
    pub async fn put_state(
        &self,
        id: &Id,
        state: &State,
        version: Option<&str>,
    ) -> Result<String, Error> {
        let mut secret = format::secret_of_state(id, state);
        secret.metadata.namespace = Some(self.controller_namespace.clone());
        self.write(&self.secrets(&self.controller_namespace), secret, version).await
    }

    /// Forgets a record whose certificate has been gone for long.
    pub async fn remove_state(&self, id: &Id, version: &str) -> Result<(), Error> {
        let name = format!("{}{id}", format::STATE_PREFIX);
        let api = self.secrets(&self.controller_namespace);
        let Some(secret) = self.read(&api, &name).await? else { return Ok(()) };
        delete(&api, &name, &secret.uid().unwrap_or_default(), version).await
    }

    pub async fn account(&self, hash: &str) -> Result<Option<Versioned<AccountRecord>>, Error> {
        let name = format!("{}{hash}", format::ACCOUNT_PREFIX);
        let secret = self.read(&self.secrets(&self.controller_namespace), &name).await?;
        secret.as_ref().map(format::account).transpose()
    }

    pub async fn put_account(
        &self,
        hash: &str,
        record: &AccountRecord,
        version: Option<&str>,
    ) -> Result<String, Error> {
        let mut secret = format::secret_of_account(hash, record);
        secret.metadata.namespace = Some(self.controller_namespace.clone());
        self.write(&self.secrets(&self.controller_namespace), secret, version).await
    }

    /// A value that a resolver names; `Err(Missing)` if there is none, or nothing in it.
    pub async fn credential(&self, name: &str, key: &str) -> Result<Vec<u8>, Error> {
        let api = self.secrets(&self.controller_namespace);
        let object = object::<Secret>(&api, name);
        let secret = self.read(&api, name).await?;
        let value = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove(key));
        value.map(|value| value.0).filter(|value| !value.is_empty()).ok_or_else(|| {
            let cause = format!("key `{key}` is needed; fill it in");
            Error::Missing { object, cause }
        })
    }

    /// The challenge table: each shard's present content, again at each change.
    pub fn challenges(&self) -> BoxStream<'static, Shard> {
        let config =
            watcher::Config::default().labels(&format!("{LABEL_KIND}={}", format::KIND_CHALLENGES));
        let seen = cluster::watch::<ConfigMap>(self.config_maps(), config);
        seen.filter_map(|seen| std::future::ready(format::shard_change(seen))).boxed()
    }

    /// One shard as it is now, past any cache; an absent one is empty.
    pub async fn challenge_shard(&self, index: u8) -> Result<Shard, Error> {
        let map = self.read(&self.config_maps(), &challenge::shard_name(index)).await?;
        Ok(map
            .as_ref()
            .and_then(format::shard)
            .unwrap_or(Shard { index, answers: BTreeMap::new() }))
    }

    fn secrets(&self, namespace: &str) -> Api<Secret> {
        Api::namespaced(self.client.clone(), namespace)
    }

    fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), &self.certificates_namespace)
    }

    async fn read<K>(&self, api: &Api<K>, name: &str) -> Result<Option<K>, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        api.get_opt(name).await.map_err(|error| Error::of(object::<K>(api, name), &error))
    }

    async fn write<K>(
        &self,
        api: &Api<K>,
        mut object_: K,
        version: Option<&str>,
    ) -> Result<String, Error>
    where
        K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Serialize,
    {
        let name = object_.name_any();
        let params = PostParams::default();
        let written = match version {
            None => api.create(&params, &object_).await,
            Some(version) => {
                object_.meta_mut().resource_version = Some(version.to_owned());
                api.replace(&name, &params, &object_).await
            }
        };
        let written = written.map_err(|error| Error::of(object::<K>(api, &name), &error))?;
        Ok(written.resource_version().unwrap_or_default())
    }
}

async fn delete(api: &Api<Secret>, name: &str, uid: &str, version: &str) -> Result<(), Error> {
    let preconditions =
        Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::of(object::<Secret>(api, name), &error)),
    }
}

/// `Secret namespace/name`, for errors.
fn object<K: Resource<DynamicType = ()>>(api: &Api<K>, name: &str) -> String {
    format!("{} {}/{name}", K::kind(&()), api.namespace().unwrap_or_default())
}

/// Metadata that every object of ours starts from.
fn metadata(name: String, labels: &[(&str, &str)]) -> ObjectMeta {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    ObjectMeta { name: Some(name), labels: Some(labels.collect()), ..ObjectMeta::default() }
}
