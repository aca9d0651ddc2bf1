//! `acme.json` as Traefik writes it (2.0 and later): a map of resolvers, each with an account and
//! its certificates. Pure.
//!
//! Everything that is not changed is written back as it was read: unknown fields, the order and
//! case of keys, the account. Names of keys count in any case, as in Go's `encoding/json`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use data_encoding::BASE64;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::cert::Id;
use crate::name::{Name, Names};

/// What is wrong with a file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("{0}")]
    Broken(String),
    /// The format of Traefik 1, which knows no resolvers.
    #[error("it is in the format of Traefik 1, whose certificates belong to no resolver")]
    Flat,
}

/// An object as it was written.
#[derive(Clone, Default)]
pub(super) struct Fields(Vec<(String, Arc<str>)>);

/// Resolvers sorted, as Go writes them.
#[derive(Clone, Default)]
pub(super) struct Document {
    resolvers: BTreeMap<String, Stored>,
}

#[derive(Clone, Default)]
struct Stored {
    /// All but the certificates.
    others: Fields,
    certificates: Vec<Filed>,
}

/// One certificate of the file.
#[derive(Clone)]
pub(super) struct Filed {
    raw: Arc<str>,
    /// `None`: neither its certificate nor its `domain` names a host. It stays as it is.
    pub(super) id: Option<Id>,
}

/// What a certificate of the file holds.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parts {
    /// `domain`: main and sans.
    pub(super) domain: Vec<String>,
    /// PEM, leaf first.
    pub(super) chain: String,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub(super) key: String,
}

impl Document {
    /// Of nothing: an empty one.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let top = Fields::parse(text).map_err(Fault::Broken)?;
        if is_flat(&top) {
            return Err(Fault::Flat);
        }
        let mut document = Self::default();
        for (resolver, raw) in &top.0 {
            let stored = Stored::parse(raw)
                .map_err(|cause| Fault::Broken(format!("resolver `{resolver}`: {cause}")))?;
            document.resolvers.insert(resolver.clone(), stored);
        }
        Ok(document)
    }

    /// The certificates of a file of Traefik 1, which belong to no resolver, and the account.
    pub(super) fn parse_flat(text: &str, resolver: &str) -> Result<Self, Fault> {
        let top = Fields::parse(text).map_err(Fault::Broken)?;
        let (list, inside) = match (top.get("Certificates"), top.get("DomainsCertificate")) {
            (Some(list), _) => (list, None),
            (None, Some(raw)) => {
                (Fields::parse(&raw).map_err(Fault::Broken)?.text("Certs"), Some("Certificate"))
            }
            (None, None) => (Arc::from("null"), None),
        };
        let items = items(&list).map_err(Fault::Broken)?;
        let old =
            |raw: &Arc<str>| inside.and_then(|_| oldest(raw)).unwrap_or_else(|| Arc::clone(raw));
        let account = top.get("Account").unwrap_or_else(|| {
            let keys = ["Email", "Registration", "PrivateKey"];
            let given = keys.map(|key| (key.to_owned(), top.text(key)));
            Fields(given.into()).render(4).into()
        });
        let stored = Stored {
            others: Fields(vec![("Account".to_owned(), account)]),
            certificates: items.iter().map(|raw| Filed::new(old(raw))).collect(),
        };
        Ok(Self { resolvers: [(resolver.to_owned(), stored)].into() })
    }

    pub(super) fn resolvers(&self) -> impl Iterator<Item = &str> {
        self.resolvers.keys().map(String::as_str)
    }

    pub(super) fn certificates(&self) -> impl Iterator<Item = (&str, &Filed)> {
        self.resolvers.iter().flat_map(|(resolver, stored)| {
            stored.certificates.iter().map(move |filed| (resolver.as_str(), filed))
        })
    }

    pub(super) fn certificates_mut(&mut self) -> impl Iterator<Item = (&str, &mut Filed)> {
        self.resolvers.iter_mut().flat_map(|(resolver, stored)| {
            stored.certificates.iter_mut().map(move |filed| (resolver.as_str(), filed))
        })
    }

    /// The account of a resolver as JSON, unless it is null.
    pub(super) fn account(&self, resolver: &str) -> Option<Arc<str>> {
        let account = self.resolvers.get(resolver)?.others.get("Account")?;
        (&*account != "null").then_some(account)
    }

    /// Files an account for a resolver that has none.
    pub(super) fn add_account(&mut self, resolver: &str, account: &str) {
        if self.account(resolver).is_none() {
            let stored = self.resolvers.entry(resolver.to_owned()).or_default();
            stored.others.set("Account", account.into());
        }
    }

    /// Files a certificate in the place of those of this id, whose `domain` and unknown fields
    /// stay.
    pub(super) fn set(&mut self, resolver: &str, id: &Id, parts: &Parts) {
        let stored = self.resolvers.entry(resolver.to_owned()).or_default();
        let mut new = Some(Filed { raw: Arc::from(""), id: Some(id.clone()) });
        let earlier = std::mem::take(&mut stored.certificates);
        for filed in earlier {
            if filed.id.as_ref() != Some(id) {
                stored.certificates.push(filed);
            } else if let Some(new) = new.take() {
                let raw = parts.written_over(&filed.raw);
                stored.certificates.push(Filed { raw, ..new });
            }
        }
        stored.certificates.extend(new.map(|new| Filed { raw: parts.written(), ..new }));
    }

    pub(super) fn remove(&mut self, id: &Id) {
        for stored in self.resolvers.values_mut() {
            stored.certificates.retain(|filed| filed.id.as_ref() != Some(id));
        }
    }

    pub(super) fn render(&self) -> String {
        let resolver = |(name, stored): (&String, &Stored)| (name.clone(), stored.render().into());
        Fields(self.resolvers.iter().map(resolver).collect()).render(0)
    }
}

