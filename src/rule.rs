//! The rule language of routes (Traefik's v3 syntax): text → tree, and the host texts it names.
//!
//! A rule is an expression in Go's syntax, so Go's habits hold: a line break behind an operand
//! ends the rule, strings are `` `raw` `` or `"interpreted"`, comments are allowed.

mod matcher;
mod parse;
mod scan;
#[cfg(test)]
mod tests;

pub use crate::rule::matcher::{Kind, Matcher};

/// What a rule is matched against; the two have different matchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Tcp,
}

/// A rule that a route can be built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    root: Node,
}

/// The condition as a tree without negations: those are pushed down to the leaves.
/// Its depth is bounded by the parser, so walking and dropping it may recurse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// All of at least two.
    All(Vec<Self>),
    /// Any of at least two.
    Any(Vec<Self>),
    Leaf {
        matcher: Matcher,
        /// The leaf holds when the matcher does not.
        negated: bool,
    },
}

/// Why a text is no rule, and where. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct Error {
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl Rule {
    /// Reads and checks a whole rule.
    pub fn parse(text: &str, protocol: Protocol) -> Result<Self, Error> {
        let root = parse::rule(text, protocol).map_err(|fault| fault.locate(text))?;
        Ok(Self { root })
    }

    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The texts of the `Host` or `HostSNI` matchers that count positively, left to right, in
    /// lower case. A text may be `*` or no valid name, and may come twice.
    pub fn hosts(&self) -> Vec<String> {
        let mut found = Vec::new();
        collect_hosts(&self.root, &mut found);
        found
    }
}

fn collect_hosts(node: &Node, found: &mut Vec<String>) {
    match node {
        Node::All(parts) | Node::Any(parts) => {
            for part in parts {
                collect_hosts(part, found);
            }
        }
        Node::Leaf { matcher, negated: false }
            if matches!(matcher.kind(), Kind::Host | Kind::HostSni) =>
        {
            found.extend(matcher.values().iter().map(|value| value.to_lowercase()));
        }
        Node::Leaf { .. } => {}
    }
}

/// A fault at a byte offset of the text.
#[derive(Debug)]
struct Fault {
    at: usize,
    message: String,
}

impl Fault {
    fn new(at: usize, message: impl Into<String>) -> Self {
        Self { at, message: message.into() }
    }

    fn locate(self, text: &str) -> Error {
        let before = text.get(..self.at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        Error { line, column, message: self.message }
    }
}
