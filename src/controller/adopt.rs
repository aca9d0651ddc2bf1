//! A certificate that was taken over belongs to no namespace: the first that wants its names, and
//! may have them, gets it in place of an order.

use crate::cert::Id;
use crate::controller::leader::Leader;
use crate::order::State;
use crate::plan::Held;
use crate::store;
use crate::store::{Label, Versioned};
use crate::world::Want;

/// Whether there was one, so that nothing is to be ordered now.
pub(super) async fn adopt(leader: &mut Leader, id: &Id, want: Option<&Want>) -> bool {
    let Some(want) = want else { return false };
    let waiting = Id::of(&leader.settings.namespace, &want.resolver, &want.names);
    let is_free = leader.records.state(&waiting).is_some_and(|state| state.taken_over);
    let is_nothing = *leader.records.held(id) == Held::Nothing
        && leader.records.state(id).is_none_or(|state| state.pending.is_none());
    if waiting == *id || !is_free || !is_nothing || !leader.engine.fence.holds() {
        return false;
    }
    match take(leader, id, want, &waiting).await {
        Ok(taken) => taken,
        Err(error) => {
            let now = (leader.settings.clock)();
            tracing::warn!(names = %want.names, "not taken over yet: {error}; tried again");
            leader.records.pause(id, now);
            leader.wake(id, leader.records.paused(id, now));
            true
        }
    }
}

/// State, certificate, and then what was waiting goes: killed in between, it begins again.
async fn take(
    leader: &mut Leader,
    id: &Id,
    want: &Want,
    waiting: &Id,
) -> Result<bool, store::Error> {
    let store = leader.engine.store.clone();
    let Some(entry) = store.certificate(waiting).await? else { return Ok(false) };
    let Ok(certificate) = &entry.content else { return Ok(false) };
    if certificate.facts().not_after <= (leader.settings.clock)() {
        return Ok(false);
    }
    if leader.records.state(id).is_none() {
        let state = State::new(&want.owner, &want.resolver, &want.names);
        let version = store.put_state(id, &state, None).await?;
        leader.records.put_state(id, Versioned { value: state, version });
    }
    let label = Label { id, owner: &want.owner, resolver: &want.resolver, names: &want.names };
    store.keep(label, certificate, None).await?;
    leader.records.issued(id, certificate.facts().clone());
    leader.dirty.ids.insert(id.clone());
    tracing::info!(
        names = %want.names,
        not_after = %certificate.facts().not_after,
        "certificate taken over for namespace {}", want.owner
    );
    if !leader.settings.config.own.allow_cross_namespace_hosts {
        remove(leader, waiting, &entry).await?;
    }
    Ok(true)
}

async fn remove(
    leader: &mut Leader,
    waiting: &Id,
    entry: &store::Entry,
) -> Result<(), store::Error> {
    leader.engine.store.remove_certificate(entry).await?;
    leader.records.gone(waiting);
    if let Some(version) = leader.records.state_version(waiting) {
        leader.engine.store.remove_state(waiting, &version).await?;
    }
    leader.records.replace_state(waiting, None);
    leader.dirty.ids.insert(waiting.clone());
    Ok(())
}
