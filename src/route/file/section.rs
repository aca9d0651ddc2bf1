//! Sections of a file as people write them: keys in any case, lists as texts with commas too.

use serde_json::{Map, Value};

use crate::config;
use crate::route::{Reason, Refusal};

/// Longest path or key in a message, in characters.
const SHOWN: usize = 100;

/// A map of a file, with its path for messages.
#[derive(Debug, Clone)]
pub(super) struct Section<'v> {
    path: String,
    fields: Option<&'v Map<String, Value>>,
}

impl<'v> Section<'v> {
    /// `value` is what stands at `path`; nothing is as an empty section.
    pub(super) fn of(value: &'v Value, path: &str) -> Result<Self, Refusal> {
        let section = |fields| Self { path: path.to_owned(), fields };
        match value {
            Value::Object(fields) => Ok(section(Some(fields))),
            Value::Null => Ok(section(None)),
            _ => Err(wrong(path, "a map")),
        }
    }

    fn path(&self, key: &str) -> String {
        let key = shown(key);
        if self.path.is_empty() { key } else { format!("{}.{key}", self.path) }
    }

    /// What stands at a key; `null` is nothing.
    pub(super) fn at(&self, key: &str) -> Option<&'v Value> {
        let mut entries = self.fields.into_iter().flatten();
        let found = entries.find(|(written, _)| written.eq_ignore_ascii_case(key));
        found.map(|(_, value)| value).filter(|value| !value.is_null())
    }

    pub(super) fn section(&self, key: &str) -> Result<Self, Refusal> {
        Self::of(self.at(key).unwrap_or(&Value::Null), &self.path(key))
    }

    /// The names that users give, and what stands behind each.
    pub(super) fn named(&self) -> impl Iterator<Item = (&'v str, &'v Value)> + use<'v> {
        self.fields.into_iter().flatten().map(|(name, value)| (name.as_str(), value))
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<String>, Refusal> {
        let Some(value) = self.at(key) else { return Ok(None) };
        single(value).map(Some).ok_or_else(|| wrong(&self.path(key), "a text"))
    }

    /// A list, or its elements in one text with commas between.
    pub(super) fn texts(&self, key: &str) -> Result<Vec<String>, Refusal> {
        let Some(value) = self.at(key) else { return Ok(Vec::new()) };
        let found = match value {
            Value::Array(items) => items.iter().map(single).collect(),
            value => single(value).map(|all| all.split(',').map(str::to_owned).collect()),
        };
        let found: Vec<String> = found.ok_or_else(|| wrong(&self.path(key), "a list of texts"))?;
        let trimmed = found.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        Ok(trimmed.map(str::to_owned).collect())
    }

    pub(super) fn boolean(&self, key: &str) -> Result<bool, Refusal> {
        let Some(text) = self.text(key)? else { return Ok(false) };
        config::boolean(&text).ok().ok_or_else(|| wrong(&self.path(key), "true or false"))
    }

    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, Refusal> {
        let items = match self.at(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(wrong(&self.path(key), "a list")),
        };
        let numbered = items.iter().enumerate();
        numbered.map(|(n, item)| Self::of(item, &self.path(&format!("{key}[{n}]")))).collect()
    }

    /// A section that may be there without content: `{}` or `true`. `false` is none.
    pub(super) fn switch(&self, key: &str) -> Result<Option<Self>, Refusal> {
        let Some(value) = self.at(key) else { return Ok(None) };
        match single(value).map(|text| config::boolean(&text)) {
            Some(Ok(true)) => Ok(Some(Self { path: self.path(key), fields: None })),
            Some(Ok(false)) => Ok(None),
            _ => Self::of(value, &self.path(key)).map(Some),
        }
    }

    /// The paths of keys that are none of `known`.
    pub(super) fn unknown(&self, known: &[&str]) -> Vec<String> {
        let is_known = |key: &str| known.iter().any(|one| one.eq_ignore_ascii_case(key));
        let keys = self.named().map(|(key, _)| key).filter(|key| !is_known(key));
        keys.map(|key| self.path(key)).collect()
    }
}

fn single(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(_) | Value::Null | Value::Object(_) => None,
    }
}

fn wrong(path: &str, expected: &str) -> Refusal {
    let message = format!("{path}: {expected} is expected; correct the file");
    Refusal::new(Reason::InvalidObject, message)
}

/// A key for a message: short, on one line.
pub(super) fn shown(key: &str) -> String {
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let mut short: String = key.chars().take(SHOWN).map(clean).collect();
    if key.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}
