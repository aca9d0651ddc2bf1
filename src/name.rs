//! A DNS name or a wildcard, and a non-empty ordered set of them, neither of which can be wrong.

mod pattern;

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use crate::name::pattern::DomainPattern;

/// A host name as certificates carry it: lower case, A-labels (RFC 5890), no trailing dot.
/// A wildcard stands for exactly one left-most label (RFC 9525 §6.3).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// Why a text is no name that a certificate could carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("the name is empty")]
    Empty,
    #[error("`{0}` has an empty label (two dots in a row, or a leading dot)")]
    EmptyLabel(String),
    #[error("`{0}` is longer than 253 bytes")]
    TooLong(String),
    #[error("`{0}` has a label longer than 63 bytes")]
    LabelTooLong(String),
    #[error("`{0}`: only `*.` at the very start makes a wildcard, and only one")]
    Wildcard(String),
    #[error("`{0}` is an IP address: certificates for these are not supported; name a host")]
    IpAddress(String),
    #[error("`{0}` has a port or a path; give the host name alone")]
    NotAHost(String),
    #[error("`{name}` has the character `{character}`, which no host name may have")]
    Character { name: String, character: char },
    #[error("`{0}` has a label that begins or ends with `-`")]
    Hyphen(String),
    #[error("`{0}` is no valid international name")]
    International(String),
}

