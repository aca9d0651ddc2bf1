//! A certificate with its key: read, made, asked for (CSR); its names, validity and fingerprint.

use std::fmt;
use std::ops::Range;

use aws_lc_rs::encoding::AsDer;
use jiff::Timestamp;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, RsaKeySize, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::public_key::PublicKey;

use crate::name::{Name, Names};

/// The most a certificate chain or a key may have in PEM; real ones stay under 16 KiB.
const MAX_PEM: usize = 256 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("larger than {MAX_PEM} bytes")]
    TooLarge,
    #[error("the chain has no certificate in PEM form")]
    NoCertificate,
    #[error("the chain cannot be read: {0}")]
    BadChain(String),
    #[error("the key cannot be read: {0}")]
    BadKey(String),
    #[error("the certificate and the key do not belong together")]
    KeyMismatch,
    #[error("the certificate names no host")]
    NoNames,
    #[error("making a key failed: {0}")]
    Generate(String),
}

/// `keyType` (seed, Configuration Options).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum KeyType {
    Ec256,
    Ec384,
    Rsa2048,
    #[default]
    Rsa4096,
    Rsa8192,
}

impl KeyType {
    pub const ALL: [Self; 5] =
        [Self::Ec256, Self::Ec384, Self::Rsa2048, Self::Rsa4096, Self::Rsa8192];

    /// In exactly the spelling of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == text)
    }

    /// As the configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ec256 => "EC256",
            Self::Ec384 => "EC384",
            Self::Rsa2048 => "RSA2048",
            Self::Rsa4096 => "RSA4096",
            Self::Rsa8192 => "RSA8192",
        }
    }
}

/// A private key in PEM (PKCS#8 when made here). Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(String);

impl Key {
    /// Slow for RSA (4096: about half a second, 8192: sixteen): call it off the async threads.
    pub fn generate(key_type: KeyType) -> Result<Self, Error> {
        let pair = match key_type {
            KeyType::Ec256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            KeyType::Ec384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
            KeyType::Rsa2048 => {
                KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048)
            }
            KeyType::Rsa4096 => {
                KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096)
            }
            KeyType::Rsa8192 => rsa_8192(),
        };
        let pair = pair.map_err(|error| Error::Generate(error.to_string()))?;
        Ok(Self(pair.serialize_pem()))
    }

    pub fn from_pem(pem: &str) -> Result<Self, Error> {
        if pem.len() > MAX_PEM {
            return Err(Error::TooLarge);
        }
        let key = Self(pem.to_owned());
        key.der().map(|_| key)
    }

    pub fn pem(&self) -> &str {
        &self.0
    }

    pub fn der(&self) -> Result<PrivateKeyDer<'static>, Error> {
        PrivateKeyDer::from_pem_slice(self.0.as_bytes())
            .map_err(|error| Error::BadKey(error.to_string()))
    }

    /// A certificate signing request for exactly `names`, the first as common name if it fits.
    pub fn csr(&self, names: &Names, extras: &CsrExtras) -> Result<Vec<u8>, Error> {
        let pair = self.pair()?;
        let bad = |error: rcgen::Error| Error::Generate(error.to_string());
        let mut params = params_for(names).map_err(bad)?;
        if extras.no_common_name {
            params.distinguished_name = DistinguishedName::new();
        }
        for email in &extras.email_addresses {
            let email = email.as_str().try_into().map_err(bad)?;
            params.subject_alt_names.push(SanType::Rfc822Name(email));
        }
        Ok(params.serialize_request(&pair).map_err(bad)?.der().to_vec())
    }

    fn pair(&self) -> Result<KeyPair, Error> {
        KeyPair::from_pem(&self.0).map_err(|error| Error::BadKey(error.to_string()))
    }
}

/// What a signing request says beside the names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CsrExtras {
    /// Alternative names of their own kind (RFC 5280 §4.2.1.6).
    pub email_addresses: Vec<String>,
    pub no_common_name: bool,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

fn rsa_8192() -> Result<KeyPair, rcgen::Error> {
    let failed = |_| rcgen::Error::RemoteKeyError;
    let pair =
        aws_lc_rs::rsa::KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa8192).map_err(failed)?;
    let der = pair.as_der().map_err(failed)?;
    let der = PrivatePkcs8KeyDer::from(der.as_ref());
    KeyPair::from_pkcs8_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256)
}

