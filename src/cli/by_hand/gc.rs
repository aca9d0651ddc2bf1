//! `routecert gc`: certificates that no route wants, what becomes of them, and a person's word that
//! those which are held back may go.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;

use crate::api::AcmeCertificate;
use crate::cert::Id;
use crate::cli::Failure;
use crate::cli::by_hand::records::{self, Place, Records};
use crate::cli::by_hand::{shown, tell};
use crate::cluster;
use crate::order::State;
use crate::plan::Why;
use crate::store::CERTIFICATE_PREFIX;

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub(crate) struct Gc {
    /// Let go those that are held back because so many lost their routes at once
    #[arg(long)]
    confirm: bool,
    #[command(flatten)]
    place: Place,
}

/// A certificate that no route wants.
struct Unused {
    id: Id,
    state: State,
    since: Timestamp,
    is_held: bool,
    message: String,
}

impl Gc {
    pub(in crate::cli) fn run(
        &self,
        environment: &BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        records::in_runtime(async {
            let records = self.place.open(environment).await?;
            let unused = unused(&records).await?;
            if self.confirm { confirm(&records, &unused).await } else { list(&unused) }
        })
    }
}

fn list(unused: &[Unused]) -> Result<(), Failure> {
    if unused.is_empty() {
        return tell("nothing is to be deleted: a route wants each certificate");
    }
    for one in unused {
        tell(&format!("{}: {}", shown(&one.id, &one.state), one.message))?;
    }
    let held = unused.iter().filter(|one| one.is_held).count();
    if held > 0 {
        tell(&format!(
            "\n{held} of {} are held back. If their routes went on purpose, `routecert gc --confirm` \
             lets them go; if not, they are as they were when their routes are back",
            unused.len()
        ))?;
    }
    Ok(())
}

/// What becomes unused after what was looked at is not meant.
async fn confirm(records: &Records, unused: &[Unused]) -> Result<(), Failure> {
    let held: Vec<&Unused> = unused.iter().filter(|one| one.is_held).collect();
    let Some(until) = held.iter().map(|one| one.since).max() else {
        return tell("no removal is held back, so there is nothing to confirm");
    };
    records.let_go(until).await?;
    for one in &held {
        tell(&shown(&one.id, &one.state))?;
    }
    tell(&format!(
        "{} may go: each is deleted when `routecert.removeAfter` has passed since its last route \
         went, unless a route wants it again before",
        held.len()
    ))?;
    records.warn_if_nobody_leads().await;
    Ok(())
}

async fn unused(records: &Records) -> Result<Vec<Unused>, Failure> {
    let states = records.states().await?;
    let shown = shown_by_controller(records).await?;
    let is_left = |state: &State| state.removed_at.is_none();
    let mut unused: Vec<Unused> = states
        .into_iter()
        .filter(|(_, state)| is_left(state))
        .filter_map(|(id, state)| {
            let since = state.unused_since?;
            let told = shown.get(&id);
            let is_held = told.is_some_and(|(reason, _)| reason == Why::MassRemovalHeld.as_str());
            let message = told.map(|(_, message)| message.clone());
            let message = message.unwrap_or_else(|| format!("no route wants it since {since}"));
            Some(Unused { id, state, since, is_held, message })
        })
        .collect();
    unused.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
    Ok(unused)
}

/// Reason and message of each AcmeCertificate.
async fn shown_by_controller(records: &Records) -> Result<BTreeMap<Id, (String, String)>, Failure> {
    let api: Api<AcmeCertificate> = Api::all(records.client.clone());
    let list = api.list(&ListParams::default()).await.map_err(|error| {
        Failure::Failed(format!("AcmeCertificates cannot be read: {}", cluster::explain(&error)))
    })?;
    let told = |object: AcmeCertificate| {
        let id = Id::from_object_name(CERTIFICATE_PREFIX, object.metadata.name.as_deref()?)?;
        let status = object.status?;
        Some((id, (status.reason, status.message)))
    };
    Ok(list.items.into_iter().filter_map(told).collect())
}