impl Stored {
    fn parse(raw: &str) -> Result<Self, String> {
        if raw == "null" {
            return Ok(Self::default());
        }
        let mut others = Fields::parse(raw)?;
        let certificates = items(&others.take("Certificates"))?;
        Ok(Self { others, certificates: certificates.into_iter().map(Filed::new).collect() })
    }

    fn render(&self) -> String {
        let mut fields = self.others.clone();
        if fields.get("Account").is_none() {
            fields.0.insert(0, ("Account".to_owned(), "null".into()));
        }
        let list = if self.certificates.is_empty() {
            "null".to_owned()
        } else {
            let items = self.certificates.iter().map(|filed| format!("      {}", filed.raw));
            format!("[\n{}\n    ]", items.collect::<Vec<_>>().join(",\n"))
        };
        fields.0.push(("Certificates".to_owned(), list.into()));
        fields.render(2)
    }
}

impl Filed {
    fn new(raw: Arc<str>) -> Self {
        Self { raw, id: None }
    }

    pub(super) fn raw(&self) -> &Arc<str> {
        &self.raw
    }

    pub(super) fn parts(&self) -> Result<Parts, String> {
        let fields = Fields::parse(&self.raw)?;
        let mut domain = Vec::new();
        if let Some(raw) = fields.get("domain").filter(|raw| &**raw != "null") {
            let raw = Fields::parse(&raw)?;
            let main: Option<String> = read(&raw.text("main"))?;
            let sans: Option<Vec<String>> = read(&raw.text("sans"))?;
            domain.extend(main.into_iter().chain(sans.into_iter().flatten()));
        }
        let chain = decoded(&fields, "certificate")?;
        Ok(Parts { domain, chain, key: decoded(&fields, "key")? })
    }
}

impl Parts {
    /// `None`: `domain` names no host.
    pub(super) fn names(&self) -> Option<Names> {
        Names::new(self.domain.iter().filter_map(|text| Name::parse(text).ok()))
    }

    /// As Traefik writes a new one.
    fn written(&self) -> Arc<str> {
        let mut domain = vec![("main".to_owned(), text(self.domain.first().map_or("", |it| it)))];
        let sans = self.domain.get(1..).unwrap_or_default();
        if !sans.is_empty() {
            let sans: Vec<String> =
                sans.iter().map(|san| format!("            {}", text(san))).collect();
            domain
                .push(("sans".to_owned(), format!("[\n{}\n          ]", sans.join(",\n")).into()));
        }
        let mut fields = Fields(vec![("domain".to_owned(), Fields(domain).render(8).into())]);
        self.fill(&mut fields);
        fields.set("Store", text("default"));
        fields.render(6).into()
    }

    fn written_over(&self, earlier: &str) -> Arc<str> {
        let Ok(mut fields) = Fields::parse(earlier) else { return self.written() };
        self.fill(&mut fields);
        // Without a store Traefik would serve it nowhere.
        if read(&fields.text("Store"))
            .is_ok_and(|store: Option<String>| store.is_none_or(|it| it.is_empty()))
        {
            fields.set("Store", text("default"));
        }
        fields.render(6).into()
    }