/// Common names hold 64 characters at most (RFC 5280, `ub-common-name`).
fn params_for(names: &Names) -> Result<CertificateParams, rcgen::Error> {
    let texts: Vec<String> = names.iter().map(|name| name.as_str().to_owned()).collect();
    let common_name = texts.first().filter(|name| name.len() <= 64).cloned();
    let mut params = CertificateParams::new(texts)?;
    params.distinguished_name = DistinguishedName::new();
    if let Some(common_name) = common_name {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    Ok(params)
}

/// Which certificate: made of the owner's namespace, the resolver and the names in any order.
/// CA, key type and profile are specification, not identity.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id([u8; ID_LENGTH]);

/// Characters of an id, all of them ASCII.
const ID_LENGTH: usize = 20;

impl Id {
    /// The first 20 characters of the lower-case base32 SHA-256 of the parts, joined by `\n`.
    pub fn of(owner: &str, resolver: &str, names: &Names) -> Self {
        let sorted: Vec<&str> = names.sorted().into_iter().map(Name::as_str).collect();
        let text = [&[owner, resolver], sorted.as_slice()].concat().join("\n");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let encoded = data_encoding::BASE32_NOPAD.encode(digest.as_ref()).to_ascii_lowercase();
        let mut id = [0; ID_LENGTH];
        id.iter_mut().zip(encoded.bytes()).for_each(|(place, byte)| *place = byte);
        Self(id)
    }

    /// Takes an id out of an object's name, `rc-<id>`; only what [`Id::of`] could have made.
    pub fn from_object_name(prefix: &str, name: &str) -> Option<Self> {
        let id = name.strip_prefix(prefix)?;
        let fits = |byte: &u8| byte.is_ascii_lowercase() || (b'2'..=b'7').contains(byte);
        <[u8; ID_LENGTH]>::try_from(id.as_bytes()).ok().filter(|id| id.iter().all(fits)).map(Self)
    }

    /// The same set of names has the same id, whoever wants it and in whichever order.
    pub fn of_names(names: &Names) -> Self {
        Self::of("", "", names)
    }

    /// A number in 0..1, the same for the same certificate: what spreads many over time.
    pub fn share(&self) -> f64 {
        let digit = |byte: u8| f64::from(if byte < b'a' { byte - b'2' + 26 } else { byte - b'a' });
        self.as_str()
            .bytes()
            .take(6)
            .fold((0.0, 1.0 / 32.0), |(sum, unit), byte| (sum + digit(byte) * unit, unit / 32.0))
            .0
    }

    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is known of a leaf without its key; never PEM, so it may be kept for every certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    pub names: Names,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Hex SHA-256 of the leaf.
    pub fingerprint: String,
    /// `None`: a kind that `keyType` has no word for.
    pub key_type: Option<KeyType>,
    /// What renewal information names it by (RFC 9773 §4.1); `None`: it has no such name.
    pub ari_id: Option<String>,
}

/// A chain, leaf first, with its key; both were read and belong together.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    chain: String,
    key: Key,
    facts: Facts,
}

impl Certificate {
    pub fn parse(chain: &str, key: &str) -> Result<Self, Error> {
        let key = Key::from_pem(key)?;
        let ders = chain_ders(chain)?;
        let facts = facts(ders.first().ok_or(Error::NoCertificate)?)?;
        check_key(&ders, &key)?;
        Ok(Self { chain: chain.to_owned(), key, facts })
    }

    /// For proxies that have nothing better: valid for no client, but a handshake is possible.
    pub fn self_signed(names: &Names, not_before: Timestamp, days: i64) -> Result<Self, Error> {
        let not_after = not_before + jiff::SignedDuration::from_hours(24 * days);
        let (made, key) = signed_by_itself(names, not_before..not_after, Vec::new())?;
        Self::parse(&made.pem(), key.pem())
    }

    pub fn chain(&self) -> &str {
        &self.chain
    }

