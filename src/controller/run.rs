//! The leader's loop: everything that happens comes in here, one thing at a time; what follows
//! from it is decided by `plan` and done by workers. Nothing polls: one ordered set of wake times.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinError, JoinSet};

use crate::cert::Id;
use crate::cluster::Trouble;
use crate::controller::copies::{Command, Place, Report};
use crate::controller::publish::News;
use crate::controller::records::Records;
use crate::controller::{Settings, gc, verdict};
use crate::issue::{self, Engine, Job, Outcome};
use crate::order::State;
use crate::plan::{self, Decision, Held, Question, Step, Why};
use crate::route::{Key, Refusal};
use crate::source;
use crate::store::{Change, Entry, Versioned};
use crate::world::{Changed, Want, World};

/// Orders in flight at once: enough to keep a CA busy, few enough to be a good neighbour.
const WORKERS: usize = 32;

/// Everything that a leader knows; gone with its lease.
pub(super) struct Leader {
    pub(super) settings: Arc<Settings>,
    pub(super) engine: Engine,
    pub(super) world: World,
    pub(super) records: Records,
    pub(super) news: mpsc::UnboundedSender<News>,
    pub(super) copies: mpsc::UnboundedSender<Command>,
    /// What became of each copy.
    pub(super) filled: BTreeMap<Place, Result<String, Refusal>>,
    sources: BTreeMap<source::Place, Listing>,
    certificates_synced: bool,
    /// Looked at again in the next turn.
    dirty: Changed,
    wakes: BTreeSet<(Timestamp, Id)>,
    wake_of: BTreeMap<Id, Timestamp>,
    busy: BTreeSet<Id>,
    /// Orders of an earlier leader that are being gone on with.
    inherited: BTreeSet<Id>,
    complete: bool,
    workers: JoinSet<Outcome>,
    jobs: BTreeMap<tokio::task::Id, Id>,
    /// By resolver, so that a CA that does not answer holds up nobody else's orders.
    places: BTreeMap<String, Arc<Semaphore>>,
}

/// What is known of the routes of one place.
enum Listing {
    /// Not heard of yet.
    Awaited,
    Complete,
    Troubled(Trouble),
}

/// What the loop listens to.
pub(super) struct Inputs {
    pub(super) routes: BoxStream<'static, source::Event>,
    pub(super) certificates: BoxStream<'static, Change>,
    pub(super) reports: mpsc::UnboundedReceiver<Report>,
}

enum Turn {
    Source(source::Event),
    Store(Box<Change>),
    Copy(Report),
    Worker(Box<Result<(tokio::task::Id, Outcome), JoinError>>),
    Wake,
}

