//! Drives one order: store the state, do one effect, feed the event back, until it is over.
//!
//! The order of writes is the architecture's: order URL and key are in the state before the order
//! is looked at, the answers are visible before the CA is told, the certificate is stored in one
//! write before the state says so. Killed anywhere, the next driver reads the state and asks the CA.

mod accounts;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::acme;
use crate::acme::Account;
use crate::budget::is_about_names;
use crate::cert::{Certificate, Facts, Id, Key};
use crate::cluster::Fence;
use crate::name::{Name, Names};
use crate::order;
use crate::order::{
    Effect, Event, Failure, FailureKind, Pending, Spec, State, Terms, Unproven, needs_rehearsal,
};
use crate::resolver::Resolver;
use crate::store;
use crate::store::{Label, Store, Table, Versioned};

pub use accounts::{Accounts, account_name};

/// One issuance needs about ten steps; a CA that leads in circles is left after this many.
const MAX_STEPS: usize = 40;
/// How long one poll may last before the worker gives its place to others.
const POLL_LIMIT: Duration = Duration::from_mins(1);

/// What drivers share.
#[derive(Debug, Clone)]
pub struct Engine {
    pub store: Store,
    pub table: Table,
    pub accounts: Arc<Accounts>,
    pub fence: Fence,
    /// The process is about to leave: no new step begins, one that may be cut off is.
    pub stopping: CancellationToken,
}

/// The certificate to get.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: Id,
    pub owner: String,
    pub names: Names,
    pub kinds: Vec<String>,
    pub resolver: Resolver,
    /// The same at a CA that is tried first after a failure.
    pub rehearsal: Option<Resolver>,
    /// The certificate's own resolver, whichever is used.
    pub resolver_name: String,
    /// Fingerprint of the certificate that the decision was about, if one was held.
    pub basis: Option<String>,
    /// What the order is placed on.
    pub terms: Terms,
    /// Take the key of the certificate that is held.
    pub keeps_key: bool,
    /// What the new certificate stands in for (RFC 9773 §5).
    pub replaces: Option<String>,
    /// Ask the CA at once when to renew it.
    pub asks_when_to_renew: bool,
}

/// How a drive ended; what the state now says is what [`State`] says.
#[derive(Debug)]
pub enum Outcome {
    Issued {
        state: Versioned<State>,
        facts: Facts,
    },
    /// The failure is recorded in the state.
    Failed(Versioned<State>),
    /// Nothing could be recorded: the state is to be read again.
    Interrupted(String),
}

/// What stops a drive.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Acme(#[from] acme::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{message}")]
    GiveUp { kind: FailureKind, message: String, names: Vec<Name> },
    #[error("this controller no longer leads")]
    Fenced,
    #[error("this controller is stopping")]
    Leaving,
    #[error("the certificate changed since it was decided on")]
    Overtaken,
}

/// Gets the certificate, or records why not. `clock` is read once an event.
pub async fn drive(engine: &Engine, job: &Job, clock: fn() -> Timestamp) -> Outcome {
    let mut driver = match Driver::begin(engine, job, clock).await {
        Ok(driver) => driver,
        Err(error) => return Outcome::Interrupted(error.to_string()),
    };
    match driver.run().await {
        Ok(facts) => Outcome::Issued { state: driver.versioned(), facts },
        Err(stop) => driver.record(stop).await,
    }
}

struct Driver<'a> {
    engine: &'a Engine,
    job: &'a Job,
    clock: fn() -> Timestamp,
    state: State,
    version: Option<String>,
    /// The account in use, and the directory of its CA.
    account: Option<(String, Account)>,
    /// Of the certificate that is held.
    held_key: Option<Key>,
}

impl Stop {
    fn give_up(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::GiveUp { kind, message: message.into(), names: Vec::new() }
    }
}

