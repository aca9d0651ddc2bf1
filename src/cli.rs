//! The command line: parse, build, run one subcommand.

mod by_hand;
mod check;
mod export;
mod import;
mod place;
mod plan;
mod providers;
mod rule;
mod status;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::admin;
use crate::admin::Ready;
use crate::api;
use crate::cli::check::Check;
use crate::cli::place::{
    connect, home, open_store, reads_cluster, runtime, store_kind, tell_of_storages,
    with_a_provider,
};
use crate::cluster::Cluster;
use crate::config;
use crate::config::{Config, LogFormat, Problem, Reading, Sources, StoreKind};
use crate::controller;
use crate::metrics::{self, Metrics};
use crate::proxy;
use crate::proxy::Upstream;
use crate::store::Store;

/// Requests under way at a stop get this long.
const DRAIN: Duration = Duration::from_secs(10);

/// Gets and keeps certificates for routes.
#[derive(Debug, Parser)]
#[command(name = "routecert", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch routes in Kubernetes, get their certificates, write them to TLS Secrets
    Controller(Common),
    /// End TLS with those certificates, answer challenges, redirect, forward to one upstream
    Proxy(Front),
    /// Controller and proxy in one process
    Run(Front),
    /// Validate the configuration and print what it comes to, and where each value came from
    Check(Check),
    /// Dry run: routes in; the certificates that they lead to, and every refusal, out
    Plan(plan::Arguments),
    /// What is held, for which routes, until when, and what happens next; exits with 1 if anything
    /// asked for is not ready
    Status(status::Arguments),
    /// Have a certificate renewed now
    Renew(by_hand::Renew),
    /// Have a certificate revoked at its CA, and replaced if a route wants it
    Revoke(by_hand::Revoke),
    /// Certificates that no route wants, and what becomes of them
    Gc(by_hand::Gc),
    /// The DNS providers, and the variables that each is told by
    Providers(providers::Arguments),
    /// Take over the certificates of a Traefik's acme.json, without one order
    Import(import::Import),
    /// Write all certificates to an acme.json that Traefik reads
    Export(export::Export),
    /// Print the custom resource definitions, for `kubectl apply -f -`
    Crd,
    /// Explain a routing rule: its tree, its names, its priority, whether it matches a request
    Rule(rule::Question),
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    configuration: Configuration,
    /// How to reach the API server; without it KUBECONFIG or the Pod's own account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

/// Where the static configuration comes from: flags, then variables, then the file.
#[derive(Debug, Args)]
struct Configuration {
    /// Traefik's static configuration, YAML or TOML, with an optional section `routecert`
    #[arg(long, value_name = "FILE")]
    configfile: Option<PathBuf>,
    /// Traefik's own flags, such as --entryPoints.web.address=:80; they go before variables
    /// (`ROUTECERT_…`, `TRAEFIK_…`), and those before the file
    #[arg(last = true, value_name = "FLAGS")]
    flags: Vec<String>,
}

impl Configuration {
    /// To run on defaults alone is nobody's wish.
    fn is_nothing(&self, environment: &BTreeMap<String, String>) -> bool {
        let ours = |name: &String| name.starts_with("ROUTECERT_") || name.starts_with("TRAEFIK_");
        self.configfile.is_none() && self.flags.is_empty() && !environment.keys().any(ours)
    }

    fn read(&self, environment: &BTreeMap<String, String>) -> Reading {
        let file = self.configfile.as_deref();
        config::read(&Sources { file, environment, flags: &self.flags })
    }
}

#[derive(Debug, Args)]
struct Front {
    #[command(flatten)]
    common: Common,
    /// Where requests go: http://HOST:PORT, https://HOST:PORT, h2c://HOST:PORT or unix:PATH
    #[arg(long, value_name = "URL")]
    upstream: String,
    /// Roots (PEM) that an https upstream is checked against, in place of the system's
    #[arg(long, value_name = "FILE")]
    upstream_ca: Option<PathBuf>,
    /// Threads that serve; by default one a core
    #[arg(long, value_name = "N")]
    workers: Option<usize>,
}

/// What ends the program, and with which code.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// Usage or configuration: 2.
    #[error("{0}")]
    Configuration(String),
    /// 1.
    #[error("{0}")]
    Failed(String),
}

/// Traefik takes its flags in any case, so `--configFile` is `--configfile`.
pub fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const NAME: &str = "--configfile";
    let mut ours = true;
    given
        .map(|word| {
            ours = ours && word != "--";
            let text = word.to_str().filter(|_| ours).unwrap_or_default();
            let (name, rest) = text.split_at_checked(NAME.len()).unwrap_or_default();
            let whole = rest.is_empty() || rest.starts_with('=');
            if whole && name.eq_ignore_ascii_case(NAME) {
                format!("{NAME}{rest}").into()
            } else {
                word
            }
        })
        .collect()
}

