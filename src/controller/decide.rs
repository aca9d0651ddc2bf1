//! For each certificate that may have changed: ask the plan, show the answer, take the step.

use jiff::{SignedDuration, Timestamp};

use crate::cert::Id;
use crate::controller::adopt;
use crate::controller::copies::{Command, Place};
use crate::controller::gc;
use crate::controller::leader::Leader;
use crate::controller::publish::News;
use crate::controller::{poll, queue, verdict};
use crate::issue;
use crate::order::Spec;
use crate::plan;
use crate::plan::{Decision, Expected, Held, Question, Step, Wanted, Why};
use crate::resolver::Setting;
use crate::route::Key;
use crate::world::{Holding, Want};

/// What `certificatesDuration` is when nobody says.
const NINETY_DAYS: std::time::Duration = std::time::Duration::from_hours(2160);
/// Certificates that change together within so long are many at once.
const TOGETHER: SignedDuration = SignedDuration::from_hours(24);

pub(super) async fn dirty(leader: &mut Leader) {
    let now = (leader.settings.clock)();
    while let Some((at, id)) = leader.wakes.first().cloned().filter(|(at, _)| *at <= now) {
        leader.wakes.remove(&(at, id.clone()));
        leader.wake_of.remove(&id);
        leader.dirty.ids.insert(id);
    }
    leader.read_asked().await;
    poll::take(leader, now).await;
    // What is done for one may be a reason to look at it again.
    while let Some(id) = next(leader) {
        decide(leader, &id, now).await;
    }
    leader.certificates = None;
    queue::start(leader, now);
    poll::start(leader, now);
    for key in std::mem::take(&mut leader.dirty.routes) {
        tell_route(leader, &key);
    }
    if !leader.complete {
        leader.complete = true;
        tell(leader, News::Complete);
        leader.ready.send_replace(true);
        tracing::info!(
            routes = leader.world.len(),
            certificates = leader.records.len(),
            "everything is known"
        );
    }
    if leader.inherited.is_empty() && leader.records.has_inherited() {
        leader.records.forget_inherited();
        if let Err(error) = leader.engine.table.settle().await {
            tracing::warn!("{error}");
        }
    }
}

/// Nothing is deleted before it is known what else became unused with it.
fn next(leader: &mut Leader) -> Option<Id> {
    leader.dirty.ids.pop_first().or_else(|| leader.leaving.pop_first())
}

async fn decide(leader: &mut Leader, id: &Id, now: Timestamp) {
    leader.read_doubted(id, now).await;
    note_holding(leader, id, now);
    let want = leader.world.want(id).or_else(|| leader.wanted_last(id));
    if want.is_none() {
        // Counted at most once a turn.
        leader.certificates.get_or_insert_with(|| leader.records.len());
    }
    let mut decision = ask(leader, id, want.as_ref(), now);
    note_change(leader, id, want.as_ref(), &decision, now);
    if matches!(decision.step, Step::Issue(_)) && decision.view.reason == Why::NotIssued {
        decision.view.reason = Why::Issuing;
    }
    if let Some(told) = leader.records.told(id) {
        let message = &mut decision.view.message;
        *message = if message.is_empty() { told.to_owned() } else { format!("{message}; {told}") };
    }
    let hold_ends = leader.records.hold_ends(id, leader.settings.config.own.host_hold);
    let hold_ends = hold_ends.filter(|end| now < *end);
    leader.wake(id, decision.wake.into_iter().chain(hold_ends).min());
    wait_for_turn(leader, id, want.as_ref(), &mut decision, now);
    poll::plan(leader, id, want.as_ref(), now);
    hold_others(leader, id, decision.view.reason);
    show(leader, id, want.as_ref(), &decision);
    fill_copies(leader, id, want.as_ref());
    if leader.busy.contains(id) {
        return;
    }
    if let Some(until) = leader.records.paused(id, now) {
        leader.wake(id, Some(until));
        return;
    }
    if !matches!(decision.step, Step::Issue(_)) {
        leader.inherited.remove(id);
    }
    match decision.step {
        Step::Nothing if begin_to_tidy(leader, id) => {}
        Step::Nothing => store_wishes(leader, id).await,
        Step::Issue(_) => {
            if adopt::adopt(leader, id, want.as_ref()).await {
                leader.budget.leave(id);
            }
        }
        Step::Remove if !leader.dirty.ids.is_empty() => drop(leader.leaving.insert(id.clone())),
        step => gc::act(leader, id, step, now).await,
    }
}

