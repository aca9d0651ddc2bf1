//! Accounts at the CA (RFC 8555 §7.3): registered, found, bound to another account, their contact.

use std::sync::Arc;

use ::http::StatusCode;
use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use instant_acme::NewAccount;
use serde_json::{Value, json};

use crate::acme::ca::{Ca, Signer};
use crate::acme::key::SigningKey;
use crate::acme::reply::{Problem, Reply, items, text};
use crate::acme::{Account, Error};
use crate::cert::Key;

const NO_BINDING: &str = "the CA wants an external account binding; set eab.kid and \
                          eab.hmacEncoded of the resolver to what the CA gave you";

/// An account somewhere else at the CA that the new one is bound to (RFC 8555 §7.3.4).
#[derive(Clone, PartialEq, Eq)]
pub struct External {
    pub kid: String,
    /// Decoded.
    pub mac_key: Vec<u8>,
}

impl std::fmt::Debug for External {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("External").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The usual one first: a CA that wants another says so.
const MACS: [(&str, hmac::Algorithm); 3] =
    [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)];

impl Account {
    /// An account whose URL is known; nothing is asked.
    pub fn open(ca: Arc<Ca>, key: &Key, url: &str) -> Result<Self, Error> {
        Ok(Self::new(ca, Arc::new(SigningKey::new(key)?), url))
    }

    /// The account that `key` has already; needs no binding. `Err(KeyRefused)`: it had one that is
    /// no more.
    pub async fn find(ca: Arc<Ca>, key: &Key) -> Result<Option<Self>, Error> {
        let key = SigningKey::new(key)?;
        let url = existing(&ca, &key).await?;
        Ok(url.map(|url| Self::new(ca, Arc::new(key), &url)))
    }

    /// Registers `key`, with the terms agreed to. A key that has an account already gets that one,
    /// with the contact as given.
    pub async fn register(
        ca: Arc<Ca>,
        key: &Key,
        emails: &[String],
        external: Option<&External>,
    ) -> Result<Self, Error> {
        let key = SigningKey::new(key)?;
        let directory = ca.directory().await?;
        if directory.external_account_required && external.is_none() {
            return Err(Error::Refused(NO_BINDING.to_owned()));
        }
        let mut wanted = MACS.to_vec();
        loop {
            let binding = match (external, wanted.first()) {
                (Some(external), Some(mac)) => {
                    Some(binding(external, *mac, &key, &directory.new_account)?)
                }
                _ => None,
            };
            let payload = payload(emails, binding).to_string();
            let signer = Signer { key: &key, account: None };
            let reply = ca.post(signer, &directory.new_account, &payload).await?;
            if let Some(problem) = reply.problem() {
                if external.is_some() && wants_other_mac(&problem, &reply, &mut wanted) {
                    continue;
                }
                return Err(refused(&problem, reply));
            }
            let url = reply.location().ok_or_else(no_url)?;
            let account = Self::new(Arc::clone(&ca), Arc::new(key), &url);
            // It was there before, with a contact of its own.
            if reply.status == StatusCode::OK && !has_contact(&reply, emails) {
                account.set_contact(emails).await?;
            }
            return Ok(account);
        }
    }

    /// RFC 8555 §7.3.2.
    pub async fn set_contact(&self, emails: &[String]) -> Result<(), Error> {
        let payload = json!({ "contact": contact(emails) }).to_string();
        self.post(&self.url, &payload).await?.ok().map(drop)
    }