/// Runs one subcommand to its end. `host` names this process in the lease.
pub fn run(
    cli: &Cli,
    host: &str,
    clock: fn() -> Timestamp,
    environment: &BTreeMap<String, String>,
) -> ExitCode {
    let process = |common: &Common, front| {
        let config = read(common, environment)?;
        start((common, environment), config, front, (host, clock))
    };
    let outcome = match &cli.command {
        Command::Crd => print_crds(),
        Command::Rule(question) => rule::run(question),
        Command::Check(check) => check.run(environment),
        Command::Plan(plan) => plan.run(environment),
        Command::Status(status) => status.run(environment),
        Command::Renew(renew) => renew.run(environment, clock()),
        Command::Revoke(revoke) => revoke.run(environment, clock()),
        Command::Gc(gc) => gc.run(environment, clock()),
        Command::Providers(providers) => providers.run(),
        Command::Import(import) => import.run(environment, clock()),
        Command::Export(export) => export.run(environment),
        Command::Controller(common) => process(common, None),
        Command::Proxy(front) => process(&front.common, Some((front, Alone::Yes))),
        Command::Run(front) => process(&front.common, Some((front, Alone::No))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&format!("routecert: {failure}"));
            ExitCode::from(if matches!(failure, Failure::Configuration(_)) { 2 } else { 1 })
        }
    }
}

/// Whether the proxy runs without a controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Alone {
    Yes,
    No,
}

fn print_crds() -> Result<(), Failure> {
    let failed = |error: String| Failure::Failed(format!("cannot print the CRDs: {error}"));
    let mut out = std::io::stdout().lock();
    for (_, crd) in api::crds() {
        let yaml = serde_yaml::to_string(&crd).map_err(|error| failed(error.to_string()))?;
        match write!(out, "---\n{yaml}") {
            // Whoever reads has read enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            written => written.map_err(|error| failed(error.to_string()))?,
        }
    }
    Ok(())
}

fn start(
    (common, environment): (&Common, &BTreeMap<String, String>),
    config: Config,
    front: Option<(&Front, Alone)>,
    (host, clock): (&str, fn() -> Timestamp),
) -> Result<(), Failure> {
    let upstream = front.map(|(front, _)| upstream(front)).transpose()?;
    let runtime = runtime()?;
    let proxy = front.map(|(_, alone)| alone);
    let kind = store_kind(&config, proxy)?;
    let config = if kind == StoreKind::File { config } else { with_a_provider(config) };
    if kind == StoreKind::Secrets && proxy != Some(Alone::Yes) {
        tell_of_storages(&config);
    }
    let outcome = runtime.block_on(async {
        let cluster = match kind {
            StoreKind::File if !reads_cluster(&config) => None,
            StoreKind::File | StoreKind::Secrets => Some(connect(common, &config).await?),
        };
        let store = open_store(&config, kind, cluster.as_ref())?;
        let environment = environment.clone();
        let host = host.to_owned();
        let metrics = Metrics::default();
        let process = Process { config, cluster, store, host, clock, environment, metrics };
        match (front, upstream) {
            (Some((front, alone)), Some(upstream)) => {
                Box::pin(process.serve(front, upstream, alone)).await
            }
            _ => Box::pin(process.control()).await,
        }
    });
    // A key that is being made (RSA8192: seconds) is of no use any more.
    runtime.shutdown_background();
    outcome
}

/// Reads the configuration, starts the log, and tells what is wrong, all of it.
fn read(common: &Common, environment: &BTreeMap<String, String>) -> Result<Config, Failure> {
    let reading = readable(&common.configuration, environment)?;
    let problems = reading.errors();
    let config = reading.config.map_err(|_same| refused(&problems))?;
    start_log(&config);
    for fault in reading.faults {
        tracing::error!("{fault}");
    }
    for warning in reading.warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// The configuration, and what is to be said of it.
fn understood(
    configuration: &Configuration,
    environment: &BTreeMap<String, String>,
) -> Result<(Config, Vec<String>), Failure> {
    let reading = readable(configuration, environment)?;
    let problems = reading.errors();
    let config = reading.config.map_err(|_same| refused(&problems))?;
    let said = reading.faults.iter().chain(&reading.warnings).chain(&reading.advice);
    let said = said.map(ToString::to_string).collect();
    Ok((config, said))
}

fn readable(
    configuration: &Configuration,
    environment: &BTreeMap<String, String>,
) -> Result<Reading, Failure> {
    if configuration.is_nothing(environment) {
        let message = "no configuration: give --configfile FILE, Traefik's flags behind `--`, or \
                       variables ROUTECERT_… or TRAEFIK_…";
        return Err(Failure::Configuration(message.to_owned()));
    }
    Ok(configuration.read(environment))
}

fn refused(problems: &[Problem]) -> Failure {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let count = if lines.len() == 1 { "a problem" } else { "problems" };
    Failure::Configuration(format!("{count} in the configuration:\n  {}", lines.join("\n  ")))
}

fn start_log(config: &Config) {
    // rustls warns of clients that misbehave: a line a connection, for whoever likes to flood.
    // kube_runtime repeats every failed list; our own watch names a trouble once. kube_client shows
    // whole objects, Secrets too, that it cannot read.
    let quiet = "rustls=error,kube_runtime=error,kube_client=error";
    let filter = format!("warn,{quiet},routecert={}", config.log.level);
    let filter = EnvFilter::new(filter);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    // A second start in one process (tests) keeps the first one's log.
    let started = match config.log.format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Common => log.try_init(),
    };
    drop(started);
}

