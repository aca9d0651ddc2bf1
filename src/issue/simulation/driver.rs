//! The driver, step by step as `issue::drive` does it: the state is stored first if it differs,
//! then one effect is carried out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use jiff::SignedDuration;
use rand::seq::SliceRandom;

use super::hand::Hand;
use super::leader::Want;
use super::table::Table;
use super::world::World;
use crate::acme;
use crate::cert::{Certificate, Key, KeyType};
use crate::challenge::Answer;
use crate::dns::{Handle, Task};
use crate::issue::Stop;
use crate::issue::proving::{ANSWER_LIVES, table_key};
use crate::order;
use crate::order::{
    Cause, Effect, Event, Exemption, Failure, FailureKind, Pending, Proof, Record, Spec, State,
    Status, Terms,
};
use crate::resolver::ChallengeKind;
use crate::store::AccountRecord;

const CERTIFICATE_TIMEOUT: i64 = 20_000;
const MAX_STEPS: usize = 40;

/// The certificate to get.
pub(super) struct Job {
    pub(super) want: Want,
    pub(super) basis: Option<String>,
    pub(super) goes_on: bool,
}

/// How it ended.
pub(super) enum Ended {
    /// The state is this now; look again after so many milliseconds.
    Known(Box<State>, i64),
    Interrupted(String),
}

pub(super) async fn drive(hand: &Hand, table: &Table, job: &Job) -> Ended {
    let ended = match Driver::begin(hand, table, job).await {
        Ok(mut driver) => match driver.run().await {
            Ok(()) => Ended::Known(Box::new(driver.state), 500),
            Err(Stop::Waiting(until)) => {
                let wait = until.duration_since(hand.now()).as_millis();
                Ended::Known(Box::new(driver.state), i64::try_from(wait).unwrap())
            }
            Err(stop) => driver.record(stop).await,
        },
        Err(stop) => Ended::Interrupted(stop.to_string()),
    };
    let why = if let Ended::Interrupted(why) = &ended { why.as_str() } else { "it failed" };
    hand.world.borrow_mut().forget(hand.who, why);
    ended
}

pub(super) async fn tidy(hand: &Hand, table: &Table, job: &Job) -> Ended {
    let mut driver = match Driver::begin(hand, table, job).await {
        Ok(driver) => driver,
        Err(stop) => return Ended::Interrupted(stop.to_string()),
    };
    match driver.sweep().await {
        Err(stop) => Ended::Interrupted(stop.to_string()),
        Ok(()) if driver.state.records.is_empty() => Ended::Known(Box::new(driver.state), 500),
        Ok(()) => Ended::Interrupted("TXT records are left".to_owned()),
    }
}

struct Driver<'a> {
    hand: &'a Hand,
    table: &'a Table,
    job: &'a Job,
    state: State,
    version: u64,
    has_account: bool,
    swept: bool,
}

impl<'a> Driver<'a> {
    async fn begin(hand: &'a Hand, table: &'a Table, job: &'a Job) -> Result<Self, Stop> {
        let (state, version) = hand.read(|it| &mut it.state).await?;
        let state = state.unwrap_or_else(|| State::new("shop", "le", &job.want.names));
        if job.goes_on && state.pending.is_none() {
            return Err(Stop::Overtaken);
        }
        Ok(Self { hand, table, job, state, version, has_account: false, swept: false })
    }

    async fn run(&mut self) -> Result<(), Stop> {
        self.check_basis().await?;
        let mut event = Event::Begin;
        let mut pause = 500;
        let patient_until = self.hand.now() + SignedDuration::from_millis(CERTIFICATE_TIMEOUT);
        for _ in 0..MAX_STEPS {
            let (state, effect) = order::next(&self.state, event, &self.job.want.kinds);
            self.store(state).await?;
            if !effect.proves() {
                self.sweep().await?;
            }
            event = match self.act(effect).await {
                Ok(ControlFlow::Continue(event)) => event,
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(Stop::Acme(acme::Error::OtherState(_))) => {
                    if patient_until <= self.hand.now() {
                        return Err(self.go_on_later());
                    }
                    self.hand.sleep(pause).await;
                    pause *= 2;
                    Event::Begin
                }
                Err(stop) => return Err(stop),
            };
        }
        Err(Stop::give_up(FailureKind::Refused, "the order did not end"))
    }

