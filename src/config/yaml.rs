//! YAML → tree: anchors, aliases and `<<` are resolved, within bounds; a key twice is an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use crate::config::Problem;
use crate::config::tree::{Entry, Form, Node, Place, Value, shorten};

/// Containers inside one another. The tree may be walked by recursion because of it.
const MAX_DEPTH: usize = 64;
/// What aliases may add to the tree, in bytes of text and of nodes.
const MAX_COPIED: usize = 16 * 1024 * 1024;
const NODE_BYTES: usize = 128;
const TOO_LARGE: &str = "anchors and aliases make the configuration too large";

/// What becomes of plain text that YAML reads as a date, or as another number than it looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Odd {
    /// A problem: nobody wants that in a configuration.
    Refused,
    /// Text, as written: it is for somebody else.
    Kept,
}

/// The first document of `text`, if it has content. With a syntax error there is no tree; other
/// problems leave the rest of it to be looked at.
pub(super) fn parse(source: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    build(Builder::new(source, Odd::Refused), text, problems)
}

/// The same for a text of which only a part is ours.
pub(super) fn parse_foreign(source: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    build(Builder::new(source, Odd::Kept), text, problems)
}

fn build(mut builder: Builder, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    for next in Parser::new_from_str(text) {
        let step = match next {
            Ok((event, span)) => builder.event(event, span.start),
            Err(error) => {
                let advice = advice(text, error.marker().line());
                let reason = error.kind().to_string().replace(char::is_control, " ");
                Err(builder.fault(*error.marker(), format!("no valid YAML: {reason}{advice}")))
            }
        };
        if let Err(problem) = step {
            problems.append(&mut builder.problems);
            problems.push(problem);
            return None;
        }
    }
    problems.append(&mut builder.problems);
    builder.root
}

fn advice(text: &str, line: usize) -> &'static str {
    let line = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    if line.trim_start_matches(' ').starts_with('\t') {
        "; indent with spaces, not with tabs"
    } else if line.contains("{{") {
        "; this looks like a template that was not rendered"
    } else {
        ""
    }
}

/// A list or map whose end has not come yet.
struct Open {
    place: Place,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(Place, Key)> },
}

/// Only plain text can be `<<` or null.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Otherwise,
    Plain,
}

enum Key {
    Merge,
    Name(String),
}

struct Builder {
    source: Arc<str>,
    odd: Odd,
    open: Vec<Open>,
    anchors: BTreeMap<usize, Node>,
    copied: usize,
    documents: usize,
    root: Option<Node>,
    problems: Vec<Problem>,
}

impl Builder {
    fn new(source: &str, odd: Odd) -> Self {
        Self {
            source: source.into(),
            odd,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            copied: 0,
            documents: 0,
            root: None,
            problems: Vec::new(),
        }
    }

    fn place(&self, at: Marker) -> Place {
        Place {
            source: Arc::clone(&self.source),
            line: at.line(),
            column: at.col() + 1,
            form: Form::File,
        }
    }

    fn fault(&self, at: Marker, message: impl Into<String>) -> Problem {
        Problem::at(&self.place(at), "", message)
    }

