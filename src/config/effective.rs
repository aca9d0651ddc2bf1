//! What a configuration comes to, defaults included, and where each value came from.

use serde_json::{Map, Value};

use crate::config::schema::{Field, Meaning, ROOT, Shape};
use crate::config::typed::{Is, Typed};
use crate::config::value;

const HIDDEN: &str = "***";

/// The effective configuration, along the schema; secrets are hidden.
#[derive(Debug)]
pub struct Effective {
    root: Shown,
    /// Of the process, without secrets.
    variables: Vec<(&'static str, String)>,
}

#[derive(Debug)]
struct Shown {
    /// `None`: a default.
    origin: Option<String>,
    /// Worth a line even as a default.
    honoured: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    Absent,
    List(Vec<Shown>),
    Map(Vec<(String, Shown)>),
    Single(Value),
}

impl Effective {
    pub(super) fn of(root: &Typed, variables: Vec<(&'static str, String)>) -> Self {
        let what = section(ROOT, Some(root));
        Self { root: Shown { origin: None, honoured: true, what }, variables }
    }

    /// One part of it, such as `entryPoints`; durations are seconds.
    pub fn part(&self, key: &str) -> Value {
        let What::Map(entries) = &self.root.what else { return Value::Null };
        entries.iter().find(|(name, _)| name == key).map_or(Value::Null, |(_, part)| part.json())
    }

    /// YAML with a comment behind each value: where it came from.
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.root.lines(&mut out, 0);
        for (name, value) in &self.variables {
            out.extend(["# ", name, ": ", value, "\n"]);
        }
        out
    }

    /// Variables that are no keys and hold for the whole process.
    pub fn variables(&self) -> Value {
        let entries = self.variables.iter();
        entries.map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))).collect()
    }
}

fn section(fields: &'static [Field], typed: Option<&Typed>) -> What {
    let known = fields.iter().filter(|field| {
        !matches!(field.shape, Shape::Anything) && !matches!(field.meaning, Meaning::Foreign)
    });
    What::Map(
        known
            .map(|field| {
                let given = typed.and_then(|typed| typed.entry(field.key));
                let mut shown = given
                    .and_then(|given| shown(&field.shape, given))
                    .unwrap_or_else(|| default(field));
                shown.honoured = matches!(field.meaning, Meaning::Honoured);
                (field.key.to_owned(), shown)
            })
            .collect(),
    )
}

/// `None`: nothing that could be used is there.
fn shown(shape: &Shape, typed: &Typed) -> Option<Shown> {
    let what = match (shape, &typed.is) {
        (Shape::Secret, Is::Text(text)) => {
            What::Single(if text.is_empty() { "" } else { HIDDEN }.into())
        }
        (Shape::Texts, Is::List(items)) => {
            What::Single(items.iter().filter_map(Typed::as_text).collect())
        }
        (Shape::List(inner), Is::List(items)) => {
            What::List(items.iter().filter_map(|item| shown(inner, item)).collect())
        }
        (Shape::Named(inner), Is::Section(entries)) => {
            let shown =
                |(name, entry): (&String, &Typed)| Some((name.clone(), shown(inner, entry)?));
            What::Map(entries.iter().filter_map(shown).collect())
        }
        (Shape::Section(fields) | Shape::Switch(fields), Is::Section(_)) => {
            section(fields, Some(typed))
        }
        (_, Is::Bool(yes)) => What::Single((*yes).into()),
        (_, Is::Duration(nanos)) => What::Single(Value::Number(value::seconds(*nanos))),
        (_, Is::Integer(number)) => What::Single((*number).into()),
        (_, Is::Text(text)) => What::Single(text.clone().into()),
        _ => return None,
    };
    Some(Shown { origin: Some(typed.place.to_string()), honoured: true, what })
}

fn default(field: &Field) -> Shown {
    let what = match field.shape {
        Shape::Bool => What::Single((field.default == "true").into()),
        Shape::Delay | Shape::Duration => {
            let nanos = value::duration(field.default).unwrap_or_default();
            What::Single(Value::Number(value::seconds(nanos)))
        }
        Shape::Integer => What::Single(value::integer(field.default).unwrap_or_default().into()),
        Shape::List(_) | Shape::Texts => What::Single(Value::Array(Vec::new())),
        Shape::Named(_) => What::Map(Vec::new()),
        Shape::Section(fields) | Shape::Switch(fields) if field.default == "{}" => {
            section(fields, None)
        }
        Shape::Anything | Shape::Section(_) | Shape::Switch(_) => What::Absent,
        Shape::Secret | Shape::Text => What::Single(field.default.into()),
    };
    Shown { origin: None, honoured: true, what }
}

impl Shown {
    fn json(&self) -> Value {
        match &self.what {
            What::Absent => Value::Null,
            What::List(items) => items.iter().map(Self::json).collect(),
            What::Map(entries) => {
                let entries = entries.iter().map(|(key, shown)| (key.clone(), shown.json()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            What::Single(value) => value.clone(),
        }
    }

    /// Something that was set, or an honoured default that says something.
    fn is_worth_a_line(&self) -> bool {
        match &self.what {
            What::Absent => false,
            What::List(items) => !items.is_empty(),
            What::Map(entries) => {
                let inside = entries.iter().any(|(_, shown)| shown.is_worth_a_line());
                self.origin.is_some() || (self.honoured && inside)
            }
            What::Single(value) => {
                let said =
                    value.as_str() != Some("") && value.as_array().is_none_or(|it| !it.is_empty());
                self.origin.is_some() || (self.honoured && said)
            }
        }
    }

    fn lines(&self, out: &mut String, depth: usize) {
        let indent = "  ".repeat(depth);
        let What::Map(entries) = &self.what else { return };
        for (key, shown) in entries.iter().filter(|(_, shown)| shown.is_worth_a_line()) {
            let key = plain(key);
            let origin = shown.origin.as_deref().unwrap_or("default");
            let line = match &shown.what {
                What::Single(_) | What::List(_) => format!("{key}: {}  # {origin}", shown.json()),
                What::Map(entries) if entries.iter().any(|(_, it)| it.is_worth_a_line()) => {
                    format!("{key}:")
                }
                _ => format!("{key}: {{}}  # {origin}"),
            };
            out.extend([indent.as_str(), &line, "\n"]);
            shown.lines(out, depth + 1);
        }
    }
}

/// A key as YAML takes it.
fn plain(key: &str) -> String {
    let word = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if word { key.to_owned() } else { Value::from(key).to_string() }
}
