//! `routecert plan`: routes in; the certificates that they lead to and every refusal out. It is the
//! first part of the controller's way with nothing held, and contacts nothing but, if asked, the
//! API server.

mod print;
mod result;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use futures::StreamExt;

use crate::cli::place::{HOME, api_server, with_a_provider};
use crate::cli::plan::result::Plan;
use crate::cli::{Configuration, Failure, understood};
use crate::cluster;
use crate::config::Config;
use crate::route::{Judged, Kind};
use crate::source;
use crate::source::manifests::{self, Manifests};
use crate::source::{Event, Listing, Listings, What};
use crate::world::{Purpose, World};

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Manifests: a file, a directory with all below it, or `-` for standard input; repeatable
    #[arg(short, long = "filename", value_name = "PATH")]
    filenames: Vec<PathBuf>,
    /// Read what is in the API server
    #[arg(long)]
    cluster: bool,
    /// How to reach it; without it KUBECONFIG or the Pod's own account
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = Form::Text)]
    output: Form,
    /// Exit with 1 if anything is refused
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    configuration: Configuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    Json,
    Text,
}

impl Arguments {
    pub(crate) fn run(&self, environment: &BTreeMap<String, String>) -> Result<(), Failure> {
        let (config, said) = understood(&self.configuration, environment)?;
        let from_objects = self.cluster || !self.filenames.is_empty();
        let config = if from_objects { with_a_provider(config) } else { config };
        if self.filenames.is_empty() && !self.cluster && config.file.is_none() {
            let message = "nothing to plan: give -f with manifests, --cluster, or providers.file";
            return Err(Failure::Configuration(message.to_owned()));
        }
        let mut planner = if self.cluster {
            self.read_cluster(&config, said)?
        } else {
            let home = config.own.controller_namespace.as_deref().unwrap_or(HOME);
            let mut planner = Planner::new(&config, home, said);
            planner.read_files(home);
            planner
        };
        self.read_manifests(&config, &mut planner)?;
        let plan = planner.finish();
        match self.output {
            Form::Json => print::json(&plan)?,
            Form::Text => print::text(&plan)?,
        }
        if self.strict && !plan.refusals.is_empty() {
            let count = plan.refusals.len();
            return Err(Failure::Failed(format!("--strict: {count} refused")));
        }
        Ok(())
    }

    fn read_manifests(&self, config: &Config, planner: &mut Planner<'_>) -> Result<(), Failure> {
        let failed = |error: manifests::Error| Failure::Configuration(error.to_string());
        let mut found = Manifests::new(config).map_err(failed)?;
        for path in &self.filenames {
            manifests::read(path, &mut found).map_err(failed)?;
        }
        if !found.has_classes && !self.cluster {
            // Manifests are often a part of the whole.
            planner.world.believe_classes();
        }
        if !self.cluster {
            planner.world.judge_services(Judged::WhereAnyIsKnown);
        }
        planner.warnings.append(&mut found.warnings);
        planner.old(&found.old);
        for event in found.events {
            if is_read(config, &event) {
                planner.take(event);
            }
        }
        Ok(())
    }

    fn read_cluster<'a>(
        &self,
        config: &'a Config,
        said: Vec<String>,
    ) -> Result<Planner<'a>, Failure> {
        let failed = |error: std::io::Error| Failure::Failed(format!("cannot start: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(failed)?.block_on(async {
            let cluster = cluster::connect(self.kubeconfig.as_deref(), &api_server(config))
                .await
                .map_err(|error| Failure::Configuration(error.to_string()))?;
            let home = config.own.controller_namespace.as_ref().unwrap_or(&cluster.namespace);
            let mut planner = Planner::new(config, home, said);
            let mut events = source::all(Some(&cluster.client), config, home);
            let mut listings = Listings::new(config);
            while !listings.are_all_heard_of() {
                let Some(event) = events.next().await else { break };
                if let Some(listing) = listings.take(&event) {
                    planner.list(&listing, &listings);
                }
                planner.take(event);
            }
            Ok(planner)
        })
    }
}

/// Whether a provider that is switched on reads the object.
fn is_read(config: &Config, event: &Event) -> bool {
    let Event::Put(route) = event else { return true };
    let namespaces = match route.key.kind {
        Kind::Ingress => config.kubernetes_ingress.as_ref().map(|it| &it.namespaces),
        _ => config.kubernetes_crd.as_ref().map(|it| &it.namespaces),
    };
    let is_meant = |names: &Vec<String>| {
        names.is_empty() || names.iter().any(|name| *name == *route.key.namespace)
    };
    namespaces.is_some_and(is_meant)
}

/// The world, and what is to be said of it.
struct Planner<'a> {
    config: &'a Config,
    world: World,
    refusals: BTreeSet<result::Refusal>,
    warnings: Vec<String>,
}

impl<'a> Planner<'a> {
    fn new(config: &'a Config, home: &str, warnings: Vec<String>) -> Self {
        let world = World::new(config, home, Purpose::Plan);
        Self { config, world, refusals: BTreeSet::new(), warnings }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Put(route) => drop(self.world.apply(&route.key.clone(), Some(*route))),
            Event::Gone(key) => drop(self.world.apply(&key, None)),
            Event::Service { namespace, name, is } => {
                drop(self.world.set_service(&namespace, &name, is));
            }
            Event::Class { name, controller } => {
                drop(self.world.set_class(&name, controller.as_deref()));
            }
            Event::Resolver { name, object } => {
                let live = object.map(|object| {
                    let spec = object.spec.unwrap_or_default();
                    let (live, problems) = self.config.live_resolver(&name, &spec);
                    self.warnings.extend(problems.iter().map(ToString::to_string));
                    live
                });
                if live.is_some() && self.world.is_fixed(&name) {
                    self.refusals.insert(result::Refusal::shadowed(&name));
                }
                self.world.set_resolver(&name, live);
            }
            Event::Synced(_) | Event::Trouble(..) => {}
        }
    }

    fn list(&mut self, (place, listing): &(source::Place, Listing), all: &Listings) {
        if let Listing::Troubled(trouble) = listing {
            self.warnings.push(format!("{}: {trouble}", place.what.as_str()));
        }
        match place.what {
            What::Services => drop(self.world.judge_services(all.judged())),
            What::Classes if matches!(listing, Listing::Troubled(_)) => {
                drop(self.world.believe_classes());
            }
            _ => {}
        }
    }

    fn read_files(&mut self, home: &str) {
        let Some(provider) = &self.config.file else { return };
        let (routes, problems) =
            source::files::read(provider, home, self.config.default_rule_syntax);
        self.warnings.extend(problems);
        for route in routes {
            self.world.apply(&route.key.clone(), Some(route));
        }
    }

    fn old(&mut self, objects: &[String]) {
        if objects.is_empty() {
            return;
        }
        let mut objects = objects.to_vec();
        objects.sort();
        let shown: Vec<&str> = objects.iter().take(10).map(String::as_str).collect();
        self.warnings.push(format!(
            "{} object(s) of traefik.containo.us are not read; change their apiVersion to \
             traefik.io/v1alpha1: {}",
            objects.len(),
            shown.join(", ")
        ));
    }

    fn finish(self) -> Plan {
        Plan::of(&self.world, &self.config.own.certificates_namespace, self.refusals, self.warnings)
    }
}
