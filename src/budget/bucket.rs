//! One limit of one thing: a token bucket that is refilled steadily (GCRA).

use jiff::{SignedDuration, Timestamp};

use crate::cert::Id;
use crate::name::Name;

/// What is limited; the first part is always the CA's directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// New orders of an account.
    Orders(String, String),
    /// Certificates below a registered domain.
    Domain(String, String),
    /// Certificates for exactly these names.
    Exact(String, Id),
    /// Failed authorizations of a name.
    Failures(String, Name),
}

impl Key {
    pub(super) fn ca(&self) -> &str {
        match self {
            Self::Orders(ca, _)
            | Self::Domain(ca, _)
            | Self::Exact(ca, _)
            | Self::Failures(ca, _) => ca,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Rate {
    /// Time that one token takes to come back.
    every: SignedDuration,
    /// How many there are when nothing was taken for long.
    most: i32,
}

impl Rate {
    /// `capacity` tokens come back in `period`; of these `most` are used.
    pub(super) const fn of(capacity: i64, most: i32, period: SignedDuration) -> Self {
        let every = SignedDuration::from_millis(period.as_secs() * 1000 / capacity + 1);
        Self { every, most }
    }
}

#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    /// When it will be full again.
    full_at: Timestamp,
    /// Kept free for orders in flight.
    reserved: i32,
}

impl Bucket {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full_at: Timestamp::MIN, reserved: 0 }
    }

    pub(super) fn spend(&mut self, at: Timestamp) {
        self.full_at =
            self.full_at.max(at).saturating_add(self.rate.every).unwrap_or(Timestamp::MAX);
    }

    pub(super) fn reserve(&mut self) {
        self.reserved = self.reserved.saturating_add(1);
    }

    pub(super) fn release(&mut self) {
        self.reserved = (self.reserved - 1).max(0);
    }

    /// Whole tokens that can be taken.
    pub(super) fn left(&self, now: Timestamp) -> i32 {
        let millis = self.rate.every.as_millis().max(1);
        let missing = self.full_at.duration_since(now).max(SignedDuration::ZERO).as_millis();
        let missing = i32::try_from((missing + millis - 1) / millis).unwrap_or(i32::MAX);
        self.rate.most.saturating_sub(missing).saturating_sub(self.reserved).max(0)
    }

    /// When a token can be taken, if not now.
    pub(super) fn free_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.free_after(0, now)
    }

    /// The same once `ahead` others have taken theirs.
    pub(super) fn free_after(&self, ahead: usize, now: Timestamp) -> Option<Timestamp> {
        let ahead = i32::try_from(ahead).unwrap_or(i32::MAX);
        let taken = self.reserved.saturating_add(ahead).saturating_add(1);
        let spare = self.rate.every.saturating_mul(self.rate.most.saturating_sub(taken));
        let from = self.full_at.max(now);
        let free = from.saturating_sub(spare).unwrap_or(Timestamp::MAX);
        (now < free).then_some(free)
    }
}
