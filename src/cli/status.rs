//! `routecert status`: what is held for which routes, until when, and what happens next. It reads
//! what the controller shows in the API server, and nothing else.

mod ask;
mod print;
mod read;
mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use kube::Client;
use serde::Serialize;

use crate::api::{AcmeCertificate, LastError};
use crate::cert::Id;
use crate::cli::place::{api_server, reads_cluster};
use crate::cli::status::ask::Ask;
use crate::cli::status::read::Reader;
use crate::cli::{Configuration, Failure, understood};
use crate::cluster;
use crate::config::{KubernetesCrd, StoreKind};
use crate::store::CERTIFICATE_PREFIX;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// A certificate, as [NAMESPACE/]rc-ID, or a route, as KIND/NAMESPACE/NAME, `KIND
    /// NAMESPACE/NAME` or NAMESPACE/NAME; without one, all certificates and what is refused
    #[arg(value_name = "NAME|ROUTE", num_args = 0..=2)]
    asked: Vec<String>,
    /// Without a name: only what is in this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// How to reach the API server; without it KUBECONFIG or the Pod's own account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Text,
}

/// The answer of `status -o json`.
#[derive(Debug, Default, Serialize)]
struct Status {
    routes: Vec<Route>,
    certificates: Vec<Certificate>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Certificate {
    namespace: String,
    name: String,
    names: Vec<String>,
    resolver: String,
    /// `KIND.GROUP NAMESPACE/NAME`; the first 200.
    routes: Vec<String>,
    ready: bool,
    reason: String,
    message: String,
    not_after: Option<String>,
    renewal: Option<String>,
    secret: Option<String>,
    last_error: Option<LastError>,
    next_retry: Option<String>,
}

#[derive(Debug, Serialize)]
struct Route {
    /// `KIND.GROUP NAMESPACE/NAME`.
    #[serde(rename = "route")]
    key: String,
    ready: bool,
    reason: String,
    message: String,
    /// `NAMESPACE/NAME` of the certificates that serve it.
    certificates: Vec<String>,
}

/// What words on the command line come to.
pub(super) enum Named {
    /// It need not be there.
    Certificate { namespace: Option<String>, id: Id },
    /// Certificates of a route that is there.
    OfRoutes(BTreeSet<Id>),
}

/// The certificate that the words name; `None`: they name a route.
pub(super) fn certificate(words: &[String]) -> Result<Option<Named>, Failure> {
    let Ask::Certificate { namespace, name } = Ask::parse(words, None)? else { return Ok(None) };
    let id = Id::from_object_name(CERTIFICATE_PREFIX, &name);
    Ok(id.map(|id| Named::Certificate { namespace, id }))
}

/// Which certificates the words name, a certificate or a route.
pub(super) async fn named(client: &Client, words: &[String]) -> Result<Named, Failure> {
    if let Some(named) = certificate(words)? {
        return Ok(named);
    }
    let id = |name: &str| Id::from_object_name(CERTIFICATE_PREFIX, name);
    let ask = Ask::parse(words, None)?;
    let status = Reader { client: client.clone() }.read(&ask).await?;
    Ok(Named::OfRoutes(status.certificates.iter().filter_map(|it| id(&it.name)).collect()))
}

impl Arguments {
    pub(super) fn run(&self, environment: &BTreeMap<String, String>) -> Result<(), Failure> {
        let ask = Ask::parse(&self.asked, self.namespace.as_deref())?;
        let failed = |error: std::io::Error| Failure::Failed(format!("cannot start: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let status = runtime.map_err(failed)?.block_on(async {
            let server = self.api_server(environment)?;
            let cluster = cluster::connect(self.kubeconfig.as_deref(), &server)
                .await
                .map_err(|error| Failure::Configuration(error.to_string()))?;
            Reader { client: cluster.client }.read(&ask).await
        })?;
        match self.output {
            Form::Json => print::json(&status)?,
            Form::Text => print::text(&status)?,
        }
        status.verdict()
    }

    /// A configuration may name the API server; none is needed.
    fn api_server(&self, environment: &BTreeMap<String, String>) -> Result<KubernetesCrd, Failure> {
        if self.configuration.is_nothing(environment) {
            return Ok(KubernetesCrd::default());
        }
        let (config, _) = understood(&self.configuration, environment)?;
        if config.store() == StoreKind::File && !reads_cluster(&config) {
            let message = "there is no API server that anything is shown in: by this configuration \
                           routes and certificates are in files. `routecert run` tells in its log \
                           what becomes of each certificate";
            return Err(Failure::Configuration(message.to_owned()));
        }
        Ok(api_server(&config))
    }
}

impl Status {
    /// Exit code 1 if anything that was asked for is not ready.
    fn verdict(&self) -> Result<(), Failure> {
        let certificates = self.certificates.iter().filter(|one| !one.ready).count();
        let routes = self.routes.iter().filter(|one| !one.ready).count();
        match (certificates, routes) {
            (0, 0) => Ok(()),
            (certificates, routes) => Err(Failure::Failed(format!(
                "not ready: {certificates} certificate(s), {routes} route(s)"
            ))),
        }
    }
}

impl Certificate {
    fn of(object: AcmeCertificate) -> Self {
        let status = object.status.unwrap_or_default();
        Self {
            namespace: object.metadata.namespace.unwrap_or_default(),
            name: object.metadata.name.unwrap_or_default(),
            names: object.spec.names,
            resolver: object.spec.resolver,
            routes: object.spec.routes,
            ready: status.ready == "True",
            reason: status.reason,
            message: status.message,
            not_after: status.not_after,
            renewal: status.renewal,
            secret: status.secret,
            last_error: status.last_error,
            next_retry: status.next_retry,
        }
    }

    fn place(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}
