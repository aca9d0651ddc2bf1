//! `.state` beside an `acme.json`: what that file has no field for. One line a record, the later
//! counts; each line begins with a digest, so that one that was cut off or spoilt is known. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::store::record::{About, Kind, Record};

const HEAD: &str = "routecert state ";
const VERSION: u32 = 1;
const DIGITS: usize = 8;

/// By kind, as the file names it, and name.
pub(super) type Rows = BTreeMap<(String, String), Arc<Row>>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    resolver: String,
    data: BTreeMap<String, String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) rows: Rows,
    /// Lines that cannot be read.
    pub(super) spoilt: usize,
}

#[derive(Serialize, Deserialize)]
struct Line {
    kind: String,
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    resolver: String,
    /// `None`: the record is gone.
    data: Option<BTreeMap<String, String>>,
}

/// The kinds that are kept in the file.
pub(super) const KINDS: [(Kind, &str); 3] =
    [(Kind::State, "state"), (Kind::Account, "account"), (Kind::Removal, "removal")];

pub(super) fn word(kind: Kind) -> &'static str {
    KINDS.iter().find(|(one, _)| *one == kind).map_or("", |(_, word)| word)
}

/// `None`: it is of a newer version of this program.
pub(super) fn parse(text: &[u8]) -> Option<Parsed> {
    let mut parsed = Parsed { rows: Rows::new(), spoilt: 0 };
    for (number, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let version = str::from_utf8(line).ok().and_then(|line| line.strip_prefix(HEAD));
        if number == 0
            && let Some(version) = version
        {
            if version.trim().parse::<u32>().is_ok_and(|version| version > VERSION) {
                return None;
            }
            continue;
        }
        match read(line) {
            Some(Line { kind, name, resolver, data: Some(data) }) => {
                parsed.rows.insert((kind, name), Arc::new(Row { resolver, data }));
            }
            Some(Line { kind, name, .. }) => drop(parsed.rows.remove(&(kind, name))),
            None => parsed.spoilt += 1,
        }
    }
    Some(parsed)
}

fn read(line: &[u8]) -> Option<Line> {
    let line = str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (expected, json) = line.split_at_checked(DIGITS)?;
    let json = json.strip_prefix(' ')?;
    (check(json) == expected).then(|| serde_json::from_str(json).ok())?
}

fn check(json: &str) -> String {
    let mut digits = data_encoding::HEXLOWER.encode(digest(&SHA256, json.as_bytes()).as_ref());
    digits.truncate(DIGITS);
    digits
}

/// The line that says what is to hold from now on.
pub(super) fn line((kind, name): &(String, String), row: Option<&Row>) -> String {
    let line = Line {
        kind: kind.clone(),
        name: name.clone(),
        resolver: row.map(|row| row.resolver.clone()).unwrap_or_default(),
        data: row.map(|row| row.data.clone()),
    };
    let json = serde_json::to_string(&line).unwrap_or_default();
    format!("{} {json}\n", check(&json))
}

pub(super) fn head() -> String {
    format!("{HEAD}{VERSION}\n")
}

/// The whole file, without what is gone or outdated.
pub(super) fn compact(rows: &Rows) -> String {
    let lines = rows.iter().map(|(key, row)| line(key, Some(row)));
    [head()].into_iter().chain(lines).collect()
}

pub(super) fn row(record: &Record) -> Arc<Row> {
    let data = record.data.keys().map(|key| (key.clone(), record.text(key)));
    Arc::new(Row { resolver: record.about(About::Resolver), data: data.collect() })
}

pub(super) fn record(kind: Kind, name: &str, row: &Row) -> Record {
    let data = row.data.iter().map(|(key, text)| (key.clone(), text.as_bytes().to_vec()));
    Record {
        about: [(About::Resolver, row.resolver.clone())].into(),
        data: data.collect(),
        ..Record::new(kind, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> (String, String) {
        ("state".to_owned(), name.to_owned())
    }

    fn row_of(text: &str) -> Row {
        Row { resolver: "le".to_owned(), data: [("state.json".to_owned(), text.to_owned())].into() }
    }

    fn whole() -> String {
        [
            head(),
            line(&key("a"), Some(&row_of("1"))),
            line(&key("b"), Some(&row_of("2"))),
            line(&key("a"), Some(&row_of("3"))),
            line(&key("b"), None),
        ]
        .concat()
    }

    #[test]
    fn the_later_line_counts_and_compacting_changes_nothing() {
        let Parsed { rows, spoilt } = parse(whole().as_bytes()).unwrap();
        assert_eq!((rows.len(), spoilt), (1, 0));
        assert_eq!(rows.get(&key("a")).map(|row| &**row), Some(&row_of("3")));
        let again = parse(compact(&rows).as_bytes()).unwrap();
        assert_eq!(again, Parsed { rows, spoilt: 0 });
    }

    #[test]
    fn cut_off_at_any_byte_every_whole_line_before_it_counts() {
        let whole = whole();
        for end in 0..whole.len() {
            let parsed = parse(&whole.as_bytes()[..end]).unwrap();
            assert!(parsed.spoilt <= 1, "{end}");
            let lines = whole.get(..end).unwrap().matches('\n').count();
            let expected = match lines {
                0 | 1 => None,
                2 | 3 => Some(row_of("1")),
                _ => Some(row_of("3")),
            };
            assert_eq!(parsed.rows.get(&key("a")).map(|row| &**row), expected.as_ref(), "{end}");
        }
    }

    #[test]
    fn a_spoilt_line_costs_only_itself() {
        let text = whole().replacen("state.json", "state.jsom", 1);
        let parsed = parse(text.as_bytes()).unwrap();
        assert_eq!((parsed.rows.len(), parsed.spoilt), (1, 1));
    }

    #[test]
    fn a_file_of_a_newer_version_is_none_of_ours() {
        assert_eq!(parse(b"routecert state 2\n"), None);
        assert_eq!(parse(b"").unwrap().spoilt, 0);
    }
}