impl Leader {
    pub(super) fn new(
        settings: Arc<Settings>,
        engine: Engine,
        records: Records,
        (news, copies): (mpsc::UnboundedSender<News>, mpsc::UnboundedSender<Command>),
    ) -> Self {
        let sources = source::places(&settings.crd).into_iter();
        let inherited = records.pending();
        Self {
            world: World::new(&settings.config),
            engine,
            records,
            news,
            copies,
            filled: BTreeMap::new(),
            sources: sources.map(|place| (place, Listing::Awaited)).collect(),
            certificates_synced: false,
            dirty: Changed::default(),
            wakes: BTreeSet::new(),
            wake_of: BTreeMap::new(),
            busy: BTreeSet::new(),
            inherited,
            complete: false,
            workers: JoinSet::new(),
            jobs: BTreeMap::new(),
            places: BTreeMap::new(),
            settings,
        }
    }

    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let stopping = self.engine.stopping.clone();
        loop {
            let turn = tokio::select! {
                turn = self.next(&mut inputs) => turn,
                () = stopping.cancelled() => break,
            };
            let Some(turn) = turn else { break };
            if !self.engine.fence.holds() {
                return;
            }
            self.take(turn);
            if self.is_ready() {
                self.decide_dirty().await;
            }
        }
        // An order whose answer is under way is worth the wait: its URL belongs into the state.
        while self.workers.join_next().await.is_some() {}
    }

    async fn next(&mut self, inputs: &mut Inputs) -> Option<Turn> {
        let now = (self.settings.clock)();
        let first = self.wakes.first().map(|(at, _)| *at);
        let wait = first.map(|at| at.duration_since(now).max(jiff::SignedDuration::ZERO));
        // Wake times are of the wall clock: looked at again at least once a minute, so that a
        // clock that was set is noticed.
        let wait = wait.map(|wait| wait.unsigned_abs().min(std::time::Duration::from_mins(1)));
        tokio::select! {
            event = inputs.routes.next() => event.map(Turn::Source),
            change = inputs.certificates.next() => change.map(|change| Turn::Store(Box::new(change))),
            report = inputs.reports.recv() => report.map(Turn::Copy),
            Some(done) = self.workers.join_next_with_id() => Some(Turn::Worker(Box::new(done))),
            () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => Some(Turn::Wake),
        }
    }

    fn take(&mut self, turn: Turn) {
        match turn {
            Turn::Source(event) => self.take_source(event),
            Turn::Store(change) => self.take_change(*change),
            Turn::Copy(report) => self.take_report(report),
            Turn::Worker(done) => self.take_worker(*done),
            Turn::Wake => {}
        }
    }

    fn take_source(&mut self, event: source::Event) {
        match event {
            source::Event::Put(route) => {
                let key = route.key.clone();
                let changed = self.world.apply(&key, Some(*route));
                self.dirty.merge(changed);
            }
            source::Event::Gone(key) => {
                let changed = self.world.apply(&key, None);
                self.dirty.merge(changed);
            }
            source::Event::Synced(place) => {
                tracing::debug!("{} listed", place.kind.as_str());
                self.sources.insert(place, Listing::Complete);
                self.look_at_all();
            }
            source::Event::Trouble(place, trouble) => {
                tell_trouble(&place, &trouble);
                self.sources.insert(place, Listing::Troubled(trouble));
                self.look_at_all();
            }
        }
    }

    fn take_change(&mut self, change: Change) {
        match change {
            Change::Put(entry) => self.take_entry(*entry),
            Change::Gone(id) => {
                self.records.gone(&id);
                self.dirty.ids.insert(id);
            }
            Change::Synced => {
                self.certificates_synced = true;
                self.look_at_all();
            }
            Change::Trouble(trouble) => {
                let namespace = self.engine.store.certificates_namespace();
                tracing::warn!("Secrets of namespace {namespace} cannot be watched: {trouble}");
            }
        }
    }

    fn take_entry(&mut self, entry: Entry) {
        let id = entry.id.clone();
        self.records.put(entry);
        self.dirty.ids.insert(id);
    }

    fn take_report(&mut self, report: Report) {
        if let Ok(uid) = &report.result {
            self.records.note_copy(&report.id, &report.place, uid);
        }
        self.filled.insert(report.place, report.result);
        self.dirty.ids.insert(report.id);
    }

    /// A worker that panicked is as one that was interrupted.
    fn take_worker(&mut self, done: Result<(tokio::task::Id, Outcome), JoinError>) {
        let (task, outcome) = match done {
            Ok((task, outcome)) => (task, outcome),
            Err(error) => (error.id(), Outcome::Interrupted(format!("its worker failed: {error}"))),
        };
        if let Some(id) = self.jobs.remove(&task) {
            self.take_outcome(&id, outcome);
        }
    }

    fn take_outcome(&mut self, id: &Id, outcome: Outcome) {
        self.busy.remove(id);
        match outcome {
            Outcome::Issued { state, facts } => {
                self.records.unpause(id);
                self.records.put_state(id, state);
                self.records.issued(id, facts);
            }
            Outcome::Failed(state) => {
                self.records.unpause(id);
                if let Some(failure) = state.value.failures.last() {
                    tracing::warn!(names = %state.value.names, "not issued: {}", failure.message);
                }
                self.records.put_state(id, state);
            }
            Outcome::Interrupted(why) => {
                tracing::warn!("certificate rc-{id}: {why}; looked at again");
                self.records.pause(id, (self.settings.clock)());
            }
        }
        self.inherited.remove(id);
        self.dirty.ids.insert(id.clone());
    }

    fn look_at_all(&mut self) {
        self.dirty.ids.extend(self.records.ids());
        self.dirty.ids.extend(self.world.wants().map(|(id, _)| id.clone()));
    }

    /// A source in trouble costs only itself.
    fn is_ready(&self) -> bool {
        let heard_of = |listing: &Listing| !matches!(listing, Listing::Awaited);
        self.complete || (self.certificates_synced && self.sources.values().all(heard_of))
    }

    async fn decide_dirty(&mut self) {
        let now = (self.settings.clock)();
        while let Some((at, id)) = self.wakes.first().cloned().filter(|(at, _)| *at <= now) {
            self.wakes.remove(&(at, id.clone()));
            self.wake_of.remove(&id);
            self.dirty.ids.insert(id);
        }
        // What is done for one may be a reason to look at it again.
        while let Some(id) = self.dirty.ids.pop_first() {
            self.decide(&id, now).await;
        }
        for key in std::mem::take(&mut self.dirty.routes) {
            self.tell_route(&key);
        }
        if !self.complete {
            self.complete = true;
            self.tell(News::Complete);
            tracing::info!(
                routes = self.world.len(),
                certificates = self.records.len(),
                "everything is known"
            );
        }
        if self.inherited.is_empty() && self.records.has_inherited() {
            self.records.forget_inherited();
            if let Err(error) = self.engine.table.settle().await {
                tracing::warn!("{error}");
            }
        }
    }

    async fn decide(&mut self, id: &Id, now: Timestamp) {
        let want = self.wanted(id);
        let mut decision = self.ask(id, want.as_ref(), now);
        if decision.step == Step::Issue && decision.view.reason == Why::NotIssued {
            decision.view.reason = Why::Issuing;
        }
        self.show(id, want.as_ref(), &decision);
        self.fill_copies(id, want.as_ref());
        self.wake(id, decision.wake);
        if self.busy.contains(id) {
            return;
        }
        if let Some(until) = self.records.paused(id, now) {
            self.wake(id, Some(until));
            return;
        }
        match decision.step {
            Step::Nothing => self.store_copies(id).await,
            Step::Issue => self.issue(id, want.as_ref(), now),
            step => gc::act(self, id, step, now).await,
        }
    }

    /// What routes want, or what a source that cannot be read wanted last.
    fn wanted(&self, id: &Id) -> Option<Want> {
        if let Some(want) = self.world.want(id) {
            return Some(want.clone());
        }
        let state = self.records.state(id)?;
        if state.unused_since.is_some() || self.is_clear(state) {
            return None;
        }
        Some(Want {
            owner: state.owner.clone(),
            resolver: state.resolver.clone(),
            names: state.names.clone(),
            routes: BTreeSet::new(),
        })
    }

    /// Whether a route that wanted the certificate, if there were one, would be known.
    pub(super) fn is_clear(&self, state: &State) -> bool {
        let listed = self.sources.iter().all(|(place, listing)| match listing {
            Listing::Complete => true,
            Listing::Awaited | Listing::Troubled(Trouble::Unreachable(_)) => false,
            Listing::Troubled(Trouble::Missing | Trouble::Forbidden(_)) => {
                !state.kinds.iter().any(|kind| kind == place.kind.as_str())
            }
        });
        listed && !self.world.is_unclear(&state.owner)
    }

    fn ask(&self, id: &Id, want: Option<&Want>, now: Timestamp) -> Decision {
        let resolver = want.and_then(|want| self.world.resolver(&want.resolver));
        let default = std::time::Duration::from_hours(2160);
        plan::decide(&Question {
            wanted: want.map(|want| &want.names),
            held: self.records.held(id),
            state: self.records.state(id),
            certificates_duration: resolver.map_or(default, |one| one.certificates_duration),
            remove_after: self.settings.config.own.remove_after,
            now,
            dice: dice(self.records.held(id)),
        })
    }

    fn show(&mut self, id: &Id, want: Option<&Want>, decision: &Decision) {
        let shown = verdict::certificate(self, id, want, &decision.view);
        self.tell(News::Certificate { id: id.clone(), shown });
        self.records.show(id, decision.view.clone());
        for key in want.into_iter().flat_map(|want| &want.routes) {
            self.tell_route(key);
        }
    }

    fn tell_route(&self, key: &Key) {
        let news = verdict::route(self, key);
        self.tell(News::Route { key: key.clone(), news });
    }

    fn tell(&self, news: News) {
        // The publisher ends with this leader.
        drop(self.news.send(news));
    }

    /// Asks for the copies that routes name, once per certificate that is new.
    fn fill_copies(&mut self, id: &Id, want: Option<&Want>) {
        let places: Vec<Place> = want
            .into_iter()
            .flat_map(|want| {
                let secrets = self.world.copies_of(id, &want.owner).into_iter();
                secrets.map(|secret| (want.owner.clone(), secret))
            })
            .collect();
        for place in self.records.drop_copies(id, &places) {
            self.filled.remove(&place);
            drop(self.copies.send(Command::Leave(place)));
        }
        let Some(fingerprint) = self.records.fingerprint(id) else { return };
        for place in places {
            let ours = self.records.copies_at(id, &place);
            if self.records.asks_for_copy(&place, id, &fingerprint, &ours) {
                let (id, fingerprint) = (id.clone(), fingerprint.clone());
                drop(self.copies.send(Command::Fill { place, id, fingerprint, ours }));
            }
        }
    }

    /// UIDs of copies that were made since the state was written.
    async fn store_copies(&mut self, id: &Id) {
        let Some(want) = self.world.want(id) else { return };
        let state = self.records.state_with_copies(id, want);
        if let Some(state) = state {
            self.write_state(id, state).await;
        }
    }

    pub(super) async fn write_state(&mut self, id: &Id, state: State) {
        let version = self.records.state_version(id);
        match self.engine.store.put_state(id, &state, version.as_deref()).await {
            Ok(version) => self.records.put_state(id, Versioned { value: state, version }),
            Err(error) => {
                tracing::warn!("certificate rc-{id}: {error}");
                self.reread(id).await;
            }
        }
        self.dirty.ids.insert(id.clone());
    }

    /// Somebody else wrote it, or the API server is away.
    async fn reread(&mut self, id: &Id) {
        self.records.pause(id, (self.settings.clock)());
        match self.engine.store.state(id).await {
            Ok(state) => self.records.replace_state(id, state),
            Err(error) => tracing::debug!("certificate rc-{id}: {error}"),
        }
    }

    fn issue(&mut self, id: &Id, want: Option<&Want>, now: Timestamp) {
        let Some(want) = want else { return };
        let Some(resolver) = self.world.resolver(&want.resolver) else {
            self.wake(id, Some(now + jiff::SignedDuration::from_hours(1)));
            return;
        };
        let kinds: BTreeSet<&str> = want.routes.iter().map(|key| key.kind.as_str()).collect();
        let known = self.records.state(id).map(|state| state.kinds.clone()).unwrap_or_default();
        let job = Job {
            id: id.clone(),
            owner: want.owner.clone(),
            names: want.names.clone(),
            kinds: if kinds.is_empty() {
                known
            } else {
                kinds.into_iter().map(str::to_owned).collect()
            },
            resolver: resolver.clone(),
            basis: self.records.fingerprint(id),
        };
        self.busy.insert(id.clone());
        let engine = self.engine.clone();
        let places = self.places.entry(want.resolver.clone());
        let places = Arc::clone(places.or_insert_with(|| Arc::new(Semaphore::new(WORKERS))));
        let clock = self.settings.clock;
        let task = self.workers.spawn(async move {
            let _place = places.acquire_owned().await;
            issue::drive(&engine, &job, clock).await
        });
        self.jobs.insert(task.id(), id.clone());
    }

    fn wake(&mut self, id: &Id, at: Option<Timestamp>) {
        if let Some(earlier) = self.wake_of.remove(id) {
            self.wakes.remove(&(earlier, id.clone()));
        }
        if let Some(at) = at {
            self.wake_of.insert(id.clone(), at);
            self.wakes.insert((at, id.clone()));
        }
    }
}

/// The same for the same certificate, so that a restart does not move its renewal.
fn dice(held: &Held) -> f64 {
    let Held::Certificate(facts) = held else { return 0.0 };
    let digits = facts.fingerprint.get(..4).unwrap_or("0");
    f64::from(u16::from_str_radix(digits, 16).unwrap_or_default()) / 65536.0
}

fn tell_trouble(place: &source::Place, trouble: &Trouble) {
    let kind = place.kind.as_str();
    match trouble {
        Trouble::Missing => tracing::warn!(
            "{kind}: the API server does not have this kind; its routes, if there ever were any, \
             keep their certificates. It is looked for again"
        ),
        Trouble::Forbidden(cause) => tracing::warn!(
            "{kind}: not allowed to list or watch: {cause}. Grant get, list and watch, or do \
             without this kind"
        ),
        Trouble::Unreachable(cause) => {
            tracing::warn!("{kind}: {cause}; tried again, what is known stays");
        }
    }
}