    fn event(&mut self, event: Event<'_>, at: Marker) -> Result<(), Problem> {
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(self.fault(at, "a second document; put everything into one"));
                }
                Ok(())
            }
            Event::Scalar(text, style, anchor, tag) => {
                let written = match style {
                    ScalarStyle::Plain => Written::Plain,
                    _ => Written::Otherwise,
                };
                let value = self.scalar(&text, written, tag.as_deref(), at)?;
                self.finish(Node { place: self.place(at), value }, anchor, written)
            }
            Event::SequenceStart(_, anchor, _) => self.open(at, anchor, Inside::List(Vec::new())),
            Event::MappingStart(_, anchor, _) => {
                self.open(at, anchor, Inside::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Ok(()),
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        written: Written,
        tag: Option<&Tag>,
        at: Marker,
    ) -> Result<Value, Problem> {
        let kind = match tag {
            None if written == Written::Plain => "",
            None => "str",
            Some(tag) => tag.core_suffix().unwrap_or("!"),
        };
        match kind {
            "" if matches!(text, "" | "~" | "null" | "Null" | "NULL") => Ok(Value::Null),
            "null" => Ok(Value::Null),
            "" if self.odd == Odd::Refused && is_date(text) => {
                let problem = self.fault(at, "is a date in YAML; put it into quotes");
                self.problems.push(problem);
                Ok(Value::Null)
            }
            "" if self.odd == Odd::Refused && is_other_number(text) => {
                let shown = shorten(text);
                let message = format!("YAML reads `{shown}` as another number; put it into quotes");
                let problem = self.fault(at, message);
                self.problems.push(problem);
                Ok(Value::Scalar(text.to_owned()))
            }
            "" | "str" | "int" | "bool" | "float" | "timestamp" => {
                Ok(Value::Scalar(text.to_owned()))
            }
            _ => Err(self.fault(at, "a YAML tag that has no meaning here; remove it")),
        }
    }

    fn open(&mut self, at: Marker, anchor: usize, inside: Inside) -> Result<(), Problem> {
        if self.open.len() == MAX_DEPTH {
            return Err(self.fault(at, "nested too deeply"));
        }
        if let Some(Open { inside: Inside::Map { key: None, .. }, .. }) = self.open.last() {
            return Err(self.fault(at, "a key must be plain text, not a list or map"));
        }
        self.open.push(Open { place: self.place(at), anchor, inside });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Problem> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let value = match open.inside {
            Inside::List(items) => Value::List(items),
            Inside::Map { entries, .. } => Value::Map(self.settle(entries)),
        };
        self.finish(Node { place: open.place, value }, open.anchor, Written::Otherwise)
    }

    /// Keys that are written out go before merged ones, and among those the first counts.
    fn settle(&mut self, entries: Vec<Entry>) -> Vec<Entry> {
        let (written, merged): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| !e.merged);
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut settled = Vec::new();
        for entry in written {
            if let Some(line) = seen.get(&entry.key) {
                let message = format!("the key stands twice; the first is on line {line}");
                self.problems.push(Problem::at(&entry.place, &shorten(&entry.key), message));
                continue;
            }
            seen.insert(entry.key.clone(), entry.place.line);
            settled.push(entry);
        }
        for entry in merged {
            if seen.insert(entry.key.clone(), entry.place.line).is_none() {
                settled.push(entry);
            }
        }
        settled
    }

    fn alias(&mut self, anchor: usize, at: Marker) -> Result<(), Problem> {
        let Some(target) = self.anchors.get(&anchor) else {
            return Err(self.fault(at, "the alias stands inside its own anchor"));
        };
        let (bytes, height) = measure(target);
        if self.copied + bytes > MAX_COPIED {
            return Err(self.fault(at, TOO_LARGE));
        }
        if self.open.len() + height > MAX_DEPTH {
            return Err(self.fault(at, "nested too deeply"));
        }
        let node = target.clone();
        self.copied += bytes;
        self.finish(node, 0, Written::Otherwise)
    }

    /// Gives a whole node to the list or map that it stands in.
    fn finish(&mut self, node: Node, anchor: usize, written: Written) -> Result<(), Problem> {
        if anchor != 0 {
            let (bytes, _) = measure(&node);
            self.copied += bytes;
            if self.copied > MAX_COPIED {
                return Err(Problem::at(&node.place, "", TOO_LARGE));
            }
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.inside) {
            None => self.root = Some(node),
            Some(Inside::List(items)) => items.push(node),
            Some(Inside::Map { entries, key }) => match key.take() {
                None => *key = Some(read_key(node, written)?),
                Some((place, Key::Merge)) => merge(node, &place, entries)?,
                Some((place, Key::Name(key))) => {
                    entries.push(Entry { key, place, node, merged: false });
                }
            },
        }
        Ok(())
    }
}

fn read_key(node: Node, written: Written) -> Result<(Place, Key), Problem> {
    match node.value {
        Value::Scalar(text) if written == Written::Plain && text == "<<" => {
            Ok((node.place, Key::Merge))
        }
        Value::Scalar(text) if written == Written::Plain && is_word_of_yaml(&text) => {
            let message = format!("`{text}` as a key is no text in YAML; put it into quotes");
            Err(Problem::at(&node.place, "", message))
        }
        Value::Scalar(text) => Ok((node.place, Key::Name(text))),
        _ => Err(Problem::at(&node.place, "", "a key must be plain text; put it into quotes")),
    }
}

fn is_word_of_yaml(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// `2026-01-01`, with or without a time.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let mut number = |length: usize| {
        let part = parts.next().unwrap_or_default();
        part.get(..length).is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_digit()))
            && part.get(length..).is_some_and(|rest| {
                rest.is_empty() || rest.starts_with(['T', 't', ' ']) && rest.contains(':')
            })
    };
    number(4) && number(2) && number(2)
}

/// Octal, hexadecimal or binary, or too large to be kept exactly.
fn is_other_number(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let rest = digits.strip_prefix('0').unwrap_or_default();
    let all = |text: &str, radix| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    let prefixed = |prefix, radix| rest.strip_prefix(prefix).is_some_and(|rest| all(rest, radix));
    all(rest, 8)
        || prefixed('x', 16)
        || prefixed('o', 8)
        || prefixed('b', 2)
        || (digits.len() > 19 && all(digits, 10))
}

fn merge(node: Node, place: &Place, entries: &mut Vec<Entry>) -> Result<(), Problem> {
    let maps = match node.value {
        Value::List(items) => items,
        _ => vec![node],
    };
    for map in maps {
        let Value::Map(inside) = map.value else {
            return Err(Problem::at(place, "<<", "merges maps only; give it an alias of a map"));
        };
        entries.extend(inside.into_iter().map(|entry| Entry { merged: true, ..entry }));
    }
    Ok(())
}

/// Bytes that a copy takes, about, and how many containers stand in one another.
fn measure(node: &Node) -> (usize, usize) {
    let (mut bytes, mut height) = (NODE_BYTES, 0);
    let mut add = |node: &Node| {
        let (more, inside) = measure(node);
        bytes += more;
        height = height.max(inside);
    };
    match &node.value {
        Value::List(items) => items.iter().for_each(add),
        Value::Map(entries) => {
            for entry in entries {
                add(&entry.node);
            }
            bytes += entries.iter().map(|entry| entry.key.len() + NODE_BYTES).sum::<usize>();
        }
        Value::Null => return (bytes, 0),
        Value::Scalar(text) => return (bytes + text.len(), 0),
    }
    (bytes, height + 1)
}