    fn fill(&self, fields: &mut Fields) {
        fields.set("certificate", text(&BASE64.encode(self.chain.as_bytes())));
        fields.set("key", text(&BASE64.encode(self.key.as_bytes())));
    }
}

impl Fields {
    fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Of doubles the last counts, as in Go.
    fn get(&self, name: &str) -> Option<Arc<str>> {
        let mut found = self.0.iter().rev().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, raw)| Arc::clone(raw))
    }

    /// `null` if it is not there.
    fn text(&self, name: &str) -> Arc<str> {
        self.get(name).unwrap_or_else(|| "null".into())
    }

    fn take(&mut self, name: &str) -> Arc<str> {
        let found = self.text(name);
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        found
    }

    fn set(&mut self, name: &str, raw: Arc<str>) {
        match self.0.iter_mut().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, there)) => *there = raw,
            None => self.0.push((name.to_owned(), raw)),
        }
    }

    /// As Go's `MarshalIndent` with two spaces, at this depth of spaces.
    fn render(&self, depth: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let inner = " ".repeat(depth + 2);
        let one = |(key, raw): &(String, Arc<str>)| format!("{inner}{}: {raw}", text(key));
        let all: Vec<String> = self.0.iter().map(one).collect();
        format!("{{\n{}\n{}}}", all.join(",\n"), " ".repeat(depth))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Vec::new();
                while let Some((key, raw)) = map.next_entry::<String, Box<RawValue>>()? {
                    fields.push((key, Arc::from(raw.get())));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A resolver may be called `Account`: then it has an account inside.
fn is_flat(top: &Fields) -> bool {
    let is_resolver = |raw: &str| {
        Fields::parse(raw).is_ok_and(|it| {
            it.0.is_empty() || it.get("Account").is_some() || it.get("Certificates").is_some()
        })
    };
    let of_old = |key: &str| {
        ["Account", "Certificates", "DomainsCertificate", "PrivateKey", "Registration"]
            .iter()
            .any(|old| key.eq_ignore_ascii_case(old))
    };
    let mut old = top.0.iter().filter(|(key, _)| of_old(key));
    old.any(|(_, raw)| &**raw != "null" && !is_resolver(raw))
}

/// A certificate of Traefik before 1.5, in the form of later ones.
fn oldest(raw: &str) -> Option<Arc<str>> {
    let fields = Fields::parse(raw).ok()?;
    let inner = Fields::parse(&fields.get("Certificate")?).ok()?;
    let given = [
        ("domain", fields.text("Domains")),
        ("certificate", inner.text("Certificate")),
        ("key", inner.text("PrivateKey")),
        ("Store", text("default")),
    ];
    Some(Fields(given.map(|(key, raw)| (key.to_owned(), raw)).into()).render(6).into())
}

fn items(raw: &str) -> Result<Vec<Arc<str>>, String> {
    let items: Option<Vec<Box<RawValue>>> =
        read(raw).map_err(|error| format!("Certificates: {error}"))?;
    Ok(items.unwrap_or_default().iter().map(|item| Arc::from(item.get())).collect())
}

fn read<'a, T: Deserialize<'a>>(raw: &'a str) -> Result<T, String> {
    serde_json::from_str(raw).map_err(|error| error.to_string())
}

/// PEM in base64, as Go writes bytes; it reads them over line breaks.
fn decoded(fields: &Fields, name: &str) -> Result<String, String> {
    let encoded: Option<String> = read(&fields.text(name)).map_err(|it| format!("{name}: {it}"))?;
    let mut encoded = encoded.unwrap_or_default();
    encoded.retain(|letter| !matches!(letter, '\r' | '\n'));
    let bytes = BASE64.decode(encoded.as_bytes()).map_err(|error| format!("{name}: {error}"))?;
    String::from_utf8(bytes).map_err(|_binary| format!("{name}: it is no PEM"))
}

/// A string as Go's `encoding/json` writes it.
fn text(value: &str) -> Arc<str> {
    let json = serde_json::to_string(value).unwrap_or_default();
    let unsafe_in_html = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    let escaped =
        unsafe_in_html.iter().fold(json, |json, (letter, escape)| json.replace(*letter, escape));
    escaped.into()
}

#[cfg(test)]
mod tests;
