//! What one leader reaches the world with. Around each request it may be stopped for as long as
//! anybody likes: before it arrives, and before its reply is read.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use jiff::Timestamp;

use super::records::{Record, Records};
use super::world::World;
use crate::acme;
use crate::issue::Stop;
use crate::store;

pub(super) type Shared = Rc<RefCell<World>>;

#[derive(Clone)]
pub(super) struct Hand {
    pub(super) world: Shared,
    pub(super) who: usize,
    pub(super) term: u64,
    /// Until when it may act.
    pub(super) fence: Rc<Cell<Timestamp>>,
}

/// The scheduler takes over once.
#[derive(Default)]
struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) { Poll::Ready(()) } else { Poll::Pending }
    }
}

fn failed(cause: &str) -> store::Error {
    store::Error::Failed { object: "record".to_owned(), cause: cause.to_owned() }
}

impl Hand {
    pub(super) fn now(&self) -> Timestamp {
        self.world.borrow().now
    }

    pub(super) fn note(&self, text: &str) {
        self.world.borrow_mut().note(&format!("{}/{}: {text}", self.who, self.term));
    }

    pub(super) fn may_act(&self) -> Result<(), Stop> {
        if self.now() < self.fence.get() { Ok(()) } else { Err(Stop::Fenced) }
    }

    pub(super) async fn sleep(&self, milliseconds: i64) {
        let until = self.now() + jiff::SignedDuration::from_millis(milliseconds);
        while self.now() < until {
            Turn::default().await;
        }
    }

    pub(super) async fn read<T: Clone>(
        &self,
        pick: impl Fn(&mut Records) -> &mut Record<T>,
    ) -> Result<(Option<T>, u64), Stop> {
        Turn::default().await;
        let read = {
            let mut world = self.world.borrow_mut();
            let lost = world.faults.lost;
            if world.chance(lost) {
                return Err(failed("not read").into());
            }
            let record = pick(&mut world.records);
            (record.value.clone(), record.version)
        };
        Turn::default().await;
        Ok(read)
    }

    /// The new version.
    pub(super) async fn put<T>(
        &self,
        pick: impl Fn(&mut Records) -> &mut Record<T>,
        value: T,
        version: u64,
    ) -> Result<u64, Stop> {
        Turn::default().await;
        let written = self.put_now(pick, value, version);
        Turn::default().await;
        Ok(written?)
    }

    fn put_now<T>(
        &self,
        pick: impl Fn(&mut Records) -> &mut Record<T>,
        value: T,
        version: u64,
    ) -> Result<u64, store::Error> {
        let mut world = self.world.borrow_mut();
        let lost = world.faults.lost;
        if world.chance(lost) {
            return Err(failed("not written"));
        }
        let record = pick(&mut world.records);
        let newer = record.term;
        let written = record.put(value, version, self.term);
        if written.is_some() && newer > self.term {
            world.violation(format!("term {} overwrote a record of term {newer}", self.term));
        }
        let pending = world.records.state.value.as_ref().and_then(|state| state.pending.as_ref());
        let url = pending.map(|pending| pending.url.clone());
        world.stored.extend(url);
        if written.is_some() && world.chance(lost) {
            return Err(failed("written, and its reply lost"));
        }
        written.ok_or_else(|| store::Error::Conflict { object: "record".to_owned() })
    }

    /// A request to the CA.
    pub(super) async fn ask<T>(
        &self,
        what: &str,
        request: impl FnOnce(&mut World) -> Result<T, acme::Error>,
    ) -> Result<T, Stop> {
        Turn::default().await;
        let reply = {
            let mut world = self.world.borrow_mut();
            let lost = world.faults.lost;
            let unreachable = |cause: &str| Stop::Acme(acme::Error::Unreachable(cause.to_owned()));
            if world.chance(lost) {
                Err(unreachable("did not arrive"))
            } else {
                let reply = request(&mut world);
                world.note(&format!("{}/{}: {what}: {}", self.who, self.term, reply.is_ok()));
                if world.chance(lost) {
                    Err(unreachable("no reply"))
                } else {
                    reply.map_err(Stop::Acme)
                }
            }
        };
        Turn::default().await;
        reply
    }

    /// A request to a DNS provider. It arrives before another may lead: nothing but the fence keeps
    /// a late one away.
    pub(super) async fn dns(&self, request: impl FnOnce(&mut World)) -> Result<(), Stop> {
        Turn::default().await;
        self.may_act()?;
        let done = {
            let mut world = self.world.borrow_mut();
            let lost = world.faults.lost;
            let unreachable = || Stop::Acme(acme::Error::Unreachable("the provider".to_owned()));
            if world.chance(lost) {
                Err(unreachable())
            } else {
                request(&mut world);
                if world.chance(lost) { Err(unreachable()) } else { Ok(()) }
            }
        };
        Turn::default().await;
        done
    }
}