    async fn check_basis(&self) -> Result<(), Stop> {
        if self.state.pending.is_some() {
            return Ok(());
        }
        let (present, _) = self.hand.read(|it| &mut it.certificate).await?;
        let held = present.map(|certificate| certificate.facts().fingerprint.clone());
        if held == self.job.basis { Ok(()) } else { Err(Stop::Overtaken) }
    }

    async fn store(&mut self, state: State) -> Result<(), Stop> {
        if state == self.state {
            return Ok(());
        }
        self.hand.may_act()?;
        self.version = self.hand.put(|it| &mut it.state, state.clone(), self.version).await?;
        self.state = state;
        Ok(())
    }

    async fn act(&mut self, effect: Effect) -> Result<ControlFlow<(), Event>, Stop> {
        self.hand.may_act()?;
        let event = match effect {
            Effect::Place => self.place().await?,
            Effect::Look(pending) => {
                self.account().await?;
                let look = |it: &mut World| Ok(it.ca.look(&pending.url));
                let view = self.hand.ask("look", look).await?;
                Event::Seen { view, at: self.hand.now() }
            }
            Effect::Locate(proofs) => self.locate(proofs),
            Effect::Record(proofs) => self.set(proofs).await?,
            Effect::Present(proofs) => self.present(proofs).await?,
            Effect::Prove(proofs) => self.prove(proofs).await?,
            Effect::Finalize(pending) => self.finalize(&pending).await?,
            Effect::Await(pending) => self.wait(&pending).await?,
            Effect::Download(pending) => self.download(&pending).await?,
            Effect::Keep(certificate) => self.keep(certificate).await?,
            Effect::GiveUp { kind, message, names, tries } => {
                return Err(Stop::GiveUp { kind, message, names, tries });
            }
            Effect::Done(_) => return Ok(ControlFlow::Break(())),
        };
        Ok(ControlFlow::Continue(event))
    }

    /// The account's key is stored before it is registered, its URL after.
    async fn account(&mut self) -> Result<(), Stop> {
        if self.has_account {
            return Ok(());
        }
        let (mut stored, mut version) = self.hand.read(|it| &mut it.account).await?;
        if stored.is_none() {
            let key = Key::generate(KeyType::Ec256).unwrap();
            let record = AccountRecord { key, url: None, contacts: BTreeMap::default() };
            self.hand.may_act()?;
            match self.hand.put(|it| &mut it.account, record.clone(), 0).await {
                Ok(written) => (stored, version) = (Some(record), written),
                Err(Stop::Store(crate::store::Error::Conflict { .. })) => {
                    (stored, version) = self.hand.read(|it| &mut it.account).await?;
                }
                Err(stop) => return Err(stop),
            }
        }
        let stored = stored.unwrap();
        if stored.url.is_none() {
            self.hand.may_act()?;
            let key = stored.key.pem().to_owned();
            self.hand
                .ask("register", |it| {
                    it.ca.accounts.insert(key);
                    Ok(())
                })
                .await?;
            let record = AccountRecord { url: Some("account".to_owned()), ..stored };
            self.hand.put(|it| &mut it.account, record, version).await?;
        }
        self.has_account = true;
        Ok(())
    }

    async fn place(&mut self) -> Result<Event, Stop> {
        let key = Key::generate(KeyType::Ec256).unwrap();
        self.account().await?;
        self.hand.may_act()?;
        let (names, who) = (self.job.want.names.clone(), self.hand.who);
        let place = move |it: &mut World| {
            let url = it.ca.place(&names, it.now, &mut it.dice);
            it.unsaved.insert(who, url.clone());
            Ok(url)
        };
        let url = self.hand.ask("place", place).await?;
        Ok(Event::Placed { url, key, at: self.hand.now(), terms: terms() })
    }

    fn locate(&self, proofs: Vec<Proof>) -> Event {
        let dns = proofs.iter().filter(|proof| proof.kind == ChallengeKind::Dns01);
        let record = |proof: &Proof| {
            let known = self.state.records.iter().find(|record| record.proves(proof));
            known.cloned().unwrap_or_else(|| intended(proof))
        };
        Event::Located { records: dns.map(record).collect(), proofs }
    }

