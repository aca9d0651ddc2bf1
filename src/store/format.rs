//! The records as Kubernetes objects, there and back. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;

use crate::cert;
use crate::cert::{Certificate, Id, Key};
use crate::challenge;
use crate::cluster::Seen;
use crate::order::{State, VERSION};
use crate::store::{AccountRecord, Change, Entry, Error, Label, Shard, Versioned, metadata};

pub const LABEL_KIND: &str = "routecert.dev/kind";
const LABEL_OWNER: &str = "routecert.dev/owner";
const ANNOTATION_RESOLVER: &str = "routecert.dev/resolver";
pub const KIND_CERTIFICATE: &str = "certificate";
pub const KIND_COPY: &str = "copy";
pub(super) const KIND_STATE: &str = "state";
pub(super) const KIND_ACCOUNT: &str = "account";
pub(super) const KIND_CHALLENGES: &str = "challenges";

pub const CERTIFICATE_PREFIX: &str = "rc-";
pub(super) const STATE_PREFIX: &str = "routecert-state-";
pub(super) const ACCOUNT_PREFIX: &str = "routecert-account-";

const STATE_KEY: &str = "state.json";
/// Etcd takes 1 MiB an object; a state that grows past this is a fault of ours.
const MAX_STATE: usize = 64 * 1024;

/// `kubernetes.io/tls` with key and chain, and nothing else that could change on its own.
pub fn certificate_secret(name: String, kind: &str, certificate: &Certificate) -> Secret {
    let data = [
        ("tls.crt".to_owned(), ByteString(certificate.chain().as_bytes().to_vec())),
        ("tls.key".to_owned(), ByteString(certificate.key().pem().as_bytes().to_vec())),
    ];
    Secret {
        metadata: metadata(name, &[(LABEL_KIND, kind)]),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

pub(super) fn secret_of(label: Label<'_>, certificate: &Certificate) -> Secret {
    let name = format!("{CERTIFICATE_PREFIX}{}", label.id);
    let mut secret = certificate_secret(name, KIND_CERTIFICATE, certificate);
    let labels = secret.labels_mut();
    labels.insert("routecert.dev/id".to_owned(), label.id.to_string());
    labels.insert(LABEL_OWNER.to_owned(), label.owner.to_owned());
    let names: Vec<&str> = label.names.iter().map(crate::name::Name::as_str).collect();
    let annotations = secret.annotations_mut();
    annotations.insert("routecert.dev/names".to_owned(), names.join(","));
    annotations.insert(ANNOTATION_RESOLVER.to_owned(), label.resolver.to_owned());
    secret
}

/// `None`: not one of our certificates, whatever its label says.
pub(super) fn entry(secret: &Secret) -> Option<Entry> {
    Some(Entry {
        id: Id::from_object_name(CERTIFICATE_PREFIX, &secret.name_any())?,
        content: content(secret),
        version: secret.resource_version().unwrap_or_default(),
        uid: secret.uid().unwrap_or_default(),
        owner: secret.labels().get(LABEL_OWNER).cloned().unwrap_or_default(),
        resolver: secret.annotations().get(ANNOTATION_RESOLVER).cloned().unwrap_or_default(),
    })
}

/// Chain and key of a TLS Secret, of any type.
pub fn content(secret: &Secret) -> Result<Certificate, cert::Error> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        String::from_utf8(bytes.map(|bytes| bytes.0.clone()).unwrap_or_default())
            .unwrap_or_default()
    };
    Certificate::parse(&text("tls.crt"), &text("tls.key"))
}

pub(super) fn change(seen: Seen<Secret>) -> Option<Change> {
    match seen {
        Seen::Put(secret) => entry(&secret).map(|entry| Change::Put(Box::new(entry))),
        Seen::Gone { name, .. } => {
            Id::from_object_name(CERTIFICATE_PREFIX, &name).map(Change::Gone)
        }
        Seen::Synced => Some(Change::Synced),
        Seen::Trouble(trouble) => Some(Change::Trouble(trouble)),
    }
}

