//! Go's regular expressions, matched in linear time.
//!
//! The languages of Go's and Rust's engines differ in what they take and in what it means, so the
//! text is read by Go's own rules and handed on as a tree; what would be too large is refused.

mod class;
mod escape;
mod group;
mod parse;

use std::borrow::Cow;
use std::fmt;

use regex_automata::meta::{BuildError, Config, Regex};
use regex_syntax::hir::Hir;

/// How much memory the regular expressions of one rule may take together, in bytes.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    const WHOLE: usize = 8 << 20;
    /// What even the smallest one is charged for.
    const LEAST: usize = 8 << 10;

    pub(super) fn new() -> Self {
        Self(Self::WHOLE)
    }

    fn take(&mut self, size: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(size.max(Self::LEAST)).ok_or_else(too_large)?;
        Ok(())
    }
}

fn too_large() -> String {
    "too large; the regular expressions of one rule may take 8 MiB together".to_owned()
}

/// Two are equal if their texts are.
#[derive(Clone)]
pub(super) struct Pattern {
    text: String,
    regex: Regex,
}

impl Pattern {
    /// `Err` says what is wrong with `text`, which it does not repeat.
    pub(super) fn new(text: &str, budget: &mut Budget) -> Result<Self, String> {
        let tree = tree(text)?;
        let config = Config::new()
            .nfa_size_limit(Some(budget.0))
            .onepass(false)
            .hybrid_cache_capacity(128 << 10);
        let built = Regex::builder().configure(config).build_from_hir(&tree);
        let regex = built.map_err(|error: BuildError| {
            if error.size_limit().is_some() { too_large() } else { error.to_string() }
        })?;
        budget.take(regex.memory_usage())?;
        Ok(Self { text: text.to_owned(), regex })
    }

    /// Whether `text` can be read at all.
    pub(super) fn check(text: &str) -> Result<(), String> {
        tree(text).map(drop)
    }

    /// Whether it fits anywhere in `bytes`.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(readable(bytes).as_bytes())
    }
}

fn tree(text: &str) -> Result<Hir, String> {
    parse::tree(text).map_err(|fault| {
        let column = text.get(..fault.at).unwrap_or(text).chars().count() + 1;
        format!("at its character {column}: {}", fault.message)
    })
}

/// Go sees every byte that is no part of a character as a replacement character of its own.
fn readable(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

#[cfg(test)]
mod tests;
