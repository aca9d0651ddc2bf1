//! Each `CertificateResolver`: what it comes to with the Secrets that it names, and what is said.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt;
use futures::stream;
use futures::stream::BoxStream;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use tokio::sync::watch;

use crate::api::{CertificateResolverSpec, CertificateResolverStatus, Object};
use crate::cluster::{self, Seen, Trouble};
use crate::config::{Config, Live};
use crate::controller::publish::ResolverNews;
use crate::resolver::Resolver;
use crate::store::LABEL_KIND;

pub(super) struct Resolvers {
    /// The controller's namespace: no Secret of another one is ever read for a resolver.
    home: String,
    objects: BTreeMap<String, Standing>,
    secrets: Secrets,
    /// Told when the first Secret is named.
    wanted: watch::Sender<bool>,
    /// As the world has them.
    applied: BTreeMap<String, Live>,
}

/// What the world is told of a resolver.
#[derive(Debug, PartialEq)]
pub(super) enum ForWorld {
    AsBefore,
    Is(Box<Live>),
    Gone,
}

/// One object as it was read last.
struct Standing {
    generation: i64,
    /// The configuration has a resolver of this name.
    is_shadowed: bool,
    live: Live,
    references: Vec<Reference>,
    present: CertificateResolverStatus,
}

/// One key of a Secret that a resolver needs.
struct Reference {
    part: Part,
    name: String,
    key: String,
}

/// What of a resolver does not work without a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// No account, so no order at all.
    Account,
    Dns,
}

/// Keys of the Secrets that are no records of ours, by name. No value is kept.
#[derive(Default)]
struct Secrets {
    keys: BTreeMap<String, BTreeSet<String>>,
    /// `None`: not listed yet. `Err`: why they cannot be read.
    listed: Option<Result<(), String>>,
}

impl Resolvers {
    pub(super) fn new(home: &str, wanted: watch::Sender<bool>) -> Self {
        Self {
            home: home.to_owned(),
            objects: BTreeMap::new(),
            secrets: Secrets::default(),
            wanted,
            applied: BTreeMap::new(),
        }
    }

    /// An object appeared, changed (`Some`) or went.
    pub(super) fn take(&mut self, config: &Config, name: &str, object: Option<Object>) {
        let Some(object) = object else {
            self.objects.remove(name);
            return;
        };
        let spec = object.spec.unwrap_or_default();
        let (live, problems) = config.live_resolver(name, &spec);
        let earlier = self.objects.get(name).map(|standing| standing.generation);
        if earlier != Some(object.generation) {
            for problem in &problems {
                tracing::warn!("{problem}");
            }
        }
        let references = references(&spec);
        if !references.is_empty() {
            self.wanted.send_replace(true);
        }
        let present = object.status.unwrap_or_default();
        let standing = Standing {
            generation: object.generation,
            is_shadowed: config.resolvers.contains_key(name),
            live,
            references,
            present: CertificateResolverStatus::deserialize(present).unwrap_or_default(),
        };
        self.objects.insert(name.to_owned(), standing);
    }

    /// Returns the resolvers that may be others now.
    pub(super) fn see(&mut self, seen: Seen<Secret>) -> Vec<String> {
        let name = match seen {
            Seen::Put(secret) => {
                let name = secret.name_any();
                let data = secret.data.unwrap_or_default().into_iter();
                let filled = data.filter(|(_, value)| !value.0.is_empty());
                self.secrets.keys.insert(name.clone(), filled.map(|(key, _)| key).collect());
                Some(name)
            }
            Seen::Gone { name, .. } => {
                self.secrets.keys.remove(&name);
                Some(name)
            }
            Seen::Synced => {
                self.secrets.listed = Some(Ok(()));
                None
            }
            Seen::Trouble(trouble) => {
                let home = &self.home;
                tracing::warn!("Secrets of namespace {home} cannot be watched: {trouble}");
                // What was known before still holds.
                if matches!(trouble, Trouble::Forbidden(_)) && self.secrets.keys.is_empty() {
                    self.secrets.listed = Some(Err(trouble.to_string()));
                }
                None
            }
        };
        let names = |standing: &Standing| match &name {
            Some(name) => standing.references.iter().any(|reference| reference.name == *name),
            None => !standing.references.is_empty(),
        };
        let concerned = self.objects.iter().filter(|(_, standing)| names(standing));
        concerned.map(|(name, _)| name.clone()).collect()
    }

    /// Whether it is known of every Secret that is named whether it is there.
    pub(super) fn are_known(&self) -> bool {
        !*self.wanted.borrow() || self.secrets.listed.is_some()
    }

    /// What the world is to know of the resolver from now on.
    pub(super) fn news_for_world(&mut self, name: &str) -> ForWorld {
        let Some(standing) = self.objects.get(name) else {
            let known = self.applied.remove(name);
            return known.map_or(ForWorld::AsBefore, |_| ForWorld::Gone);
        };
        if !standing.references.is_empty() && self.secrets.listed.is_none() {
            return ForWorld::AsBefore;
        }
        let mut live = standing.live.clone();
        if let Ok(resolver) = &mut live.resolver {
            for (part, why) in self.lacks(standing) {
                hinder(resolver, part, why);
            }
        }
        if self.applied.get(name) == Some(&live) {
            return ForWorld::AsBefore;
        }
        self.applied.insert(name.to_owned(), live.clone());
        ForWorld::Is(Box::new(live))
    }

