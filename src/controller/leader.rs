//! Everything that a leader knows, and how each thing that happens changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use crate::api::Object;
use crate::budget::Budget;
use crate::cert::Id;
use crate::cluster::{Seen, Trouble};
use crate::controller::Settings;
use crate::controller::copies::{Command, Place, Report};
use crate::controller::journal::Journal;
use crate::controller::publish::News;
use crate::controller::records::Records;
use crate::controller::resolvers::{ForWorld, Resolvers};
use crate::issue::{Engine, Outcome};
use crate::metrics::Standing;
use crate::name::Name;
use crate::order::{Polled, State};
use crate::plan::Grounds;
use crate::route::{Key, Refusal, Route};
use crate::source;
use crate::source::{Listing, Listings, What};
use crate::store::{Change, Entry, Versioned};
use crate::world::{Changed, Grants, Purpose, Want, World};

/// Orders in flight at once at one CA: enough to keep it busy, few enough to be a good neighbour.
const WORKERS: usize = 32;

/// Gone with its lease: the next leader reads everything anew.
pub(super) struct Leader {
    pub(super) settings: Arc<Settings>,
    pub(super) engine: Engine,
    pub(super) world: World,
    pub(super) records: Records,
    pub(super) resolvers: Resolvers,
    pub(super) news: mpsc::UnboundedSender<News>,
    pub(super) copies: mpsc::UnboundedSender<Command>,
    /// Told once everything is known.
    pub(super) ready: watch::Sender<bool>,
    /// What became of each copy, and which certificate it was to hold.
    pub(super) filled: BTreeMap<Place, (Id, Result<String, Refusal>)>,
    pub(super) listings: Listings,
    pub(super) journal: Journal,
    /// Why a route is refused, of those that are.
    pub(super) refused: BTreeMap<Key, &'static str>,
    pub(super) certificates_synced: bool,
    /// Looked at again in the next turn.
    pub(super) dirty: Changed,
    pub(super) wakes: BTreeSet<(Timestamp, Id)>,
    pub(super) wake_of: BTreeMap<Id, Timestamp>,
    pub(super) busy: BTreeSet<Id>,
    /// Names of running orders: what a CA and the proxies know of a name is of one order.
    pub(super) in_flight: BTreeMap<Name, Id>,
    /// Certificates that wait for a name of theirs to be out of another's order.
    pub(super) waiting: BTreeSet<Id>,
    /// Orders of an earlier leader that are being gone on with.
    pub(super) inherited: BTreeSet<Id>,
    pub(super) complete: bool,
    pub(super) workers: JoinSet<Outcome>,
    pub(super) jobs: BTreeMap<tokio::task::Id, Id>,
    /// What the CAs allow, and who waits for that.
    pub(super) budget: Budget,
    /// What those that wait are to be ordered for.
    pub(super) grounds: BTreeMap<Id, Grounds>,
    /// When the next of those that wait may have its turn.
    pub(super) turn: Option<Timestamp>,
    /// Certificates whose specification changed lately, by resolver, and when that was seen.
    pub(super) changing: BTreeMap<String, BTreeMap<Id, Timestamp>>,
    /// Warnings about resolvers that were told.
    pub(super) warned: BTreeSet<(String, String)>,
    pub(super) polls: Polls,
    /// In whose records a person asks for something; they are read afresh.
    pub(super) asked: BTreeSet<Id>,
    /// To be deleted when nothing else is to be decided.
    pub(super) leaving: BTreeSet<Id>,
    /// How many are stored, as counted in this turn.
    pub(super) certificates: Option<usize>,
    /// Whose records may say something else than we know: a write's reply was lost, or another
    /// one wrote.
    pub(super) doubted: BTreeSet<Id>,
}

