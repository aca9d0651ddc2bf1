//! One resolver's way to a TXT record and back: where it belongs, set, wait, unset.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest;
use data_encoding::BASE64URL_NOPAD;
use futures::future::try_join_all;
use jiff::Timestamp;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, sleep_until, timeout};

use crate::dns::lookup::Lookup;
use crate::dns::visible;
use crate::dns::{
    Context, Error, Exchange, FindZone, Handle, Provider, Task, Transport, Variables, Visibility,
    Zones, provider,
};
use crate::name::Name;
use crate::resolver::{DnsChallenge, Solver};

/// A provider has at least this long to set or unset one record.
const STEP: Duration = Duration::from_mins(5);
/// For all CNAMEs of a name.
const LOOK_UP: Duration = Duration::from_mins(2);
const SLOW: &str = "DNS did not say within 120 s where they lead";

/// Who sets a record: a provider, and the variables that it reads.
#[derive(Debug, Clone)]
pub struct Account {
    /// The provider's code or an alias.
    pub code: String,
    pub variables: Variables,
}

/// Whose account is needed for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// The provider with this code, with the process's variables.
    Static(&'a str),
    /// Its variables are entries of Secrets.
    Solver(&'a Solver),
}

/// One for each resolver. What it does is bounded in time; any of it can be done again.
pub struct Engine {
    lookup: Arc<Lookup>,
    challenge: DnsChallenge,
    exchange: Arc<dyn Exchange>,
    /// Of providers that do one record after another, by code: when the last one was done.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<Option<Instant>>>>>,
}

/// The right to have a record at a provider that does one after another. Kept until the record is
/// unset.
#[derive(Debug)]
pub struct Turn(OwnedMutexGuard<Option<Instant>>);

impl Drop for Turn {
    fn drop(&mut self) {
        *self.0 = Some(Instant::now());
    }
}

impl Engine {
    pub fn new(challenge: &DnsChallenge, exchange: Arc<dyn Exchange>) -> Self {
        let over = if challenge.switches.tcp_only { Transport::Tcp } else { Transport::Both };
        Self {
            lookup: Arc::new(Lookup::new(challenge.resolvers.clone(), over)),
            challenge: challenge.clone(),
            exchange,
            turns: Mutex::new(BTreeMap::new()),
        }
    }

    /// Where the record for a challenge belongs, and what it holds (RFC 8555 §8.4). Asks DNS for
    /// CNAMEs: they may change, so what it says is stored and used until the record is gone.
    pub async fn task(
        &self,
        domain: &Name,
        token: &str,
        key_authorization: &str,
    ) -> Result<Task, Error> {
        let domain = domain.without_wildcard();
        let name = format!("_acme-challenge.{domain}");
        let fqdn = if self.challenge.switches.disable_cname_support {
            name
        } else {
            let late = Error::Alias { name: name.clone(), cause: SLOW.to_owned() };
            timeout(LOOK_UP, self.lookup.effective(&name)).await.unwrap_or(Err(late))?
        };
        let hash = digest::digest(&digest::SHA256, key_authorization.as_bytes());
        Ok(Task {
            domain,
            fqdn,
            value: BASE64URL_NOPAD.encode(hash.as_ref()),
            token: token.to_owned(),
            key_authorization: key_authorization.to_owned(),
        })
    }

    /// Whose account sets the record: the first solver with a zone that has the record, else with
    /// one that has the domain, else one for all zones; without solvers the resolver's provider.
    pub fn chosen(&self, task: &Task) -> Result<Chosen<'_>, Error> {
        let within = |zone: &Name, name: &str| {
            name.strip_suffix(zone.as_str())
                .is_some_and(|above| above.is_empty() || above.ends_with('.'))
        };
        let solvers = &self.challenge.solvers;
        let of = |name: &str| solvers.iter().find(|it| it.zones.iter().any(|z| within(z, name)));
        let found = of(&task.fqdn).or_else(|| of(task.domain.as_str()));
        if let Some(solver) = found.or_else(|| solvers.iter().find(|it| it.zones.is_empty())) {
            return Ok(Chosen::Solver(solver));
        }
        if self.challenge.provider.is_empty() {
            let message = format!("no solver has a zone for `{}`; add one", task.fqdn);
            return Err(Error::Settings { provider: "dnsChallenge", message });
        }
        Ok(Chosen::Static(&self.challenge.provider))
    }

    /// For a provider that does one record after another: waits until it is this one's turn, and
    /// the provider's interval has passed since the last. `None`: it does them all at once.
    pub async fn turn(&self, account: &Account, now: Timestamp) -> Result<Option<Turn>, Error> {
        let Some(interval) = self.provider(account, now)?.timing().sequence else {
            return Ok(None);
        };
        let place = {
            let mut turns = self.turns.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            Arc::clone(turns.entry(account.code.clone()).or_default())
        };
        let turn = place.lock_owned().await;
        if let Some(last) = *turn {
            sleep_until(last + interval).await;
        }
        Ok(Some(Turn(turn)))
    }

    /// Makes the record; done again, there is still one.
    pub async fn set(
        &self,
        account: &Account,
        task: &Task,
        now: Timestamp,
    ) -> Result<Handle, Error> {
        let provider = self.provider(account, now)?;
        bounded(&*provider, "set the record", provider.set(task)).await
    }

    /// Takes the record away, with a handle or without; that it is gone already is no error.
    pub async fn unset(
        &self,
        account: &Account,
        task: &Task,
        handle: Option<&Handle>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let provider = self.provider(account, now)?;
        bounded(&*provider, "unset the record", provider.unset(task, handle)).await
    }

    /// Waits until all of the records can be seen, as the resolver's settings say: the delay once,
    /// then every server of each record's zone. At most the delay and the provider's propagation
    /// time-out. The error says which server has not which record, and what it answers instead.
    pub async fn wait_visible(
        &self,
        account: &Account,
        tasks: &[Task],
        now: Timestamp,
    ) -> Result<(), Error> {
        let provider = self.provider(account, now)?;
        let mut propagation = self.challenge.propagation;
        match provider.visibility() {
            Visibility::Engine => {}
            Visibility::Awaited => propagation.disable_checks = false,
            Visibility::Provider => propagation.disable_checks = true,
        }
        let timing = provider.timing();
        let waits = tasks.iter().map(|task| visible::wait(&self.lookup, task, propagation, timing));
        try_join_all(waits).await.map(drop)
    }

    /// The zone that `fqdn` is in, without a dot at the end; never a suffix of a registry.
    pub async fn zone_of(&self, fqdn: &str) -> Result<String, Error> {
        self.lookup.zone_of(fqdn).await
    }

    /// What a person must do before the record exists, for the status.
    pub fn asks(
        &self,
        account: &Account,
        task: &Task,
        now: Timestamp,
    ) -> Result<Option<String>, Error> {
        Ok(self.provider(account, now)?.asks(task))
    }

    fn provider(&self, account: &Account, now: Timestamp) -> Result<Box<dyn Provider>, Error> {
        let zones = Zones(Arc::clone(&self.lookup) as Arc<dyn FindZone>);
        let context = Context {
            code: "",
            variables: account.variables.clone(),
            exchange: Arc::clone(&self.exchange),
            zones,
            now,
        };
        provider(&account.code, &context)
    }
}

/// A provider that waits for a person has as long as that person.
async fn bounded<T>(
    provider: &dyn Provider,
    step: &'static str,
    doing: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let within = STEP.max(provider.timing().propagation_timeout);
    let late = Error::Unreachable {
        provider: "dnsChallenge",
        step,
        cause: format!("the provider did not end within {} s", within.as_secs()),
    };
    timeout(within, doing).await.unwrap_or(Err(late))
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("challenge", &self.challenge).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
