//! Every key that is known, the shape of its value, its default, what this version does with it:
//! data only. The documentation and the editors' schema are printed from it.

mod entry_point;
mod resolver;
mod rest;

use crate::config::near::fold;
use crate::config::schema::entry_point::ENTRY_POINT;
pub(super) use crate::config::schema::resolver::ACME_OF_OBJECT;
use crate::config::schema::resolver::RESOLVER;
use crate::config::schema::rest::{CORE, LOG, METRICS, OWN, PROVIDERS};
use Shape::{Anything, Named, Section, Switch};

/// What stands at a key.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    /// Not looked at.
    Anything,
    Bool,
    /// A duration of one resolver: negative, it costs only that resolver.
    Delay,
    Duration,
    Integer,
    List(&'static Self),
    /// A map whose keys are names that the user chose.
    Named(&'static Self),
    /// Never shown.
    Secret,
    Section(&'static [Field]),
    /// A section that is on as soon as it is there, even empty or as `true`.
    Switch(&'static [Field]),
    Text,
    /// A list of texts, or one text with commas.
    Texts,
}

#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) shape: Shape,
    pub(super) meaning: Meaning,
    /// As it would be written; empty: off, 0, no text. A section with `{}` is always there.
    pub(super) default: &'static str,
    /// One line for the reference.
    pub(super) about: &'static str,
}

/// What this version does with a key.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// Traefik's, for duties that this program does not have.
    Foreign,
    Honoured,
    NotYet,
    /// Leaving it out of account would do harm, so it is an error: why, and what to do.
    Refused(&'static str),
}

impl Field {
    const fn or(self, default: &'static str) -> Self {
        Self { default, ..self }
    }
}

const fn on(key: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { key, shape, meaning: Meaning::Honoured, default: "", about }
}

const fn later(key: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { key, shape, meaning: Meaning::NotYet, default: "", about }
}

const fn foreign(key: &'static str) -> Field {
    Field { key, shape: Anything, meaning: Meaning::Foreign, default: "", about: "" }
}

const fn refused(key: &'static str, why: &'static str) -> Field {
    Field { key, shape: Anything, meaning: Meaning::Refused(why), default: "", about: "" }
}

/// `base` and then `more`; `N` is how many that makes.
const fn with<const N: usize>(base: &[Field], more: &[Field]) -> [Field; N] {
    assert!(base.len() + more.len() == N, "N is not the number of fields");
    let mut all = [foreign(""); N];
    let (first, second) = all.split_at_mut(base.len());
    first.copy_from_slice(base);
    second.copy_from_slice(more);
    all
}

pub(super) const ROOT: &[Field] = &[
    on(
        "certificatesResolvers",
        Named(&Section(RESOLVER)),
        "Where certificates come from, by a name that routes use.",
    ),
    on("core", Section(CORE), "What holds for all routes.").or("{}"),
    on("entryPoints", Named(&Section(ENTRY_POINT)), "Where the proxy listens, by name.")
        .or("http on :80, if none is given"),
    on("log", Section(LOG), "What is logged, to standard error.").or("{}"),
    on("providers", Section(PROVIDERS), "Where routes are read from.").or("{}"),
    on("routecert", Section(OWN), "What Traefik does not have.").or("{}"),
    later("metrics", Section(METRICS), "What is counted."),
    foreign("accessLog"),
    foreign("api"),
    foreign("experimental"),
    foreign("global"),
    foreign("hostResolver"),
    foreign("ocsp"),
    foreign("ping"),
    foreign("serversTransport"),
    foreign("spiffe"),
    foreign("tcpServersTransport"),
    foreign("tracing"),
    refused("pilot", "Traefik 3 has no Pilot any more; remove the section"),
];

static WHOLE: Shape = Section(ROOT);

/// Settings of Traefik 2 that Traefik 3 refuses to start with.
pub(super) const REMOVED: &[&str] = &[
    "experimental.http3",
    "providers.consul.namespace",
    "providers.consul.tls.caOptional",
    "providers.consulCatalog.endpoint.tls.caOptional",
    "providers.consulCatalog.namespace",
    "providers.docker.swarmMode",
    "providers.docker.tls.caOptional",
    "providers.etcd.tls.caOptional",
    "providers.http.tls.caOptional",
    "providers.marathon",
    "providers.nomad.endpoint.tls.caOptional",
    "providers.nomad.namespace",
    "providers.rancher",
    "providers.redis.tls.caOptional",
    "providers.swarm.tls.caOptional",
    "tracing.datadog",
    "tracing.elastic",
    "tracing.haystack",
    "tracing.instana",
    "tracing.jaeger",
    "tracing.spanNameLimit",
    "tracing.zipkin",
];

/// Deprecated settings, and what to write instead.
pub(super) const DEPRECATED: &[(&str, &str)] = &[
    ("core.defaultRuleSyntax", "rules in the v3 syntax"),
    ("providers.kubernetesIngress.disableIngressClassLookup", "disableClusterScopeResources"),
];

/// One step of the way from the root to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Index(usize),
    Key(String),
}

/// What stands at a path; `None` if there is no such key.
pub(super) fn shape(path: &[Step]) -> Option<&'static Shape> {
    path.iter().try_fold(&WHOLE, |shape, step| match (shape, step) {
        (Anything, _) => Some(shape),
        (Section(fields) | Switch(fields), Step::Key(key)) => {
            fields.iter().find(|field| fold(field.key) == fold(key)).map(|field| &field.shape)
        }
        (Named(inner), Step::Key(_)) | (Shape::List(inner), Step::Index(_)) => Some(*inner),
        _ => None,
    })
}
