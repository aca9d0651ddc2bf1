//! What a plan says, in the order in which it is printed.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::cert::Id;
use crate::name::Name;
use crate::route::{Key, Reason};
use crate::store::CERTIFICATE_PREFIX;
use crate::world::{Derived, Want, World};

/// The answer of `plan -o json`; its form is a promise, see `docs/plan.md`.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    pub(super) certificates: Vec<Certificate>,
    pub(super) refusals: BTreeSet<Refusal>,
    pub(super) warnings: BTreeSet<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Certificate {
    pub(super) resolver: String,
    pub(super) names: Vec<String>,
    pub(super) challenges: BTreeMap<String, &'static str>,
    pub(super) secret: Secret,
    pub(super) copies: Vec<Secret>,
    pub(super) routes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Secret {
    pub(super) namespace: String,
    pub(super) name: String,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Refusal {
    pub(super) route: String,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Refusal {
    /// A CertificateResolver that has no effect.
    pub(super) fn shadowed(name: &str) -> Self {
        Self {
            route: format!("CertificateResolver {name}"),
            reason: Reason::Conflict.as_str(),
            message: format!(
                "the configuration has a resolver `{name}`, which goes before this object; give \
                 the object another name"
            ),
        }
    }
}

impl Plan {
    pub(super) fn of(
        world: &World,
        namespace: &str,
        mut refusals: BTreeSet<Refusal>,
        warnings: Vec<String>,
    ) -> Self {
        let mut certificates: Vec<Certificate> =
            world.wants().map(|(id, want)| certificate(world, namespace, id, want)).collect();
        certificates.sort();
        let mut warnings: BTreeSet<String> = warnings.into_iter().collect();
        for (route, derived) in world.derived() {
            let shown = route.key.shown();
            refusals.extend(refused(world, &route.key, derived));
            warnings.extend(derived.warnings.iter().map(|text| format!("{shown}: {text}")));
            if !route.unknown_fields.is_empty() {
                let fields = route.unknown_fields.join(", ");
                warnings.insert(format!("{shown}: fields without effect: {fields}"));
            }
        }
        Self { certificates, refusals, warnings }
    }
}

fn certificate(world: &World, namespace: &str, id: &Id, want: Want) -> Certificate {
    let resolver = world.resolver(&want.resolver);
    let challenge = |name: &Name| {
        let kind = resolver?.challenge_of(name).ok()?;
        Some((name.as_str().to_owned(), kind.as_str()))
    };
    let copies = world.copies_of(id).into_iter();
    Certificate {
        names: want.names.iter().map(|name| name.as_str().to_owned()).collect(),
        challenges: want.names.iter().filter_map(challenge).collect(),
        secret: Secret {
            namespace: namespace.to_owned(),
            name: format!("{CERTIFICATE_PREFIX}{id}"),
        },
        copies: copies.map(|(namespace, name)| Secret { namespace, name }).collect(),
        routes: want.routes.iter().map(Key::shown).collect(),
        resolver: want.resolver,
    }
}

fn refused(world: &World, key: &Key, derived: &Derived) -> Vec<Refusal> {
    let refused = derived.refusals.iter().cloned();
    let lost = derived.certificates.iter().filter_map(|wanted| world.lost_copy(key, wanted));
    refused
        .chain(lost)
        .map(|refusal| Refusal {
            route: key.shown(),
            reason: refusal.reason.as_str(),
            message: refusal.message,
        })
        .collect()
}
