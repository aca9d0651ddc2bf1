//! Everything outside a controller: clock and chance, records, CA, DNS, and what went wrong.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::ca::Ca;
use super::records::Records;

/// How often things go wrong while they may, in per mille of what could.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) crash: u32,
    pub(super) pause: u32,
    pub(super) lost: u32,
}

pub(super) struct World {
    pub(super) now: Timestamp,
    pub(super) dice: StdRng,
    pub(super) faults: Faults,
    /// From then on nothing goes wrong any more.
    pub(super) calm: bool,
    /// How often somebody began to lead.
    pub(super) terms: u64,
    pub(super) records: Records,
    pub(super) ca: Ca,
    /// TXT values by name.
    pub(super) txt: BTreeMap<String, BTreeSet<String>>,
    /// Orders whose URL nobody has stored yet, by controller.
    pub(super) unsaved: BTreeMap<usize, String>,
    /// Orders whose URL was in the state once.
    pub(super) stored: BTreeSet<String>,
    /// Orders that were lost before their URL was stored, and how.
    pub(super) lost: BTreeMap<String, String>,
    pub(super) violations: Vec<String>,
    pub(super) log: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = StdRng::seed_from_u64(seed);
        let faults = Faults {
            crash: dice.random_range(0..40),
            pause: dice.random_range(0..40),
            lost: dice.random_range(0..60),
        };
        let ca = Ca::new(&mut dice);
        Self {
            now: Timestamp::from_second(1_800_000_000).unwrap(),
            dice,
            faults,
            calm: false,
            terms: 0,
            records: Records::default(),
            ca,
            txt: BTreeMap::new(),
            unsaved: BTreeMap::new(),
            stored: BTreeSet::new(),
            lost: BTreeMap::new(),
            violations: Vec::new(),
            log: Vec::new(),
        }
    }

    /// Whether something happens that does so `per_mille` of times, while things may go wrong.
    pub(super) fn chance(&mut self, per_mille: u32) -> bool {
        !self.calm && self.dice.random_ratio(per_mille.min(1000), 1000)
    }

    pub(super) fn between(&mut self, least: i64, most: i64) -> SignedDuration {
        SignedDuration::from_millis(self.dice.random_range(least..=most))
    }

    pub(super) fn note(&mut self, text: &str) {
        self.log.push(format!("{} {text}", self.now));
    }

    pub(super) fn violation(&mut self, text: String) {
        self.note(&format!("VIOLATION {text}"));
        self.violations.push(text);
    }

    /// Time goes on, and with it what the CA does by itself.
    pub(super) fn pass(&mut self, time: SignedDuration) {
        self.now += time;
        let found = self.ca.pass(self.now, &self.records, &self.txt);
        for text in found {
            self.note(&text);
        }
    }

    /// The controller `who` no longer remembers the order that it had placed.
    pub(super) fn forget(&mut self, who: usize, why: &str) {
        let stored = |url: &String| self.stored.contains(url);
        if let Some(url) = self.unsaved.remove(&who).filter(|url| !stored(url)) {
            self.note(&format!("{who}: order {url} is lost: {why}"));
            self.lost.insert(url, why.to_owned());
        }
    }
}
