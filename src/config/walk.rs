//! Tree and schema → typed tree: folds the case of keys, and notes every problem on the way.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::Problem;
use crate::config::near::{beginning, fold, nearest};
use crate::config::schema::{Field, Meaning, Shape};
use crate::config::tree::{Entry, Node, Place, Value, shorten};
use crate::config::value;

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
    Duration(Duration),
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

    fn as_text(&self) -> Option<&str> {
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
            Is::Duration(value) => Some(value),
            _ => None,
        }
    }

    pub(super) fn is_broken(&self) -> bool {
        matches!(self.is, Is::Broken)
    }
}

#[derive(Default)]
pub(super) struct Walk {
    pub(super) errors: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Paths of keys with [`Meaning::NotYet`].
    pub(super) not_yet: Vec<String>,
    /// Paths of keys with [`Meaning::Foreign`].
    pub(super) foreign: Vec<String>,
}

impl Walk {
    /// The whole configuration.
    pub(super) fn root(&mut self, node: &Node, fields: &'static [Field]) -> Typed {
        self.typed(node, "", &Shape::Section(fields))
    }

    fn typed(&mut self, node: &Node, key: &str, shape: &Shape) -> Typed {
        let is = match shape {
            Shape::Anything => Is::Broken,
            Shape::List(inner) => self.list(node, key, inner),
            Shape::Named(inner) => self.named(node, key, inner),
            Shape::Section(fields) => self.section(node, key, fields),
            Shape::Switch(fields) => self.switch(node, key, fields),
            Shape::Texts => self.texts(node, key),
            Shape::Bool | Shape::Duration | Shape::Integer | Shape::Text => {
                self.scalar(node, key, shape)
            }
        };
        Typed { place: node.place.clone(), key: key.to_owned(), is }
    }

    fn wrong(&mut self, node: &Node, key: &str, expected: &str) -> Is {
        let message = format!("{}: {expected}", node.describe());
        self.errors.push(Problem::at(&node.place, key, message));
        Is::Broken
    }

    fn scalar(&mut self, node: &Node, key: &str, shape: &Shape) -> Is {
        let Value::Scalar(text) = &node.value else {
            return self.wrong(node, key, "expected a single value");
        };
        let read = match shape {
            Shape::Bool => value::boolean(text).map(Is::Bool),
            Shape::Duration => value::duration(text).map(Is::Duration),
            Shape::Integer => value::integer(text).map(Is::Integer),
            _ => Ok(Is::Text(text.clone())),
        };
        read.unwrap_or_else(|expected| self.wrong(node, key, expected))
    }

    fn texts(&mut self, node: &Node, key: &str) -> Is {
        let text = |node: &Node, text: &str| Typed {
            place: node.place.clone(),
            key: key.to_owned(),
            is: Is::Text(text.to_owned()),
        };
        match &node.value {
            Value::Scalar(all) => {
                let parts = all.split(',').map(str::trim).filter(|part| !part.is_empty());
                Is::List(parts.map(|part| text(node, part)).collect())
            }
            Value::List(_) => self.list(node, key, &Shape::Text),
            _ => self.wrong(node, key, "expected a list of texts"),
        }
    }

    fn list(&mut self, node: &Node, key: &str, inner: &Shape) -> Is {
        let Value::List(items) = &node.value else {
            return self.wrong(node, key, "expected a list (`- …` lines, or `[…]`)");
        };
        let numbered = items.iter().enumerate();
        Is::List(
            numbered.map(|(n, item)| self.typed(item, &format!("{key}[{n}]"), inner)).collect(),
        )
    }

    fn named(&mut self, node: &Node, key: &str, inner: &Shape) -> Is {
        let Value::Map(entries) = &node.value else {
            return self.wrong(node, key, "expected a map from names to their settings");
        };
        let mut seen: BTreeMap<String, Place> = BTreeMap::new();
        let mut typed = BTreeMap::new();
        for entry in entries {
            let path = join(key, &entry.key);
            if let Some(first) = seen.insert(fold(&entry.key), entry.place.clone()) {
                let message = format!("differs only in case from the name at {first}; rename one");
                self.errors.push(Problem::at(&entry.place, &path, message));
            }
            let mut value = match entry.node.value {
                Value::Null => Typed { place: entry.place.clone(), key: path, is: Is::Empty },
                _ => self.typed(&entry.node, &path, inner),
            };
            value.place = entry.place.clone();
            typed.insert(entry.key.clone(), value);
        }
        Is::Section(typed)
    }

    fn switch(&mut self, node: &Node, key: &str, fields: &'static [Field]) -> Is {
        match &node.value {
            Value::Scalar(text) if value::boolean(text) == Ok(true) => Is::Section(BTreeMap::new()),
            Value::Scalar(text) if value::boolean(text) == Ok(false) => Is::Empty,
            Value::Scalar(text) => {
                let message = format!(
                    "`{}` leaves this off, as in Traefik; expected true, false or a map",
                    shorten(text)
                );
                self.warnings.push(Problem::at(&node.place, key, message));
                Is::Empty
            }
            _ => self.section(node, key, fields),
        }
    }

