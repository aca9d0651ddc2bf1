//! Who leads: a Lease in the controller's namespace, taken and renewed with the version read.
//!
//! Expiry is measured from when this process last saw the Lease change, by its own monotonic
//! clock: clocks of two machines are never compared. The leader stops acting (see
//! [`Fence`]) before anybody else may begin.

use std::future::Future;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster;
use crate::cluster::Fence;

/// Of the Lease in the controller's namespace.
pub const NAME: &str = "routecert-controller";
const DURATION: Duration = Duration::from_secs(10);
/// A leader that could not renew for so long stops; shorter than `DURATION`, by the time that
/// a request in flight may need.
const RENEW_DEADLINE: Duration = Duration::from_secs(7);
const RETRY: Duration = Duration::from_secs(2);

/// Once stopped, `work` has this long to end what must not be cut off.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Lease {
    api: Api<Object>,
    me: String,
    clock: fn() -> Timestamp,
    /// Told that another one leads, so that this one stands by.
    stands_by: watch::Sender<bool>,
    seen: Option<Seen>,
}

/// The Lease as last read, and when it was first seen like that.
#[derive(Clone)]
struct Seen {
    object: Object,
    since: Instant,
}

#[derive(Debug, PartialEq, Eq)]
enum Act {
    Create,
    /// Nobody holds it, or its holder has not renewed for its whole duration.
    Take,
    Renew,
    Wait,
}

/// Does `work`, which ends by itself soon after `stop` is cancelled; else it is cut off.
pub(super) async fn until_stopped(stop: &CancellationToken, work: impl Future<Output = ()>) {
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        () = work => {}
        () = overdue => {}
    }
}

impl Lease {
    pub(super) fn new(
        client: Client,
        namespace: &str,
        me: String,
        clock: fn() -> Timestamp,
        stands_by: watch::Sender<bool>,
    ) -> Self {
        Self { api: Api::namespaced(client, namespace), me, clock, stands_by, seen: None }
    }

    /// Waits for the lease, does `work` while it is held, and again if it was lost and won back.
    /// `work` ends by itself soon after `stop` is cancelled; the lease is given back then.
    pub(super) async fn lead<F, W>(&mut self, stop: &CancellationToken, work: W)
    where
        W: Fn(Fence) -> F,
        F: Future<Output = ()>,
    {
        while !stop.is_cancelled() {
            let deadline = tokio::select! {
                deadline = self.acquire() => deadline,
                () = stop.cancelled() => return,
            };
            let deadline = Arc::new(Mutex::new(deadline));
            tracing::info!(lease = NAME, holder = self.me, "leading");
            let work = work(fence(&deadline));
            tokio::select! {
                // It may see before us that the lease is over.
                () = until_stopped(stop, work) => {}
                () = self.renew_until_lost(&deadline) => {}
            }
            if stop.is_cancelled() {
                self.release().await;
            } else {
                tracing::warn!(lease = NAME, "the lease was lost; waiting for it again");
            }
        }
    }