    pub(super) fn is_known(&self, name: &str) -> bool {
        self.objects.contains_key(name)
    }

    /// What is said on the object; `None`: it is gone, or its Secrets are not known yet.
    pub(super) fn news(&self, name: &str) -> Option<ResolverNews> {
        let standing = self.objects.get(name)?;
        if !standing.references.is_empty() && self.secrets.listed.is_none() {
            return None;
        }
        let (reason, message) = self.verdict(name, standing);
        Some(ResolverNews {
            generation: standing.generation,
            ready: reason == READY,
            reason,
            message,
            present: standing.present.clone(),
        })
    }

    fn verdict(&self, name: &str, standing: &Standing) -> (&'static str, String) {
        if standing.is_shadowed {
            let message = format!(
                "the configuration has a resolver `{name}`, and that one counts: routes get \
                 nothing by this CertificateResolver. Name it otherwise, or take `{name}` out of \
                 certificatesResolvers"
            );
            return ("Conflict", message);
        }
        let resolver = match &standing.live.resolver {
            Ok(resolver) => resolver.clone(),
            Err(why) => return (UNUSABLE, format!("{why}; routes that name it get nothing")),
        };
        let lacks: Vec<String> = self.lacks(standing).map(|(_, why)| why).collect();
        let usable = resolver.usable();
        if !lacks.is_empty() {
            let reason = if self.secrets.listed == Some(Ok(())) { MISSING } else { "NoRight" };
            let more = usable.as_ref().err().map(|why| format!("; {why}"));
            return (reason, lacks.join("; ") + &more.unwrap_or_default());
        }
        match usable {
            Err(why) => (UNUSABLE, format!("{why}; routes that name it get nothing")),
            Ok(resolver) => {
                let ready = "routes can name it as their certResolver".to_owned();
                let without = resolver.taken_out.into_values();
                (READY, [ready].into_iter().chain(without).collect::<Vec<_>>().join("; "))
            }
        }
    }

    /// Which parts lack a Secret, and which.
    fn lacks<'a>(&'a self, standing: &'a Standing) -> impl Iterator<Item = (Part, String)> + 'a {
        let lack = |it: &'a Reference| Some((it.part, self.secrets.lack(&self.home, it)?));
        standing.references.iter().filter_map(lack)
    }
}

const READY: &str = "Ready";
const UNUSABLE: &str = "ResolverUnusable";
const MISSING: &str = "SecretMissing";

impl Secrets {
    fn lack(&self, home: &str, reference: &Reference) -> Option<String> {
        let Reference { name, key, .. } = reference;
        if let Some(Err(why)) = &self.listed {
            return Some(format!(
                "Secret {home}/{name} cannot be read: {why}; grant the controller list and watch \
                 on secrets of namespace {home}"
            ));
        }
        match self.keys.get(name) {
            None => Some(format!("there is no Secret {home}/{name}; create it with key `{key}`")),
            Some(keys) if !keys.contains(key) => {
                Some(format!("Secret {home}/{name} has nothing under key `{key}`; fill it in"))
            }
            Some(_) => None,
        }
    }
}

fn references(spec: &serde_json::Value) -> Vec<Reference> {
    // What cannot be read is a resolver that is unusable, whatever Secrets there are.
    let Ok(CertificateResolverSpec { acme, .. }) = CertificateResolverSpec::deserialize(spec)
    else {
        return Vec::new();
    };
    let account = acme.eab.into_iter().map(|eab| (Part::Account, eab.hmac_secret_ref));
    let solvers = acme.dns_challenge.into_iter().flat_map(|dns| dns.solvers);
    let variables = solvers.flat_map(|solver| solver.env.into_values());
    let dns = variables.map(|variable| (Part::Dns, variable.secret_ref));
    let all = account.chain(dns);
    all.map(|(part, it)| Reference { part, name: it.name, key: it.key }).collect()
}

fn hinder(resolver: &mut Resolver, part: Part, why: String) {
    match (part, &mut resolver.challenges.dns) {
        (Part::Account, _) => resolver.obstacles.push(why),
        (Part::Dns, Some(dns)) => dns.obstacles.push(why),
        (Part::Dns, None) => {}
    }
}

/// The Secrets of the controller's namespace, from the moment that a resolver names one.
pub(super) fn secrets(
    client: &Client,
    home: &str,
    mut wanted: watch::Receiver<bool>,
) -> BoxStream<'static, Seen<Secret>> {
    let api: Api<Secret> = Api::namespaced(client.clone(), home);
    // Records of ours are many, and no credentials.
    let others = watcher::Config::default().labels(&format!("!{LABEL_KIND}"));
    let begun = stream::once(async move { wanted.wait_for(|wanted| *wanted).await.is_ok() });
    begun
        .filter(|begun| std::future::ready(*begun))
        .flat_map(move |_| cluster::watch(api.clone(), others.clone()))
        .boxed()
}

#[cfg(test)]
mod tests;
