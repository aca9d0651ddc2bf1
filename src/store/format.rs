//! What each kind of record says, as bytes and back. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::cert;
use crate::cert::{Certificate, Id, Key};
use crate::challenge;
use crate::cluster::Seen;
use crate::order::{State, VERSION};
use crate::store::record::{About, Kind, Record};
use crate::store::{AccountRecord, Change, Entry, Error, Label, Shard, Versioned};

pub(super) const CHAIN: &str = "tls.crt";
pub(super) const KEY: &str = "tls.key";
const STATE: &str = "state.json";
const ACCOUNT_KEY: &str = "key.pem";
const ACCOUNT_URL: &str = "url";
const ACCOUNT_CONTACTS: &str = "contacts.json";
const RESOLVER: &str = "resolver";
const FOREIGN: &str = "account.json";
/// The one record of its kind.
pub(super) const REMOVAL: &str = "removal";
const LET_GO: &str = "letGo";
/// Etcd takes 1 MiB an object; a state that grows past this is a fault of ours.
const MAX_STATE: usize = 64 * 1024;

pub(super) fn of_certificate(label: Label<'_>, certificate: &Certificate) -> Record {
    let names: Vec<&str> = label.names.iter().map(crate::name::Name::as_str).collect();
    let about = [
        (About::Owner, label.owner.to_owned()),
        (About::Resolver, label.resolver.to_owned()),
        (About::Names, names.join(",")),
    ];
    let data = [(CHAIN, certificate.chain()), (KEY, certificate.key().pem())];
    Record {
        about: about.into(),
        data: data.map(|(key, text)| (key.to_owned(), text.as_bytes().to_vec())).into(),
        ..Record::new(Kind::Certificate, label.id.as_str())
    }
}

/// `None`: not one of our certificates, whatever its label says.
pub(super) fn entry(record: &Record) -> Option<Entry> {
    Some(Entry {
        id: Id::from_object_name("", &record.name)?,
        content: content(record),
        version: record.version.clone(),
        uid: record.uid.clone(),
        owner: record.about(About::Owner),
        resolver: record.about(About::Resolver),
    })
}

fn content(record: &Record) -> Result<Certificate, cert::Error> {
    Certificate::parse(&record.text(CHAIN), &record.text(KEY))
}

pub(super) fn change(seen: Seen<Record>) -> Option<Change> {
    match seen {
        Seen::Put(record) => entry(&record).map(|entry| Change::Put(Box::new(entry))),
        Seen::Gone { name, .. } => Id::from_object_name("", &name).map(Change::Gone),
        Seen::Synced => Some(Change::Synced),
        Seen::Trouble(trouble) => Some(Change::Trouble(trouble)),
    }
}

pub(super) fn of_state(id: &Id, state: &State) -> Record {
    let json = serde_json::to_vec(state).unwrap_or_default();
    Record {
        about: [(About::Resolver, state.resolver.clone())].into(),
        data: [(STATE.to_owned(), json)].into(),
        ..Record::new(Kind::State, id.as_str())
    }
}

pub(super) fn of_removal(let_go: Timestamp) -> Record {
    let data = [(LET_GO.to_owned(), let_go.to_string().into_bytes())];
    Record { data: data.into(), ..Record::new(Kind::Removal, REMOVAL) }
}

/// Until when certificates became unused that may go.
pub(super) fn let_go(record: &Record) -> Option<Timestamp> {
    record.text(LET_GO).parse().ok()
}

/// Whose record it is, if a person asks for something in it.
pub(super) fn asks(record: &Record) -> Option<Id> {
    let word = b"\"asked\"";
    let asks = record.data.get(STATE)?.windows(word.len()).any(|part| part == word);
    asks.then(|| Id::from_object_name("", &record.name))?
}

/// `None`: not a state record at all.
pub(super) fn state(record: &Record) -> Option<Result<(Id, Versioned<State>), Error>> {
    let id = Id::from_object_name("", &record.name)?;
    let version = record.version.clone();
    Some(read_state(record).map(|value| (id, Versioned { value, version })))
}

fn read_state(record: &Record) -> Result<State, Error> {
    let corrupt = |cause: String| Error::Corrupt { object: record.place.clone(), cause };
    let json = record.data.get(STATE).ok_or_else(|| corrupt(format!("it has no {STATE}")))?;
    if json.len() > MAX_STATE {
        return Err(corrupt(format!("larger than {MAX_STATE} bytes")));
    }
    let version: serde_json::Value =
        serde_json::from_slice(json).map_err(|error| corrupt(error.to_string()))?;
    if version.get("v").and_then(serde_json::Value::as_u64) > Some(VERSION.into()) {
        return Err(Error::TooNew { object: record.place.clone() });
    }
    serde_json::from_value(version).map_err(|error| corrupt(error.to_string()))
}

/// Which account: of one CA, and of one external account if it is bound to one. Its contact may
/// change.
pub fn account_hash(directory: &str, external: &str) -> String {
    short_hash(&[directory, external].join("\n"))
}

fn short_hash(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut encoded = data_encoding::BASE32_NOPAD.encode(digest.as_ref()).to_ascii_lowercase();
    encoded.truncate(20);
    encoded
}