pub(super) fn secret_of_state(id: &Id, state: &State) -> Secret {
    let json = serde_json::to_vec(state).unwrap_or_default();
    let labels = [(LABEL_KIND, KIND_STATE), ("routecert.dev/id", id.as_str())];
    Secret {
        metadata: metadata(format!("{STATE_PREFIX}{id}"), &labels),
        data: Some([(STATE_KEY.to_owned(), ByteString(json))].into()),
        ..Secret::default()
    }
}

/// Whose record it is, if a person asks for something in it.
pub(super) fn asks(secret: &Secret) -> Option<Id> {
    let json = secret.data.as_ref()?.get(STATE_KEY)?;
    let word = b"\"asked\"";
    let asks = json.0.windows(word.len()).any(|part| part == word);
    asks.then(|| Id::from_object_name(STATE_PREFIX, &secret.name_any()))?
}

/// `None`: not a state record at all.
pub(super) fn state(secret: &Secret) -> Option<Result<(Id, Versioned<State>), Error>> {
    let id = Id::from_object_name(STATE_PREFIX, &secret.name_any())?;
    let read = read_state(secret);
    let version = secret.resource_version().unwrap_or_default();
    Some(read.map(|value| (id, Versioned { value, version })))
}

fn read_state(secret: &Secret) -> Result<State, Error> {
    let corrupt = |cause: String| Error::Corrupt { object: shown(secret), cause };
    let json = secret
        .data
        .as_ref()
        .and_then(|data| data.get(STATE_KEY))
        .ok_or_else(|| corrupt(format!("it has no {STATE_KEY}")))?;
    if json.0.len() > MAX_STATE {
        return Err(corrupt(format!("larger than {MAX_STATE} bytes")));
    }
    let version: serde_json::Value =
        serde_json::from_slice(&json.0).map_err(|error| corrupt(error.to_string()))?;
    if version.get("v").and_then(serde_json::Value::as_u64) > Some(VERSION.into()) {
        return Err(Error::TooNew { object: shown(secret) });
    }
    serde_json::from_value(version).map_err(|error| corrupt(error.to_string()))
}

/// Which account: of one CA, and of one external account if it is bound to one. Its contact may
/// change.
pub fn account_hash(directory: &str, external: &str) -> String {
    let text = [directory, external].join("\n");
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let mut encoded = data_encoding::BASE32_NOPAD.encode(digest.as_ref()).to_ascii_lowercase();
    encoded.truncate(20);
    encoded
}

pub(super) fn secret_of_account(hash: &str, record: &AccountRecord) -> Secret {
    let mut data = BTreeMap::new();
    let key = record.key.pem().as_bytes().to_vec();
    data.insert("key.pem".to_owned(), ByteString(key));
    if let Some(url) = &record.url {
        data.insert("url".to_owned(), ByteString(url.clone().into_bytes()));
    }
    if !record.contacts.is_empty() {
        let contacts = serde_json::to_vec(&record.contacts).unwrap_or_default();
        data.insert("contacts.json".to_owned(), ByteString(contacts));
    }
    Secret {
        metadata: metadata(format!("{ACCOUNT_PREFIX}{hash}"), &[(LABEL_KIND, KIND_ACCOUNT)]),
        data: Some(data),
        ..Secret::default()
    }
}

