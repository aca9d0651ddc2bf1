//! What is known of each place: whether what is not seen is not there.

use std::collections::{BTreeMap, BTreeSet};

use crate::cluster::Trouble;
use crate::config::Config;
use crate::route::Judged;
use crate::source;
use crate::source::{Event, Place, What};

/// What is known of one place.
#[derive(Debug, Clone)]
pub enum Listing {
    /// Not heard of yet.
    Awaited,
    Complete,
    Troubled(Trouble),
}

#[derive(Debug)]
pub struct Listings(BTreeMap<Place, Listing>);

impl Listings {
    pub fn new(config: &Config) -> Self {
        let places = source::places(config).into_iter();
        Self(places.map(|place| (place, Listing::Awaited)).collect())
    }

    /// Whether the event changes what is known of a place, and of which.
    pub fn take(&mut self, event: &Event) -> Option<(Place, Listing)> {
        let (place, listing) = match event {
            Event::Synced(place) => (place.clone(), Listing::Complete),
            Event::Trouble(place, trouble) => (place.clone(), Listing::Troubled(trouble.clone())),
            _ => return None,
        };
        self.0.insert(place.clone(), listing.clone());
        Some((place, listing))
    }

    /// A source in trouble costs only itself.
    pub fn are_all_heard_of(&self) -> bool {
        self.0.values().all(|listing| !matches!(listing, Listing::Awaited))
    }

    /// Whether a route of one of these kinds, if there were one, would be known.
    pub fn would_know(&self, kinds: &[String]) -> bool {
        self.0.iter().all(|(place, listing)| match listing {
            Listing::Complete => true,
            // Of what routes only refer to, nothing hangs.
            _ if !matches!(place.what, What::Routes(_) | What::Files) => true,
            Listing::Awaited | Listing::Troubled(Trouble::Unreachable(_)) => false,
            Listing::Troubled(Trouble::Missing | Trouble::Forbidden(_)) => {
                !kinds.iter().any(|kind| place.what.gives(kind))
            }
        })
    }

    /// Whether all routes of this kind are known.
    pub fn are_complete(&self, kind: &str) -> bool {
        let mut places = self.0.iter().filter(|(place, _)| place.what.gives(kind));
        places.all(|(_, listing)| matches!(listing, Listing::Complete))
    }

    /// Where a Service that was not seen is missing: where all are known.
    pub fn judged(&self) -> Judged {
        let mut namespaces = BTreeSet::new();
        for (place, listing) in &self.0 {
            if place.what != What::Services || !matches!(listing, Listing::Complete) {
                continue;
            }
            match &place.namespace {
                None => return Judged::Everywhere,
                Some(namespace) => drop(namespaces.insert(namespace.clone())),
            }
        }
        if namespaces.is_empty() { Judged::Nowhere } else { Judged::In(namespaces) }
    }
}
