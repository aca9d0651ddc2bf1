//! The controller: whoever holds the lease watches routes and gets, keeps and forgets certificates.

mod adopt;
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

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use kube::Client;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cluster::Fence;
use crate::config::Config;
use crate::issue::{Accounts, Engine, Records, SelfCheck};
use crate::metrics::Metrics;
use crate::source;
use crate::store;
use crate::store::{Store, Table};

pub use lease::NAME as LEASE;

/// What a controller is made of.
#[derive(Clone)]
pub struct Settings {
    pub config: Config,
    pub store: Store,
    /// `None`: there is no cluster.
    pub client: Option<Client>,
    /// Namespace of the lease, and of routes of files.
    pub namespace: String,
    /// Who we are in the lease: different for every process.
    pub identity: String,
    pub clock: fn() -> Timestamp,
    /// Variables of the process, where DNS providers have their credentials.
    pub environment: BTreeMap<String, String>,
    pub metrics: Metrics,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Runs until `stop` is cancelled. Ready is who leads and knows everything, and who waits for the
/// lease: a controller that stands by is as it should be.
pub async fn run(settings: Settings, ready: watch::Sender<bool>, stop: CancellationToken) {
    tell_unusable(&settings.config, &settings.metrics);
    let settings = Arc::new(settings);
    let term =
        Term { settings: Arc::clone(&settings), ready: ready.clone(), stopping: stop.clone() };
    let work = |fence| Box::pin(lead(term.clone(), fence));
    match (settings.store.fence(), &settings.client) {
        (Some(fence), _) => {
            lease::until_stopped(&stop, work(fence)).await;
            if !stop.is_cancelled() {
                let place = settings.store.certificates_place();
                tracing::error!(
                    "{place}: the lock beside it was taken away: nothing is got or renewed any \
                     more, what is held is served. Start anew, one process a store"
                );
            }
        }
        (None, Some(client)) => {
            let me = settings.identity.clone();
            let mut lease =
                lease::Lease::new(client.clone(), &settings.namespace, me, settings.clock, ready);
            lease.lead(&stop, work).await;
        }
        (None, None) => tracing::error!("there is neither a cluster nor a file to keep records in"),
    }
}

/// Each route that names such a resolver says so too.
fn tell_unusable(config: &Config, metrics: &Metrics) {
    for (name, resolver) in &config.resolvers {
        let usable = match resolver {
            Ok(resolver) => resolver.clone().usable().inspect_err(|why| {
                tracing::error!("certificatesResolvers.{name} cannot be used: {why}");
            }),
            // Told when the file was read.
            Err(why) => Err(why.clone()),
        };
        metrics.resolver(name, Some(usable.is_ok()));
    }
}

/// What a term of leading is made of, beside the fence of its lease.
#[derive(Clone)]
struct Term {
    settings: Arc<Settings>,
    ready: watch::Sender<bool>,
    stopping: CancellationToken,
}

/// One term: everything is read anew, nothing is kept from an earlier one.
async fn lead(term: Term, fence: Fence) {
    loop {
        match begin(&term, &fence).await {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!("cannot begin: {error}; tried again");
                tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            }
        }
    }
}

async fn begin(
    Term { settings, ready, stopping }: &Term,
    fence: &Fence,
) -> Result<(), store::Error> {
    let store = settings.store.clone();
    let records = read_states(&store).await?;
    let mut tasks = JoinSet::new();
    let table = Table::take_over(&store, fence.clone(), &mut tasks).await?;
    let (news, receiver) = mpsc::unbounded_channel();
    let (commands, received_commands) = mpsc::unbounded_channel();
    let (reports, reported) = mpsc::unbounded_channel();
    let (wanted, is_wanted) = watch::channel(false);
    let (told, is_told) = mpsc::unbounded_channel();
    let client = settings.client.as_ref();
    if let Some(client) = client {
        let publisher = publish::Publisher::new(
            client.clone(),
            (&settings.namespace, scope(settings)),
            fence.clone(),
            settings.clock,
        );
        tasks.spawn(publisher.run(receiver));
        let copies =
            copies::Copies::new(client.clone(), store.clone(), fence.clone(), reports.clone());
        tasks.spawn(copies.run(received_commands));
        tasks.spawn(tell_of_old_routes(client.clone(), Arc::clone(settings)));
    } else {
        tasks.spawn(publish::log(receiver));
    }
    tasks.spawn(store.clone().take_wishes());
    let inputs = run::Inputs {
        sources: source::all(client, &settings.config, &settings.namespace),
        certificates: store.certificates(),
        secrets: client.map_or_else(
            || futures::stream::pending().boxed(),
            |client| resolvers::secrets(client, &settings.namespace, is_wanted),
        ),
        reports: reported,
        asked: store.asked(),
        told: is_told,
        let_go: store.let_go(),
    };
    let accounts = Arc::new(Accounts::new(store.clone()));
    let self_check = SelfCheck::new(&settings.config.own.self_check).await.map(Arc::new);
    let engine = Engine {
        store,
        table,
        accounts,
        records: Arc::new(Records::new(settings.environment.clone())),
        self_check,
        fence: fence.clone(),
        told,
        stopping: stopping.clone(),
    };
    let known = (records, resolvers::Resolvers::new(&settings.namespace, wanted));
    let leader =
        leader::Leader::new(Arc::clone(settings), engine, known, (news, commands, ready.clone()));
    // Dropped with the term, however that ends.
    let _measured = Measured::begin(settings.metrics.clone());
    run::run(leader, inputs).await;
    drop(reports);
    Ok(())
}

/// What is measured of one term.
struct Measured(Metrics);

impl Measured {
    fn begin(metrics: Metrics) -> Self {
        metrics.begin_term();
        Self(metrics)
    }
}

impl Drop for Measured {
    fn drop(&mut self) {
        self.0.end_term();
    }
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
async fn tell_of_old_routes(client: Client, settings: Arc<Settings>) {
    let crd = settings.config.kubernetes_crd.as_ref();
    if crd.is_none_or(|crd| crd.disable_cluster_scope_resources) {
        return;
    }
    for (kind, count) in source::old_routes(&client).await {
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
