//! TXT records of an order: noted before they are set, unset as soon as the CA has looked, and
//! sought again after a crash.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;

use crate::dns::{self, Chosen, Task, Turn, Variables};
use crate::http;
use crate::issue::{Driver, Stop};
use crate::order::{Event, FailureKind, Proof, Record, State};
use crate::resolver::{CaTrust, ChallengeKind, DnsChallenge, Resolver};
use crate::store::Store;

/// Records of one order that are worked on at once.
const AT_ONCE: usize = 8;
/// Records of one order that are there at a time: the state lists them, and has an end.
const MOST: usize = 20;
/// An order does not wait longer for a provider that does not take a record away.
const UNSET: Duration = Duration::from_mins(1);
/// One request to a provider's API.
const API_TIMEOUT: Duration = Duration::from_secs(30);

type Place = Arc<tokio::sync::Mutex<()>>;

/// The way to TXT records of every resolver; all drivers share it.
pub struct Records {
    /// Variables of the process.
    environment: Arc<BTreeMap<String, String>>,
    /// By resolver, with the settings that each is made of.
    engines: Mutex<BTreeMap<String, (DnsChallenge, Arc<dns::Engine>)>>,
    /// By the name of the record: many providers know only all values at a name.
    places: Mutex<BTreeMap<String, Place>>,
}

impl Records {
    pub fn new(environment: BTreeMap<String, String>) -> Self {
        let (engines, places) = (Mutex::default(), Mutex::default());
        Self { environment: Arc::new(environment), engines, places }
    }

    fn engine(&self, resolver: &Resolver) -> Result<Arc<dns::Engine>, Stop> {
        let failed = |message: String| Stop::give_up(FailureKind::Unreachable, message);
        let challenge = resolver.challenges.dns.as_ref();
        let challenge = challenge.ok_or_else(|| failed("there is no dnsChallenge".to_owned()))?;
        let mut engines = self.engines.lock().unwrap_or_else(PoisonError::into_inner);
        match engines.get(&resolver.name) {
            Some((made_of, engine)) if made_of == challenge => Ok(Arc::clone(engine)),
            _ => {
                let trust = CaTrust { proxy: resolver.trust.proxy.clone(), ..CaTrust::default() };
                let client = http::Client::for_apis(&trust, API_TIMEOUT);
                let client = client.map_err(|error| failed(error.to_string()))?;
                let engine = Arc::new(dns::Engine::new(challenge, Arc::new(client)));
                engines.insert(resolver.name.clone(), (challenge.clone(), Arc::clone(&engine)));
                Ok(engine)
            }
        }
    }

    /// Credentials as they are now, so that a rotation needs no restart.
    async fn account(
        &self,
        store: &Store,
        engine: &dns::Engine,
        task: &Task,
    ) -> Result<dns::Account, Stop> {
        let solver = match engine.chosen(task)? {
            Chosen::Static(code) => {
                let variables = Variables::of_process(Arc::clone(&self.environment));
                return Ok(dns::Account { code: code.to_owned(), variables });
            }
            Chosen::Solver(solver) => solver,
        };
        let mut values = BTreeMap::new();
        for (variable, secret) in &solver.env {
            let value = store.credential(&secret.name, &secret.key).await?;
            values.insert(variable.clone(), String::from_utf8_lossy(&value).into_owned());
        }
        Ok(dns::Account { code: solver.provider.clone(), variables: Variables::given(values) })
    }

    fn place(&self, fqdn: &str) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.retain(|_, place| Arc::strong_count(place) > 1);
        Arc::clone(places.entry(fqdn.to_owned()).or_default())
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Records")
    }
}

