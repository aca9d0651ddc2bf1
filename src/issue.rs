//! Drives one order: store the state, do one effect, feed the event back, until it is over.
//!
//! The order of writes is the architecture's: order URL and key are in the state before the order
//! is looked at, the answers are visible before the CA is told, the certificate is stored in one
//! write before the state says so. Killed anywhere, the next driver reads the state and asks the CA.

mod accounts;
mod aside;
mod check;
mod proving;
mod records;
mod terms;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::acme;
use crate::acme::{Account, RetryAfter, Waited};
use crate::budget::is_about_names;
use crate::cert::{Certificate, CsrExtras, Facts, Id, Key};
use crate::cluster::Fence;
use crate::dns;
use crate::dns::Turn;
use crate::name::{Name, Names};
use crate::order;
use crate::order::{Effect, Event, Failure, FailureKind, Pending, Polled, State, Terms};
use crate::resolver::{ChallengeKind, Resolver};
use crate::store;
use crate::store::{Expected, Label, Store, Table, Versioned};

pub use accounts::{Accounts, OpenFailed, account_name};
pub use aside::{Revocation, poll, revoke};
pub use check::SelfCheck;
pub use records::Records;

/// One issuance needs about ten steps, and some for each name whose record has to wait for another
/// one; a CA that leads in circles is left after this many.
const MAX_STEPS: usize = 40;
const MAX_STEPS_A_NAME: usize = 6;
/// An order that the CA works on is asked for again after this long, if it names no time.
const ASK_AGAIN: RetryAfter = RetryAfter::In(Duration::from_secs(30));
/// An order that says nothing of its end is given up after this long.
const ORDER_LIVES: jiff::SignedDuration = jiff::SignedDuration::from_hours(7 * 24);
/// How often one chain that cannot be used is fetched anew, before another order is placed.
const BAD_CHAINS: usize = 3;

/// What drivers share.
#[derive(Debug, Clone)]
pub struct Engine {
    pub store: Store,
    pub table: Table,
    pub accounts: Arc<Accounts>,
    pub records: Arc<Records>,
    pub self_check: Option<Arc<SelfCheck>>,
    pub fence: Fence,
    /// What is to be shown of an order that is under way.
    pub told: mpsc::UnboundedSender<(Id, String)>,
    /// The process is about to leave: no new step begins, one that may be cut off is.
    pub stopping: CancellationToken,
}

/// The certificate to get.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each says another thing of the order")]
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
    /// The decision was about an order in flight.
    pub goes_on: bool,
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
    /// The CA works on the order: no failure; go on with it then.
    Waiting {
        state: Versioned<State>,
        until: Timestamp,
    },
    /// What the CA says on when to renew; `None`: it does not tell such things.
    Polled {
        ari_id: String,
        polled: Option<Polled>,
    },
    NotPolled {
        ari_id: String,
    },
    /// Something was done beside orders, and the state says so.
    Noted(Versioned<State>),
    /// The TXT records that an earlier order left are gone.
    Tidied(Versioned<State>),
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
    #[error(transparent)]
    Dns(#[from] dns::Error),
    #[error("{message}")]
    GiveUp { kind: FailureKind, message: String, names: Vec<Name>, tries: u8 },
    #[error("the CA works on the order")]
    Waiting(Timestamp),
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
        Err(Stop::Waiting(until)) => Outcome::Waiting { state: driver.versioned(), until },
        Err(stop) => driver.record(stop).await,
    }
}

