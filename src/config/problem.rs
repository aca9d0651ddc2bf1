//! What is wrong, and what reading comes to with it.

use std::fmt;

use crate::config::tree::{Form, Place, shorten};
use crate::config::typed::Typed;
use crate::config::{Config, Effective};

/// What is wrong, or worth a word, at one place of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// `file:line:column`, or the file alone.
    pub place: String,
    /// The key with its path, `certificatesResolvers.le.acme.keyType`; empty for the whole text.
    pub key: String,
    pub message: String,
    pub(super) order: (Form, usize, usize),
}

impl Problem {
    pub(super) fn at(place: &Place, key: &str, message: impl Into<String>) -> Self {
        Self {
            place: place.to_string(),
            key: key.to_owned(),
            message: message.into(),
            order: (place.form, place.line, place.column),
        }
    }

    /// In the order of the file, then variables, then flags.
    pub fn sort(problems: &mut [Self]) {
        problems.sort_by_key(|problem| problem.order);
    }

    /// `value` stands at `field` instead of what was `expected`.
    pub(super) fn about(field: &Typed, value: &str, expected: &str) -> Self {
        Self::at(&field.place, &field.key, format!("`{}`: {expected}", shorten(value)))
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// The result of reading: a configuration only if there was no error.
#[derive(Debug)]
pub struct Reading {
    pub config: Result<Config, Vec<Problem>>,
    /// What is wrong with one resolver each, which costs only that resolver.
    pub faults: Vec<Problem>,
    pub warnings: Vec<Problem>,
    /// Words on what is right and could be better.
    pub advice: Vec<Problem>,
    /// There whenever the text could be read.
    pub effective: Option<Effective>,
}

impl Reading {
    pub(super) fn of(config: Result<Config, Vec<Problem>>, warnings: Vec<Problem>) -> Self {
        Self { config, faults: Vec::new(), warnings, advice: Vec::new(), effective: None }
    }

    /// What is wrong with the structure and with single resolvers, all of it.
    pub fn errors(&self) -> Vec<Problem> {
        let structure = self.config.as_ref().err();
        let mut errors: Vec<Problem> =
            structure.into_iter().flatten().chain(&self.faults).cloned().collect();
        Problem::sort(&mut errors);
        errors
    }

    pub(super) fn failed(problem: Problem) -> Self {
        Self::of(Err(vec![problem]), Vec::new())
    }
}

/// More reasons than these help nobody, and they end up in a status.
const MAX_REASONS: usize = 8;

/// All reasons in one line, of very many the first.
pub(super) fn summary(reasons: &[String]) -> String {
    let mut shown: Vec<String> = reasons.iter().take(MAX_REASONS).cloned().collect();
    if let Some(more @ 1..) = reasons.len().checked_sub(MAX_REASONS) {
        shown.push(format!("and {more} more"));
    }
    shown.join("; ")
}

/// The same for a list.
pub(super) fn few(reasons: Vec<String>) -> Vec<String> {
    if reasons.len() > MAX_REASONS { vec![summary(&reasons)] } else { reasons }
}
