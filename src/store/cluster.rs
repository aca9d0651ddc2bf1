//! Records in the cluster: Secrets and ConfigMaps of two namespaces. Nothing is force-applied.

pub(super) mod object;

use std::fmt::Debug;

use futures::StreamExt;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::NamespaceResourceScope;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cluster;
use crate::cluster::Seen;
use crate::store::Error;
use crate::store::record::{Kind, Record};

/// The records of one installation.
#[derive(Clone)]
pub(super) struct Cluster {
    pub(super) client: Client,
    /// What proxies read.
    pub(super) certificates_namespace: String,
    /// What only controllers read.
    pub(super) controller_namespace: String,
}

impl Cluster {
    pub(super) async fn get(&self, kind: Kind, name: &str) -> Result<Option<Record>, Error> {
        let name = kind.object_name(name);
        if kind == Kind::Challenges {
            let map = read(&self.api::<ConfigMap>(kind), &name).await?;
            return Ok(map.and_then(|map| object::of_config_map(kind, &map)));
        }
        let secret = read(&self.api::<Secret>(kind), &name).await?;
        Ok(secret.and_then(|secret| object::of_secret(kind, &secret)))
    }

    /// Of Secrets: nobody lists the challenges.
    pub(super) async fn list(&self, kind: Kind) -> Result<Vec<Record>, Error> {
        let place = format!("secrets of namespace {}", self.namespace(kind));
        let params = ListParams::default().labels(&selector(kind));
        let list = self.api::<Secret>(kind).list(&params).await;
        let list = list.map_err(|error| Error::of(place, &error))?;
        Ok(list.items.iter().filter_map(|it| object::of_secret(kind, it)).collect())
    }

    /// Returns the new version. `version`: of what it replaces; `None`: it must not be there.
    ///
    /// Without a reply nobody knows whether it was done: what is there now tells, and if it was
    /// not, the same write is as right as before, since it names the version.
    pub(super) async fn put(&self, record: Record, version: Option<&str>) -> Result<String, Error> {
        match self.put_once(record.clone(), version).await {
            Err(Error::Failed { .. }) => {}
            told => return told,
        }
        match self.get(record.kind, &record.name).await? {
            Some(found) if found.data == record.data => Ok(found.version),
            _ => self.put_once(record, version).await,
        }
    }

    async fn put_once(&self, record: Record, version: Option<&str>) -> Result<String, Error> {
        let kind = record.kind;
        if kind == Kind::Challenges {
            return write(&self.api::<ConfigMap>(kind), object::config_map(record), version).await;
        }
        write(&self.api::<Secret>(kind), object::secret(record), version).await
    }

    /// An empty `uid` is that of the object that is there.
    pub(super) async fn delete(
        &self,
        kind: Kind,
        name: &str,
        (uid, version): (&str, &str),
    ) -> Result<(), Error> {
        let api = self.api::<Secret>(kind);
        let name = kind.object_name(name);
        if !uid.is_empty() {
            return delete(&api, &name, uid, version).await;
        }
        let Some(secret) = read(&api, &name).await? else { return Ok(()) };
        delete(&api, &name, &secret.uid().unwrap_or_default(), version).await
    }

    pub(super) fn watch(&self, kind: Kind) -> BoxStream<'static, Seen<Record>> {
        let config = watcher::Config::default().labels(&selector(kind));
        if kind == Kind::Challenges {
            let seen = cluster::watch(self.api::<ConfigMap>(kind), config);
            return told(kind, seen, object::of_config_map).boxed();
        }
        told(kind, cluster::watch(self.api::<Secret>(kind), config), object::of_secret).boxed()
    }

    /// A value of a Secret in the controller's namespace that is no record.
    pub(super) async fn credential(&self, name: &str, key: &str) -> Result<Vec<u8>, Error> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.controller_namespace);
        let secret = read(&api, name).await?;
        let value = secret.and_then(|secret| secret.data).and_then(|mut data| data.remove(key));
        value.map(|value| value.0).filter(|value| !value.is_empty()).ok_or_else(|| {
            let cause = format!("key `{key}` is needed; fill it in");
            Error::Missing { object: shown::<Secret>(&api, name), cause }
        })
    }

    pub(super) fn namespace(&self, kind: Kind) -> &str {
        match kind {
            Kind::Certificate | Kind::Challenges => &self.certificates_namespace,
            Kind::State | Kind::Account | Kind::Foreign | Kind::Removal => {
                &self.controller_namespace
            }
        }
    }

    fn api<K>(&self, kind: Kind) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), self.namespace(kind))
    }
}

fn selector(kind: Kind) -> String {
    format!("{}={}", object::LABEL_KIND, kind.label())
}

/// By the names of records in place of those of objects.
fn told<K: 'static>(
    kind: Kind,
    seen: impl futures::Stream<Item = Seen<K>> + Send + 'static,
    of: fn(Kind, &K) -> Option<Record>,
) -> impl futures::Stream<Item = Seen<Record>> + Send + 'static {
    let record = move |seen| match seen {
        Seen::Put(object) => of(kind, &object).map(Seen::Put),
        Seen::Gone { namespace, name } => {
            let name = kind.record_name(&name)?.to_owned();
            Some(Seen::Gone { namespace, name })
        }
        Seen::Synced => Some(Seen::Synced),
        Seen::Trouble(trouble) => Some(Seen::Trouble(trouble)),
    };
    seen.filter_map(move |seen| std::future::ready(record(seen)))
}

async fn read<K>(api: &Api<K>, name: &str) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    api.get_opt(name).await.map_err(|error| Error::of(shown::<K>(api, name), &error))
}

async fn write<K>(api: &Api<K>, mut object: K, version: Option<&str>) -> Result<String, Error>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Serialize,
{
    let name = object.name_any();
    object.meta_mut().namespace = api.namespace().map(str::to_owned);
    let params = PostParams::default();
    let written = match version {
        None => api.create(&params, &object).await,
        Some(version) => {
            object.meta_mut().resource_version = Some(version.to_owned());
            api.replace(&name, &params, &object).await
        }
    };
    let written = written.map_err(|error| Error::of(shown::<K>(api, &name), &error))?;
    Ok(written.resource_version().unwrap_or_default())
}

async fn delete(api: &Api<Secret>, name: &str, uid: &str, version: &str) -> Result<(), Error> {
    let preconditions =
        Preconditions { uid: Some(uid.to_owned()), resource_version: Some(version.to_owned()) };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(name, &params).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(Error::of(shown::<Secret>(api, name), &error)),
    }
}

/// `Secret namespace/name`, for errors.
fn shown<K: Resource<DynamicType = ()>>(api: &Api<K>, name: &str) -> String {
    format!("{} {}/{name}", K::kind(&()), api.namespace().unwrap_or_default())
}