    /// Whether the CA still takes requests of this account (RFC 8555 §7.3.6).
    pub(super) async fn is_good(&self) -> Result<bool, Error> {
        match existing(&self.ca, &self.key).await {
            Ok(url) => Ok(url.as_deref() == Some(&*self.url)),
            Err(Error::KeyRefused(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// RFC 8555 §7.3.1.
async fn existing(ca: &Ca, key: &SigningKey) -> Result<Option<String>, Error> {
    let directory = ca.directory().await?;
    let payload = json!({ "onlyReturnExisting": true }).to_string();
    let reply = ca.post(Signer { key, account: None }, &directory.new_account, &payload).await?;
    if let Some(problem) = reply.problem() {
        return match problem.kind.as_str() {
            "accountDoesNotExist" => Ok(None),
            "unauthorized" => Err(Error::KeyRefused(problem.message)),
            _ => Err(refused(&problem, reply)),
        };
    }
    let status = reply.json().ok().and_then(|body| text(&body, "status").map(str::to_owned));
    match status.as_deref() {
        Some(status @ ("deactivated" | "revoked")) => {
            Err(Error::KeyRefused(format!("its account is {status}")))
        }
        _ => reply.location().map(Some).ok_or_else(no_url),
    }
}

fn no_url() -> Error {
    Error::Refused("the CA gave the account no URL (no Location)".to_owned())
}

fn refused(problem: &Problem, reply: Reply) -> Error {
    if problem.kind == "externalAccountRequired" {
        return Error::Refused(format!("{NO_BINDING}: {}", problem.message));
    }
    match reply.ok() {
        Err(error) => error,
        Ok(_) => Error::Refused(problem.message.clone()),
    }
}

fn contact(emails: &[String]) -> Vec<String> {
    emails.iter().map(|email| format!("mailto:{email}")).collect()
}

fn has_contact(reply: &Reply, emails: &[String]) -> bool {
    let Ok(account) = reply.json() else { return false };
    let mut present: Vec<&str> = items(&account, "contact").filter_map(Value::as_str).collect();
    let mut expected = contact(emails);
    present.sort_unstable();
    expected.sort_unstable();
    present == expected
}

fn payload(emails: &[String], binding: Option<Value>) -> Value {
    let contact = contact(emails);
    let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
    let new = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let mut payload = serde_json::to_value(new).unwrap_or_default();
    if let Some(fields) = payload.as_object_mut() {
        if contact.is_empty() {
            fields.remove("contact");
        }
        fields.extend(binding.map(|binding| ("externalAccountBinding".to_owned(), binding)));
    }
    payload
}

/// The account's key, signed with the key of the external account.
fn binding(
    external: &External,
    (name, algorithm): (&str, hmac::Algorithm),
    key: &SigningKey,
    url: &str,
) -> Result<Value, Error> {
    if external.mac_key.is_empty() {
        return Err(Error::Refused("eab.hmacEncoded is empty".to_owned()));
    }
    let protected = json!({ "alg": name, "kid": external.kid, "url": url }).to_string();
    let protected = BASE64URL_NOPAD.encode(protected.as_bytes());
    let payload = BASE64URL_NOPAD.encode(key.jwk().to_string().as_bytes());
    let mac = hmac::Key::new(algorithm, &external.mac_key);
    let signature = hmac::sign(&mac, format!("{protected}.{payload}").as_bytes());
    let signature = BASE64URL_NOPAD.encode(signature.as_ref());
    Ok(json!({ "protected": protected, "payload": payload, "signature": signature }))
}

/// RFC 8555 §6.2: the reply may list what the CA takes.
fn wants_other_mac(
    problem: &Problem,
    reply: &Reply,
    left: &mut Vec<(&'static str, hmac::Algorithm)>,
) -> bool {
    if problem.kind != "badSignatureAlgorithm" || left.is_empty() {
        return false;
    }
    left.remove(0);
    let body = reply.json().unwrap_or_default();
    let listed: Vec<&str> = items(&body, "algorithms").filter_map(Value::as_str).collect();
    if listed.iter().any(|one| one.starts_with("HS")) {
        left.retain(|(name, _)| listed.contains(name));
    }
    !left.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::KeyType;

    #[test]
    fn a_binding_is_the_accounts_key_signed_with_the_external_one() {
        let key = SigningKey::new(&Key::generate(KeyType::Ec256).unwrap()).unwrap();
        let external = External { kid: "k".to_owned(), mac_key: b"secret".to_vec() };
        for (name, algorithm) in MACS {
            let made = binding(&external, (name, algorithm), &key, "https://ca/new").unwrap();
            let field = |name: &str| made[name].as_str().unwrap().to_owned();
            let decoded = |name: &str| {
                let bytes = BASE64URL_NOPAD.decode(field(name).as_bytes()).unwrap();
                serde_json::from_slice::<Value>(&bytes).unwrap()
            };
            let expected = json!({"alg": name, "kid": "k", "url": "https://ca/new"});
            assert_eq!((decoded("protected"), decoded("payload")), (expected, key.jwk()));
            let signed = format!("{}.{}", field("protected"), field("payload"));
            let signature = BASE64URL_NOPAD.decode(field("signature").as_bytes()).unwrap();
            let mac = hmac::Key::new(algorithm, b"secret");
            hmac::verify(&mac, signed.as_bytes(), &signature).unwrap();
        }
        assert!(!format!("{external:?}").contains("115"), "{external:?}");
    }

    #[test]
    fn an_account_without_mail_has_no_contact() {
        assert_eq!(payload(&[], None), json!({"termsOfServiceAgreed": true}));
        let mail = payload(&["a@x".to_owned()], None);
        assert_eq!(mail["contact"], json!(["mailto:a@x"]));
    }
}
