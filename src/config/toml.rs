//! TOML → tree: the same tree as from YAML, each value at its line.

use std::ops::Range;
use std::sync::Arc;

use ::toml::de::{DeTable, DeValue};

use crate::config::Problem;
use crate::config::tree::{Entry, Form, Node, Place, Value};

/// With a syntax error there is no tree.
pub(super) fn parse(source: &str, text: &str, problems: &mut Vec<Problem>) -> Option<Node> {
    let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let reader = Reader { source: source.into(), text, lines };
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return (!table.get_ref().is_empty())
            .then(|| Node { place: reader.place(0), value: reader.table(table.get_ref()) });
    }
    for error in errors {
        let place = reader.place(error.span().map_or(0, |span| span.start));
        let reason = error.message().replace(char::is_control, " ");
        problems.push(Problem::at(&place, "", format!("no valid TOML: {reason}")));
    }
    None
}

struct Reader<'t> {
    source: Arc<str>,
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// Columns beyond are counted in bytes: to count a long line anew for each value takes long.
const COUNTED: usize = 1000;

impl Reader<'_> {
    fn place(&self, byte: usize) -> Place {
        let line = self.lines.partition_point(|start| *start <= byte);
        let start = line.checked_sub(1).and_then(|at| self.lines.get(at)).copied().unwrap_or(0);
        let column = match byte.saturating_sub(start) {
            bytes @ COUNTED.. => bytes,
            _ => self.text.get(start..byte).unwrap_or_default().chars().count(),
        };
        Place { source: Arc::clone(&self.source), line, column: column + 1, form: Form::File }
    }

    fn table(&self, table: &DeTable<'_>) -> Value {
        let mut entries: Vec<(usize, Entry)> = table
            .iter()
            .map(|(key, value)| {
                let start = key.span().start;
                let place = self.place(start);
                let node = self.node(value.get_ref(), value.span());
                let key = key.get_ref().to_string();
                (start, Entry { key, place, node, merged: false })
            })
            .collect();
        entries.sort_by_key(|(start, _)| *start);
        Value::Map(entries.into_iter().map(|(_, entry)| entry).collect())
    }

    fn node(&self, value: &DeValue<'_>, span: Range<usize>) -> Node {
        let place = self.place(span.start);
        let written = self.text.get(span).unwrap_or_default();
        let value = match value {
            DeValue::String(text) => Value::Scalar(text.to_string()),
            DeValue::Integer(number) => {
                let decimal = i128::from_str_radix(number.as_str(), number.radix());
                Value::Scalar(decimal.map_or_else(|_| written.to_owned(), |n| n.to_string()))
            }
            DeValue::Float(number) => Value::Scalar(number.as_str().to_owned()),
            DeValue::Boolean(yes) => Value::Scalar(yes.to_string()),
            DeValue::Datetime(time) => Value::Scalar(time.to_string()),
            DeValue::Array(items) => Value::List(
                items.iter().map(|item| self.node(item.get_ref(), item.span())).collect(),
            ),
            DeValue::Table(table) => self.table(table),
        };
        Node { place, value }
    }
}
