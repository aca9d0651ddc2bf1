//! `routecert gc`: certificates that no route wants, what becomes of them, and a person's word that
//! those which are held back may go.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use kube::api::ListParams;
use kube::{Api, Client};

use crate::api::AcmeCertificate;
use crate::cert::Id;
use crate::cli::Failure;
use crate::cli::by_hand::records::{Place, Records};
use crate::cli::by_hand::{shown, tell};
use crate::cli::place::in_runtime;
use crate::cluster;
use crate::order::State;
use crate::plan;
use crate::plan::{Removals, Why};
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
        now: Timestamp,
    ) -> Result<(), Failure> {
        in_runtime(async {
            let records = self.place.open(environment).await?;
            let unused = unused(&records).await?;
            if self.confirm { confirm(&records, &unused, now).await } else { list(&unused) }
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
async fn confirm(records: &Records, unused: &[Unused], now: Timestamp) -> Result<(), Failure> {
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
    records.tell_who_does_it(now).await;
    Ok(())
}

/// The earliest first.
async fn unused(records: &Records) -> Result<Vec<Unused>, Failure> {
    let states = records.states().await?;
    let mut told = match records {
        Records::Cluster(cluster) => shown_by_controller(&cluster.client).await?,
        Records::Files { files, remove_after } => {
            let let_go = files.let_go().map_err(|error| Failure::Failed(error.to_string()))?;
            judged(&states, let_go, *remove_after)
        }
    };
    let left = states.into_iter().filter(|(_, state)| state.removed_at.is_none());
    let unused = left.filter_map(|(id, state)| {
        let since = state.unused_since?;
        let (reason, message) = told.remove(&id).unwrap_or_default();
        let is_held = reason == Why::MassRemovalHeld.as_str();
        let known = !message.is_empty();
        let message =
            if known { message } else { format!("no route wants it since {}", plan::round(since)) };
        Some(Unused { id, state, since, is_held, message })
    });
    let mut unused: Vec<Unused> = unused.collect();
    unused.sort_by(|one, other| (one.since, &one.id).cmp(&(other.since, &other.id)));
    Ok(unused)
}

/// Reason and message of a certificate, by which a controller shows them.
type Told = BTreeMap<Id, (String, String)>;

async fn shown_by_controller(client: &Client) -> Result<Told, Failure> {
    let api: Api<AcmeCertificate> = Api::all(client.clone());
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

/// What the process that has the files decides of those that no route wants.
fn judged(states: &[(Id, State)], let_go: Option<Timestamp>, remove_after: Duration) -> Told {
    let mut removals = Removals::default();
    for (id, state) in states {
        removals.note(id, None, Some(state));
    }
    if let Some(until) = let_go {
        removals.let_go(until);
    }
    let there = states.iter().filter(|(_, state)| state.removed_at.is_none()).count();
    let judge = |(id, state): &(Id, State)| {
        let since = state.unused_since?;
        let (why, message) = plan::why_unused(since, removals.is_mass(since, there), remove_after);
        Some((id.clone(), (why.as_str().to_owned(), message)))
    };
    states.iter().filter_map(judge).collect()
}
