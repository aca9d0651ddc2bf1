//! The status of a CertificateResolver.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::api::{CertificateResolver, CertificateResolverStatus};
use crate::controller::publish::condition::{self, Word};
use crate::store;

/// What became of a CertificateResolver, and what its object says at present.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::controller) struct ResolverNews {
    pub(in crate::controller) generation: i64,
    pub(in crate::controller) ready: bool,
    pub(in crate::controller) reason: &'static str,
    pub(in crate::controller) message: String,
    pub(in crate::controller) present: CertificateResolverStatus,
}

impl ResolverNews {
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let word = |it: &Self| (it.generation, it.reason, it.message.clone());
        word(self) == word(other)
    }
}

pub(super) async fn write(
    client: &Client,
    name: &str,
    news: &ResolverNews,
    now: Timestamp,
) -> Result<(), store::Error> {
    let ResolverNews { generation, ready, reason, ref message, ref present } = *news;
    let word = Word { ready, reason, message, generation };
    let condition = condition::ready(&word, &present.conditions, now);
    let wanted = CertificateResolverStatus { conditions: vec![condition] };
    if wanted == *present {
        return Ok(());
    }
    let api: Api<CertificateResolver> = Api::all(client.clone());
    let patch = Patch::Merge(json!({"status": wanted}));
    let written = api.patch_status(name, &PatchParams::default(), &patch).await;
    written
        .map(drop)
        .map_err(|error| store::Error::of(format!("status of CertificateResolver {name}"), &error))
}
