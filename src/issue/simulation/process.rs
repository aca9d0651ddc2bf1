//! A controller's process: it waits for the Lease, leads while it has it, and may stop anywhere.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Context;

use jiff::{SignedDuration, Timestamp};
use rand::Rng;

use super::hand::{Hand, Shared};
use super::leader::{Want, lead};
use super::records::Holder;

/// As in `controller::lease`.
const DURATION: SignedDuration = SignedDuration::from_secs(10);
const RENEW_DEADLINE: SignedDuration = SignedDuration::from_secs(7);
const RETRY: SignedDuration = SignedDuration::from_secs(2);

pub(super) struct Process {
    who: usize,
    world: Shared,
    want: Want,
    /// The version of the Lease that it saw last, and since when.
    seen: Option<(u64, Timestamp)>,
    lease_due: Timestamp,
    /// It runs on from then.
    asleep_until: Timestamp,
    leads: Option<Leads>,
}

struct Leads {
    fence: Rc<Cell<Timestamp>>,
    work: Pin<Box<dyn Future<Output = ()>>>,
}

impl Process {
    pub(super) fn new(who: usize, world: &Shared, want: &Want) -> Self {
        let now = world.borrow().now;
        let (seen, leads) = (None, None);
        let (world, want) = (Rc::clone(world), want.clone());
        Self { who, world, want, seen, lease_due: now, asleep_until: now, leads }
    }

    /// Runs for one moment, if it runs.
    pub(super) fn step(&mut self) {
        let (now, faults) = {
            let world = self.world.borrow();
            (world.now, world.faults)
        };
        if now < self.asleep_until {
            return;
        }
        if self.happens(faults.crash) {
            self.crash();
            return;
        }
        if self.happens(faults.pause) {
            let pause = self.world.borrow_mut().between(0, 30_000);
            self.world.borrow_mut().note(&format!("{}: paused for {pause:?}", self.who));
            self.asleep_until = now + pause;
            return;
        }
        let lease_first = self.leads.is_none() || self.world.borrow_mut().dice.random();
        if self.lease_due <= now && lease_first {
            self.look_at_lease(now);
        } else if let Some(leads) = &mut self.leads {
            let mut context = Context::from_waker(futures::task::noop_waker_ref());
            if leads.work.as_mut().poll(&mut context).is_ready() {
                self.leads = None;
            }
        }
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        self.world.borrow_mut().chance(per_mille)
    }

    fn crash(&mut self) {
        let mut world = self.world.borrow_mut();
        world.note(&format!("{}: crash", self.who));
        self.asleep_until = world.now + world.between(0, 15_000);
        self.seen = None;
        self.leads = None;
        world.forget(self.who, "crash");
    }

    fn look_at_lease(&mut self, now: Timestamp) {
        self.lease_due = now + RETRY;
        let lost = self.world.borrow().faults.lost;
        if let Some(leads) = &self.leads {
            let is_over = leads.fence.get() <= now;
            if !is_over && self.happens(lost) {
                return;
            }
            if is_over || !self.take() {
                self.leads = None;
                let mut world = self.world.borrow_mut();
                world.note(&format!("{}: the lease is lost", self.who));
                world.forget(self.who, "the lease is lost");
                return;
            }
            if let Some(leads) = &self.leads {
                leads.fence.set(now + RENEW_DEADLINE);
            }
        } else if self.take() {
            self.lead(now);
        }
    }

    /// Whether the Lease is ours now.
    fn take(&mut self) -> bool {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        let lease = &mut world.records.lease;
        let since = match self.seen {
            Some((version, since)) if version == lease.version => since,
            _ => now,
        };
        self.seen = Some((lease.version, since));
        let free = match lease.value {
            Some(Holder(who)) => who == self.who || DURATION < now.duration_since(since),
            None => true,
        };
        if free {
            let version = lease.put(Holder(self.who), lease.version, 0);
            self.seen = version.map(|version| (version, now));
        }
        free
    }

    fn lead(&mut self, now: Timestamp) {
        let fence = Rc::new(Cell::new(now + RENEW_DEADLINE));
        let mut world = self.world.borrow_mut();
        world.terms += 1;
        let term = world.terms;
        world.note(&format!("{}: leads, term {term}", self.who));
        drop(world);
        let (world, who) = (Rc::clone(&self.world), self.who);
        let hand = Hand { world, who, term, fence: Rc::clone(&fence) };
        self.leads = Some(Leads { fence, work: Box::pin(lead(hand, self.want.clone())) });
    }
}