    pub fn key(&self) -> &Key {
        &self.key
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The chain in DER, leaf first: what a TLS server sends.
    pub fn ders(&self) -> Result<Vec<CertificateDer<'static>>, Error> {
        chain_ders(&self.chain)
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// A certificate for TLS-ALPN-01 (RFC 8737 §3) with its key; `digest` is the SHA-256 of the key
/// authorization. No [`Certificate`]: its critical extension is for CAs, and nobody else takes it.
pub fn with_acme_identifier(
    names: &Names,
    digest: &[u8; 32],
    now: Timestamp,
) -> Result<(CertificateDer<'static>, Key), Error> {
    let day = jiff::SignedDuration::from_hours(24);
    let extension = CustomExtension::new_acme_identifier(digest);
    let (made, key) = signed_by_itself(names, now - day..now + day, vec![extension])?;
    Ok((made.der().clone(), key))
}

fn signed_by_itself(
    names: &Names,
    valid: Range<Timestamp>,
    extensions: Vec<CustomExtension>,
) -> Result<(rcgen::Certificate, Key), Error> {
    let key = Key::generate(KeyType::Ec256)?;
    let bad = |error: rcgen::Error| Error::Generate(error.to_string());
    let mut params = params_for(names).map_err(bad)?;
    params.not_before = offset(valid.start);
    params.not_after = offset(valid.end);
    params.custom_extensions = extensions;
    Ok((params.self_signed(&key.pair()?).map_err(bad)?, key))
}

/// Whether `chain` was issued for `key`: what makes a Secret of unknown origin ours.
pub fn belongs(chain: &str, key: &Key) -> bool {
    chain_ders(chain).is_ok_and(|ders| check_key(&ders, key).is_ok())
}

fn offset(time: Timestamp) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(time.as_second())
        .unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
}

fn chain_ders(chain: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    if chain.len() > MAX_PEM {
        return Err(Error::TooLarge);
    }
    let ders: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|error| Error::BadChain(error.to_string()))?;
    if ders.is_empty() { Err(Error::NoCertificate) } else { Ok(ders) }
}

fn check_key(ders: &[CertificateDer<'static>], key: &Key) -> Result<(), Error> {
    let signing = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key.der()?)
        .map_err(|error| Error::BadKey(error.to_string()))?;
    let certified = rustls::sign::CertifiedKey::new(ders.to_vec(), signing);
    match certified.keys_match() {
        Ok(()) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => Err(Error::KeyMismatch),
        Err(error) => Err(Error::BadChain(error.to_string())),
    }
}

fn facts(leaf: &CertificateDer<'_>) -> Result<Facts, Error> {
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf)
        .map_err(|error| Error::BadChain(error.to_string()))?;
    let alternative = parsed
        .subject_alternative_name()
        .map_err(|error| Error::BadChain(error.to_string()))?
        .map(|extension| extension.value.general_names.as_slice())
        .unwrap_or_default();
    let names = alternative.iter().filter_map(|name| match name {
        GeneralName::DNSName(text) => Name::parse(text).ok(),
        _ => None,
    });
    let time =
        |seconds| Timestamp::from_second(seconds).map_err(|e| Error::BadChain(e.to_string()));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, leaf);
    Ok(Facts {
        names: Names::new(names).ok_or(Error::NoNames)?,
        not_before: time(parsed.validity().not_before.timestamp())?,
        not_after: time(parsed.validity().not_after.timestamp())?,
        fingerprint: data_encoding::HEXLOWER.encode(digest.as_ref()),
        key_type: key_type(&parsed),
        ari_id: ari_id(&parsed),
    })
}

fn key_type(leaf: &X509Certificate<'_>) -> Option<KeyType> {
    match leaf.public_key().parsed().ok()? {
        PublicKey::RSA(key) => match key.key_size() {
            2048 => Some(KeyType::Rsa2048),
            4096 => Some(KeyType::Rsa4096),
            8192 => Some(KeyType::Rsa8192),
            _ => None,
        },
        PublicKey::EC(point) => match point.key_size() {
            256 => Some(KeyType::Ec256),
            384 => Some(KeyType::Ec384),
            _ => None,
        },
        _ => None,
    }
}

