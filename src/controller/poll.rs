//! Asks the CAs when to renew (RFC 9773), certificate by certificate, each at its own time.

use jiff::{SignedDuration, Timestamp};

use crate::cert::Id;
use crate::controller::leader::{Leader, Told};
use crate::issue;
use crate::order;
use crate::order::{Polled, State, Terms, Window};
use crate::plan::Held;
use crate::resolver::Resolver;
use crate::world::Want;

/// So many are asked about at once: enough for many in six hours, and none to a CA.
const AT_ONCE: usize = 8;
/// A CA that tells no such things may learn it.
const ASKED_NO_MORE: SignedDuration = SignedDuration::from_hours(24);
/// When everything is due at a start, it is spread over so long.
const SPREAD: SignedDuration = SignedDuration::from_mins(30);

/// Says when the certificate is asked about next; nobody asks about one that is not wanted.
pub(super) fn plan(leader: &mut Leader, id: &Id, want: Option<&Want>, now: Timestamp) {
    let next = want.and_then(|want| next(leader, id, want, now));
    if let Some(earlier) = leader.polls.at.remove(id) {
        leader.polls.due.remove(&(earlier, id.clone()));
    }
    if let Some(next) = next {
        leader.polls.at.insert(id.clone(), next);
        leader.polls.due.insert((next, id.clone()));
    }
}

fn next(leader: &Leader, id: &Id, want: &Want, now: Timestamp) -> Option<Timestamp> {
    let Held::Certificate(facts) = leader.records.held(id) else { return None };
    let ari_id = facts.ari_id.as_ref()?;
    if !asks(leader, want) || facts.not_after <= now || leader.polls.running.contains(id) {
        return None;
    }
    let state = leader.records.state(id)?;
    let known = state.ari.as_ref().filter(|ari| ari.id == *ari_id).map(|ari| ari.next_poll);
    let after = leader.polls.not_before.get(id).copied();
    match known.into_iter().chain(after).max() {
        // It was missed while nobody led.
        Some(missed) if missed < now && !leader.complete => {
            let seconds = SPREAD.as_secs_f64() * id.share();
            Some(now + SignedDuration::try_from_secs_f64(seconds).unwrap_or_default())
        }
        Some(next) => Some(next),
        None => Some(now),
    }
}

fn asks(leader: &Leader, want: &Want) -> bool {
    let own = &leader.settings.config.own;
    own.asks_when_to_renew(&want.resolver)
}

/// Asks about those whose time has come.
pub(super) fn start(leader: &mut Leader, now: Timestamp) {
    while leader.polls.running.len() < AT_ONCE {
        let first = leader.polls.due.first().cloned();
        let Some((at, id)) = first.filter(|(at, _)| *at <= now) else { return };
        leader.polls.due.remove(&(at, id.clone()));
        leader.polls.at.remove(&id);
        begin(leader, &id, now);
    }
}

fn begin(leader: &mut Leader, id: &Id, now: Timestamp) {
    // A worker that is about the certificate asks itself, or the certificate is looked at after it.
    if leader.busy.contains(id) {
        return;
    }
    let Held::Certificate(facts) = leader.records.held(id) else { return };
    let Some(ari_id) = facts.ari_id.clone() else { return };
    let Some(want) = leader.world.want(id).or_else(|| leader.wanted_last(id)) else { return };
    let issued = leader.records.state(id).and_then(|state| state.issuance_of(facts));
    let terms = issued.and_then(|issued| issued.terms.as_ref());
    let Some(resolver) = issuer(leader, &want, terms) else { return };
    leader.polls.running.insert(id.clone());
    let engine = leader.engine.clone();
    leader.work(id, async move { issue::poll(&engine, &resolver, ari_id, now).await });
}

/// By whom the certificate was issued, as far as that one is still known.
fn issuer(leader: &Leader, want: &Want, terms: Option<&Terms>) -> Option<Resolver> {
    let name = terms.and_then(|terms| terms.fallback.as_ref()).unwrap_or(&want.resolver);
    let resolver = leader.world.resolver(name)?;
    let same = terms.is_none_or(|terms| terms.spec.ca == resolver.ca_server);
    same.then(|| resolver.clone())
}

/// What polls told: written only if a window is another than before.
pub(super) async fn take(leader: &mut Leader, now: Timestamp) {
    for (id, ari_id, told) in std::mem::take(&mut leader.polls.told) {
        let again = match told {
            Told::Nothing => Some(now + ASKED_NO_MORE),
            Told::Trouble => learn(leader, &id, &ari_id, None, now).await,
            Told::Window(polled) => learn(leader, &id, &ari_id, Some(polled), now).await,
        };
        match again {
            Some(again) => drop(leader.polls.not_before.insert(id, again)),
            None => drop(leader.polls.not_before.remove(&id)),
        }
    }
}

/// `Some`: nothing is known, and when to ask again.
async fn learn(
    leader: &mut Leader,
    id: &Id,
    ari_id: &str,
    polled: Option<Polled>,
    now: Timestamp,
) -> Option<Timestamp> {
    let state = leader.records.state(id)?.clone();
    let known = state.ari.as_ref();
    let Some(ari) = order::learn(known, ari_id, polled, now, rand::random()) else {
        return Some(order::after_error(now));
    };
    if known.is_some_and(|known| (&known.id, known.window) == (&ari.id, ari.window)) {
        leader.records.note_ari(id, ari);
        return None;
    }
    let Window { start, end } = ari.window;
    tracing::info!(names = %state.names, %start, %end, "the CA says when to renew");
    leader.write_state(id, State { ari: Some(ari), ..state }).await;
    None
}
