//! Tree and schema → typed tree: folds the case of keys, and notes every problem on the way.

use std::collections::BTreeMap;

use crate::config::Problem;
use crate::config::near::{beginning, fold, nearest};
use crate::config::schema::{Field, Meaning, Shape};
use crate::config::tree::{Entry, Node, Place, Value, join, shorten};
use crate::config::typed::{Is, Typed};
use crate::config::value;

#[derive(Default)]
pub(super) struct Walk {
    pub(super) errors: Vec<Problem>,
    /// What makes one resolver unusable, and nothing else.
    pub(super) faults: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
    /// Words on what is right and could be better.
    pub(super) advice: Vec<Problem>,
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

    /// A section that stands at `key`.
    pub(super) fn part(&mut self, node: &Node, key: &str, fields: &'static [Field]) -> Typed {
        self.typed(node, key, &Shape::Section(fields))
    }

    /// Two warnings at most, about all keys that change nothing.
    pub(super) fn without_use(&mut self, whole: &Place) {
        let without_use = [
            (&self.foreign, "Traefik settings that routecert has no use for"),
            (&self.not_yet, "known, but not honoured by this version"),
        ];
        for (keys, what) in without_use {
            if !keys.is_empty() {
                let message = format!("{what}: {}", keys.join(", "));
                self.warnings.push(Problem::at(whole, "", message));
            }
        }
    }

    fn typed(&mut self, node: &Node, key: &str, shape: &Shape) -> Typed {
        let is = match shape {
            Shape::Anything => Is::Broken,
            Shape::List(inner) => self.list(node, key, inner),
            Shape::Named(inner) => self.named(node, key, inner),
            Shape::Section(fields) => self.section(node, key, fields),
            Shape::Switch(fields) => self.switch(node, key, fields),
            Shape::Texts => self.texts(node, key),
            Shape::Bool
            | Shape::Delay
            | Shape::Duration
            | Shape::Integer
            | Shape::Secret
            | Shape::Text => self.scalar(node, key, shape),
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
            Shape::Delay => value::duration(text).map(Is::Duration),
            Shape::Duration => match value::duration(text) {
                Ok(nanos) if nanos < 0 => Err(value::NEGATIVE),
                read => read.map(Is::Duration),
            },
            Shape::Integer => value::integer(text).map(Is::Integer),
            _ => Ok(Is::Text(text.clone())),
        };
        read.unwrap_or_else(|expected| self.wrong(node, key, expected))
    }

    fn texts(&mut self, node: &Node, key: &str) -> Is {
        let text = |(n, text): (usize, &str)| Typed {
            place: node.place.clone(),
            key: format!("{key}[{n}]"),
            is: Is::Text(text.to_owned()),
        };
        match &node.value {
            Value::Scalar(all) => {
                let parts = all.split(',').map(str::trim).filter(|part| !part.is_empty());
                Is::List(parts.enumerate().map(text).collect())
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
        let is_section = matches!(inner, Shape::Section(_));
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
                Value::Scalar(ref text) if is_section && value::boolean(text) == Ok(true) => {
                    let message = "says nothing alone; give it its settings";
                    self.warnings.push(Problem::at(&entry.place, &path, message));
                    let is = Is::Section(BTreeMap::new());
                    Typed { place: entry.place.clone(), key: path, is }
                }
                _ => self.typed(&entry.node, &path, inner),
            };
            value.place = entry.place.clone();
            typed.insert(entry.key.clone(), value);
        }
        if !typed.is_empty() && typed.values().all(|value| matches!(value.is, Is::Empty)) {
            self.errors.push(Problem::at(&node.place, key, "has only names without settings"));
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
        if node.scalar().is_some_and(|text| value::boolean(text) == Ok(false)) {
            return Is::Empty;
        }
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
        let inner = path.contains('.') && matches!(field.shape, Shape::Section(_));
        if inner && without_content(&entry.node) {
            let message = "is there without any setting; remove it, or give it one";
            self.errors.push(Problem::at(&entry.place, &path, message));
            return Some(Typed { place: entry.place.clone(), key: path, is: Is::Broken });
        }
        let mut typed = self.typed(&entry.node, &path, &field.shape);
        if matches!(typed.is, Is::Section(_)) {
            typed.place = entry.place.clone();
        }
        if matches!(typed.is, Is::Empty) {
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

/// A section in which nothing is set. Traefik refuses it.
fn without_content(node: &Node) -> bool {
    match &node.value {
        Value::Map(entries) => entries.iter().all(|entry| matches!(entry.node.value, Value::Null)),
        _ => false,
    }
}

fn is_empty(node: &Node) -> bool {
    match &node.value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        Value::Null => true,
        Value::Scalar(_) => false,
    }
}