/// Tells the world what is held, and whose the hosts are by that.
fn note_holding(leader: &mut Leader, id: &Id, now: Timestamp) {
    let holding = match leader.records.held(id) {
        Held::Certificate(facts) if facts.not_before <= now && now < facts.not_after => {
            Holding::Valid
        }
        Held::Certificate(_) | Held::Unreadable(_) | Held::KeyMismatch => Holding::Stale,
        Held::Nothing => Holding::Nothing,
    };
    let changed = leader.world.note(id, holding);
    leader.dirty.merge(changed);
    leader.hold(id);
}

/// One that is to be ordered waits for its turn, unless it is being worked on or was interrupted
/// just now.
fn wait_for_turn(
    leader: &mut Leader,
    id: &Id,
    want: Option<&Want>,
    decision: &mut Decision,
    now: Timestamp,
) {
    let paused = leader.records.paused(id, now).is_some();
    match (&decision.step, want) {
        (Step::Issue(_), _) if leader.busy.contains(id) => {}
        (Step::Issue(grounds), Some(want)) if !paused => {
            queue::enter(leader, (id, want), *grounds, now, &mut decision.view);
        }
        _ => leader.budget.leave(id),
    }
}

/// How many change together decides whether the next has to wait.
fn note_change(
    leader: &mut Leader,
    id: &Id,
    want: Option<&Want>,
    decision: &Decision,
    now: Timestamp,
) {
    let is_one =
        matches!(decision.view.reason, Why::KeyTypeChanged | Why::CaChanged | Why::ProfileChanged)
            || matches!(decision.step, Step::NoteChange(Some(_)));
    if let Some(want) = want.filter(|_| is_one) {
        let changing = leader.changing.entry(want.resolver.clone()).or_default();
        changing.retain(|_, since| now < *since + TOGETHER);
        changing.entry(id.clone()).or_insert(now);
    }
}

fn ask(leader: &Leader, id: &Id, want: Option<&Want>, now: Timestamp) -> Decision {
    let resolver = want.and_then(|want| leader.world.resolver(&want.resolver));
    let others = want.map(|want| leader.records.of_same_names(id, &want.resolver, &want.names));
    let changing = want.and_then(|want| leader.changing.get(&want.resolver));
    let crowd = changing.map_or(0, |all| all.keys().filter(|other| *other != id).count());
    plan::decide(&Question {
        wanted: want.map(|want| Wanted {
            names: &want.names,
            spec: resolver.map(|resolver| Spec::of(resolver, want.key_type)),
        }),
        held: leader.records.held(id),
        state: leader.records.state(id),
        of_same_names: &others.unwrap_or_default(),
        crowd,
        expected: Expected {
            duration: resolver.map_or(NINETY_DAYS, |one| one.certificates_duration),
            is_explicit: resolver
                .is_some_and(|one| one.explicit.contains(&Setting::CertificatesDuration)),
        },
        has_fallback: want.is_some_and(|want| queue::fallback(leader, want).is_some()),
        is_mass: want.is_none() && is_mass(leader, id),
        remove_after: leader.settings.config.own.remove_after,
        host_hold: leader.settings.config.own.host_hold,
        now,
        dice: id.share(),
    })
}

fn is_mass(leader: &Leader, id: &Id) -> bool {
    let since = leader.records.state(id).and_then(|state| state.unused_since);
    let all = leader.certificates.unwrap_or_default();
    since.is_some_and(|since| leader.records.removals.is_mass(since, all))
}

