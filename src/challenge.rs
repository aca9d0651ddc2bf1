//! The challenge table: what must be visible so that a CA sees who controls a name, and its format.
//!
//! The leader of the controllers writes it, every proxy reads it. Its content is public by nature:
//! whoever asks for a token gets the answer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::cert;
use crate::cert::Key;
use crate::name::{Name, Names};

/// The path below which HTTP-01 answers are asked for (RFC 8555 §8.3).
pub const HTTP01_PATH: &str = "/.well-known/acme-challenge/";

/// The one protocol of a TLS-ALPN-01 validation (RFC 8737 §6.2).
pub const ALPN_PROTOCOL: &[u8] = b"acme-tls/1";

/// id-pe-acmeIdentifier (RFC 8737 §6.1).
const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

/// ConfigMaps `routecert-challenges-0..7`: few enough to watch, enough to stay under 1 MiB each.
pub const SHARDS: u8 = 8;

/// One answer of the table, stored as JSON: of HTTP-01 under its token, of TLS-ALPN-01 under
/// [`alpn_key`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The host that is being validated; a request for another host gets no answer.
    pub name: Name,
    /// The key authorization (RFC 8555 §8.1): the whole body of an HTTP-01 reply, and what the
    /// certificate of TLS-ALPN-01 has the digest of.
    pub answer: String,
    /// After this a proxy no longer answers, even if nobody took the entry away.
    pub expires: Timestamp,
}

impl Answer {
    /// What to reply to a request for `host` at `now`.
    pub fn for_host(&self, host: &str, now: Timestamp) -> Option<&str> {
        (host.eq_ignore_ascii_case(self.name.as_str()) && now < self.expires)
            .then_some(self.answer.as_str())
    }
}

/// The entry of the table that answers TLS-ALPN-01 for `host`. No token has a dot.
pub fn alpn_key(host: &str) -> String {
    let digest = sha256(host.to_ascii_lowercase().as_bytes());
    format!("alpn.{}", data_encoding::HEXLOWER.encode(digest.as_ref()))
}

/// The certificate that proves control of `name`: for this name alone, with the digest of the key
/// authorization in its critical extension acmeIdentifier (RFC 8737 §3). Its key is new.
pub fn alpn_certificate(
    name: &Name,
    key_authorization: &str,
    now: Timestamp,
) -> Result<(CertificateDer<'static>, Key), cert::Error> {
    let names = Names::new([name.clone()]).ok_or(cert::Error::NoNames)?;
    let digest = sha256(key_authorization.as_bytes());
    let digest = digest.as_ref().first_chunk();
    let digest = digest.ok_or_else(|| cert::Error::Generate("no digest".to_owned()))?;
    cert::with_acme_identifier(&names, digest, now)
}

/// Whether `leaf` is what [`alpn_certificate`] makes for the key authorization.
pub fn is_answer(leaf: &CertificateDer<'_>, key_authorization: &str) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(leaf) else { return false };
    // An OCTET STRING of 32 bytes.
    let expected = [&[4, 32], sha256(key_authorization.as_bytes()).as_ref()].concat();
    let mut marks =
        parsed.extensions().iter().filter(|one| one.oid.to_id_string() == ACME_IDENTIFIER);
    marks.any(|one| one.critical && one.value == expected)
}

fn sha256(bytes: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes)
}

/// The entries of one shard, read from its ConfigMap's `data`. Entries that cannot be read are
/// left out: one bad entry must not take the others away.
pub fn read_shard(data: &BTreeMap<String, String>) -> BTreeMap<String, Answer> {
    data.iter()
        .filter_map(|(token, json)| Some((token.clone(), serde_json::from_str(json).ok()?)))
        .collect()
}

/// The token of a request path, if the path asks for a challenge; `Some(None)` for a token that
/// no CA would choose (RFC 8555 §8.3: base64url characters).
pub fn token_of(path: &str) -> Option<Option<&str>> {
    let rest = path.strip_prefix(HTTP01_PATH)?;
    let token = rest.strip_suffix('/').unwrap_or(rest);
    Some(is_token(token).then_some(token))
}

/// At least one and at most 128 base64url characters.
pub fn is_token(token: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=128).contains(&token.len()) && token.bytes().all(fits)
}

/// Which ConfigMap holds the entry `key`.
pub fn shard_of(key: &str) -> u8 {
    sha256(key.as_bytes()).as_ref().first().copied().unwrap_or(0) % SHARDS
}

pub fn shard_name(shard: u8) -> String {
    format!("routecert-challenges-{shard}")
}

#[cfg(test)]
mod tests {
    use x509_parser::extensions::GeneralName;

    use super::*;

    #[test]
    fn a_token_is_answered_for_its_host_until_it_expires() {
        let expires: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let before = expires - jiff::SignedDuration::from_secs(1);
        let entry = Answer { name: Name::parse("a.x").unwrap(), answer: "t.k".to_owned(), expires };
        assert_eq!(entry.for_host("A.x", before), Some("t.k"));
        assert_eq!(entry.for_host("b.x", before), None);
        assert_eq!(entry.for_host("a.x", expires), None);
    }

    #[test]
    fn a_path_is_a_challenge_only_with_a_clean_token() {
        assert_eq!(token_of("/x"), None);
        assert_eq!(token_of("/.well-known/acme-challenge/aB-_9"), Some(Some("aB-_9")));
        assert_eq!(token_of("/.well-known/acme-challenge/aB9/"), Some(Some("aB9")));
        assert_eq!(token_of("/.well-known/acme-challenge/"), Some(None));
        assert_eq!(token_of("/.well-known/acme-challenge/../x"), Some(None));
        assert_eq!(token_of("/.well-known/acme-challenge/a/b"), Some(None));
    }

    #[test]
    fn an_alpn_certificate_has_one_name_and_the_digest() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let (made, _) = alpn_certificate(&Name::parse("a.x").unwrap(), "t.k", now).unwrap();
        assert!(is_answer(&made, "t.k") && !is_answer(&made, "t.other"));
        let (_, parsed) = x509_parser::parse_x509_certificate(&made).unwrap();
        let names = parsed.subject_alternative_name().unwrap().unwrap().value;
        assert_eq!(names.general_names, [GeneralName::DNSName("a.x")]);
        assert!(alpn_key("A.x") == alpn_key("a.x") && !is_token(&alpn_key("a.x")));
    }

    #[test]
    fn a_bad_entry_leaves_the_others() {
        let good = r#"{"name":"a.x","answer":"t.k","expires":"2026-01-01T00:00:00Z"}"#;
        let data = [("t".to_owned(), good.to_owned()), ("u".to_owned(), "{".to_owned())];
        assert_eq!(read_shard(&data.into()).len(), 1);
    }
}
