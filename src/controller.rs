//! The controller: whoever holds the lease watches routes and gets, keeps and forgets certificates.

mod copies;
mod decide;
mod gc;
mod journal;
mod leader;
mod lease;
mod poll;
mod publish;
mod queue;
mod records;
mod resolvers;
mod run;
mod verdict;

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::Fence;
use crate::config::Config;
use crate::issue::{Accounts, Engine};
use crate::source;
use crate::store;
use crate::store::{Store, Table};

/// What a controller is made of.
#[derive(Clone)]
pub struct Settings {
    pub config: Config,
    pub client: Client,
    /// Namespace of the lease, the states and the accounts.
    pub namespace: String,
    /// Who we are in the lease: different for every process.
    pub identity: String,
    pub clock: fn() -> Timestamp,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Runs until `stop` is cancelled. Ready from the start: a controller that waits for the lease is
/// as it should be.
pub async fn run(settings: Settings, ready: watch::Sender<bool>, stop: CancellationToken) {
    ready.send_replace(true);
    tell_unusable(&settings.config);
    let mut lease = lease::Lease::new(
        settings.client.clone(),
        &settings.namespace,
        settings.identity.clone(),
        settings.clock,
    );
    let settings = Arc::new(settings);
    lease.lead(&stop, |fence| lead(Arc::clone(&settings), fence, stop.clone())).await;
}

/// Each route that names such a resolver says so too.
fn tell_unusable(config: &Config) {
    for (name, resolver) in &config.resolvers {
        // What is wrong in the file itself was told when it was read.
        if let Ok(resolver) = resolver
            && let Err(why) = resolver.clone().usable()
        {
            tracing::error!("certificatesResolvers.{name} cannot be used: {why}");
        }
    }
}

/// One term: everything is read anew, nothing is kept from an earlier one.
async fn lead(settings: Arc<Settings>, fence: Fence, stopping: CancellationToken) {
    loop {
        match begin(&settings, &fence, stopping.clone()).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!("cannot begin: {error}; tried again");
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            }
        }
    }
}

async fn begin(
    settings: &Arc<Settings>,
    fence: &Fence,
    stopping: CancellationToken,
) -> Result<(), store::Error> {
    let own = &settings.config.own;
    let store =
        Store::new(settings.client.clone(), &own.certificates_namespace, &settings.namespace);
    let records = read_states(&store).await?;
    let mut tasks = JoinSet::new();
    let table = Table::take_over(&store, fence.clone(), &mut tasks).await?;
    let (news, receiver) = mpsc::unbounded_channel();
    let publisher = publish::Publisher::new(
        settings.client.clone(),
        (&settings.namespace, scope(settings)),
        fence.clone(),
        settings.clock,
    );
    tasks.spawn(publisher.run(receiver));
    let (commands, receiver) = mpsc::unbounded_channel();
    let (reports, reported) = mpsc::unbounded_channel();
    let copies =
        copies::Copies::new(settings.client.clone(), store.clone(), fence.clone(), reports);
    tasks.spawn(copies.run(receiver));
    let (wanted, is_wanted) = watch::channel(false);
    tasks.spawn(tell_of_old_routes(Arc::clone(settings)));
    let inputs = run::Inputs {
        sources: source::all(&settings.client, &settings.config, &settings.namespace),
        certificates: store.certificates(),
        secrets: resolvers::secrets(&settings.client, &settings.namespace, is_wanted),
        reports: reported,
        asked: store.asked(),
    };
    let accounts = Arc::new(Accounts::new(store.clone()));
    let engine = Engine { store, table, accounts, fence: fence.clone(), stopping };
    let known = (records, resolvers::Resolvers::new(&settings.namespace, wanted));
    let leader = leader::Leader::new(Arc::clone(settings), engine, known, (news, commands));
    run::run(leader, inputs).await;
    Ok(())
}

/// Where certificates are shown: where routes are read, and at home what the configuration itself
/// asks for.
fn scope(settings: &Settings) -> publish::Scope {
    let places = source::places(&settings.config).into_iter();
    let routes = places.filter(
        |place| matches!(place.what, source::What::Routes(kind) if kind.resource().is_some()),
    );
    let scope: publish::Scope = routes.map(|place| place.namespace).collect();
    if scope.contains(&None) {
        return publish::Scope::from([None]);
    }
    scope.into_iter().chain([Some(settings.namespace.clone())]).collect()
}

/// Routes of a group that nobody reads any more are easily forgotten.
async fn tell_of_old_routes(settings: Arc<Settings>) {
    let crd = settings.config.kubernetes_crd.as_ref();
    if crd.is_none_or(|crd| crd.disable_cluster_scope_resources) {
        return;
    }
    for (kind, count) in source::old_routes(&settings.client).await {
        tracing::warn!(
            "{count} {kind} of traefik.containo.us: not read; change their apiVersion to \
             traefik.io/v1alpha1"
        );
    }
}

/// A record that cannot be read is named and left alone; the others count.
async fn read_states(store: &Store) -> Result<records::Records, store::Error> {
    let mut states = Vec::new();
    for state in store.states().await? {
        match state {
            Ok(state) => states.push(state),
            Err(error) => tracing::error!("{error}"),
        }
    }
    Ok(records::Records::new(states))
}
