//! The log of refusals of routes that have no object, and so neither status nor Events.

use std::collections::BTreeMap;

use crate::route::Key;

/// What was told last of each route, to tell only what is new.
#[derive(Debug, Default)]
pub(super) struct Journal {
    told: BTreeMap<Key, String>,
}

impl Journal {
    /// `refused`: the reason and the message; `None`: nothing of the route is refused.
    pub(super) fn note(&mut self, key: &Key, refused: Option<(&str, &str)>) {
        let Some((reason, message)) = refused else {
            self.told.remove(key);
            return;
        };
        if self.told.get(key).is_some_and(|told| told == message) {
            return;
        }
        self.told.insert(key.clone(), message.to_owned());
        tracing::warn!("{}: {reason}: {message}", key.shown());
    }
}