fn upstream(front: &Front) -> Result<Upstream, Failure> {
    Upstream::parse(&front.upstream, front.upstream_ca.as_deref())
        .map_err(|error| Failure::Configuration(format!("--upstream: {error}")))
}

struct Process {
    config: Config,
    cluster: Option<Cluster>,
    store: Store,
    host: String,
    clock: fn() -> Timestamp,
    environment: BTreeMap<String, String>,
    metrics: Metrics,
}

impl Process {
    async fn control(self) -> Result<(), Failure> {
        let stop = stop_on_signals()?;
        let (sender, ready) = watch::channel(false);
        let address = &self.config.own.admin_address;
        let health = admin::serve(address, is_ready(ready), self.measured());
        tokio::select! {
            () = controller::run(self.controller_settings(), sender, stop) => {}
            () = forever(health) => {}
        }
        Ok(())
    }

    async fn serve(self, front: &Front, upstream: Upstream, alone: Alone) -> Result<(), Failure> {
        let stop = stop_on_signals()?;
        let settings = proxy::Settings {
            entry_points: self.config.entry_points.values().cloned().collect(),
            upstream,
            workers: front.workers.unwrap_or_else(cores),
            drain: DRAIN,
        };
        let (sender, listening) = watch::channel(None);
        let address = &self.config.own.admin_address;
        let health = admin::serve(address, is_listening(listening), self.measured());
        let serving = proxy::run(settings, self.inputs(), sender, stop.clone());
        let controlling = async {
            if alone == Alone::No {
                let (sender, _) = watch::channel(false);
                controller::run(self.controller_settings(), sender, stop.clone()).await;
            }
        };
        let both = async {
            let proxied = async {
                let result = serving.await;
                // Without its proxy the controller's challenges are answered by nobody.
                stop.cancel();
                result
            };
            Box::pin(futures::future::join(proxied, controlling)).await.0
        };
        tokio::select! {
            result = both => result.map_err(|error| Failure::Failed(error.to_string())),
            () = forever(health) => Ok(()),
        }
    }

    fn measured(&self) -> admin::Measured {
        let metrics = self.metrics.clone();
        (Arc::new(move || metrics.text()), metrics::CONTENT_TYPE)
    }

    fn controller_settings(&self) -> controller::Settings {
        controller::Settings {
            config: self.config.clone(),
            store: self.store.clone(),
            client: self.cluster.as_ref().map(|cluster| cluster.client.clone()),
            namespace: home(&self.config, self.cluster.as_ref()),
            // Pods on the host network share a name, and every container has process 1.
            identity: format!("{}_{:08x}", self.host, rand::random::<u32>()),
            clock: self.clock,
            environment: self.environment.clone(),
            metrics: self.metrics.clone(),
        }
    }

    fn inputs(&self) -> proxy::Inputs {
        let store = self.store.clone();
        proxy::Inputs {
            certificates: store.certificates(),
            challenges: store.challenges(),
            look_up: Arc::new(move |shard| {
                let store = store.clone();
                Box::pin(async move {
                    store.challenge_shard(shard).await.map_err(|error| error.to_string())
                })
            }),
        }
    }
}

async fn forever(health: impl Future<Output = ()>) {
    health.await;
    // Health could not be served: named already, and no reason to stop.
    std::future::pending::<()>().await;
}

fn is_ready(ready: watch::Receiver<bool>) -> Ready {
    Arc::new(move || if *ready.borrow() { Ok(()) } else { Err("starting".to_owned()) })
}

fn is_listening(listening: watch::Receiver<Option<proxy::Listening>>) -> Ready {
    let waiting = "the certificates are not loaded yet, or the process is stopping";
    Arc::new(move || listening.borrow().as_ref().map(drop).ok_or_else(|| waiting.to_owned()))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let failed = |error| Failure::Failed(format!("cannot listen for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let stop = CancellationToken::new();
    let signalled = stop.clone();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the process")]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping");
        signalled.cancel();
    });
    Ok(stop)
}

/// Whoever reads may have read enough.
fn print(text: &str) -> Result<(), Failure> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::Failed(format!("cannot print: {error}"))),
    }
}

/// Standard error may be closed; then there is nobody to tell.
fn say(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}