impl<'a> Driver<'a> {
    async fn begin(
        engine: &'a Engine,
        job: &'a Job,
        clock: fn() -> Timestamp,
    ) -> Result<Self, store::Error> {
        let read = engine.store.state(&job.id).await?;
        let (mut state, version) = match read {
            Some(Versioned { value, version }) => (value, Some(version)),
            None => (State::new(&job.owner, &job.resolver_name, &job.names), None),
        };
        // An order at another CA than the resolver's is of no use any more.
        let rehearsal = job.rehearsal.as_ref().map(|resolver| &resolver.ca_server);
        let cas = [Some(&job.resolver.ca_server), rehearsal];
        state.pending = state.pending.filter(|pending| cas.contains(&Some(&pending.ca)));
        Ok(Self { engine, job, clock, state, version, account: None, held_key: None })
    }

    async fn run(&mut self) -> Result<Facts, Stop> {
        self.check_basis().await?;
        let mut event = Event::Begin;
        for _ in 0..MAX_STEPS {
            let (state, effect) = order::next(&self.state, event);
            self.store(state).await?;
            event = match self.act_until_stopped(effect).await {
                Ok(ControlFlow::Continue(event)) => event,
                Ok(ControlFlow::Break(facts)) => return Ok(facts),
                // The order is elsewhere than we thought (RFC 8555 §7.4): look again.
                Err(Stop::Acme(acme::Error::OtherState(_))) => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    Event::Begin
                }
                Err(stop) => return Err(stop),
            };
        }
        let message = format!("the order did not end after {MAX_STEPS} steps");
        Err(Stop::give_up(FailureKind::Refused, message))
    }

    /// A certificate that came meanwhile is no reason for another one.
    async fn check_basis(&mut self) -> Result<(), Stop> {
        if self.state.pending.is_some() {
            return Ok(());
        }
        let present = self.engine.store.certificate(&self.job.id).await?;
        let held = present.and_then(|entry| entry.content.ok());
        self.held_key = held.as_ref().map(|certificate| certificate.key().clone());
        let held = held.map(|certificate| certificate.facts().fingerprint.clone());
        if held == self.job.basis { Ok(()) } else { Err(Stop::Overtaken) }
    }

    fn versioned(self) -> Versioned<State> {
        Versioned { value: self.state, version: self.version.unwrap_or_default() }
    }

    /// Writes only differences.
    async fn store(&mut self, state: State) -> Result<(), Stop> {
        if state == self.state {
            return Ok(());
        }
        self.may_act()?;
        let written =
            self.engine.store.put_state(&self.job.id, &state, self.version.as_deref()).await?;
        self.version = Some(written);
        self.state = state;
        Ok(())
    }

    /// Every step can be cut off and gone on with from the state, but for newOrder: its answer is
    /// what the state needs.
    async fn act_until_stopped(
        &mut self,
        effect: Effect,
    ) -> Result<ControlFlow<Facts, Event>, Stop> {
        let stopping = self.engine.stopping.clone();
        if stopping.is_cancelled() {
            return Err(Stop::Leaving);
        }
        if matches!(effect, Effect::Place) {
            return self.act(effect).await;
        }
        tokio::select! {
            event = self.act(effect) => event,
            () = stopping.cancelled() => Err(Stop::Leaving),
        }
    }

    /// What happened; or, at the end of the order, what was got.
    async fn act(&mut self, effect: Effect) -> Result<ControlFlow<Facts, Event>, Stop> {
        self.may_act()?;
        let event = match effect {
            Effect::Place => self.place().await?,
            Effect::Look(pending) => {
                let now = (self.clock)();
                Event::Seen(self.account().await?.look(&pending.url, now).await?)
            }
            Effect::Present(unproven) => self.present(unproven).await?,
            Effect::Prove(unproven) => self.prove(unproven).await?,
            Effect::Withdraw(unproven) => self.withdraw(&unproven).await?,
            Effect::Finalize(pending) => self.finalize(&pending).await?,
            Effect::Await(pending) => {
                self.account().await?.wait(&pending.url, POLL_LIMIT).await?;
                Event::Begin
            }
            Effect::Download(pending) => self.download(&pending).await?,
            Effect::Keep(certificate) => self.keep(certificate).await?,
            Effect::GiveUp { kind, message, names } => {
                return Err(Stop::GiveUp { kind, message, names });
            }
            Effect::Done(facts) => return Ok(ControlFlow::Break(facts)),
        };
        Ok(ControlFlow::Continue(event))
    }

    /// The key is made before the order, so that both are stored in one write.
    async fn place(&mut self) -> Result<Event, Stop> {
        let key = self.new_key().await?;
        let account = self.account().await?;
        self.may_act()?;
        let url = account.place(&self.job.names).await?;
        let terms = self.terms();
        let rehearsal = terms.rehearsal;
        tracing::info!(names = %self.job.names, order = %url, rehearsal, "order placed");
        self.state.kinds.clone_from(&self.job.kinds);
        Ok(Event::Placed { url, key, at: (self.clock)(), terms })
    }

    /// What the next order is placed on.
    fn terms(&self) -> Terms {
        let terms = self.job.terms.clone();
        let Some(resolver) = self.job.rehearsal.as_ref().filter(|_| needs_rehearsal(&self.state))
        else {
            return terms;
        };
        Terms {
            spec: Spec { ca: resolver.ca_server.clone(), ..terms.spec },
            exemption: order::Exemption::None,
            account: account_name(resolver),
            rehearsal: true,
            ..terms
        }
    }

    /// At whose CA the order in flight is, or the next one will be.
    fn resolver(&self) -> &'a Resolver {
        let job = self.job;
        let is_rehearsal = match &self.state.pending {
            Some(pending) => pending.ca != job.resolver.ca_server,
            None => needs_rehearsal(&self.state),
        };
        job.rehearsal.as_ref().filter(|_| is_rehearsal).unwrap_or(&job.resolver)
    }

    async fn new_key(&self) -> Result<Key, Stop> {
        let key_type = self.job.resolver.key_type;
        let is_rehearsal = self.resolver().ca_server != self.job.resolver.ca_server;
        if let Some(key) = self.held_key.as_ref().filter(|_| self.job.keeps_key && !is_rehearsal) {
            return Ok(key.clone());
        }
        let failed = |message: String| Stop::give_up(FailureKind::Unreachable, message);
        tokio::task::spawn_blocking(move || Key::generate(key_type))
            .await
            .map_err(|error| failed(error.to_string()))?
            .map_err(|error| failed(error.to_string()))
    }

    async fn present(&mut self, unproven: Vec<Unproven>) -> Result<Event, Stop> {
        let answers = unproven.iter().map(|one| (one.token.clone(), one.answer.clone())).collect();
        self.engine.table.present(answers).await?;
        let http = self.job.resolver.challenges.http.as_ref();
        tokio::time::sleep(http.map_or(Duration::ZERO, |http| http.delay)).await;
        Ok(Event::Presented(unproven))
    }

    /// Whatever becomes of it, the answers are taken away next.
    async fn prove(&mut self, unproven: Vec<Unproven>) -> Result<Event, Stop> {
        let Some(pending) = self.state.pending.clone() else { return Ok(Event::Begin) };
        let proved = self.account().await?.prove(&pending.url, &unproven, POLL_LIMIT).await;
        if let Err(error) = proved {
            self.withdraw(&unproven).await?;
            return Err(error.into());
        }
        Ok(Event::Settled(unproven))
    }

    async fn withdraw(&self, unproven: &[Unproven]) -> Result<Event, Stop> {
        let tokens = unproven.iter().map(|one| one.token.clone()).collect();
        self.engine.table.withdraw(tokens).await?;
        Ok(Event::Withdrawn)
    }

    async fn finalize(&mut self, pending: &Pending) -> Result<Event, Stop> {
        let csr = pending.key.csr(&self.job.names).map_err(|error| {
            let message = format!("no signing request can be made: {error}");
            Stop::give_up(FailureKind::Refused, message)
        })?;
        self.account().await?.finalize(&pending.url, &csr).await?;
        Ok(Event::Begin)
    }

    async fn download(&mut self, pending: &Pending) -> Result<Event, Stop> {
        let chain = self.account().await?.download(&pending.url).await?;
        match Certificate::parse(&chain, pending.key.pem()) {
            Ok(certificate) => Ok(Event::Downloaded(certificate)),
            Err(error) => {
                let state = State { pending: None, ..self.state.clone() };
                self.store(state).await?;
                let message = format!("the CA sent a chain that cannot be used: {error}");
                Err(Stop::give_up(FailureKind::Refused, message))
            }
        }
    }

    /// K1, conditional on what is there now; already there after a crash: nothing to write.
    async fn keep(&mut self, certificate: Certificate) -> Result<Event, Stop> {
        let present = self.engine.store.certificate(&self.job.id).await?;
        let there = present
            .as_ref()
            .and_then(|entry| entry.content.as_ref().ok())
            .is_some_and(|held| held.key() == certificate.key());
        if !there {
            let label = Label {
                id: &self.job.id,
                owner: &self.job.owner,
                resolver: &self.job.resolver_name,
                names: &self.job.names,
            };
            self.may_act()?;
            let version = present.as_ref().map(|entry| entry.version.as_str());
            self.engine.store.keep(label, &certificate, version).await?;
        }
        tracing::info!(
            names = %self.job.names,
            not_after = %certificate.facts().not_after,
            "certificate stored"
        );
        Ok(Event::Stored { at: (self.clock)(), certificate, ari: None })
    }

    async fn account(&mut self) -> Result<Account, Stop> {
        let resolver = self.resolver();
        if let Some((ca, account)) = &self.account
            && *ca == resolver.ca_server
        {
            return Ok(account.clone());
        }
        let account = self.engine.accounts.open(resolver, &self.engine.fence).await?;
        self.account = Some((resolver.ca_server.clone(), account.clone()));
        Ok(account)
    }

    fn may_act(&self) -> Result<(), Stop> {
        if self.engine.fence.holds() { Ok(()) } else { Err(Stop::Fenced) }
    }

    /// A failure is part of the state, so that a restart does not begin again at once.
    async fn record(mut self, stop: Stop) -> Outcome {
        let at = (self.clock)();
        let (kind, not_before) = match &stop {
            Stop::Fenced | Stop::Leaving | Stop::Overtaken | Stop::Store(_) => {
                return Outcome::Interrupted(stop.to_string());
            }
            Stop::GiveUp { kind, .. } => (*kind, None),
            Stop::Acme(error) => self.classify(error, at).await,
        };
        let ca = self.resolver().ca_server.clone();
        let message = order::shown(&stop.to_string());
        let failure = Failure {
            at,
            kind,
            not_before,
            narrow: kind == FailureKind::RateLimited && is_about_names(&ca, &message),
            rehearsal: ca != self.job.resolver.ca_server,
            ca: Some(ca),
            names: if let Stop::GiveUp { names, .. } = &stop { names.clone() } else { Vec::new() },
            message,
        };
        let mut state = self.state.clone();
        if matches!(stop, Stop::Acme(acme::Error::AccountGone(_))) {
            state.pending = None;
        }
        order::fail(&mut state, failure);
        match self.store(state).await {
            Ok(()) => Outcome::Failed(self.versioned()),
            Err(error) => Outcome::Interrupted(format!("{stop}; and: {error}")),
        }
    }

    async fn classify(
        &self,
        error: &acme::Error,
        at: Timestamp,
    ) -> (FailureKind, Option<Timestamp>) {
        match error {
            acme::Error::RateLimited { retry_after, .. } => {
                (FailureKind::RateLimited, retry_after.map(|after| after.resolve(at)))
            }
            acme::Error::AccountGone(_) => {
                self.engine.accounts.forget(self.resolver()).await;
                (FailureKind::Unreachable, None)
            }
            acme::Error::Unreachable(_) | acme::Error::Timeout => (FailureKind::Unreachable, None),
            _ => (FailureKind::Refused, None),
        }
    }
}