    async fn set(&mut self, proofs: Vec<Proof>) -> Result<Event, Stop> {
        let mut records = Vec::new();
        for record in self.records_of(&proofs) {
            let Task { fqdn, value, .. } = record.task.clone();
            let set = |it: &mut World| {
                it.note(&format!("TXT {value} is set"));
                it.txt.entry(fqdn).or_default().insert(value);
            };
            if let Err(stop) = self.hand.dns(set).await {
                let mut state = self.state.clone();
                state.note_records(records);
                self.store(state).await?;
                return Err(stop);
            }
            records.push(Record { handle: Some(Handle::default()), ..record });
        }
        Ok(Event::Recorded { proofs, records })
    }

    fn records_of(&self, proofs: &[Proof]) -> Vec<Record> {
        let of = |proof| self.state.records.iter().find(|record| record.proves(proof)).cloned();
        proofs.iter().filter_map(of).collect()
    }

    async fn present(&mut self, proofs: Vec<Proof>) -> Result<Event, Stop> {
        let expires = self.hand.now() + ANSWER_LIVES;
        let answers = proofs.iter().filter_map(|proof| {
            let (name, answer) = (proof.name.clone(), proof.key_authorization.clone());
            Some((table_key(proof)?, Answer { name, answer, expires }))
        });
        let answers: Vec<(String, Answer)> = answers.collect();
        if !answers.is_empty() {
            let keys: Vec<String> = answers.iter().map(|(key, _)| key.clone()).collect();
            if let Err(stop) = self.table.present(answers).await {
                for key in keys {
                    drop(self.table.withdraw(&key).await);
                }
                return Err(stop);
            }
        }
        Ok(Event::Presented(proofs))
    }

    /// The CA is told of all, in any order; then each is waited for and taken away.
    async fn prove(&mut self, mut proofs: Vec<Proof>) -> Result<Event, Stop> {
        self.account().await?;
        proofs.shuffle(&mut self.hand.world.borrow_mut().dice);
        let mut told = Vec::new();
        for proof in proofs {
            let outcome = self.tell(&proof).await;
            told.push((proof, outcome));
        }
        let (mut gone, mut failed) = (Vec::new(), None);
        for (proof, outcome) in told {
            let proved = match outcome {
                Ok(()) => self.wait_for(&proof).await,
                Err(stop) => Err(stop),
            };
            gone.extend(self.unset_of(&proof).await);
            let withdrawn = match table_key(&proof) {
                Some(key) => self.table.withdraw(&key).await,
                None => Ok(()),
            };
            failed = failed.or_else(|| withdrawn.err()).or_else(|| proved.err());
        }
        failed.map_or(Ok(Event::Settled(gone)), Err)
    }

    async fn tell(&self, proof: &Proof) -> Result<(), Stop> {
        let url = proof.chosen.challenge_url.clone();
        let tell = move |it: &mut World| {
            let look_at = it.now + it.between(0, 3000);
            it.ca.tell(&url, look_at)
        };
        match self.hand.ask("tell", tell).await {
            Err(Stop::Acme(acme::Error::Refused(_))) => Ok(()),
            other => other,
        }
    }

    async fn wait_for(&self, proof: &Proof) -> Result<(), Stop> {
        let limit = self.hand.now() + SignedDuration::from_secs(60);
        let url = &proof.chosen.authorization_url;
        while self.hand.now() < limit {
            if !self.hand.ask("authorization", |it| Ok(it.ca.is_pending(url))).await? {
                return Ok(());
            }
            self.hand.sleep(500).await;
        }
        Err(Stop::Acme(acme::Error::Timeout))
    }

    async fn unset_of(&self, proof: &Proof) -> Option<Record> {
        let record = self.state.records.iter().find(|record| record.proves(proof))?;
        self.unset(record).await.then(|| record.clone())
    }

    async fn unset(&self, record: &Record) -> bool {
        let Task { fqdn, value, .. } = record.task.clone();
        let unset = |it: &mut World| {
            it.note(&format!("TXT {value} is unset"));
            it.txt.entry(fqdn).or_default().remove(&value);
        };
        self.hand.dns(unset).await.is_ok()
    }

    async fn sweep(&mut self) -> Result<(), Stop> {
        if self.state.records.is_empty() || std::mem::replace(&mut self.swept, true) {
            return Ok(());
        }
        let mut left = Vec::new();
        for record in self.state.records.clone() {
            if !self.unset(&record).await {
                left.push(record);
            }
        }
        self.store(State { records: left, ..self.state.clone() }).await
    }