/// Those that became unused before it are looked at again, one by the other.
fn hold_others(leader: &mut Leader, id: &Id, reason: Why) {
    let since = leader.records.state(id).and_then(|state| state.unused_since);
    let Some(since) = since.filter(|_| reason == Why::MassRemovalHeld) else { return };
    let Some(before) = leader.records.removals.before(since, id).cloned() else { return };
    let shown = leader.records.view(&before).map(|view| view.reason);
    if shown == Some(Why::Unused) {
        leader.dirty.ids.insert(before);
    }
}

fn show(leader: &mut Leader, id: &Id, want: Option<&Want>, decision: &Decision) {
    warn_once(leader, want, decision);
    let shown = verdict::certificate(leader, id, want, &decision.view);
    let view = &decision.view;
    // What else is news of a route is told on its own.
    let has_news = leader.records.view(id) != Some(view);
    leader.measure(id, shown.as_ref().map(|_| (view.ready, view.reason.as_str())));
    if shown.is_none() && leader.records.state(id).is_none() {
        leader.records.forget(id);
        leader.budget.forget(id);
    } else {
        leader.records.show(id, view.clone());
    }
    let more = leader.busy.contains(id) && leader.records.told(id).is_none();
    tell(leader, News::Certificate { id: id.clone(), shown, more });
    let routes = want.filter(|_| has_news).into_iter().flat_map(|want| &want.routes);
    leader.dirty.routes.extend(routes.cloned());
}

/// What is about a resolver is told once, not for each of its certificates.
fn warn_once(leader: &mut Leader, want: Option<&Want>, decision: &Decision) {
    let (Some(want), Some(warning)) = (want, &decision.view.warning) else { return };
    if leader.warned.insert((want.resolver.clone(), warning.clone())) {
        tracing::warn!("resolver {}: {warning}", want.resolver);
    }
}

fn tell_route(leader: &mut Leader, key: &Key) {
    let news = verdict::route(leader, key);
    let verdict = news.as_ref().and_then(|news| news.verdict.as_ref());
    let refused = verdict.filter(|verdict| verdict.refused);
    // A route of which nothing is said yet is as it was.
    if news.is_some() || leader.world.route(key).is_none() {
        let reason = refused.map(|verdict| verdict.reason);
        let before = match reason {
            Some(reason) => leader.refused.insert(key.clone(), reason),
            None => leader.refused.remove(key),
        };
        leader.settings.metrics.route(before, reason);
    }
    if key.kind.resource().is_none() {
        leader.journal.note(key, refused.map(|it| (it.reason, it.message.as_str())));
    }
    tell(leader, News::Route { key: key.clone(), news });
}

fn tell(leader: &Leader, news: News) {
    // The publisher ends with this leader.
    drop(leader.news.send(news));
}

/// Asks for the copies that routes name, once per certificate that is new.
fn fill_copies(leader: &mut Leader, id: &Id, want: Option<&Want>) {
    let places = want.map(|_| leader.world.copies_of(id)).unwrap_or_default();
    let places: Vec<Place> = places.into_iter().collect();
    for place in leader.records.drop_copies(id, &places) {
        leader.filled.remove(&place);
        drop(leader.copies.send(Command::Leave(place)));
    }
    let Some(fingerprint) = leader.records.fingerprint(id) else { return };
    for place in places {
        let ours = leader.records.copies_at(&place);
        if leader.records.asks_for_copy(&place, id, &fingerprint, &ours) {
            let (id, fingerprint) = (id.clone(), fingerprint.clone());
            drop(leader.copies.send(Command::Fill { place, id, fingerprint, ours }));
        }
    }
}

/// Copies that were made, and kinds of routes that came, since the state was written.
async fn store_wishes(leader: &mut Leader, id: &Id) {
    let Some(want) = leader.world.want(id) else { return };
    let state = leader.records.state_with_wishes(id, &want, leader.kinds(id, &want));
    if let Some(state) = state {
        leader.write_state(id, state).await;
    }
}

/// TXT records that an order left, and that could not be unset then.
fn begin_to_tidy(leader: &mut Leader, id: &Id) -> bool {
    let Some(job) = queue::tidying(leader, id) else { return false };
    let (engine, clock) = (leader.engine.clone(), leader.settings.clock);
    leader.work(id, async move { issue::tidy(&engine, &job, clock).await });
    true
}