pub(super) fn of_account(hash: &str, record: &AccountRecord) -> Record {
    let text = |text: &str| text.as_bytes().to_vec();
    let key = (ACCOUNT_KEY, text(record.key.pem()));
    let url = record.url.as_ref().map(|url| (ACCOUNT_URL, text(url)));
    let told = Some(&record.contacts).filter(|contacts| !contacts.is_empty());
    let told = told.map(|all| (ACCOUNT_CONTACTS, serde_json::to_vec(all).unwrap_or_default()));
    let data = [key].into_iter().chain(url).chain(told);
    Record {
        data: data.map(|(key, bytes)| (key.to_owned(), bytes)).collect(),
        ..Record::new(Kind::Account, hash)
    }
}

pub(super) fn account(record: &Record) -> Result<Versioned<AccountRecord>, Error> {
    let corrupt = |cause: String| Error::Corrupt { object: record.place.clone(), cause };
    let field = |key: &str| record.data.get(key);
    let pem = field(ACCOUNT_KEY).ok_or_else(|| corrupt("it has no key.pem".to_owned()))?;
    let pem = str::from_utf8(pem).map_err(|error| corrupt(error.to_string()))?;
    let key = Key::from_pem(pem).map_err(|error| corrupt(error.to_string()))?;
    let url = field(ACCOUNT_URL).and_then(|url| String::from_utf8(url.clone()).ok());
    let version = record.version.clone();
    // Without it the contact is told to the CA once more, and nothing is lost.
    let contacts = field(ACCOUNT_CONTACTS).and_then(|json| serde_json::from_slice(json).ok());
    let contacts = contacts.unwrap_or_default();
    Ok(Versioned { value: AccountRecord { key, url, contacts }, version })
}

/// `account`: as `acme.json` has it.
pub(super) fn of_foreign(resolver: &str, account: &str) -> Record {
    let data = [(RESOLVER, resolver), (FOREIGN, account)];
    Record {
        about: [(About::Resolver, resolver.to_owned())].into(),
        data: data.map(|(key, text)| (key.to_owned(), text.as_bytes().to_vec())).into(),
        ..Record::new(Kind::Foreign, short_hash(resolver))
    }
}

/// Resolver and account.
pub(super) fn foreign(record: &Record) -> (String, String) {
    (record.text(RESOLVER), record.text(FOREIGN))
}

pub(super) fn of_shard(shard: &Shard) -> Record {
    let json = |answer| serde_json::to_vec(answer).unwrap_or_default();
    let data = shard.answers.iter().map(|(token, answer)| (token.clone(), json(answer)));
    Record { data: data.collect(), ..Record::new(Kind::Challenges, shard.index.to_string()) }
}

pub(super) fn shard(record: &Record) -> Option<Shard> {
    let index = shard_index(&record.name)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    let data = record.data.iter().filter_map(|(token, json)| Some((token.clone(), text(json)?)));
    Some(Shard { index, answers: challenge::read_shard(&data.collect()) })
}

pub(super) fn shard_change(seen: Seen<Record>) -> Option<Shard> {
    match seen {
        Seen::Put(record) => shard(&record),
        Seen::Gone { name, .. } => {
            Some(Shard { index: shard_index(&name)?, answers: BTreeMap::new() })
        }
        Seen::Synced | Seen::Trouble(_) => None,
    }
}

fn shard_index(name: &str) -> Option<u8> {
    (0..challenge::SHARDS).find(|index| index.to_string() == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Name, Names};

    fn names() -> Names {
        Names::new([Name::parse("a.x").unwrap(), Name::parse("b.x").unwrap()]).unwrap()
    }

    #[test]
    fn a_certificate_survives_its_record() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let certificate = Certificate::self_signed(&names(), now, 90).unwrap();
        let id = Id::of("shop", "le", &names());
        let label = Label { id: &id, owner: "shop", resolver: "le", names: &names() };
        let record = of_certificate(label, &certificate);
        assert_eq!(record.about(About::Names), "a.x,b.x");
        let read = entry(&record).unwrap();
        assert_eq!((read.id, read.content.unwrap()), (id, certificate));
    }

    #[test]
    fn a_state_survives_its_record_and_a_newer_one_is_left_alone() {
        let id = Id::of("shop", "le", &names());
        let mut state_ = State::new("shop", "le", &names());
        let (read, versioned) = state(&of_state(&id, &state_)).unwrap().unwrap();
        assert_eq!((read, &versioned.value), (id.clone(), &state_));
        state_.v = VERSION + 1;
        let refused = state(&of_state(&id, &state_)).unwrap().unwrap_err();
        assert!(matches!(refused, Error::TooNew { .. }), "{refused}");
    }

    #[test]
    fn an_account_is_stored_before_it_has_a_url() {
        let key = Key::generate(cert::KeyType::Ec256).unwrap();
        let mut record = AccountRecord { key: key.clone(), url: None, contacts: BTreeMap::new() };
        let read = account(&of_account("h", &record)).unwrap().value;
        assert_eq!((read.key, read.url, read.contacts), (key, None, BTreeMap::new()));
        record.url = Some("https://ca/1".to_owned());
        record.contacts.insert("le".to_owned(), "a@x".to_owned());
        let read = account(&of_account("h", &record)).unwrap().value;
        assert_eq!((read.url, read.contacts), (record.url, record.contacts));
    }

    #[test]
    fn accounts_differ_by_directory_and_external_account() {
        let one = account_hash("https://ca/dir", "");
        assert_ne!(one, account_hash("https://ca/other", ""));
        assert_ne!(one, account_hash("https://ca/dir", "kid"));
        assert_eq!(one.len(), 20);
    }
}