    async fn acquire(&mut self) -> Instant {
        let mut told = false;
        loop {
            let started = Instant::now();
            match self.attempt().await {
                Ok(true) => return started + RENEW_DEADLINE,
                Ok(false) if !told => {
                    let holder =
                        self.seen.as_ref().map(|seen| holder(&seen.object)).unwrap_or_default();
                    tracing::info!(lease = NAME, holder, "another controller leads; waiting");
                    self.stands_by.send_replace(true);
                    told = true;
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(lease = NAME, "{error}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn renew_until_lost(&mut self, deadline: &Mutex<Instant>) {
        loop {
            tokio::time::sleep(RETRY).await;
            let started = Instant::now();
            let last = *deadline.lock().unwrap_or_else(PoisonError::into_inner);
            match tokio::time::timeout_at(last, self.attempt()).await {
                Ok(Ok(true)) => {
                    *deadline.lock().unwrap_or_else(PoisonError::into_inner) =
                        started + RENEW_DEADLINE;
                }
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::warn!(lease = NAME, "not renewed yet: {error}"),
                Err(_elapsed) => return,
            }
        }
    }

    /// Whether the lease is ours now.
    async fn attempt(&mut self) -> Result<bool, String> {
        let read = self.api.get_opt(NAME).await.map_err(|error| cluster::explain(&error))?;
        let now = Instant::now();
        self.observe(read, now);
        let act = decide(self.seen.as_ref(), &self.me, now);
        let wanted = match act {
            Act::Wait => return Ok(false),
            Act::Create => self.object(None),
            Act::Take | Act::Renew => self.object(self.seen.as_ref().map(|seen| &seen.object)),
        };
        let params = PostParams::default();
        let written = if act == Act::Create {
            self.api.create(&params, &wanted).await
        } else {
            self.api.replace(NAME, &params, &wanted).await
        };
        match written {
            Ok(object) => {
                self.seen = Some(Seen { object, since: now });
                Ok(true)
            }
            // Somebody was faster.
            Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => {
                Ok(false)
            }
            Err(error) => Err(cluster::explain(&error)),
        }
    }

    fn observe(&mut self, read: Option<Object>, now: Instant) {
        self.seen = read.map(|object| match self.seen.take() {
            Some(seen) if seen.object.spec == object.spec => Seen { object, since: seen.since },
            _ => Seen { object, since: now },
        });
    }

    fn object(&self, earlier: Option<&Object>) -> Object {
        let now = MicroTime((self.clock)());
        let spec = earlier.and_then(|object| object.spec.clone()).unwrap_or_default();
        let mine = spec.holder_identity.as_deref() == Some(&self.me);
        Object {
            metadata: ObjectMeta {
                name: Some(NAME.to_owned()),
                resource_version: earlier.and_then(|old| old.metadata.resource_version.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.me.clone()),
                lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
                acquire_time: if mine { spec.acquire_time } else { Some(now.clone()) },
                renew_time: Some(now),
                lease_transitions: Some(
                    spec.lease_transitions.unwrap_or_default()
                        + i32::from(!mine && earlier.is_some()),
                ),
                ..LeaseSpec::default()
            }),
        }
    }

    /// So that the next controller need not wait until the lease expires.
    async fn release(&self) {
        let Some(seen) = &self.seen else { return };
        let mut object = seen.object.clone();
        if let Some(spec) = &mut object.spec {
            spec.holder_identity = None;
        }
        object.metadata.managed_fields = None;
        let params = PostParams::default();
        let given = self.api.replace(NAME, &params, &object);
        match tokio::time::timeout(RETRY, given).await {
            Ok(Ok(_)) => tracing::info!(lease = NAME, "given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = NAME, "not given back: {}", cluster::explain(&error));
            }
            Err(_elapsed) => tracing::warn!(lease = NAME, "not given back: no answer"),
        }
    }
}

fn fence(deadline: &Arc<Mutex<Instant>>) -> Fence {
    let deadline = Arc::clone(deadline);
    Fence::new(move || Instant::now() < *deadline.lock().unwrap_or_else(PoisonError::into_inner))
}

fn holder(object: &Object) -> &str {
    let spec = object.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

fn decide(seen: Option<&Seen>, me: &str, now: Instant) -> Act {
    let Some(seen) = seen else { return Act::Create };
    let seconds = seen.object.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
    let duration = seconds
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map_or(DURATION, Duration::from_secs);
    match holder(&seen.object) {
        holder if holder == me => Act::Renew,
        "" => Act::Take,
        _ if now.duration_since(seen.since) > duration => Act::Take,
        _ => Act::Wait,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(holder: &str, since: Instant) -> Seen {
        let spec = LeaseSpec {
            holder_identity: (!holder.is_empty()).then(|| holder.to_owned()),
            lease_duration_seconds: Some(10),
            ..LeaseSpec::default()
        };
        Seen { object: Object { spec: Some(spec), ..Object::default() }, since }
    }

    #[test]
    fn a_lease_is_taken_only_when_free_or_unchanged_for_its_duration() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(decide(None, "me", start), Act::Create);
        assert_eq!(decide(Some(&seen("me", start)), "me", after(100)), Act::Renew);
        assert_eq!(decide(Some(&seen("", start)), "me", start), Act::Take);
        assert_eq!(decide(Some(&seen("other", start)), "me", after(10)), Act::Wait);
        assert_eq!(decide(Some(&seen("other", start)), "me", after(11)), Act::Take);
    }

    #[test]
    fn a_leader_stops_before_anybody_else_may_begin() {
        assert!(RENEW_DEADLINE + RETRY < DURATION);
    }
}
