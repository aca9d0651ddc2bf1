//! What nobody wants any more: noted, removed after `removeAfter`, forgotten a week later.

use jiff::Timestamp;

use crate::cert::Id;
use crate::controller::copies;
use crate::controller::leader::Leader;
use crate::issue;
use crate::issue::Revocation;
use crate::order::{Changing, CopyRef, State};
use crate::plan::{Held, Step};

/// A removal that is withheld is looked at again: what withholds it is not about this certificate.
const LOOK_AGAIN: jiff::SignedDuration = jiff::SignedDuration::from_mins(1);

pub(super) async fn act(leader: &mut Leader, id: &Id, step: Step, now: Timestamp) {
    match step {
        Step::NoteUnused => note_unused(leader, id, now).await,
        Step::NoteUsed => note_used(leader, id).await,
        Step::Remove => remove(leader, id, now).await,
        Step::Forget => forget(leader, id, now).await,
        Step::NoteChange(changing) => note_change(leader, id, changing).await,
        Step::Revoke { reason } => revoke(leader, id, reason, now),
        Step::Nothing | Step::Issue(_) => {}
    }
}

async fn note_change(leader: &mut Leader, id: &Id, changing: Option<Changing>) {
    let Some(state) = known(leader, id) else { return };
    leader.write_state(id, State { changing, ..state }).await;
}

async fn note_unused(leader: &mut Leader, id: &Id, now: Timestamp) {
    let Some(state) = known(leader, id) else { return };
    tracing::info!(names = %state.names, "no route wants the certificate any more");
    leader.write_state(id, State { unused_since: Some(now), ..state }).await;
}

async fn note_used(leader: &mut Leader, id: &Id) {
    let Some(state) = known(leader, id) else { return };
    tracing::info!(names = %state.names, "a route wants the certificate again");
    leader
        .write_state(id, State { unused_since: None, taken_over: false, removed_at: None, ..state })
        .await;
}

/// Copies first, then the certificate, then the record: killed in between, it begins again.
async fn remove(leader: &mut Leader, id: &Id, now: Timestamp) {
    let Some(state) = known(leader, id) else { return };
    if !leader.may_be_removed(&state) {
        leader.wake(id, Some(now + LOOK_AGAIN));
        return;
    }
    if !leader.engine.fence.holds() {
        return;
    }
    let removed = async {
        if let Some(client) = &leader.settings.client {
            copies::delete(client, &unclaimed(leader, &state)).await?;
        }
        if let Some(entry) = leader.engine.store.certificate(id).await? {
            leader.engine.store.remove_certificate(&entry).await?;
        }
        Ok::<(), crate::store::Error>(())
    };
    match removed.await {
        Ok(()) => {
            tracing::info!(names = %state.names, "certificate removed: no route wanted it");
            leader.records.gone(id);
            let state = State { removed_at: Some(now), copies: Vec::new(), pending: None, ..state };
            leader.write_state(id, state).await;
        }
        Err(error) => {
            tracing::warn!(names = %state.names, "not removed yet: {error}");
            again(leader, id, now);
        }
    }
}

/// A copy that holds another certificate by now stays.
fn unclaimed(leader: &Leader, state: &State) -> Vec<CopyRef> {
    let free = |copy: &&CopyRef| leader.world.winner(&copy.namespace, &copy.name).is_none();
    state.copies.iter().filter(free).cloned().collect()
}

async fn forget(leader: &mut Leader, id: &Id, now: Timestamp) {
    let Some(version) = leader.records.state_version(id) else { return };
    match leader.engine.store.remove_state(id, &version).await {
        Ok(()) => {
            leader.records.forget(id);
            leader.budget.forget(id);
            leader.hold(id);
        }
        Err(error) => {
            tracing::warn!("state of rc-{id}: not forgotten yet: {error}");
            again(leader, id, now);
        }
    }
}

fn again(leader: &mut Leader, id: &Id, now: Timestamp) {
    leader.records.pause(id, now);
    leader.wake(id, leader.records.paused(id, now));
}

/// The state record, or what the certificate's Secret says of itself.
fn known(leader: &Leader, id: &Id) -> Option<State> {
    if let Some(state) = leader.records.state(id) {
        return Some(state.clone());
    }
    let stored = leader.records.stored(id)?;
    match leader.records.held(id) {
        Held::Certificate(facts) => Some(State::new(&stored.owner, &stored.resolver, &facts.names)),
        Held::Nothing | Held::Unreadable(_) | Held::KeyMismatch => None,
    }
}

fn revoke(leader: &mut Leader, id: &Id, reason: Option<u8>, now: Timestamp) {
    let Some(state) = leader.records.state(id) else { return };
    let Some(resolver) = leader.world.resolver(&state.resolver).cloned() else {
        let name = &state.resolver;
        tracing::error!(names = %state.names, "not revoked: there is no resolver `{name}`");
        again(leader, id, now);
        return;
    };
    let revocation = Revocation { id: id.clone(), resolver, reason };
    let engine = leader.engine.clone();
    leader.work(id, async move { issue::revoke(&engine, &revocation).await });
}
