//! The store: records with versions, each write conditional on the one that was read.

use std::collections::BTreeMap;

use crate::cert::Certificate;
use crate::challenge::{Answer, SHARDS};
use crate::order::State;
use crate::store::AccountRecord;

/// One record; version 0: it is not there.
#[derive(Debug)]
pub(super) struct Record<T> {
    pub(super) value: Option<T>,
    pub(super) version: u64,
    /// The term of the leader that wrote it last.
    pub(super) term: u64,
}

pub(super) type Answers = BTreeMap<String, Answer>;

pub(super) struct Records {
    pub(super) state: Record<State>,
    pub(super) certificate: Record<Certificate>,
    pub(super) account: Record<AccountRecord>,
    pub(super) shards: Vec<Record<Answers>>,
    pub(super) lease: Record<Holder>,
}

/// Who holds the Lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder(pub(super) usize);

impl<T> Default for Record<T> {
    fn default() -> Self {
        Self { value: None, version: 0, term: 0 }
    }
}

impl<T> Record<T> {
    /// Whether it was written: only the version that was read is replaced.
    pub(super) fn put(&mut self, value: T, version: u64, term: u64) -> Option<u64> {
        if version != self.version {
            return None;
        }
        self.value = Some(value);
        self.version += 1;
        self.term = term;
        Some(self.version)
    }
}

impl Default for Records {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Record::default()).collect();
        let (state, certificate, account) = Default::default();
        Self { state, certificate, account, shards, lease: Record::default() }
    }
}

impl Records {
    /// The entry of the challenge table.
    pub(super) fn answer(&self, key: &str) -> Option<&Answer> {
        let shard = usize::from(crate::challenge::shard_of(key));
        self.shards[shard].value.as_ref()?.get(key)
    }

    pub(super) fn answers(&self) -> usize {
        self.shards.iter().filter_map(|shard| shard.value.as_ref()).map(BTreeMap::len).sum()
    }
}
