//! Where the records are that a controller reads, and what a person lacks to write there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};

use crate::cert::Id;
use crate::cli::place::{api_server, home};
use crate::cli::{Configuration, Failure, say, understood};
use crate::cluster;
use crate::config::{Config, KubernetesCrd, StoreKind};
use crate::controller::LEASE;
use crate::order::{Asked, Declined, State};
use crate::store::{Error, Store, Unusable, Visitor};

/// Arguments that say where.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// The controller's namespace; without it the configuration's, else the kubeconfig's
    #[arg(long, value_name = "NAMESPACE")]
    controller_namespace: Option<String>,
    /// How to reach the API server; without it KUBECONFIG or the Pod's own account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    #[command(flatten)]
    configuration: Configuration,
}

/// The records of one installation, and how they are reached.
pub(super) enum Records {
    Cluster(Cluster),
    /// Of a `run` without a cluster.
    Files {
        files: Visitor,
        remove_after: Duration,
    },
}

pub(super) struct Cluster {
    store: Store,
    pub(super) client: Client,
    /// The controller's.
    namespace: String,
}

impl Place {
    pub(super) async fn open(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<Records, Failure> {
        let config = self.config(environment)?;
        if let Some(config) = config.as_ref().filter(|config| config.store() == StoreKind::File) {
            let files = Visitor::new(&config.storages, &home(config, None));
            return Ok(Records::Files { files, remove_after: config.own.remove_after });
        }
        let server = config.as_ref().map_or_else(KubernetesCrd::default, api_server);
        let connected = cluster::connect(self.kubeconfig.as_deref(), &server).await;
        let cluster = connected.map_err(|error| Failure::Configuration(error.to_string()))?;
        let own = config.map(|config| config.own).unwrap_or_default();
        let given = self.controller_namespace.clone().or(own.controller_namespace);
        let namespace = given.unwrap_or(cluster.namespace);
        let certificates = &own.certificates_namespace;
        let store = Store::in_cluster(cluster.client.clone(), certificates, &namespace);
        Ok(Records::Cluster(Cluster { store, client: cluster.client, namespace }))
    }

    /// A configuration may say where; none is needed.
    fn config(&self, environment: &BTreeMap<String, String>) -> Result<Option<Config>, Failure> {
        if self.configuration.is_nothing(environment) {
            return Ok(None);
        }
        understood(&self.configuration, environment).map(|(config, _)| Some(config))
    }
}

impl Records {
    /// `Err`: the wish changes nothing, and why.
    pub(super) async fn ask(
        &self,
        id: &Id,
        wish: &Asked,
    ) -> Result<Result<State, (State, Declined)>, Failure> {
        let asked = match self {
            Self::Cluster(cluster) => cluster.told(cluster.store.ask(id, wish).await)?,
            Self::Files { files, .. } => files.ask(id, wish).map_err(|error| unusable(&error))?,
        };
        asked.ok_or_else(|| Failure::Failed(format!("there is no record of rc-{id}")))
    }

    pub(super) async fn state(&self, id: &Id) -> Result<Option<State>, Failure> {
        match self {
            Self::Cluster(cluster) => {
                let state = cluster.told(cluster.store.state(id).await)?;
                Ok(state.map(|state| state.value))
            }
            Self::Files { .. } => {
                let mut states = self.states().await?.into_iter();
                Ok(states.find(|(one, _)| one == id).map(|(_, state)| state))
            }
        }
    }

    /// All that can be read.
    pub(super) async fn states(&self) -> Result<Vec<(Id, State)>, Failure> {
        let cluster = match self {
            Self::Cluster(cluster) => cluster,
            Self::Files { files, .. } => return files.states().map_err(|error| unusable(&error)),
        };
        let mut all = Vec::new();
        for state in cluster.told(cluster.store.states().await)? {
            match state {
                Ok((id, state)) => all.push((id, state.value)),
                Err(error) => say(&error.to_string()),
            }
        }
        Ok(all)
    }