/// When the CAs are asked next when to renew.
#[derive(Debug, Default)]
pub(super) struct Polls {
    pub(super) due: BTreeSet<(Timestamp, Id)>,
    pub(super) at: BTreeMap<Id, Timestamp>,
    pub(super) running: BTreeSet<Id>,
    /// About which nothing could be learnt, and when they are asked about again.
    pub(super) not_before: BTreeMap<Id, Timestamp>,
    /// Answers that were not looked at yet, with the certificate that each is about.
    pub(super) told: Vec<(Id, String, Told)>,
}

/// What a CA said about when to renew.
#[derive(Debug)]
pub(super) enum Told {
    Window(Polled),
    /// It does not tell such things.
    Nothing,
    Trouble,
}

impl Leader {
    pub(super) fn new(
        settings: Arc<Settings>,
        engine: Engine,
        (records, resolvers): (Records, Resolvers),
        (news, copies, ready): (
            mpsc::UnboundedSender<News>,
            mpsc::UnboundedSender<Command>,
            watch::Sender<bool>,
        ),
    ) -> Self {
        let listings = Listings::new(&settings.config);
        let inherited = records.pending();
        let own = &settings.config.own;
        let mut world = World::new(&settings.config, &settings.namespace, Purpose::Act);
        let mut budget = Budget::new(WORKERS);
        budget.rebuild(records.states());
        if source::places(&settings.config).iter().any(|place| place.what == What::Resolvers) {
            world.learn(Grants::Unread);
        }
        for id in records.ids() {
            world.hold(&id, records.holding(&id, own.host_hold, (settings.clock)()));
        }
        Self {
            world,
            engine,
            records,
            resolvers,
            news,
            copies,
            ready,
            filled: BTreeMap::new(),
            listings,
            journal: Journal::default(),
            refused: BTreeMap::new(),
            certificates_synced: false,
            dirty: Changed::default(),
            wakes: BTreeSet::new(),
            wake_of: BTreeMap::new(),
            busy: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            waiting: BTreeSet::new(),
            inherited,
            complete: false,
            workers: JoinSet::new(),
            jobs: BTreeMap::new(),
            budget,
            grounds: BTreeMap::new(),
            turn: None,
            changing: BTreeMap::new(),
            warned: BTreeSet::new(),
            polls: Polls::default(),
            asked: BTreeSet::new(),
            leaving: BTreeSet::new(),
            certificates: None,
            doubted: BTreeSet::new(),
            settings,
        }
    }

    pub(super) fn take_source(&mut self, event: source::Event) {
        use source::Event;
        let listed = self.listings.take(&event);
        let changed = match event {
            Event::Put(route) => return self.apply(&route.key.clone(), Some(*route)),
            Event::Gone(key) => return self.apply(&key, None),
            Event::Service { namespace, name, is } => self.world.set_service(&namespace, &name, is),
            Event::Class { name, controller } => self.world.set_class(&name, controller.as_deref()),
            Event::Resolver { name, object } => {
                self.take_resolver(&name, object.map(|object| *object))
            }
            Event::Synced(place) => {
                tracing::debug!("{} listed", place.what.as_str());
                Changed::default()
            }
            Event::Trouble(place, trouble) => {
                tell_trouble(&place, &trouble);
                Changed::default()
            }
        };
        self.dirty.merge(changed);
        if let Some((place, listing)) = listed {
            let changed = self.list(place.what, &listing);
            self.dirty.merge(changed);
        }
    }

    /// What is known of a place is another than before.
    fn list(&mut self, what: What, listing: &Listing) -> Changed {
        let refused =
            matches!(listing, Listing::Troubled(Trouble::Forbidden(_) | Trouble::Missing));
        match what {
            What::Services => self.world.judge_services(self.listings.judged()),
            What::Classes if refused => self.world.believe_classes(),
            // Without the kind, or the right to it, there is none. What was read once holds.
            What::Resolvers if refused || matches!(listing, Listing::Complete) => {
                self.world.learn(Grants::Read)
            }
            What::Classes | What::Resolvers => Changed::default(),
            What::Routes(_) | What::Files => {
                // What nobody seemed to want may go now, or has to stay.
                self.look_at_all();
                Changed::default()
            }
        }
    }

