//! The challenge table: what must be visible so that a CA sees who controls a name, and its format.
//!
//! The leader of the controllers writes it, every proxy reads it. Its content is public by nature:
//! whoever asks for a token gets the answer.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::name::Name;

/// The path below which HTTP-01 answers are asked for (RFC 8555 §8.3).
pub const HTTP01_PATH: &str = "/.well-known/acme-challenge/";

/// ConfigMaps `routecert-challenges-0..7`: few enough to watch, enough to stay under 1 MiB each.
pub const SHARDS: u8 = 8;

/// One answer of the table, stored as JSON under its token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The host that is being validated; a request for another host gets no answer.
    pub name: Name,
    /// The key authorization (RFC 8555 §8.1), the whole body of the reply.
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

/// Which ConfigMap holds `token`.
pub fn shard_of(token: &str) -> u8 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token.as_bytes());
    digest.as_ref().first().copied().unwrap_or(0) % SHARDS
}

pub fn shard_name(shard: u8) -> String {
    format!("routecert-challenges-{shard}")
}

#[cfg(test)]
mod tests {
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
    fn a_bad_entry_leaves_the_others() {
        let good = r#"{"name":"a.x","answer":"t.k","expires":"2026-01-01T00:00:00Z"}"#;
        let data = [("t".to_owned(), good.to_owned()), ("u".to_owned(), "{".to_owned())];
        assert_eq!(read_shard(&data.into()).len(), 1);
    }
}