/// Unsets the TXT records that an earlier order left, and no more.
pub async fn tidy(engine: &Engine, job: &Job, clock: fn() -> Timestamp) -> Outcome {
    let mut driver = match Driver::begin(engine, job, clock).await {
        Ok(driver) => driver,
        Err(error) => return Outcome::Interrupted(error.to_string()),
    };
    match driver.sweep().await {
        Err(stop) => Outcome::Interrupted(stop.to_string()),
        Ok(()) if driver.state.records.is_empty() => Outcome::Tidied(driver.versioned()),
        Ok(()) => Outcome::Interrupted("TXT records of an earlier order are left".to_owned()),
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
    /// Challenges that can be used, the best first.
    kinds: Vec<ChallengeKind>,
    /// Of a DNS provider that has one record after another.
    turn: Option<Turn>,
    /// Records that were left have been tried to unset.
    swept: bool,
    /// What the self-check found of the names of the order.
    found: BTreeMap<Name, String>,
    /// Until its answers are in the challenge table.
    expected: Option<Expected>,
}

impl Stop {
    fn give_up(kind: FailureKind, message: impl Into<String>) -> Self {
        Self::GiveUp { kind, message: message.into(), names: Vec::new(), tries: 0 }
    }
}

impl<'a> Driver<'a> {
    async fn begin(
        engine: &'a Engine,
        job: &'a Job,
        clock: fn() -> Timestamp,
    ) -> Result<Self, Stop> {
        let read = engine.store.state(&job.id).await?;
        let (mut state, version) = match read {
            Some(Versioned { value, version }) => (value, Some(version)),
            None => (State::new(&job.owner, &job.resolver_name, &job.names), None),
        };
        // It ended, and whoever decided did not see that: another one needs a decision of its own.
        if job.goes_on && state.pending.is_none() {
            return Err(Stop::Overtaken);
        }
        // An order at another CA than the resolver's is of no use any more.
        let rehearsal = job.rehearsal.as_ref().map(|resolver| &resolver.ca_server);
        let cas = [Some(&job.resolver.ca_server), rehearsal];
        state.pending = state.pending.filter(|pending| cas.contains(&Some(&pending.ca)));
        let kinds = job.resolver.challenges.kinds();
        let (account, held_key, turn, swept) = (None, None, None, false);
        let found = BTreeMap::new();
        let presents = kinds.iter().any(|kind| *kind != ChallengeKind::Dns01);
        let expected = presents.then(|| engine.table.expect());
        Ok(Self {
            engine,
            job,
            clock,
            state,
            version,
            account,
            held_key,
            kinds,
            turn,
            swept,
            found,
            expected,
        })
    }

    async fn run(&mut self) -> Result<Facts, Stop> {
        self.check_basis().await?;
        let mut event = Event::Begin;
        let mut pause = Duration::from_millis(500);
        let patient_until = Instant::now() + self.job.resolver.certificate_timeout;
        let most = MAX_STEPS + MAX_STEPS_A_NAME * self.job.names.len();
        for _ in 0..most {
            let (state, effect) = order::next(&self.state, event, &self.kinds);
            if matches!(effect, Effect::Place) && state.tried != self.state.tried {
                self.tell_fallback(&state);
            }
            self.store(state).await?;
            if !effect.proves() {
                self.sweep().await?;
            }
            event = match self.act_until_stopped(effect).await {
                Ok(ControlFlow::Continue(event)) => event,
                Ok(ControlFlow::Break(facts)) => return Ok(facts),
                // The order is elsewhere than we thought (RFC 8555 §7.4): look again.
                Err(Stop::Acme(acme::Error::OtherState(_))) if Instant::now() < patient_until => {
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                    Event::Begin
                }
                Err(Stop::Acme(acme::Error::OtherState(_))) => {
                    return Err(self.go_on_later(None, None).await?);
                }
                Err(stop) => return Err(stop),
            };
        }
        let message = format!("the order did not end after {most} steps");
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
                let mut view = self.account().await?.look(&pending.url).await?;
                self.add_found(&mut view);
                Event::Seen { view, at: (self.clock)() }
            }
            Effect::Locate(proofs) => self.locate(proofs).await?,
            Effect::Record(proofs) => self.set(proofs).await?,
            Effect::Present(proofs) => self.present(proofs).await?,
            Effect::Prove(proofs) => self.prove(&proofs).await?,
            Effect::Finalize(pending) => self.finalize(&pending).await?,
            Effect::Await(pending) => self.wait(&pending).await?,
            Effect::Download(pending) => self.download(&pending).await?,
            Effect::Keep(certificate) => self.keep(certificate).await?,
            Effect::GiveUp { kind, message, names, tries } => {
                return Err(Stop::GiveUp { kind, message, names, tries });
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
        let terms = self.terms();
        let replaces = self.job.replaces.as_deref().filter(|_| !terms.rehearsal);
        let profile = self.job.resolver.profile.as_deref();
        let url = account.place(&self.job.names, profile, replaces).await?;
        let rehearsal = terms.rehearsal;
        tracing::info!(names = %self.job.names, order = %url, rehearsal, "order placed");
        self.state.kinds.clone_from(&self.job.kinds);
        Ok(Event::Placed { url, key, at: (self.clock)(), terms })
    }

    fn tell_fallback(&self, state: &State) {
        for tried in state.tried.iter().filter(|tried| !self.state.tried.contains(tried)) {
            let (name, kind) = (&tried.name, tried.kind.as_str());
            tracing::warn!(
                "{name} could not be proven by {kind}; a new order takes the next challenge. {}",
                tried.message
            );
        }
    }

    async fn finalize(&mut self, pending: &Pending) -> Result<Event, Stop> {
        let extras = CsrExtras {
            email_addresses: self.job.resolver.email_addresses.clone(),
            no_common_name: self.job.resolver.disable_common_name,
        };
        let csr = pending.key.csr(&self.job.names, &extras).map_err(|error| {
            let message = format!("no signing request can be made: {error}");
            Stop::give_up(FailureKind::Refused, message)
        })?;
        let view = self.account().await?.finalize(&pending.url, &csr).await?;
        let at = (self.clock)();
        Ok(view.map_or(Event::Begin, |view| Event::Seen { view, at }))
    }

    /// Not longer than `certificateTimeout`; the order goes on after that.
    async fn wait(&mut self, pending: &Pending) -> Result<Event, Stop> {
        let limit = self.job.resolver.certificate_timeout;
        match self.account().await?.wait(&pending.url, limit).await? {
            Waited::Settled => Ok(Event::Begin),
            Waited::Open { retry_after, expires } => {
                Err(self.go_on_later(retry_after, expires).await?)
            }
        }
    }

    /// `Err`: the order is past its end.
    async fn go_on_later(
        &mut self,
        retry_after: Option<RetryAfter>,
        expires: Option<Timestamp>,
    ) -> Result<Stop, Stop> {
        let now = (self.clock)();
        let placed_at = self.state.pending.as_ref().map_or(now, |pending| pending.placed_at);
        let ends = expires.unwrap_or(placed_at + ORDER_LIVES);
        if now >= ends {
            self.store(State { pending: None, ..self.state.clone() }).await?;
            let message = format!("the CA did not finish the order before it ended at {ends}");
            return Err(Stop::give_up(FailureKind::Refused, message));
        }
        Ok(Stop::Waiting(retry_after.unwrap_or(ASK_AGAIN).resolve(now).min(ends)))
    }

    async fn download(&mut self, pending: &Pending) -> Result<Event, Stop> {
        let preferred = self.job.resolver.preferred_chain.as_deref();
        let chain = self.account().await?.download(&pending.url, preferred).await;
        let parsed = chain.and_then(|chain| {
            Certificate::parse(&chain, pending.key.pem())
                .map_err(|error| acme::Error::BadChain(error.to_string()))
        });
        let failed = self.state.failures.len() + 1;
        if matches!(parsed, Err(acme::Error::BadChain(_))) && failed >= BAD_CHAINS {
            self.store(State { pending: None, ..self.state.clone() }).await?;
        }
        Ok(Event::Downloaded(parsed?))
    }

    /// K1, conditional on what is there now; already there after a crash: nothing to write.
    async fn keep(&mut self, certificate: Certificate) -> Result<Event, Stop> {
        let ari = if self.job.asks_when_to_renew {
            let account = self.account().await?;
            aside::first_window(account.ca(), &certificate, (self.clock)()).await
        } else {
            None
        };
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
        Ok(Event::Stored { at: (self.clock)(), certificate, ari })
    }

    async fn account(&mut self) -> Result<Account, Stop> {
        let resolver = self.resolver();
        if let Some((ca, account)) = &self.account
            && *ca == resolver.ca_server
        {
            return Ok(account.clone());
        }
        let account = self.engine.accounts.opened(resolver, &self.engine.fence).await?;
        self.account = Some((resolver.ca_server.clone(), account.clone()));
        Ok(account)
    }

    fn may_act(&self) -> Result<(), Stop> {
        fenced(&self.engine.fence)
    }

    /// A failure is part of the state, so that a restart does not begin again at once.
    async fn record(mut self, stop: Stop) -> Outcome {
        let at = (self.clock)();
        let (kind, not_before) = match &stop {
            Stop::Fenced | Stop::Leaving | Stop::Overtaken | Stop::Store(_) | Stop::Waiting(_) => {
                return Outcome::Interrupted(stop.to_string());
            }
            Stop::GiveUp { kind, .. } => (*kind, None),
            Stop::Acme(error) => self.classify(error, at).await,
            Stop::Dns(dns::Error::Busy { retry_after: Some(wait), .. }) => {
                (FailureKind::Unreachable, Some(RetryAfter::In(*wait).resolve(at)))
            }
            Stop::Dns(_) => (FailureKind::Unreachable, None),
        };
        if let Err(error) = self.sweep().await {
            return Outcome::Interrupted(format!("{stop}; and: {error}"));
        }
        let ca = self.resolver().ca_server.clone();
        let (names, tries) = match &stop {
            Stop::GiveUp { names, tries, .. } => (names.clone(), *tries),
            _ => (Vec::new(), 0),
        };
        let message = order::shown(&stop.to_string());
        let failure = Failure {
            at,
            kind,
            not_before,
            narrow: kind == FailureKind::RateLimited && is_about_names(&ca, &message),
            rehearsal: ca != self.job.resolver.ca_server,
            ca: Some(ca),
            names,
            tries,
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
            acme::Error::AccountGone(_) | acme::Error::KeyRefused(_) => {
                self.engine.accounts.forget(self.resolver()).await;
                (FailureKind::Unreachable, None)
            }
            // The order is still there: its chain is fetched again.
            acme::Error::BadChain(_) if self.state.pending.is_some() => {
                (FailureKind::Unreachable, None)
            }
            acme::Error::Unreachable(_) | acme::Error::Timeout => (FailureKind::Unreachable, None),
            _ => (FailureKind::Refused, None),
        }
    }
}

fn fenced(fence: &Fence) -> Result<(), Stop> {
    if fence.holds() { Ok(()) } else { Err(Stop::Fenced) }
}

#[cfg(test)]
mod simulation;