    fn take_resolver(&mut self, name: &str, object: Option<Object>) -> Changed {
        self.resolvers.take(&self.settings.config, name, object);
        self.settle_resolver(name)
    }

    pub(super) fn take_secret(&mut self, seen: Seen<Secret>) {
        for name in self.resolvers.see(seen) {
            let changed = self.settle_resolver(&name);
            self.dirty.merge(changed);
        }
    }

    fn settle_resolver(&mut self, name: &str) -> Changed {
        let news = self.resolvers.news(name);
        if !self.settings.config.resolvers.contains_key(name) {
            let usable =
                self.resolvers.is_known(name).then(|| news.as_ref().is_some_and(|it| it.ready));
            self.settings.metrics.resolver(name, usable);
        }
        // The publisher ends with this leader.
        drop(self.news.send(News::Resolver { name: name.to_owned(), news }));
        match self.resolvers.news_for_world(name) {
            ForWorld::AsBefore => Changed::default(),
            ForWorld::Is(live) => self.world.set_resolver(name, Some(*live)),
            ForWorld::Gone => self.world.set_resolver(name, None),
        }
    }

    fn apply(&mut self, key: &Key, route: Option<Route>) {
        let was_unclear = self.world.is_unclear(&key.namespace);
        let changed = self.world.apply(key, route);
        self.dirty.merge(changed);
        if was_unclear && !self.world.is_unclear(&key.namespace) {
            // What was kept while a route was in error may go now.
            self.dirty.ids.extend(self.records.ids_of(&key.namespace));
        }
    }

