//! Records as Secrets and ConfigMaps, there and back. Pure.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::ObjectMeta;

use crate::cert;
use crate::cert::Certificate;
use crate::store::format::{CHAIN, KEY};
use crate::store::record::{About, Kind, Record};

pub const LABEL_KIND: &str = "routecert.dev/kind";
const LABEL_ID: &str = "routecert.dev/id";
const LABEL_OWNER: &str = "routecert.dev/owner";
const ANNOTATION_NAMES: &str = "routecert.dev/names";
const ANNOTATION_RESOLVER: &str = "routecert.dev/resolver";
const KIND_COPY: &str = "copy";
pub const CERTIFICATE_PREFIX: &str = "rc-";

impl Kind {
    /// The value of the label that every object of the kind has.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::State => "state",
            Self::Account => "account",
            Self::Foreign => "foreign-account",
            Self::Challenges => "challenges",
            Self::Removal => "removal",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Certificate => CERTIFICATE_PREFIX,
            Self::State => "routecert-state-",
            Self::Account => "routecert-account-",
            Self::Foreign => "routecert-foreign-account-",
            Self::Challenges => "routecert-challenges-",
            Self::Removal => "routecert-",
        }
    }

    pub(super) fn object_name(self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    pub(super) fn record_name(self, object_name: &str) -> Option<&str> {
        object_name.strip_prefix(self.prefix())
    }
}

/// `kubernetes.io/tls` with key and chain, and nothing else that could change on its own.
pub fn copy_of(name: String, certificate: &Certificate) -> Secret {
    let data = [(CHAIN, certificate.chain()), (KEY, certificate.key().pem())];
    let data = data.map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec())));
    Secret {
        metadata: metadata(name, [(LABEL_KIND, KIND_COPY.to_owned())]),
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    }
}

/// Chain and key of a TLS Secret, of any type.
pub fn content(secret: &Secret) -> Result<Certificate, cert::Error> {
    let text = |key: &str| {
        let bytes = secret.data.as_ref().and_then(|data| data.get(key));
        String::from_utf8(bytes.map(|bytes| bytes.0.clone()).unwrap_or_default())
            .unwrap_or_default()
    };
    Certificate::parse(&text(CHAIN), &text(KEY))
}

pub(super) fn secret(record: Record) -> Secret {
    let kind = record.kind;
    let mut metadata = metadata(kind.object_name(&record.name), labels(&record));
    if kind == Kind::Certificate {
        let annotations =
            [(ANNOTATION_NAMES, About::Names), (ANNOTATION_RESOLVER, About::Resolver)];
        let annotations = annotations.map(|(key, what)| (key.to_owned(), record.about(what)));
        metadata.annotations = Some(annotations.into());
    }
    let data = record.data.into_iter().map(|(key, bytes)| (key, ByteString(bytes)));
    Secret {
        metadata,
        type_: (kind == Kind::Certificate).then(|| "kubernetes.io/tls".to_owned()),
        data: Some(data.collect()),
        ..Secret::default()
    }
}

fn labels(record: &Record) -> impl Iterator<Item = (&'static str, String)> + use<> {
    let is_certificate = record.kind == Kind::Certificate;
    let has_id = is_certificate || record.kind == Kind::State;
    let kind = Some((LABEL_KIND, record.kind.label().to_owned()));
    let id = has_id.then(|| (LABEL_ID, record.name.clone()));
    let owner = is_certificate.then(|| (LABEL_OWNER, record.about(About::Owner)));
    kind.into_iter().chain(id).chain(owner)
}

/// `None`: not of the kind, whatever its label says.
pub(super) fn of_secret(kind: Kind, secret: &Secret) -> Option<Record> {
    let name = kind.record_name(&secret.name_any())?.to_owned();
    let data = secret.data.clone().unwrap_or_default().into_iter();
    let annotation = |key: &str| secret.annotations().get(key).cloned().unwrap_or_default();
    let owner = secret.labels().get(LABEL_OWNER).cloned().unwrap_or_default();
    let about = [
        (About::Owner, owner),
        (About::Resolver, annotation(ANNOTATION_RESOLVER)),
        (About::Names, annotation(ANNOTATION_NAMES)),
    ];
    Some(Record {
        kind,
        name,
        about: about.into(),
        data: data.map(|(key, bytes)| (key, bytes.0)).collect(),
        version: secret.resource_version().unwrap_or_default(),
        uid: secret.uid().unwrap_or_default(),
        place: format!("Secret {}/{}", secret.namespace().unwrap_or_default(), secret.name_any()),
    })
}

pub(super) fn config_map(record: Record) -> ConfigMap {
    let name = record.kind.object_name(&record.name);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_default();
    ConfigMap {
        metadata: metadata(name, labels(&record)),
        data: Some(record.data.into_iter().map(|(key, bytes)| (key, text(bytes))).collect()),
        ..ConfigMap::default()
    }
}

pub(super) fn of_config_map(kind: Kind, map: &ConfigMap) -> Option<Record> {
    let name = kind.record_name(&map.name_any())?.to_owned();
    let data = map.data.clone().unwrap_or_default().into_iter();
    Some(Record {
        kind,
        name,
        about: BTreeMap::new(),
        data: data.map(|(key, text)| (key, text.into_bytes())).collect(),
        version: map.resource_version().unwrap_or_default(),
        uid: map.uid().unwrap_or_default(),
        place: format!("ConfigMap {}/{}", map.namespace().unwrap_or_default(), map.name_any()),
    })
}

fn metadata(name: String, labels: impl IntoIterator<Item = (&'static str, String)>) -> ObjectMeta {
    let labels = labels.into_iter().map(|(key, value)| (key.to_owned(), value));
    ObjectMeta { name: Some(name), labels: Some(labels.collect()), ..ObjectMeta::default() }
}
