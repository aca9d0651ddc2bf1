//! What one `acme.json` with its `.state` holds, and what a command makes of it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::cert::{Certificate, Facts, Id};
use crate::name::{Name, Names};
use crate::order::State;
use crate::store::files::document::{Document, Filed, Parts};
use crate::store::files::log;
use crate::store::files::log::Rows;
use crate::store::format;
use crate::store::record::{About, Kind, Record};

#[derive(Clone)]
pub(super) struct Contents {
    pub(super) document: Document,
    pub(super) rows: Rows,
    versions: BTreeMap<Key, u64>,
    /// The last version that was given.
    last: u64,
    /// Whose certificates are that nobody says the owner of.
    home: String,
    /// The file, for people.
    place: String,
}

pub(super) type Key = (Kind, String);

#[derive(Debug)]
pub(super) enum Command {
    Put { record: Record, version: Option<String> },
    Delete { kind: Kind, name: String, version: String },
}

/// Why a command changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Conflict,
    Missing,
}

impl Command {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Put { record, .. } => record.kind,
            Self::Delete { kind, .. } => *kind,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Put { record, .. } => &record.name,
            Self::Delete { name, .. } => name,
        }
    }

    pub(super) fn key(&self) -> Key {
        (self.kind(), self.name().to_owned())
    }
}

impl Contents {
    pub(super) fn new(document: Document, rows: Rows, home: &str, place: String) -> Self {
        let mut contents = Self {
            document,
            rows,
            versions: BTreeMap::new(),
            last: 0,
            home: home.to_owned(),
            place,
        };
        contents.identify();
        let certificates = contents.ids().into_iter().map(|id| (Kind::Certificate, id.to_string()));
        let rows = log::KINDS.iter().flat_map(|(kind, word)| {
            let of_kind = contents.rows.keys().filter(move |(one, _)| one == word);
            of_kind.map(|(_, name)| (*kind, name.clone()))
        });
        for key in certificates.chain(rows).collect::<Vec<_>>() {
            contents.touch(key);
        }
        contents
    }

    /// The same with another document, as somebody else wrote it. Returns what it changes.
    pub(super) fn reread(&mut self, document: Document) -> BTreeSet<Key> {
        let before = self.raws();
        self.document = document;
        self.identify();
        let now = self.raws();
        let both = before.keys().chain(now.keys());
        let changed = both.filter(|id| before.get(*id) != now.get(*id));
        let changed: BTreeSet<Key> =
            changed.map(|id| (Kind::Certificate, id.to_string())).collect();
        for key in &changed {
            self.touch(key.clone());
        }
        changed
    }

    fn raws(&self) -> BTreeMap<Id, String> {
        let named = self.document.certificates();
        let named =
            named.filter_map(|(_, filed)| Some((filed.id.clone()?, filed.raw().to_string())));
        named.collect()
    }

    fn ids(&self) -> BTreeSet<Id> {
        self.document.certificates().filter_map(|(_, filed)| filed.id.clone()).collect()
    }

    /// Finds out which certificate each is: the one that a state speaks of, else one of `home` that
    /// no route has wanted yet.
    fn identify(&mut self) {
        let states = self.states();
        let mut known: BTreeMap<Identity, Vec<&(Id, State)>> = BTreeMap::new();
        for state in &states {
            known.entry(identity(&state.1.resolver, &state.1.names)).or_default().push(state);
        }
        let noted: BTreeSet<&Id> = states.iter().map(|(id, _)| id).collect();
        let home = self.home.clone();
        let mut implied = Vec::new();
        for (resolver, filed) in self.document.certificates_mut() {
            let Some((names, facts)) = names(filed) else { continue };
            let candidates = known.entry(identity(resolver, &names)).or_default();
            let is_of = |(_, state): &&(Id, State)| {
                let last = state.issued.last().map(|issued| issued.fingerprint.as_str());
                facts.as_ref().is_some_and(|facts| last == Some(&facts.fingerprint))
            };
            let place = candidates.iter().position(is_of).unwrap_or(0);
            let id = if place < candidates.len() {
                candidates.remove(place).0.clone()
            } else {
                Id::of(&home, resolver, &names)
            };
            if facts.is_some() && !noted.contains(&id) {
                implied.push((id.clone(), State::taken_over(&home, resolver, &names)));
            }
            filed.id = Some(id);
        }
        for (id, state) in implied {
            let record = format::of_state(&id, &state);
            let key = (log::word(Kind::State).to_owned(), record.name.clone());
            self.rows.entry(key).or_insert_with(|| log::row(&record));
            self.touch((Kind::State, record.name));
        }
    }

    pub(super) fn states(&self) -> Vec<(Id, State)> {
        let read = self.rows_of(Kind::State).filter_map(|record| format::state(&record)?.ok());
        read.map(|(id, state)| (id, state.value)).collect()
    }

    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<Record> {
        if kind != Kind::Certificate {
            return self.row(kind, name).and_then(|record| self.placed(record));
        }
        let is_it = |filed: &Filed| filed.id.as_ref().is_some_and(|id| id.as_str() == name);
        let named = self.document.certificates().filter(|(_, filed)| is_it(filed));
        self.placed(self.certificate(name, named.collect())?)
    }

