//! Where there is no cluster to show things in: what becomes of each certificate, in the log.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use crate::cert::Id;
use crate::controller::publish::News;

/// Tells each state of a certificate once, until there is no more news.
pub(in crate::controller) async fn log(mut news: mpsc::UnboundedReceiver<News>) {
    let mut told: BTreeMap<Id, String> = BTreeMap::new();
    while let Some(item) = news.recv().await {
        let News::Certificate { id, shown, .. } = item else { continue };
        let Some(shown) = shown else {
            told.remove(&id);
            continue;
        };
        let status = &shown.status;
        let state = format!("{}: {}", status.reason, status.message);
        if told.get(&id) != Some(&state) {
            tracing::info!(names = shown.spec.hosts, "certificate rc-{id}: {state}");
            told.insert(id, state);
        }
    }
}
