//! The rule language of routes (Traefik's v3 and v2 syntax): text → tree, the names and the
//! priority it gives, and which requests it is for.
//!
//! A rule is an expression in Go's syntax, so Go's habits hold: a line break behind an operand
//! ends the rule, strings are `` `raw` `` or `"interpreted"`, comments are allowed.

mod address;
mod condition;
mod host;
mod matcher;
mod parse;
mod pattern;
mod print;
mod request;
mod scan;
mod target;
mod template;

use std::collections::BTreeSet;

use crate::rule::matcher::Language;

pub use crate::rule::matcher::{Kind, Matcher};
pub use crate::rule::request::{Connection, HttpRequest, Request};

/// What a rule is matched against; the two have different matchers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Tcp,
}

/// Which of the two languages a rule is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Syntax {
    #[default]
    V3,
    /// The old one, with more matchers that take many values.
    V2,
}

impl Syntax {
    /// The value of a route's `syntax`: whatever is not `v2` is v3, as in Traefik.
    pub fn of(field: Option<&str>) -> Self {
        if field == Some("v2") { Self::V2 } else { Self::V3 }
    }
}

/// A rule that a route can be built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    protocol: Protocol,
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
    pub fn parse(text: &str, protocol: Protocol, syntax: Syntax) -> Result<Self, Error> {
        let language = Language { protocol, syntax };
        let root = parse::rule(text, language).map_err(|fault| fault.locate(text))?;
        Ok(Self { protocol, root })
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

    /// What a certificate is for: the hosts without spaces around and trailing dot, each once.
    /// `*` is no name. A text may be no valid name.
    pub fn names(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let clean = |host: String| {
            let host = host.trim();
            host.strip_suffix('.').unwrap_or(host).to_owned()
        };
        let names = self.hosts().into_iter().map(clean);
        names.filter(|name| name != "*" && seen.insert(name.clone())).collect()
    }

    /// Whether it is for `request`; never, if that is of the other protocol.
    pub fn matches(&self, request: &Request) -> bool {
        let same = match request {
            Request::Http(_) => self.protocol == Protocol::Http,
            Request::Tcp(_) => self.protocol == Protocol::Tcp,
        };
        same && self.root.matches(request)
    }

    /// A TCP rule that is nothing but `HostSNI(*)`, in whatever spelling.
    pub fn is_catch_all(&self) -> bool {
        matches!(&self.root, Node::Leaf { matcher, negated: false }
            if matcher.kind() == Kind::HostSni && matcher.values() == ["*"])
    }
}

impl Node {
    /// Whether this part of a rule holds for a request of the rule's protocol.
    pub fn matches(&self, request: &Request) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.matches(request)),
            Self::Any(parts) => parts.iter().any(|part| part.matches(request)),
            Self::Leaf { matcher, negated } => matcher.holds(request) != *negated,
        }
    }
}

/// The priority of a route that gives none (or 0): longer rules come first, and TCP's catch-all
/// comes last. A rule that does not parse has one too.
pub fn default_priority(text: &str, protocol: Protocol) -> i64 {
    let catch_all = || Rule::parse(text, Protocol::Tcp, Syntax::V3).is_ok_and(|r| r.is_catch_all());
    if protocol == Protocol::Tcp && catch_all() {
        return -1;
    }
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

/// The largest priority that a route may give itself; the ones above are the program's own.
pub const MAX_PRIORITY: i64 = i64::MAX - 1000;

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

#[cfg(test)]
mod tests;
