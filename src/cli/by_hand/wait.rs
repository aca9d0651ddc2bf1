//! Waits until what was asked for is done, or has failed.

use std::time::Duration;

use futures::StreamExt;

use crate::cert::Id;
use crate::cli::Failure;
use crate::cli::by_hand::records::Records;
use crate::cli::by_hand::{shown, tell};
use crate::order::{Asked, State, outcome};

/// Longer than an order takes at any CA that is well.
const LIMIT: Duration = Duration::from_mins(5);

pub(super) async fn until_done(
    records: &Records,
    id: &Id,
    wish: &Asked,
    before: &State,
) -> Result<(), Failure> {
    let name = shown(id, before);
    let mut changes = records.changes(id);
    let done = async {
        while let Some(now) = changes.next().await {
            if let Some(outcome) = outcome(wish, before, &now) {
                return outcome.map(|()| now);
            }
        }
        Err("its record cannot be watched any more".to_owned())
    };
    match tokio::time::timeout(LIMIT, done).await {
        Ok(Ok(now)) => tell(&format!("{name}: {}", what(wish, &now))),
        Ok(Err(why)) => Err(Failure::Failed(format!("{name}: {why}"))),
        Err(_elapsed) => Err(Failure::Failed(format!(
            "{name}: not done after {} seconds; it stays asked for. {}",
            LIMIT.as_secs(),
            records.look(id, before)
        ))),
    }
}

fn what(wish: &Asked, now: &State) -> String {
    match (wish, now.issued.last()) {
        (Asked::Renew { .. }, Some(issued)) => format!("renewed; valid until {}", issued.not_after),
        (Asked::Renew { .. }, None) => "renewed".to_owned(),
        (Asked::Revoke { .. }, _) => "revoked".to_owned(),
    }
}
