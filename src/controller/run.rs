//! The leader's loop: everything that happens comes in here, one thing at a time; what follows
//! from it is decided by `plan` and done by workers. Nothing polls: one ordered set of wake times.

use futures::FutureExt;
use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use crate::cert::Id;
use crate::cluster::Seen;
use crate::controller::copies::Report;
use crate::controller::decide;
use crate::controller::leader::Leader;
use crate::issue::Outcome;
use crate::source;
use crate::store::Change;

/// Things that happened, taken in before what follows from them is decided.
const MAX_TURNS: usize = 1000;

/// What the loop listens to.
pub(super) struct Inputs {
    pub(super) sources: BoxStream<'static, source::Event>,
    pub(super) certificates: BoxStream<'static, Change>,
    /// Of the controller's namespace, those that may be credentials.
    pub(super) secrets: BoxStream<'static, Seen<Secret>>,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
    /// Certificates in whose records a person asks for something.
    pub(super) asked: BoxStream<'static, Id>,
    /// What is to be shown of orders that are under way.
    pub(super) told: mpsc::UnboundedReceiver<(Id, String)>,
    /// Until when certificates became unused that a person lets go.
    pub(super) let_go: BoxStream<'static, Timestamp>,
}

enum Turn {
    Source(source::Event),
    Store(Box<Change>),
    Secret(Box<Seen<Secret>>),
    Copy(Report),
    Asked(Id),
    Told(Id, String),
    LetGo(Timestamp),
    Worker(Box<Result<(tokio::task::Id, Outcome), JoinError>>),
    Wake,
}

pub(super) async fn run(mut leader: Leader, mut inputs: Inputs) {
    let stopping = leader.engine.stopping.clone();
    loop {
        let turn = tokio::select! {
            turn = next(&mut leader, &mut inputs) => turn,
            () = stopping.cancelled() => break,
        };
        let Some(turn) = turn else { break };
        if !leader.engine.fence.holds() {
            return;
        }
        take(&mut leader, turn);
        // What is there already is taken in too: thousands of changes are looked at once.
        for _ in 1..MAX_TURNS {
            match next(&mut leader, &mut inputs).now_or_never().flatten() {
                Some(Turn::Wake) | None => break,
                Some(turn) => take(&mut leader, turn),
            }
        }
        if leader.is_ready() {
            decide::dirty(&mut leader).await;
        }
    }
    // An order whose answer is under way is worth the wait: its URL belongs into the state.
    while leader.workers.join_next().await.is_some() {}
}

async fn next(leader: &mut Leader, inputs: &mut Inputs) -> Option<Turn> {
    let now = (leader.settings.clock)();
    let first = leader.wakes.first().map(|(at, _)| *at);
    let poll = leader.polls.due.first().map(|(at, _)| *at);
    let first = first.into_iter().chain(leader.turn).chain(poll).min();
    let wait = first.map(|at| at.duration_since(now).max(jiff::SignedDuration::ZERO));
    // Wake times are of the wall clock: looked at again at least once a minute, so that a
    // clock that was set is noticed.
    let wait = wait.map(|wait| wait.unsigned_abs().min(std::time::Duration::from_mins(1)));
    tokio::select! {
        event = inputs.sources.next() => event.map(Turn::Source),
        change = inputs.certificates.next() => change.map(|change| Turn::Store(Box::new(change))),
        Some(seen) = inputs.secrets.next() => Some(Turn::Secret(Box::new(seen))),
        report = inputs.reports.recv() => report.map(Turn::Copy),
        Some(id) = inputs.asked.next() => Some(Turn::Asked(id)),
        told = inputs.told.recv() => told.map(|(id, text)| Turn::Told(id, text)),
        Some(until) = inputs.let_go.next() => Some(Turn::LetGo(until)),
        Some(done) = leader.workers.join_next_with_id() => Some(Turn::Worker(Box::new(done))),
        () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => Some(Turn::Wake),
    }
}

fn take(leader: &mut Leader, turn: Turn) {
    match turn {
        Turn::Source(event) => leader.take_source(event),
        Turn::Store(change) => leader.take_change(*change),
        Turn::Secret(seen) => leader.take_secret(*seen),
        Turn::Copy(report) => leader.take_report(report),
        Turn::Asked(id) => leader.take_asked(id),
        Turn::Told(id, text) => leader.take_told(id, text),
        Turn::LetGo(until) => leader.dirty.ids.extend(leader.records.removals.let_go(until)),
        Turn::Worker(done) => leader.take_worker(*done),
        Turn::Wake => {}
    }
}
