//! A configuration as written: values that know where they stand, whatever they were written in.

use std::fmt;
use std::sync::Arc;

/// Where something stands. A line of 0: the source has no lines, or the whole of it is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// A file's name; a flag or a variable could stand here too.
    pub(super) source: Arc<str>,
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Place {
    pub(super) fn whole(source: &str) -> Self {
        Self { source: source.into(), line: 0, column: 0 }
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