/// Authority key identifier and serial number, each in base64url, joined by a dot.
fn ari_id(leaf: &X509Certificate<'_>) -> Option<String> {
    let authority = leaf.extensions().iter().find_map(|one| match one.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref(),
        _ => None,
    })?;
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    Some(format!("{}.{}", encode(authority.0), encode(leaf.raw_serial())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(texts: &[&str]) -> Names {
        Names::new(texts.iter().map(|text| Name::parse(text).unwrap())).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_certificate_keeps_its_names_and_validity() {
        let made =
            Certificate::self_signed(&names(&["b.x", "a.x"]), at("2026-01-01T00:00:00Z"), 90)
                .unwrap();
        let read = Certificate::parse(made.chain(), made.key().pem()).unwrap();
        assert_eq!(read.facts().names.to_string(), "b.x, a.x");
        assert_eq!(read.facts().not_after, at("2026-04-01T00:00:00Z"));
    }

    #[test]
    fn another_key_is_refused() {
        let now = at("2026-01-01T00:00:00Z");
        let one = Certificate::self_signed(&names(&["a.x"]), now, 1).unwrap();
        let other = Key::generate(KeyType::Ec256).unwrap();
        let refused = Certificate::parse(one.chain(), other.pem()).unwrap_err();
        assert!(matches!(refused, Error::KeyMismatch), "{refused}");
        assert!(!belongs(one.chain(), &other));
        assert!(belongs(one.chain(), one.key()));
    }

    #[test]
    fn an_identity_ignores_the_order_of_names() {
        let id = Id::of("shop", "le", &names(&["a.x", "b.x"]));
        assert_eq!(id, Id::of("shop", "le", &names(&["b.x", "a.x"])));
        assert_ne!(id, Id::of("other", "le", &names(&["a.x", "b.x"])));
        assert_eq!(Id::from_object_name("rc-", &format!("rc-{id}")), Some(id));
        assert_eq!(Id::from_object_name("rc-", "rc-short"), None);
        let of = |share: &str| Id::from_object_name("", share).unwrap().share();
        assert!(of("aaaaaaaaaaaaaaaaaaaa").abs() < f64::EPSILON);
        assert!((of("qaaaaaaaaaaaaaaaaaaa") - 0.5).abs() < f64::EPSILON);
        assert!((0.99..1.0).contains(&of("77777777777777777777")));
    }

    #[test]
    fn a_leaf_says_what_key_it_has_and_what_renewal_information_names_it_by() {
        // The example of RFC 9773 §4.1, its certificate in appendix A.
        let leaf = "-----BEGIN CERTIFICATE-----
MIIBQzCB66ADAgECAgUAh2VDITAKBggqhkjOPQQDAjAVMRMwEQYDVQQDEwpFeGFt
cGxlIENBMCIYDzAwMDEwMTAxMDAwMDAwWhgPMDAwMTAxMDEwMDAwMDBaMBYxFDAS
BgNVBAMTC2V4YW1wbGUuY29tMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEeBZu
7cbpAYNXZLbbh8rNIzuOoqOOtmxA1v7cRm//AwyMwWxyHz4zfwmBhcSrf47NUAFf
qzLQ2PPQxdTXREYEnKMjMCEwHwYDVR0jBBgwFoAUaYhba4dGQEHhs3uEe6CuLN4B
yNQwCgYIKoZIzj0EAwIDRwAwRAIge09+S5TZAlw5tgtiVvuERV6cT4mfutXIlwTb
+FYN/8oCIClDsqBklhB9KAelFiYt9+6FDj3z4KGVelYM5MdsO3pK
-----END CERTIFICATE-----
";
        let der = chain_ders(leaf).unwrap();
        let (_, parsed) = x509_parser::parse_x509_certificate(der.first().unwrap()).unwrap();
        let expected = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
        assert_eq!(ari_id(&parsed).as_deref(), Some(expected));
        assert_eq!(key_type(&parsed), Some(KeyType::Ec256));
    }

    #[test]
    fn every_key_type_makes_a_signing_request() {
        for key_type in [KeyType::Ec256, KeyType::Ec384, KeyType::Rsa2048, KeyType::Rsa4096] {
            let key = Key::generate(key_type).unwrap();
            assert!(
                !key.csr(&names(&["a.x", "*.b.x"]), &CsrExtras::default()).unwrap().is_empty(),
                "{key_type:?}"
            );
        }
    }

    #[test]
    fn a_signing_request_says_what_the_resolver_wants() {
        use x509_parser::certification_request::X509CertificationRequest;
        use x509_parser::prelude::FromDer;

        let key = Key::generate(KeyType::Ec256).unwrap();
        let read = |extras: &CsrExtras| {
            let der = key.csr(&names(&["a.x"]), extras).unwrap();
            let (_, request) = X509CertificationRequest::from_der(&der).unwrap();
            let subject = request.certification_request_info.subject.to_string();
            let text = format!("{:?}", request.requested_extensions().unwrap().collect::<Vec<_>>());
            (subject, text.contains("RFC822Name(\"m@a.x\")"))
        };
        assert_eq!(read(&CsrExtras::default()), ("CN=a.x".to_owned(), false));
        let email_addresses = vec!["m@a.x".to_owned()];
        let extras = CsrExtras { email_addresses, no_common_name: true };
        assert_eq!(read(&extras), (String::new(), true));
        let email_addresses = vec!["ü@a.x".to_owned()];
        let wrong = CsrExtras { email_addresses, ..CsrExtras::default() };
        assert!(matches!(key.csr(&names(&["a.x"]), &wrong), Err(Error::Generate(_))));
    }

    #[test]
    fn garbage_is_an_error_and_debug_shows_no_key() {
        assert!(matches!(Certificate::parse("x", "y"), Err(Error::BadKey(_))));
        let key = Key::generate(KeyType::Ec256).unwrap();
        assert!(matches!(Certificate::parse("x", key.pem()), Err(Error::NoCertificate)));
        assert_eq!(format!("{key:?}"), "Key(***)");
    }
}
