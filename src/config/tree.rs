//! A configuration as written: values that know where they stand, whatever they were written in.

use std::fmt;
use std::sync::Arc;

use crate::config::near::fold;
use crate::config::value::boolean;

/// Where something stands. A line of 0: the source has no lines, or the whole of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A file's name, a flag with its dashes, or a variable's name.
    pub(super) source: Arc<str>,
    pub(super) line: usize,
    pub(super) column: usize,
    pub(super) form: Form,
}

/// What a source is, in the order in which problems are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    File,
    Variable,
    /// The how manieth word, from 1.
    Flag(usize),
}

impl Place {
    /// A file, or whatever else has no lines.
    pub(super) fn whole(source: &str) -> Self {
        Self { source: source.into(), line: 0, column: 0, form: Form::File }
    }

    pub(super) fn variable(name: &str) -> Self {
        Self { form: Form::Variable, ..Self::whole(name) }
    }

    pub(super) fn flag(name: &str, number: usize) -> Self {
        Self { form: Form::Flag(number), ..Self::whole(name) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.source),
            line => write!(f, "{}:{}:{}", self.source, line, self.column),
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    List(Vec<Node>),
    Map(Vec<Entry>),
    Null,
    /// Not yet typed: what it must be, only the schema knows.
    Scalar(String),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) node: Node,
    /// Came in by `<<`, so a key that is written out goes before it.
    pub(super) merged: bool,
}

impl Node {
    /// The value at a path of keys with dots between, letters of any case.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        path.split('.').try_fold(self, |node, key| match &node.value {
            Value::Map(entries) => {
                entries.iter().find(|entry| fold(&entry.key) == fold(key)).map(|entry| &entry.node)
            }
            _ => None,
        })
    }

    pub(super) fn scalar(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text) => Some(text),
            _ => None,
        }
    }

    /// For "found …".
    pub(super) fn describe(&self) -> String {
        match &self.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
            Value::Null => "nothing".to_owned(),
            Value::Scalar(text) => format!("`{}`", shorten(text)),
        }
    }
}

/// What `upper` says goes before what `lower` says, key by key; lists are replaced as a whole.
/// A name keeps the spelling of the lower one, so that a variable finds the resolver of a file.
pub(super) fn merge(lower: Node, upper: Node) -> Node {
    match (lower.value, upper.value) {
        (Value::Map(mut entries), Value::Map(above)) => {
            for entry in above {
                let known = entries.iter().position(|known| fold(&known.key) == fold(&entry.key));
                match known {
                    Some(at) => {
                        let below = entries.remove(at);
                        let node = merge(below.node, entry.node);
                        entries.insert(at, Entry { node, ..below });
                    }
                    None => entries.push(entry),
                }
            }
            Node { place: lower.place, value: Value::Map(entries) }
        }
        // Switched on again: the settings below hold.
        (Value::Map(entries), Value::Scalar(text)) if boolean(&text) == Ok(true) => {
            Node { place: lower.place, value: Value::Map(entries) }
        }
        (_, value) => Node { place: upper.place, value },
    }
}

/// Text from the configuration, short and clean enough for one line of a message.
pub(super) fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(printable).collect();
    if text.chars().nth(80).is_some() {
        short.push('…');
    }
    short
}

fn printable(c: char) -> Vec<char> {
    if c.is_control() { c.escape_default().collect() } else { vec![c] }
}

/// Keys end up in messages, so what the user wrote is kept short and printable.
pub(super) fn join(section: &str, key: &str) -> String {
    if section.is_empty() { shorten(key) } else { format!("{section}.{}", shorten(key)) }
}
