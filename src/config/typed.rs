//! The typed tree: values of the right shape that still know their key and their place.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::tree::{Place, join};

/// A value of the right shape, with its key and place for what a later look finds wrong.
pub(super) struct Typed {
    pub(super) place: Place,
    /// The key with its path, in the right spelling.
    pub(super) key: String,
    pub(super) is: Is,
}

pub(super) enum Is {
    Bool(bool),
    /// There, but a problem was reported already: neither to be used nor to be missed.
    Broken,
    /// In nanoseconds; negative only at a `Shape::Delay`.
    Duration(i64),
    /// A name without content.
    Empty,
    Integer(i64),
    List(Vec<Typed>),
    /// By right spelling; names of the user as written.
    Section(BTreeMap<String, Typed>),
    Text(String),
}

impl Typed {
    pub(super) fn entry(&self, key: &str) -> Option<&Self> {
        match &self.is {
            Is::Section(entries) => entries.get(key),
            _ => None,
        }
    }

    /// The value at a path of keys with dots between.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |typed, key| typed.entry(key))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, &Self)> {
        let entries = match &self.is {
            Is::Section(entries) => Some(entries),
            _ => None,
        };
        entries.into_iter().flatten()
    }

    pub(super) fn items(&self, path: &str) -> impl Iterator<Item = &Self> {
        let items = match self.at(path).map(|typed| &typed.is) {
            Some(Is::List(items)) => items.as_slice(),
            _ => &[],
        };
        items.iter()
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        match &self.at(path)?.is {
            Is::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Like [`Self::text`], but an empty text counts as absent.
    pub(super) fn filled(&self, path: &str) -> Option<String> {
        self.text(path).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub(super) fn texts(&self, path: &str) -> Vec<String> {
        self.items(path).filter_map(|item| item.as_text()).map(str::to_owned).collect()
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.is {
            Is::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn boolean(&self, path: &str) -> Option<bool> {
        match self.at(path)?.is {
            Is::Bool(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn integer(&self, path: &str) -> Option<i64> {
        match self.at(path)?.is {
            Is::Integer(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn duration(&self, path: &str) -> Option<Duration> {
        match self.at(path)?.is {
            Is::Duration(value) => u64::try_from(value).ok().map(Duration::from_nanos),
            _ => None,
        }
    }

    /// A duration below zero stands at the path.
    pub(super) fn is_negative(&self, path: &str) -> bool {
        self.at(path).is_some_and(|typed| matches!(typed.is, Is::Duration(value) if value < 0))
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = (&String, &mut Self)> {
        let entries = match &mut self.is {
            Is::Section(entries) => Some(entries),
            _ => None,
        };
        entries.into_iter().flatten()
    }

    pub(super) fn entry_mut(&mut self, key: &str) -> Option<&mut Self> {
        match &mut self.is {
            Is::Section(entries) => entries.get_mut(key),
            _ => None,
        }
    }

    /// Adds what the user could have written.
    pub(super) fn add(&mut self, key: &str, place: &Place, is: Is) {
        let path = join(&self.key, key);
        if let Is::Section(entries) = &mut self.is {
            entries.insert(key.to_owned(), Self { place: place.clone(), key: path, is });
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.is, Is::Broken)
    }
}