    async fn finalize(&mut self, pending: &Pending) -> Result<Event, Stop> {
        self.account().await?;
        let Pending { url, key, .. } = pending.clone();
        let finalize = move |it: &mut World| {
            let done_at = it.now + it.between(0, 40_000);
            it.ca.finalize(&url, &key, done_at)?;
            Ok(it.ca.look(&url))
        };
        let view = self.hand.ask("finalize", finalize).await?;
        Ok(Event::Seen { view, at: self.hand.now() })
    }

    async fn wait(&mut self, pending: &Pending) -> Result<Event, Stop> {
        self.account().await?;
        let limit = self.hand.now() + SignedDuration::from_millis(CERTIFICATE_TIMEOUT);
        while self.hand.now() < limit {
            let status = self.hand.ask("poll", |it| Ok(it.ca.look(&pending.url).status)).await?;
            if !matches!(status, Status::Pending | Status::Processing) {
                return Ok(Event::Begin);
            }
            self.hand.sleep(1000).await;
        }
        Err(self.go_on_later())
    }

    fn go_on_later(&self) -> Stop {
        Stop::Waiting(self.hand.now() + SignedDuration::from_secs(5))
    }

    async fn download(&mut self, pending: &Pending) -> Result<Event, Stop> {
        self.account().await?;
        let chain = self.hand.ask("download", |it| it.ca.download(&pending.url)).await?;
        let certificate = Certificate::parse(&chain, pending.key.pem())
            .map_err(|error| acme::Error::BadChain(error.to_string()))?;
        Ok(Event::Downloaded(certificate))
    }

    async fn keep(&mut self, certificate: Certificate) -> Result<Event, Stop> {
        let (present, version) = self.hand.read(|it| &mut it.certificate).await?;
        let there = present.is_some_and(|held| held.key() == certificate.key());
        if !there {
            self.hand.may_act()?;
            self.hand.put(|it| &mut it.certificate, certificate.clone(), version).await?;
        }
        Ok(Event::Stored { at: self.hand.now(), certificate, ari: None })
    }

    async fn record(mut self, stop: Stop) -> Ended {
        let kind = match &stop {
            Stop::Fenced | Stop::Leaving | Stop::Overtaken | Stop::Store(_) | Stop::Waiting(_) => {
                return Ended::Interrupted(stop.to_string());
            }
            Stop::GiveUp { kind, .. } => *kind,
            Stop::Acme(acme::Error::Refused(_) | acme::Error::OtherState(_)) => {
                FailureKind::Refused
            }
            Stop::Acme(_) | Stop::Dns(_) => FailureKind::Unreachable,
        };
        if let Err(error) = self.sweep().await {
            return Ended::Interrupted(format!("{stop}; and: {error}"));
        }
        let mut state = self.state.clone();
        order::fail(&mut state, failure(self.hand, kind, &stop));
        match self.store(state).await {
            Ok(()) => Ended::Known(Box::new(self.state), 5000),
            Err(error) => Ended::Interrupted(format!("{stop}; and: {error}")),
        }
    }
}

fn failure(hand: &Hand, kind: FailureKind, stop: &Stop) -> Failure {
    hand.note(&format!("failed: {stop}"));
    Failure {
        at: hand.now(),
        kind,
        message: stop.to_string(),
        not_before: None,
        ca: None,
        names: Vec::new(),
        tries: 0,
        narrow: false,
        rehearsal: false,
    }
}

fn intended(proof: &Proof) -> Record {
    let domain = proof.name.without_wildcard();
    let task = Task {
        fqdn: format!("_acme-challenge.{domain}"),
        domain,
        value: proof.key_authorization.clone(),
        token: proof.token.clone(),
        key_authorization: proof.key_authorization.clone(),
    };
    Record { resolver: "le".to_owned(), task, handle: None }
}

fn terms() -> Terms {
    let spec = Spec {
        ca: "https://ca".to_owned(),
        key_type: KeyType::Ec256,
        profile: None,
        explicit: Vec::new(),
    };
    Terms {
        spec,
        cause: Cause::Other,
        exemption: Exemption::None,
        account: "account".to_owned(),
        fallback: None,
        rehearsal: false,
    }
}
