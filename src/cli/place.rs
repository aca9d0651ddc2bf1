//! Where records are: in the cluster or in files, and how these are reached.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::cli::{Alone, Common, Failure};
use crate::cluster;
use crate::cluster::Cluster;
use crate::config::{Config, KubernetesCrd, StoreKind};
use crate::store::Store;

/// The controller's namespace where there is no cluster and nothing says otherwise.
pub(super) const HOME: &str = "routecert";

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    built.map_err(|error| Failure::Failed(format!("cannot start: {error}")))
}

pub(super) fn in_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    runtime()?.block_on(work)
}

pub(super) async fn connect(common: &Common, config: &Config) -> Result<Cluster, Failure> {
    let connected = cluster::connect(common.kubeconfig.as_deref(), &api_server(config)).await;
    connected.map_err(|error| Failure::Configuration(error.to_string()))
}

/// The records that `run` would have, for what is done once.
pub(super) struct Records {
    pub(super) store: Store,
    /// Owner of certificates that no route wants yet.
    pub(super) home: String,
}

pub(super) async fn records(common: &Common, config: Config) -> Result<Records, Failure> {
    let kind = config.store();
    let (config, cluster) = match kind {
        StoreKind::File => (config, None),
        StoreKind::Secrets => {
            let config = with_a_provider(config);
            let cluster = connect(common, &config).await?;
            (config, Some(cluster))
        }
    };
    let store = open_store(&config, kind, cluster.as_ref())?;
    Ok(Records { store, home: home(&config, cluster.as_ref()) })
}

/// Routes have to come from somewhere.
pub(super) fn with_a_provider(mut config: Config) -> Config {
    if config.kubernetes_crd.is_none() && config.kubernetes_ingress.is_none() {
        tracing::warn!("no provider of Kubernetes is switched on; providers.kubernetesCRD is used");
        config.kubernetes_crd = Some(KubernetesCrd::default());
    }
    config
}

/// How the API server is reached, by the first provider that says so.
pub(super) fn api_server(config: &Config) -> KubernetesCrd {
    let crd = config.kubernetes_crd.clone().filter(|crd| crd.endpoint.is_some());
    let ingress = config.kubernetes_ingress.clone();
    let given = crd.or_else(|| {
        let ingress = ingress.filter(|ingress| ingress.endpoint.is_some())?;
        Some(KubernetesCrd {
            endpoint: ingress.endpoint,
            token: ingress.token,
            cert_auth_file_path: ingress.cert_auth_file_path,
            ..KubernetesCrd::default()
        })
    });
    given.unwrap_or_default()
}

/// Only `run` can keep its records in files: a controller and a proxy meet in the cluster.
pub(super) fn store_kind(config: &Config, proxy: Option<Alone>) -> Result<StoreKind, Failure> {
    if proxy == Some(Alone::No) {
        return Ok(config.store());
    }
    if config.own.store == Some(StoreKind::File) {
        let message = "routecert.store: `file` is for `routecert run` alone: files are of one \
                       process, and a controller and its proxies are several. Use `run`, or `secrets`";
        return Err(Failure::Configuration(message.to_owned()));
    }
    Ok(StoreKind::Secrets)
}

pub(super) fn reads_cluster(config: &Config) -> bool {
    config.kubernetes_crd.is_some() || config.kubernetes_ingress.is_some()
}

pub(super) fn open_store(
    config: &Config,
    kind: StoreKind,
    cluster: Option<&Cluster>,
) -> Result<Store, Failure> {
    let home = home(config, cluster);
    match (kind, cluster) {
        (StoreKind::Secrets, Some(cluster)) => {
            let certificates = &config.own.certificates_namespace;
            Ok(Store::in_cluster(cluster.client.clone(), certificates, &home))
        }
        _ => Store::in_files(&config.storages, &home).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            Failure::Failed(lines.join("\n"))
        }),
    }
}

pub(super) fn home(config: &Config, cluster: Option<&Cluster>) -> String {
    let own = || cluster.map_or_else(|| HOME.to_owned(), |cluster| cluster.namespace.clone());
    config.own.controller_namespace.clone().unwrap_or_else(own)
}

/// A store of another kind than ours is easily forgotten.
pub(super) fn tell_of_storages(config: &Config) {
    let has_content = |path: &&PathBuf| path.metadata().is_ok_and(|it| it.len() > 0);
    let found: BTreeSet<&PathBuf> = config.storages.values().filter(has_content).collect();
    for path in found {
        let path = path.display();
        tracing::warn!(
            "{path}: not read, certificates are kept in the cluster. `routecert import {path}` \
             takes them over without an order"
        );
    }
}