    pub(super) fn list(&self, kind: Kind) -> Vec<Record> {
        if kind != Kind::Certificate {
            return self.rows_of(kind).filter_map(|record| self.placed(record)).collect();
        }
        let mut by_id: BTreeMap<&Id, Vec<(&str, &Filed)>> = BTreeMap::new();
        for (resolver, filed) in self.document.certificates() {
            if let Some(id) = &filed.id {
                by_id.entry(id).or_default().push((resolver, filed));
            }
        }
        let records = by_id.into_iter();
        let records = records.filter_map(|(id, found)| self.certificate(id.as_str(), found));
        records.filter_map(|record| self.placed(record)).collect()
    }

    fn rows_of(&self, kind: Kind) -> impl Iterator<Item = Record> + '_ {
        let rows = self.rows.iter().filter(move |((word, _), _)| word == log::word(kind));
        rows.map(move |((_, name), row)| log::record(kind, name, row))
    }

    fn row(&self, kind: Kind, name: &str) -> Option<Record> {
        let row = self.rows.get(&(log::word(kind).to_owned(), name.to_owned()))?;
        Some(log::record(kind, name, row))
    }

    /// With its version, and where it is.
    fn placed(&self, mut record: Record) -> Option<Record> {
        let (kind, name) = (record.kind, &record.name);
        record.place = match kind {
            Kind::Certificate => format!("certificate rc-{name} in {}", self.place),
            _ => format!("{} {name} in {}.state", log::word(kind), self.place),
        };
        record.version = self.versions.get(&(kind, record.name.clone()))?.to_string();
        Some(record)
    }

    /// Of several for the same names the one that lasts longest.
    fn certificate(&self, name: &str, mut found: Vec<(&str, &Filed)>) -> Option<Record> {
        if found.len() > 1 {
            found.sort_by_key(|(_, filed)| facts(filed).map(|facts| facts.not_after));
        }
        let (resolver, filed) = found.pop()?;
        let parts = filed.parts().ok();
        let domain = parts.as_ref().map(|parts| parts.domain.join(",")).unwrap_or_default();
        let parts = parts.map(|parts| [(format::CHAIN, parts.chain), (format::KEY, parts.key)]);
        let data = parts.into_iter().flatten();
        let about = [
            (About::Owner, self.owner(name)),
            (About::Resolver, resolver.to_owned()),
            (About::Names, domain),
        ];
        Some(Record {
            about: about.into(),
            data: data.map(|(key, text)| (key.to_owned(), text.into_bytes())).collect(),
            ..Record::new(Kind::Certificate, name)
        })
    }

    fn owner(&self, name: &str) -> String {
        let state = self.row(Kind::State, name).and_then(|row| format::state(&row)?.ok());
        state.map_or_else(|| self.home.clone(), |(_, state)| state.value.owner)
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.versions.contains_key(key)
    }

    /// Returns the new version; of what was deleted, nothing.
    pub(super) fn apply(&mut self, command: &Command) -> Result<String, Refused> {
        let key = command.key();
        let there = self.versions.get(&key).map(ToString::to_string);
        match command {
            Command::Put { record, version } => {
                match (version, &there) {
                    (None, None) => {}
                    (Some(_), None) => return Err(Refused::Missing),
                    (version, there) if version == there => {}
                    _ => return Err(Refused::Conflict),
                }
                self.put(record);
                Ok(self.touch(key).to_string())
            }
            Command::Delete { version, .. } => {
                match there {
                    None => return Ok(String::new()),
                    Some(there) if there == *version => {}
                    Some(_) => return Err(Refused::Conflict),
                }
                self.delete(&key);
                Ok(String::new())
            }
        }
    }

    fn put(&mut self, record: &Record) {
        if record.kind == Kind::Certificate {
            let domain = record.about(About::Names);
            let parts = Parts {
                domain: domain.split(',').map(str::to_owned).collect(),
                chain: record.text(format::CHAIN),
                key: record.text(format::KEY),
            };
            if let Some(id) = Id::from_object_name("", &record.name) {
                self.document.set(&record.about(About::Resolver), &id, &parts);
            }
            return;
        }
        if record.kind == Kind::Foreign {
            let (resolver, account) = format::foreign(record);
            self.document.add_account(&resolver, &account);
            return;
        }
        let key = (log::word(record.kind).to_owned(), record.name.clone());
        self.rows.insert(key, log::row(record));
    }

    fn delete(&mut self, key: &Key) {
        let (kind, name) = key;
        if *kind == Kind::Certificate {
            if let Some(id) = Id::from_object_name("", name) {
                self.document.remove(&id);
            }
        } else {
            self.rows.remove(&(log::word(*kind).to_owned(), name.clone()));
        }
        self.versions.remove(key);
    }

    fn touch(&mut self, key: Key) -> u64 {
        self.last += 1;
        self.versions.insert(key, self.last);
        self.last
    }

    /// What `.state` is told of a record.
    pub(super) fn line(&self, key: &Key) -> String {
        let key = (log::word(key.0).to_owned(), key.1.clone());
        log::line(&key, self.rows.get(&key).map(|row| &**row))
    }
}

/// Resolver and sorted names.
type Identity = (String, Vec<Name>);

fn identity(resolver: &str, names: &Names) -> Identity {
    (resolver.to_owned(), names.sorted().into_iter().cloned().collect())
}

/// The names of a certificate; of one that cannot be read, those of its `domain`.
fn names(filed: &Filed) -> Option<(Names, Option<Facts>)> {
    match facts(filed) {
        Some(facts) => Some((facts.names.clone(), Some(facts))),
        None => Some((filed.parts().ok()?.names()?, None)),
    }
}

fn facts(filed: &Filed) -> Option<Facts> {
    let parts = filed.parts().ok()?;
    Some(Certificate::parse(&parts.chain, &parts.key).ok()?.facts().clone())
}
