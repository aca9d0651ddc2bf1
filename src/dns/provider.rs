//! What a DNS provider is: it sets and unsets one TXT value at one name.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::dns::{Api, Error, Transport, Variables};
use crate::http as outgoing;
use crate::name::Name;

/// What the steps of a provider return.
pub type Done<'a, T> = BoxFuture<'a, Result<T, Error>>;

/// One TXT record to be seen by the CA. What is stored of it is enough to take it away again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Task {
    /// The name under validation, without `*.`.
    pub domain: Name,
    /// Where the record is: `_acme-challenge.<domain>`, or what its CNAMEs lead to. Lower case, no
    /// dot at the end.
    pub fqdn: String,
    /// The content of the record (RFC 8555 §8.4), always 43 characters of base64url.
    pub value: String,
    /// Token of the challenge.
    #[serde(default)]
    pub token: String,
    /// Key authorization of the challenge (RFC 8555 §8.1).
    #[serde(default)]
    pub key_authorization: String,
}

/// What a provider needs to take away exactly the record that it made, such as its id.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub serde_json::Value);

/// Made for one use from the variables as they are now, and dropped after it.
pub trait Provider: Send + Sync {
    /// Adds the value; other values at the name stay. Done again with the same task, there is
    /// still one record of it.
    fn set<'a>(&'a self, task: &'a Task) -> Done<'a, Handle>;

    /// Takes away this value and no other. Without a handle the record is looked for by name and
    /// value: its making may not have been noted. That there is none is no error.
    fn unset<'a>(&'a self, task: &'a Task, handle: Option<&'a Handle>) -> Done<'a, ()>;

    fn timing(&self) -> Timing {
        Timing::default()
    }

    fn visibility(&self) -> Visibility {
        Visibility::Engine
    }

    /// What a person must do so that the record comes into being; shown while it is waited for.
    fn asks(&self, _task: &Task) -> Option<String> {
        None
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// How long a record may take until it can be seen.
    pub propagation_timeout: Duration,
    /// Between two looks.
    pub polling_interval: Duration,
    /// One record after another, with this time between them; `None`: all at once.
    pub sequence: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            propagation_timeout: Duration::from_mins(1),
            polling_interval: Duration::from_secs(2),
            sequence: None,
        }
    }
}

/// Who finds out that a record can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// The engine, as the resolver's settings say.
    Engine,
    /// The engine, even if checks are off: nothing else tells that a person has made the record.
    Awaited,
    /// The provider: when `set` has returned, it can be seen.
    Provider,
}

/// A provider of the program: how it is called, and how it is made.
#[derive(Debug)]
pub struct Entry {
    /// The code and its aliases, as [`crate::provider`] has them.
    pub codes: &'static [&'static str],
    pub build: fn(&Context) -> Result<Box<dyn Provider>, Error>,
}

/// What a provider is made of.
#[derive(Clone)]
pub struct Context {
    /// The first of its codes.
    pub code: &'static str,
    pub variables: Variables,
    pub exchange: Arc<dyn Exchange>,
    pub zones: Zones,
    pub now: Timestamp,
}

impl Context {
    /// For requests to `base`, the part that all URLs of the API have in common.
    pub fn api(&self, base: &str, timeout: Duration) -> Api {
        Api::new(self.code, Arc::clone(&self.exchange), base, timeout)
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("code", &self.code).finish_non_exhaustive()
    }
}

/// One HTTP request with its reply. Redirects are not followed: a request carries credentials.
pub trait Exchange: Send + Sync {
    fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response<Bytes>, outgoing::Error>>;
}

impl Exchange for outgoing::Client {
    fn send(
        &self,
        request: Request<Bytes>,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Response<Bytes>, outgoing::Error>> {
        let client = self.within(timeout);
        Box::pin(async move { client.send(request).await })
    }
}

/// Finds the zone that a name belongs to.
pub trait FindZone: Send + Sync {
    /// The zone's name without a dot at the end.
    fn zone_of<'a>(&'a self, fqdn: &'a str) -> Done<'a, String>;

    /// How servers are asked, for providers that speak DNS themselves.
    fn transport(&self) -> Transport {
        Transport::default()
    }
}

#[derive(Clone)]
pub struct Zones(pub Arc<dyn FindZone>);

impl Zones {
    /// The zone, without a dot at the end.
    pub async fn of(&self, fqdn: &str) -> Result<String, Error> {
        self.0.zone_of(fqdn).await
    }

    /// The zone, and the name relative to it: empty for the zone itself.
    pub async fn split(&self, fqdn: &str) -> Result<(String, String), Error> {
        let zone = self.of(fqdn).await?;
        let relative = fqdn.strip_suffix(&zone).unwrap_or(fqdn).trim_end_matches('.').to_owned();
        Ok((zone, relative))
    }
}

impl fmt::Debug for Zones {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Zones")
    }
}
