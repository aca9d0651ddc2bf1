//! Versioned records in the cluster: certificates, states, accounts, the challenge table.

use std::collections::BTreeMap;

use crate::cert;
use crate::cert::{Certificate, Id};
use crate::challenge::Answer;

/// One change of the certificates, never a snapshot of everything.
#[derive(Debug)]
pub enum Change {
    Put(Entry),
    Gone(Id),
    /// Everything that was there when the watch began has been told.
    Synced,
}

/// A certificate as it is stored.
#[derive(Debug)]
pub struct Entry {
    pub id: Id,
    /// `Err`: the Secret is there, but its content is no certificate with its key.
    pub content: Result<Certificate, cert::Error>,
    /// The object's `resourceVersion`; a write names the version that it read.
    pub version: String,
}

/// The answers of one of the eight ConfigMaps of the challenge table, as they are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    pub index: u8,
    pub answers: BTreeMap<String, Answer>,
}
