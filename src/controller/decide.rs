//! For each certificate that may have changed: ask the plan, show the answer, take the step.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::cert::Id;
use crate::controller::adopt;
use crate::controller::copies::{Command, Place};
use crate::controller::gc;
use crate::controller::leader::Leader;
use crate::controller::publish::News;
use crate::controller::verdict;
use crate::issue;
use crate::issue::Job;
use crate::plan;
use crate::plan::{Decision, Held, Question, Step, Why};
use crate::resolver::Resolver;
use crate::route::Key;
use crate::world::{Holding, Want};

/// Orders in flight at once at one CA: enough to keep it busy, few enough to be a good neighbour.
const WORKERS: usize = 32;

pub(super) async fn dirty(leader: &mut Leader) {
    let now = (leader.settings.clock)();
    while let Some((at, id)) = leader.wakes.first().cloned().filter(|(at, _)| *at <= now) {
        leader.wakes.remove(&(at, id.clone()));
        leader.wake_of.remove(&id);
        leader.dirty.ids.insert(id);
    }
    // What is done for one may be a reason to look at it again.
    while let Some(id) = leader.dirty.ids.pop_first() {
        decide(leader, &id, now).await;
    }
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

async fn decide(leader: &mut Leader, id: &Id, now: Timestamp) {
    note_holding(leader, id, now);
    let want = wanted(leader, id);
    let mut decision = ask(leader, id, want.as_ref(), now);
    if decision.step == Step::Issue && decision.view.reason == Why::NotIssued {
        decision.view.reason = Why::Issuing;
    }
    if let Some(told) = leader.records.told(id) {
        let message = &mut decision.view.message;
        *message = if message.is_empty() { told.to_owned() } else { format!("{message}; {told}") };
    }
    show(leader, id, want.as_ref(), &decision);
    fill_copies(leader, id, want.as_ref());
    let hold_ends = leader.records.hold_ends(id, leader.settings.config.own.host_hold);
    let hold_ends = hold_ends.filter(|end| now < *end);
    leader.wake(id, decision.wake.into_iter().chain(hold_ends).min());
    if leader.busy.contains(id) {
        return;
    }
    if let Some(until) = leader.records.paused(id, now) {
        leader.wake(id, Some(until));
        return;
    }
    if decision.step != Step::Issue {
        leader.inherited.remove(id);
    }
    match decision.step {
        Step::Nothing if begin_to_tidy(leader, id) => {}
        Step::Nothing => store_wishes(leader, id).await,
        Step::Issue if adopt::adopt(leader, id, want.as_ref()).await => {}
        Step::Issue => begin(leader, id, want.as_ref(), now),
        step => gc::act(leader, id, step, now).await,
    }
}

/// Tells the world what is held, and whose the hosts are by that.
fn note_holding(leader: &mut Leader, id: &Id, now: Timestamp) {
    let holding = match leader.records.held(id) {
        Held::Certificate(facts) if facts.not_before <= now && now < facts.not_after => {
            Holding::Valid
        }
        Held::Certificate(_) | Held::Unreadable(_) => Holding::Stale,
        Held::Nothing => Holding::Nothing,
    };
    let changed = leader.world.note(id, holding);
    leader.dirty.merge(changed);
    leader.hold(id);
}

/// What routes want, or what a source that cannot be read wanted last.
fn wanted(leader: &Leader, id: &Id) -> Option<Want> {
    if let Some(want) = leader.world.want(id) {
        return Some(want);
    }
    let state = leader.records.state(id)?;
    if state.unused_since.is_some() || leader.is_listed(state) {
        return None;
    }
    Some(Want {
        owner: state.owner.clone(),
        resolver: state.resolver.clone(),
        names: state.names.clone(),
        key_type: None,
        routes: BTreeSet::new(),
    })
}

fn ask(leader: &Leader, id: &Id, want: Option<&Want>, now: Timestamp) -> Decision {
    let resolver = want.and_then(|want| leader.world.resolver(&want.resolver));
    let default = std::time::Duration::from_hours(2160);
    plan::decide(&Question {
        wanted: want.map(|want| &want.names),
        held: leader.records.held(id),
        state: leader.records.state(id),
        certificates_duration: resolver.map_or(default, |one| one.certificates_duration),
        remove_after: leader.settings.config.own.remove_after,
        host_hold: leader.settings.config.own.host_hold,
        now,
        dice: dice(leader.records.held(id)),
    })
}

fn show(leader: &mut Leader, id: &Id, want: Option<&Want>, decision: &Decision) {
    let shown = verdict::certificate(leader, id, want, &decision.view);
    let view = &decision.view;
    // What else is news of a route is told on its own.
    let has_news = leader.records.view(id) != Some(view);
    leader.measure(id, shown.as_ref().map(|_| (view.ready, view.reason.as_str())));
    if shown.is_none() && leader.records.state(id).is_none() {
        leader.records.forget(id);
    } else {
        leader.records.show(id, view.clone());
    }
    tell(leader, News::Certificate { id: id.clone(), shown });
    let routes = want.filter(|_| has_news).into_iter().flat_map(|want| &want.routes);
    leader.dirty.routes.extend(routes.cloned());
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
    let state = leader.records.state_with_wishes(id, &want, kinds(leader, id, &want));
    if let Some(state) = state {
        leader.write_state(id, state).await;
    }
}

/// Kinds of the routes that want it; one that wanted it and cannot be read now still counts.
fn kinds(leader: &Leader, id: &Id, want: &Want) -> Vec<String> {
    let known = leader.records.state(id).map(|state| state.kinds.as_slice()).unwrap_or_default();
    let hidden =
        known.iter().map(String::as_str).filter(|kind| !leader.listings.are_complete(kind));
    let wanting = want.routes.iter().map(|key| key.kind.as_str());
    let kinds: BTreeSet<&str> = wanting.chain(hidden).collect();
    kinds.into_iter().map(str::to_owned).collect()
}

fn begin(leader: &mut Leader, id: &Id, want: Option<&Want>, now: Timestamp) {
    let Some(want) = want else { return };
    let Some(resolver) = leader.world.resolver(&want.resolver) else {
        leader.wake(id, Some(now + jiff::SignedDuration::from_hours(1)));
        return;
    };
    let resolver =
        Resolver { key_type: want.key_type.unwrap_or(resolver.key_type), ..resolver.clone() };
    if want.names.iter().any(|name| leader.in_flight.contains_key(name)) {
        leader.waiting.insert(id.clone());
        return;
    }
    leader.in_flight.extend(want.names.iter().map(|name| (name.clone(), id.clone())));
    let job = Job {
        id: id.clone(),
        owner: want.owner.clone(),
        names: want.names.clone(),
        kinds: kinds(leader, id, want),
        resolver,
        basis: leader.records.fingerprint(id),
    };
    start(leader, job, Work::Issue);
}

/// TXT records that an order left, and that could not be unset then.
fn begin_to_tidy(leader: &mut Leader, id: &Id) -> bool {
    let Some(state) = leader.records.state(id) else { return false };
    let resolver = state.records.iter().find_map(|record| leader.world.resolver(&record.resolver));
    let Some(resolver) = resolver else { return false };
    let job = Job {
        id: id.clone(),
        owner: state.owner.clone(),
        names: state.names.clone(),
        kinds: state.kinds.clone(),
        resolver: resolver.clone(),
        basis: None,
    };
    start(leader, job, Work::Tidy);
    true
}

enum Work {
    Issue,
    Tidy,
}

fn start(leader: &mut Leader, job: Job, work: Work) {
    let id = job.id.clone();
    leader.busy.insert(id.clone());
    let engine = leader.engine.clone();
    let (resolver, owner) = (&job.resolver.name, &job.owner);
    let mut places_of = |queue: (String, Option<String>)| {
        let places = leader.places.entry(queue);
        Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(WORKERS))))
    };
    let all = places_of((resolver.clone(), None));
    let own = places_of((resolver.clone(), Some(owner.clone())));
    let clock = leader.settings.clock;
    let task = leader.workers.spawn(async move {
        // So that others wait for no more than what is under way, however many one has.
        let _turn = own.acquire_owned().await;
        let _place = all.acquire_owned().await;
        match work {
            Work::Issue => issue::drive(&engine, &job, clock).await,
            Work::Tidy => issue::tidy(&engine, &job, clock).await,
        }
    });
    leader.jobs.insert(task.id(), id);
}

/// The same for the same certificate, so that a restart does not move its renewal.
fn dice(held: &Held) -> f64 {
    let Held::Certificate(facts) = held else { return 0.0 };
    let digits = facts.fingerprint.get(..4).unwrap_or("0");
    f64::from(u16::from_str_radix(digits, 16).unwrap_or_default()) / 65536.0
}