impl Driver<'_> {
    /// Where each record belongs. Of a provider that has one record after another the first alone,
    /// and of very many the first ones: the others follow when the CA has seen these.
    pub(super) async fn locate(&mut self, proofs: Vec<Proof>) -> Result<Event, Stop> {
        let engine = self.engine.records.engine(&self.job.resolver)?;
        let (mut located, mut records) = (Vec::new(), Vec::new());
        for proof in proofs {
            if proof.kind != ChallengeKind::Dns01 {
                located.push(proof);
                continue;
            }
            if self.turn.is_some() || records.len() >= MOST {
                continue;
            }
            let known = self.state.records.iter().find(|record| record.proves(&proof));
            let record = if let Some(record) = known {
                record.clone()
            } else {
                let (token, key) = (&proof.token, &proof.key_authorization);
                let task = engine.task(&proof.name, token, key).await?;
                let resolver = self.job.resolver.name.clone();
                Record { resolver, task, handle: None }
            };
            self.turn = self.turn_for(&engine, &record.task).await?;
            records.push(record);
            located.push(proof);
        }
        Ok(Event::Located { proofs: located, records })
    }

    async fn turn_for(&self, engine: &dns::Engine, task: &Task) -> Result<Option<Turn>, Stop> {
        let account = self.engine.records.account(&self.engine.store, engine, task).await?;
        Ok(engine.turn(&account, (self.clock)()).await?)
    }

    /// What was set is noted even if something else could not be.
    pub(super) async fn set(&mut self, proofs: Vec<Proof>) -> Result<Event, Stop> {
        let engine = self.engine.records.engine(&self.job.resolver)?;
        let wanted = self.records_of(&proofs);
        let each: Vec<_> = wanted.iter().map(|record| self.set_one(&engine, record)).collect();
        let all: Vec<Result<Record, Stop>> =
            stream::iter(each).buffer_unordered(AT_ONCE).collect().await;
        let (mut records, mut failure) = (Vec::new(), None);
        for one in all {
            match one {
                Ok(record) => records.push(record),
                Err(stop) => failure = Some(stop),
            }
        }
        match failure {
            None => Ok(Event::Recorded { proofs, records }),
            Some(stop) => {
                let mut state = self.state.clone();
                state.note_records(records);
                self.store(state).await?;
                Err(stop)
            }
        }
    }

    fn records_of(&self, proofs: &[Proof]) -> Vec<Record> {
        let of = |proof| self.state.records.iter().find(|record| record.proves(proof)).cloned();
        proofs.iter().filter_map(of).collect()
    }

    async fn set_one(&self, engine: &dns::Engine, record: &Record) -> Result<Record, Stop> {
        let task = &record.task;
        let account = self.engine.records.account(&self.engine.store, engine, task).await?;
        let place = self.engine.records.place(&task.fqdn);
        let _alone = place.lock().await;
        self.may_act()?;
        let handle = engine.set(&account, task, (self.clock)()).await?;
        tracing::info!(record = task.fqdn, "TXT record set");
        Ok(Record { handle: Some(handle), ..record.clone() })
    }

    /// Waits until everybody can see the records.
    pub(super) async fn await_records(&self, proofs: &[Proof]) -> Result<(), Stop> {
        let records = self.records_of(proofs);
        if records.is_empty() {
            return Ok(());
        }
        let engine = self.engine.records.engine(&self.job.resolver)?;
        let each: Vec<_> = records.iter().map(|record| self.await_one(&engine, record)).collect();
        futures::future::try_join_all(each).await.map(drop)
    }

    async fn await_one(&self, engine: &dns::Engine, record: &Record) -> Result<(), Stop> {
        let task = &record.task;
        let account = self.engine.records.account(&self.engine.store, engine, task).await?;
        let now = (self.clock)();
        if let Some(request) = engine.asks(&account, task, now)? {
            self.tell(&request);
        }
        Ok(engine.wait_visible(&account, std::slice::from_ref(task), now).await?)
    }

    /// Takes the record away that proved a name; `None`: it is still to be taken away.
    pub(super) async fn unset_of(&self, proof: &Proof) -> Option<Record> {
        let record = self.state.records.iter().find(|record| record.proves(proof))?;
        self.unset(record).await.then(|| record.clone())
    }

    async fn unset(&self, record: &Record) -> bool {
        if record.resolver != self.job.resolver.name {
            return false;
        }
        let unsetting = tokio::time::timeout(UNSET, self.unset_one(record));
        let failure = match unsetting.await {
            Ok(Ok(())) => {
                tracing::info!(record = record.task.fqdn, "TXT record unset");
                return true;
            }
            Ok(Err(stop)) => stop.to_string(),
            Err(_) => format!("not done within {} s", UNSET.as_secs()),
        };
        let (fqdn, value) = (&record.task.fqdn, &record.task.value);
        tracing::warn!(
            "TXT `{fqdn}` with value `{value}` is not unset: {failure}; it is tried again"
        );
        false
    }

    async fn unset_one(&self, record: &Record) -> Result<(), Stop> {
        let (task, handle) = (&record.task, record.handle.as_ref());
        let engine = self.engine.records.engine(&self.job.resolver)?;
        let account = self.engine.records.account(&self.engine.store, &engine, task).await?;
        let place = self.engine.records.place(&task.fqdn);
        let _alone = place.lock().await;
        self.may_act()?;
        Ok(engine.unset(&account, task, handle, (self.clock)()).await?)
    }

    /// Unsets every record that the state lists, tried once a drive; what stays is listed on.
    pub(super) async fn sweep(&mut self) -> Result<(), Stop> {
        if self.state.records.is_empty() || std::mem::replace(&mut self.swept, true) {
            return Ok(());
        }
        let records = self.state.records.clone();
        let each: Vec<_> = records.iter().map(|record| self.unset(record)).collect();
        let gone: Vec<bool> = stream::iter(each).buffered(AT_ONCE).collect().await;
        let left = records.into_iter().zip(gone).filter(|(_, gone)| !gone);
        let records = left.map(|(record, _)| record).collect();
        self.turn = None;
        self.store(State { records, ..self.state.clone() }).await
    }
}