    fn section(&mut self, node: &Node, key: &str, fields: &'static [Field]) -> Is {
        let Value::Map(entries) = &node.value else {
            let known: Vec<&str> = fields.iter().map(|field| field.key).collect();
            return self.wrong(node, key, &format!("expected a map with {}", known.join(", ")));
        };
        let (written, meant) = self.sort(entries, key, fields);
        let mut typed = BTreeMap::new();
        for field in fields {
            let path = join(key, field.key);
            if let Some(entry) = written.get(field.key) {
                if let Some(value) = self.field(entry, path, field) {
                    typed.insert(field.key.to_owned(), value);
                }
            } else if meant.contains(&field.key) {
                let broken = Typed { place: node.place.clone(), key: path, is: Is::Broken };
                typed.insert(field.key.to_owned(), broken);
            }
        }
        Is::Section(typed)
    }

    /// The entries by their right keys, and the right keys that unknown ones were meant to be.
    fn sort<'n>(
        &mut self,
        entries: &'n [Entry],
        section: &str,
        fields: &'static [Field],
    ) -> (BTreeMap<&'static str, &'n Entry>, Vec<&'static str>) {
        let mut written: BTreeMap<&'static str, &Entry> = BTreeMap::new();
        let mut meant = Vec::new();
        for entry in entries {
            let Some(field) = find(fields, &entry.key) else {
                meant.extend(self.unknown(entry, section, fields));
                continue;
            };
            match written.get(field.key) {
                Some(_) if entry.merged => {}
                Some(first) => self.twice(entry, first, section),
                None => {
                    written.insert(field.key, entry);
                }
            }
        }
        (written, meant)
    }

    fn twice(&mut self, entry: &Entry, first: &Entry, section: &str) {
        let message = format!("the key stands twice; the first is at {}", first.place);
        self.errors.push(Problem::at(&entry.place, &join(section, &entry.key), message));
    }

    /// `None`: as if the key were not there.
    fn field(&mut self, entry: &Entry, path: String, field: &Field) -> Option<Typed> {
        match &field.meaning {
            Meaning::Refused(why) if !is_empty(&entry.node) => {
                self.errors.push(Problem::at(&entry.place, &path, *why));
                return None;
            }
            Meaning::Foreign => self.foreign.push(path.clone()),
            Meaning::Honoured | Meaning::NotYet | Meaning::Refused(_) => {}
        }
        if matches!(entry.node.value, Value::Null) {
            if matches!(field.shape, Shape::Switch(_)) {
                let message = "is empty and therefore off; write `{}` or `true` to turn it on";
                self.warnings.push(Problem::at(&entry.place, &path, message));
            }
            return None;
        }
        let mut typed = self.typed(&entry.node, &path, &field.shape);
        if matches!(typed.is, Is::Section(_)) {
            typed.place = entry.place.clone();
        }
        if matches!(field.shape, Shape::Switch(_)) && matches!(typed.is, Is::Empty) {
            return None;
        }
        if matches!(field.meaning, Meaning::NotYet) {
            self.not_yet.push(path);
        }
        Some(typed)
    }

    /// Reports a key that nobody knows. Gives the right one if that is plain.
    fn unknown(
        &mut self,
        entry: &Entry,
        section: &str,
        fields: &'static [Field],
    ) -> Option<&'static str> {
        let path = join(section, &entry.key);
        let root = section.is_empty();
        let keys = || fields.iter().map(|field| field.key);
        let near = nearest(&entry.key, keys()).filter(|_| !entry.key.starts_with("x-"));
        if near.is_none() && root {
            let message = "is no key of Traefik or routecert; left out of account";
            self.warnings.push(Problem::at(&entry.place, &path, message));
            return None;
        }
        let near = near.or_else(|| beginning(&entry.key, keys()));
        let (meant, advice) = match (within(fields, &entry.key), near) {
            (Some((outer, inner)), _) => {
                (Some(outer), format!("it belongs at `{}`", join(section, &inner)))
            }
            (None, Some(near)) => (Some(near), format!("did you mean `{near}`?")),
            (None, None) => {
                (None, format!("expected one of {}", keys().collect::<Vec<_>>().join(", ")))
            }
        };
        let message = format!("unknown key; {advice}");
        self.errors.push(Problem::at(&entry.place, &path, message));
        meant
    }
}

fn find(fields: &'static [Field], written: &str) -> Option<&'static Field> {
    let folded = fold(written);
    fields.iter().find(|field| fold(field.key) == folded)
}

/// The section of `fields` where the key would be right, and its path there.
fn within(fields: &'static [Field], written: &str) -> Option<(&'static str, String)> {
    fields.iter().find_map(|field| {
        let (Shape::Section(inner) | Shape::Switch(inner)) = field.shape else { return None };
        find(inner, written).map(|right| (field.key, join(field.key, right.key)))
    })
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Null => true,
        Value::Scalar(_) => false,
    }
}

/// Keys end up in messages, so what the user wrote is kept short and printable.
fn join(section: &str, key: &str) -> String {
    if section.is_empty() { shorten(key) } else { format!("{section}.{}", shorten(key)) }
}