    pub(super) fn take_change(&mut self, change: Change) {
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
                let place = self.engine.store.certificates_place();
                tracing::warn!("{place} cannot be watched: {trouble}");
            }
        }
    }

    fn take_entry(&mut self, entry: Entry) {
        let id = entry.id.clone();
        self.records.put(entry);
        self.dirty.ids.insert(id);
    }

    pub(super) fn take_report(&mut self, report: Report) {
        if let Ok(uid) = &report.result {
            self.records.note_copy(&report.id, &report.place, uid);
        }
        self.dirty.ids.insert(report.id.clone());
        self.dirty.routes.extend(self.world.claimants(&report.place).cloned());
        self.filled.insert(report.place, (report.id, report.result));
    }

    /// What is shown of an order while it is under way.
    pub(super) fn take_told(&mut self, id: Id, text: String) {
        self.records.tell(&id, Some(text));
        self.dirty.ids.insert(id);
    }

    /// A worker that panicked is as one that was interrupted.
    pub(super) fn take_worker(&mut self, done: Result<(tokio::task::Id, Outcome), JoinError>) {
        let (task, outcome) = match done {
            Ok((task, outcome)) => (task, outcome),
            Err(error) => (error.id(), Outcome::Interrupted(format!("its worker failed: {error}"))),
        };
        if let Some(id) = self.jobs.remove(&task) {
            self.take_outcome(&id, outcome);
        }
    }

    /// Has a worker do something about the certificate, alone until it is done.
    pub(super) fn work(&mut self, id: &Id, what: impl Future<Output = Outcome> + Send + 'static) {
        self.busy.insert(id.clone());
        // The publisher ends with this leader.
        drop(self.news.send(News::Begun(id.clone())));
        let task = self.workers.spawn(what);
        self.jobs.insert(task.id(), id.clone());
    }

    pub(super) fn take_asked(&mut self, id: Id) {
        // What was done is written, and seen again.
        self.asked.insert(id);
    }

    /// Reads the records in which a person asks for something.
    pub(super) async fn read_asked(&mut self) {
        let idle = |id: &Id| !self.busy.contains(id);
        let ids: Vec<Id> = self.asked.iter().filter(|id| idle(id)).cloned().collect();
        for id in ids {
            self.asked.remove(&id);
            match self.engine.store.state(&id).await {
                Ok(state) => {
                    self.records.replace_state(&id, state);
                    self.records.unpause(&id);
                    self.hold(&id);
                }
                Err(error) => tracing::warn!("certificate rc-{id}: {error}"),
            }
            self.dirty.ids.insert(id);
        }
    }

    /// Nothing is decided on a record that may be another by now.
    pub(super) async fn read_doubted(&mut self, id: &Id, now: Timestamp) {
        let waits = self.busy.contains(id) || self.records.paused(id, now).is_some();
        if waits || !self.doubted.contains(id) {
            return;
        }
        match self.engine.store.state(id).await {
            Ok(state) => {
                self.doubted.remove(id);
                self.records.replace_state(id, state);
                if let Some(state) = self.records.state(id) {
                    self.budget.note(id, state);
                }
                self.hold(id);
            }
            Err(error) => {
                tracing::warn!("certificate rc-{id}: {error}; read again");
                self.records.pause(id, now);
            }
        }
    }

    fn take_outcome(&mut self, id: &Id, outcome: Outcome) {
        self.busy.remove(id);
        self.polls.running.remove(id);
        self.count(id, &outcome);
        self.records.tell(id, None);
        self.in_flight.retain(|_, holder| holder != id);
        self.dirty.ids.append(&mut self.waiting);
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
            Outcome::Waiting { state, until } => {
                self.records.unpause(id);
                tracing::info!(names = %state.value.names, %until, "the CA works on the order");
                self.records.put_state(id, state);
                self.records.pause_until(id, until);
            }
            Outcome::Polled { ari_id, polled } => {
                let told = polled.map_or(Told::Nothing, Told::Window);
                self.polls.told.push((id.clone(), ari_id, told));
            }
            Outcome::NotPolled { ari_id } => {
                self.polls.told.push((id.clone(), ari_id, Told::Trouble));
            }
            Outcome::Noted(state) | Outcome::Tidied(state) => {
                self.records.unpause(id);
                self.records.put_state(id, state);
            }
            Outcome::Interrupted(why) => {
                tracing::warn!("certificate rc-{id}: {why}; looked at again");
                self.records.pause(id, (self.settings.clock)());
                self.doubted.insert(id.clone());
            }
        }
        self.inherited.remove(id);
        if let Some(state) = self.records.state(id) {
            self.budget.note(id, state);
        }
        self.budget.ended(id);
        self.hold(id);
        self.dirty.ids.insert(id.clone());
    }

    /// Orders are those that the record has beyond the one that was known before.
    fn count(&self, id: &Id, outcome: &Outcome) {
        let metrics = &self.settings.metrics;
        let state = match outcome {
            Outcome::Issued { state, .. }
            | Outcome::Failed(state)
            | Outcome::Waiting { state, .. }
            | Outcome::Tidied(state) => &state.value,
            Outcome::Interrupted(_)
            | Outcome::Noted(_)
            | Outcome::Polled { .. }
            | Outcome::NotPolled { .. } => return,
        };
        let last = self.records.state(id).and_then(|known| known.orders.last());
        let new = state.orders.iter().filter(|one| last.is_none_or(|last| one.at > last.at));
        metrics.ordered(&state.resolver, new.count());
        if let (Outcome::Failed(_), Some(failure)) = (outcome, state.failures.last()) {
            metrics.failed(&state.resolver, failure.kind.as_str());
        }
    }

    /// To be called before the record of what is not shown any more is dropped.
    pub(super) fn measure(&mut self, id: &Id, now: Option<Standing>) {
        let before = self.records.measure(id, now);
        self.settings.metrics.certificate(before, now);
    }

    /// To be called when a state record is another than before: it says who holds its names.
    pub(super) fn hold(&mut self, id: &Id) {
        let host_hold = self.settings.config.own.host_hold;
        let holding = self.records.holding(id, host_hold, (self.settings.clock)());
        let changed = self.world.hold(id, holding);
        self.dirty.merge(changed);
    }

    fn look_at_all(&mut self) {
        self.dirty.ids.extend(self.records.ids());
        self.dirty.ids.extend(self.world.ids().cloned());
    }

    pub(super) fn is_ready(&self) -> bool {
        let all = self.certificates_synced && self.resolvers.are_known();
        self.complete || (all && self.listings.are_all_heard_of())
    }

    /// Whether nobody can want the certificate any more: its sources are read, and no route beside
    /// it is in error.
    pub(super) fn may_be_removed(&self, state: &State) -> bool {
        self.is_listed(state) && !self.world.is_unclear(&state.owner)
    }

    /// Whether a route that wanted the certificate, if there were one, would be known.
    pub(super) fn is_listed(&self, state: &State) -> bool {
        self.listings.would_know(&state.kinds)
    }

    /// What a source that cannot be read wanted last.
    pub(super) fn wanted_last(&self, id: &Id) -> Option<Want> {
        let state = self.records.state(id)?;
        if state.unused_since.is_some() || self.is_listed(state) {
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

    /// Kinds of the routes that want it; one that wanted it and cannot be read now still counts.
    pub(super) fn kinds(&self, id: &Id, want: &Want) -> Vec<String> {
        let known = self.records.state(id).map(|state| state.kinds.as_slice()).unwrap_or_default();
        let hidden =
            known.iter().map(String::as_str).filter(|kind| !self.listings.are_complete(kind));
        let wanting = want.routes.iter().map(|key| key.kind.as_str());
        let kinds: BTreeSet<&str> = wanting.chain(hidden).collect();
        kinds.into_iter().map(str::to_owned).collect()
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
        self.hold(id);
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

    pub(super) fn wake(&mut self, id: &Id, at: Option<Timestamp>) {
        if let Some(earlier) = self.wake_of.remove(id) {
            self.wakes.remove(&(earlier, id.clone()));
        }
        if let Some(at) = at {
            self.wake_of.insert(id.clone(), at);
            self.wakes.insert((at, id.clone()));
        }
    }
}

fn tell_trouble(place: &source::Place, trouble: &Trouble) {
    let kind = place.what.as_str();
    if place.what == What::Files {
        return tell_trouble_of_files(trouble);
    }
    match trouble {
        Trouble::Missing => tracing::warn!(
            "{kind}: the API server does not have this kind; {}. It is looked for again",
            without(place.what)
        ),
        Trouble::Forbidden(cause) => tracing::warn!(
            "{kind}: not allowed to list or watch: {cause}; {}. Grant list and watch, or do \
             without; it is tried again",
            without(place.what)
        ),
        Trouble::Unreachable(cause) => tracing::warn!(
            "{kind}: {cause}; tried again, what is known stays{}",
            meanwhile(place.what)
        ),
    }
}

/// What waits until objects of a kind were read once.
fn meanwhile(what: What) -> &'static str {
    match what {
        What::Resolvers => {
            ". Until they were read once, hosts that no namespace holds wait, since a grant may say \
             whose they are"
        }
        _ => "",
    }
}

/// What it means that objects of a kind cannot be read.
fn without(what: What) -> &'static str {
    match what {
        What::Routes(_) => "its routes, if there ever were any, keep their certificates",
        What::Services => "a route whose Service does not exist gets its certificate all the same",
        What::Classes => {
            "an Ingress is ours if its class has the name of \
             providers.kubernetesIngress.ingressClass, or traefik"
        }
        What::Files => "what was read of them last holds",
        What::Resolvers => "only resolvers of certificatesResolvers can be used",
    }
}

fn tell_trouble_of_files(trouble: &Trouble) {
    tracing::error!(
        "providers.file: {trouble}. What was read of the file last holds, and nothing is removed \
         until it can be read"
    );
}