    /// The state, whenever it may be another one.
    pub(super) fn changes(&self, id: &Id) -> BoxStream<'_, State> {
        let id = id.clone();
        match self {
            Self::Cluster(cluster) => {
                cluster.store.state_of(&id).filter_map(std::future::ready).boxed()
            }
            Self::Files { files, .. } => {
                let state = move |()| {
                    // One that cannot be read now can be when it changes next.
                    let states = files.states().unwrap_or_default().into_iter();
                    let state = states.filter(|(one, _)| *one == id).map(|(_, state)| state).next();
                    std::future::ready(state)
                };
                files.changes().filter_map(state).boxed()
            }
        }
    }

    pub(super) async fn let_go(&self, until: Timestamp) -> Result<(), Failure> {
        match self {
            Self::Cluster(cluster) => cluster.told(cluster.store.put_let_go(until).await),
            Self::Files { files, .. } => files.put_let_go(until).map_err(|error| unusable(&error)),
        }
    }

    /// Where to look if there is nothing at all.
    pub(super) fn hint(&self) -> String {
        match self {
            Self::Cluster(cluster) => format!(
                " in namespace {}. If the controller's is another one, name it with \
                 --controller-namespace",
                cluster.namespace
            ),
            Self::Files { .. } => " in the `storage` of the configuration".to_owned(),
        }
    }

    /// Where to see what becomes of it.
    pub(super) fn look(&self, id: &Id, state: &State) -> String {
        match self {
            Self::Cluster(_) => {
                format!("`routecert status {}/rc-{id}` tells how it goes", state.owner)
            }
            Self::Files { .. } => "The log of `routecert run` tells how it goes".to_owned(),
        }
    }

    /// Who does what was asked for, and when.
    pub(super) async fn tell_who_does_it(&self, now: Timestamp) {
        match self {
            Self::Cluster(cluster) => cluster.warn_if_nobody_leads(now).await,
            Self::Files { .. } => {
                say("the `routecert run` that has the files takes it at once; if none runs, the \
                     next start does");
            }
        }
    }
}

fn unusable(error: &Unusable) -> Failure {
    Failure::Failed(error.to_string())
}

impl Cluster {
    fn told<T>(&self, result: Result<T, Error>) -> Result<T, Failure> {
        result.map_err(|error| self.failed(&error))
    }

    /// Whoever may not is told what it takes.
    fn failed(&self, error: &Error) -> Failure {
        let Error::Forbidden { .. } = error else { return Failure::Failed(error.to_string()) };
        let namespace = &self.namespace;
        Failure::Failed(format!(
            "{error}\nIt takes a right to the Secrets of {namespace}, the controller's namespace:\n  \
             kubectl create role routecert-by-hand -n {namespace} \
             --verb=get,list,watch,create,update --resource=secrets\n  \
             kubectl create rolebinding routecert-by-hand -n {namespace} --role=routecert-by-hand \
             --user=NAME"
        ))
    }

    /// Who may not read the Lease is not told.
    async fn warn_if_nobody_leads(&self, now: Timestamp) {
        let api: Api<Lease> = Api::namespaced(self.client.clone(), &self.namespace);
        let Ok(lease) = api.get_opt(LEASE).await else { return };
        if !lease.is_some_and(|lease| is_held(&lease, now)) {
            say(&format!(
                "no controller leads now in namespace {}: it is done when one does",
                self.namespace
            ));
        }
    }
}

fn is_held(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else { return false };
    let held = spec.holder_identity.as_deref().is_some_and(|holder| !holder.is_empty());
    let seconds = i64::from(spec.lease_duration_seconds.unwrap_or_default());
    let renewed = spec.renew_time.as_ref().map(|time| time.0);
    held && renewed.is_some_and(|at| now.duration_since(at).as_secs() <= seconds)
}