pub(super) fn account(secret: &Secret) -> Result<Versioned<AccountRecord>, Error> {
    let corrupt = |cause: String| Error::Corrupt { object: shown(secret), cause };
    let field = |key: &str| secret.data.as_ref().and_then(|data| data.get(key));
    let pem = field("key.pem").ok_or_else(|| corrupt("it has no key.pem".to_owned()))?;
    let pem = str::from_utf8(&pem.0).map_err(|error| corrupt(error.to_string()))?;
    let key = Key::from_pem(pem).map_err(|error| corrupt(error.to_string()))?;
    let url = field("url").and_then(|url| String::from_utf8(url.0.clone()).ok());
    let version = secret.resource_version().unwrap_or_default();
    // Without it the contact is told to the CA once more, and nothing is lost.
    let contacts = field("contacts.json").and_then(|json| serde_json::from_slice(&json.0).ok());
    let contacts = contacts.unwrap_or_default();
    Ok(Versioned { value: AccountRecord { key, url, contacts }, version })
}

pub(super) fn config_map_of(shard: &Shard) -> ConfigMap {
    let name = challenge::shard_name(shard.index);
    let data = shard
        .answers
        .iter()
        .map(|(token, answer)| (token.clone(), serde_json::to_string(answer).unwrap_or_default()));
    ConfigMap {
        metadata: metadata(name, &[(LABEL_KIND, KIND_CHALLENGES)]),
        data: Some(data.collect()),
        ..ConfigMap::default()
    }
}

pub(super) fn shard(map: &ConfigMap) -> Option<Shard> {
    let index = shard_index(&map.name_any())?;
    let answers = map.data.as_ref().map(challenge::read_shard).unwrap_or_default();
    Some(Shard { index, answers })
}

pub(super) fn shard_change(seen: Seen<ConfigMap>) -> Option<Shard> {
    match seen {
        Seen::Put(map) => shard(&map),
        Seen::Gone { name, .. } => {
            Some(Shard { index: shard_index(&name)?, answers: BTreeMap::new() })
        }
        Seen::Synced | Seen::Trouble(_) => None,
    }
}

fn shard_index(name: &str) -> Option<u8> {
    (0..challenge::SHARDS).find(|index| challenge::shard_name(*index) == name)
}

fn shown(secret: &Secret) -> String {
    format!("Secret {}/{}", secret.namespace().unwrap_or_default(), secret.name_any())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{Name, Names};

    fn names() -> Names {
        Names::new([Name::parse("a.x").unwrap(), Name::parse("b.x").unwrap()]).unwrap()
    }

    #[test]
    fn a_certificate_survives_its_secret() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let certificate = Certificate::self_signed(&names(), now, 90).unwrap();
        let id = Id::of("shop", "le", &names());
        let label = Label { id: &id, owner: "shop", resolver: "le", names: &names() };
        let secret = secret_of(label, &certificate);
        assert_eq!(secret.annotations().get("routecert.dev/names").unwrap(), "a.x,b.x");
        let read = entry(&secret).unwrap();
        assert_eq!((read.id, read.content.unwrap()), (id, certificate));
    }

    #[test]
    fn a_state_survives_its_secret_and_a_newer_one_is_left_alone() {
        let id = Id::of("shop", "le", &names());
        let mut state_ = State::new("shop", "le", &names());
        let (read, versioned) = state(&secret_of_state(&id, &state_)).unwrap().unwrap();
        assert_eq!((read, &versioned.value), (id.clone(), &state_));
        state_.v = VERSION + 1;
        let refused = state(&secret_of_state(&id, &state_)).unwrap().unwrap_err();
        assert!(matches!(refused, Error::TooNew { .. }), "{refused}");
    }

    #[test]
    fn an_account_is_stored_before_it_has_a_url() {
        let key = Key::generate(cert::KeyType::Ec256).unwrap();
        let mut record = AccountRecord { key: key.clone(), url: None, contacts: BTreeMap::new() };
        let read = account(&secret_of_account("h", &record)).unwrap().value;
        assert_eq!((read.key, read.url, read.contacts), (key, None, BTreeMap::new()));
        record.url = Some("https://ca/1".to_owned());
        record.contacts.insert("le".to_owned(), "a@x".to_owned());
        let read = account(&secret_of_account("h", &record)).unwrap().value;
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