impl Name {
    /// Reads a name as people write it: any case, spaces around, one trailing dot, U-labels.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let trimmed = text.trim();
        let trimmed = trimmed.strip_suffix('.').unwrap_or(trimmed);
        let shown = || shorten(trimmed);
        if trimmed.is_empty() {
            return Err(NameError::Empty);
        }
        if trimmed.len() > 1024 {
            return Err(NameError::TooLong(shown()));
        }
        let (wildcard, host) = match trimmed.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, trimmed),
        };
        if host.contains('*') {
            return Err(NameError::Wildcard(shown()));
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if bare.parse::<std::net::IpAddr>().is_ok() {
            return Err(NameError::IpAddress(shown()));
        }
        if host.contains([':', '/']) {
            return Err(NameError::NotAHost(shown()));
        }
        let host = to_ascii(host).ok_or_else(|| NameError::International(shown()))?;
        check_labels(&host, &shown())?;
        let whole = if wildcard { format!("*.{host}") } else { host };
        if whole.len() > 253 {
            return Err(NameError::TooLong(shown()));
        }
        Ok(Self(whole.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }

    #[must_use]
    /// The name without its `*.`: what an authorization for it is about.
    pub fn without_wildcard(&self) -> Self {
        match self.0.strip_prefix("*.") {
            Some(rest) => Self(rest.into()),
            None => self.clone(),
        }
    }

    /// Whether a certificate for `self` is good for `host`, itself maybe a wildcard.
    pub fn covers(&self, host: &Self) -> bool {
        self == host || host.wildcard_above().as_deref() == Some(&self.0)
    }

    /// The wildcard that covers the name, unless it is one itself or has no dot.
    pub fn wildcard_above(&self) -> Option<String> {
        if self.is_wildcard() { None } else { wildcard_of(&self.0) }
    }
}

/// What limits per registered domain count `host` under: its public suffix, private ones
/// included, and one label more; a suffix stands for itself.
pub fn registered_domain(host: &str) -> &str {
    let host = host.strip_prefix("*.").unwrap_or(host);
    psl::domain_str(host).unwrap_or(host)
}

/// Whether `host` is a suffix below which registries register names (the list's ICANN part): never
/// a zone that somebody's records belong into.
pub fn is_registry_suffix(host: &str) -> bool {
    let suffix = psl::suffix(host.as_bytes());
    suffix.is_some_and(|suffix| suffix.typ() == Some(psl::Type::Icann) && suffix == host)
}

/// The wildcard that would cover `host`: its first label replaced by `*`.
pub fn wildcard_of(host: &str) -> Option<String> {
    host.split_once('.').map(|(_, parent)| format!("*.{parent}"))
}

fn to_ascii(host: &str) -> Option<String> {
    if host.is_ascii() {
        return Some(host.to_ascii_lowercase());
    }
    idna::domain_to_ascii(host).ok()
}

fn check_labels(host: &str, shown: &str) -> Result<(), NameError> {
    for label in host.split('.') {
        if label.is_empty() {
            return Err(NameError::EmptyLabel(shown.to_owned()));
        }
        if label.len() > 63 {
            return Err(NameError::LabelTooLong(shown.to_owned()));
        }
        let odd = |c: &char| !(c.is_ascii_alphanumeric() || *c == '-');
        if let Some(character) = label.chars().find(odd) {
            return Err(NameError::Character { name: shown.to_owned(), character });
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err(NameError::Hyphen(shown.to_owned()));
        }
    }
    Ok(())
}

/// Names come from outside: an error shows the first 80 characters.
fn shorten(text: &str) -> String {
    if text.chars().count() <= 80 {
        return text.to_owned();
    }
    text.chars().take(80).chain(std::iter::once('…')).collect()
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The names of one certificate: at least one, no duplicates, the first is the main one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(transparent)]
pub struct Names(Vec<Name>);

impl Names {
    /// Keeps the first of equal names; `None` if there is none at all.
    pub fn new(names: impl IntoIterator<Item = Name>) -> Option<Self> {
        let mut seen = BTreeSet::new();
        let names: Vec<Name> = names.into_iter().filter(|name| seen.insert(name.clone())).collect();
        (!names.is_empty()).then_some(Self(names))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Name> {
        self.0.iter()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never true: a set without a name cannot be made.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In one order whatever the order of writing: what an identity is made of.
    pub fn sorted(&self) -> Vec<&Name> {
        let mut names: Vec<&Name> = self.0.iter().collect();
        names.sort();
        names
    }

    /// Whether both sets hold the same names, in any order.
    pub fn same_as(&self, other: &Self) -> bool {
        self.sorted() == other.sorted()
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name.as_str())?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let names = Vec::<Name>::deserialize(deserializer)?;
        Self::new(names).ok_or_else(|| serde::de::Error::custom("a certificate needs a name"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(Name::parse(text).unwrap().as_str(), expected);
    }

    #[track_caller]
    fn refuse(text: &str, part: &str) {
        let message = Name::parse(text).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }

    #[test]
    fn reads_names_as_people_write_them() {
        check("A.Example.COM", "a.example.com");
        check(" a.example. ", "a.example");
        check("*.Example.com", "*.example.com");
        check("localhost", "localhost");
        check("xn--bcher-kva.example", "xn--bcher-kva.example");
    }

    #[test]
    fn international_names_become_a_labels_without_the_old_mapping() {
        check("BÜCHER.example", "xn--bcher-kva.example");
        check("bu\u{308}cher.example", "xn--bcher-kva.example");
        check("straße.example", "xn--strae-oqa.example");
    }

    #[test]
    fn refuses_what_no_certificate_can_carry() {
        refuse("", "empty");
        refuse("*", "wildcard");
        refuse("*.*.example.com", "wildcard");
        refuse("a.*.example.com", "wildcard");
        refuse("w*.example.com", "wildcard");
        refuse("a..example", "empty label");
        refuse(&format!("{}.example", "a".repeat(64)), "63 bytes");
        refuse(&format!("{}e", "a.".repeat(130)), "253 bytes");
        refuse("a.example:8080", "port");
        refuse("192.0.2.1", "IP address");
        refuse("[2001:db8::1]", "IP address");
        refuse("a_b.example", "`_`");
        refuse("-a.example", "`-`");
        refuse("a b.example", "` `");
    }

    #[test]
    fn wildcard_covers_one_label_only() {
        let wildcard = Name::parse("*.example.com").unwrap();
        assert!(wildcard.covers(&Name::parse("a.example.com").unwrap()));
        assert!(wildcard.covers(&wildcard));
        assert!(!wildcard.covers(&Name::parse("example.com").unwrap()));
        assert!(!wildcard.covers(&Name::parse("a.b.example.com").unwrap()));
        assert!(!Name::parse("example.com").unwrap().covers(&wildcard));
    }

    #[test]
    fn a_set_keeps_the_first_of_equal_names() {
        let set = Names::new(["b.x", "a.x", "B.x"].map(|text| Name::parse(text).unwrap())).unwrap();
        assert_eq!(set.to_string(), "b.x, a.x");
        assert!(Names::new([]).is_none());
    }

    #[test]
    fn the_registered_domain_is_one_label_below_the_public_suffix() {
        assert_eq!(registered_domain("*.a.b.example.co.uk"), "example.co.uk");
        assert_eq!(registered_domain("x.y.github.io"), "y.github.io");
        assert_eq!(registered_domain("co.uk"), "co.uk");
        assert_eq!(registered_domain("localhost"), "localhost");
        assert!(is_registry_suffix("co.uk") && is_registry_suffix("com"));
        assert!(!is_registry_suffix("github.io") && !is_registry_suffix("example.com"));
        assert!(!is_registry_suffix("internal"));
    }
}
