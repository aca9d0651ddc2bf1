//! Keys that sign requests (RFC 8555 §6.2): an account's, or a certificate's own for its revocation.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA256,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::acme::Error;
use crate::cert::Key;

pub(super) struct SigningKey {
    pair: Pair,
    /// The public half's members that count, in alphabetical order (RFC 7638 §3.2).
    public: Vec<(&'static str, String)>,
}

enum Pair {
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(rsa::KeyPair),
}

impl SigningKey {
    pub(super) fn new(key: &Key) -> Result<Self, Error> {
        let der = key.der().map_err(|error| bad(&error))?;
        let der = der.secret_der();
        let curve = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_private_key_der(algorithm, der)
        };
        if let Ok(pair) = curve(&ECDSA_P256_SHA256_FIXED_SIGNING) {
            let public = point("P-256", pair.public_key().as_ref())?;
            return Ok(Self { public, pair: Pair::P256(pair) });
        }
        if let Ok(pair) = curve(&ECDSA_P384_SHA384_FIXED_SIGNING) {
            let public = point("P-384", pair.public_key().as_ref())?;
            return Ok(Self { public, pair: Pair::P384(pair) });
        }
        let pair = rsa::KeyPair::from_pkcs8(der)
            .or_else(|_other_form| rsa::KeyPair::from_der(der))
            .map_err(|error| bad(&format!("neither P-256, P-384 nor RSA: {error}")))?;
        Ok(Self { public: modulus(&pair)?, pair: Pair::Rsa(pair) })
    }

    /// RFC 7518 §3.1.
    pub(super) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::P256(_) => "ES256",
            Pair::P384(_) => "ES384",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public half (RFC 7517).
    pub(super) fn jwk(&self) -> Value {
        let member = |(name, value): &(&str, String)| ((*name).to_owned(), value.clone().into());
        Value::Object(self.public.iter().map(member).collect::<Map<_, _>>())
    }

    /// RFC 7638, in base64url.
    pub(super) fn thumbprint(&self) -> String {
        let members: Vec<String> =
            self.public.iter().map(|(name, value)| format!(r#""{name}":"{value}""#)).collect();
        let canonical = format!("{{{}}}", members.join(","));
        BASE64URL_NOPAD.encode(digest(&SHA256, canonical.as_bytes()).as_ref())
    }

    /// In base64url.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let random = SystemRandom::new();
        let failed = |error: aws_lc_rs::error::Unspecified| bad(&error);
        let signature = match &self.pair {
            Pair::P256(pair) | Pair::P384(pair) => {
                pair.sign(&random, message).map_err(failed)?.as_ref().to_vec()
            }
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                signature
            }
        };
        Ok(BASE64URL_NOPAD.encode(&signature))
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("thumbprint", &self.thumbprint()).finish()
    }
}

/// SEC 1, §2.3.3: 4, then both coordinates.
fn point(curve: &str, public: &[u8]) -> Result<Vec<(&'static str, String)>, Error> {
    let [4, coordinates @ ..] = public else { return Err(bad(&"an unexpected public half")) };
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    Ok(vec![
        ("crv", curve.to_owned()),
        ("kty", "EC".to_owned()),
        ("x", BASE64URL_NOPAD.encode(x)),
        ("y", BASE64URL_NOPAD.encode(y)),
    ])
}

fn modulus(pair: &rsa::KeyPair) -> Result<Vec<(&'static str, String)>, Error> {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    let der: PublicKeyX509Der<'_> = pair.public_key().as_der().map_err(|error| bad(&error))?;
    let (_, info) = SubjectPublicKeyInfo::from_der(der.as_ref()).map_err(|error| bad(&error))?;
    let parsed = info.parsed().map_err(|error| bad(&error))?;
    let PublicKey::RSA(key) = parsed else { return Err(bad(&"an unexpected public half")) };
    // RFC 7518 §6.3.1: without leading zeros.
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        BASE64URL_NOPAD.encode(bytes.get(zeros..).unwrap_or_default())
    };
    Ok(vec![("e", number(key.exponent)), ("kty", "RSA".to_owned()), ("n", number(key.modulus))])
}

fn bad(cause: &dyn std::fmt::Display) -> Error {
    Error::BadAccountKey(cause.to_string())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256};
    use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};

    use super::*;
    use crate::cert::KeyType;

    #[test]
    fn each_kind_of_key_signs_what_its_public_half_verifies() {
        for (key_type, algorithm) in
            [(KeyType::Ec256, "ES256"), (KeyType::Ec384, "ES384"), (KeyType::Rsa2048, "RS256")]
        {
            let key = SigningKey::new(&Key::generate(key_type).unwrap()).unwrap();
            assert_eq!(key.algorithm(), algorithm);
            let signature = BASE64URL_NOPAD.decode(key.sign(b"message").unwrap().as_bytes());
            let signature = signature.unwrap();
            let verified = match &key.pair {
                Pair::P256(pair) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key())
                        .verify(b"message", &signature)
                }
                Pair::P384(pair) => {
                    UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, pair.public_key())
                        .verify(b"message", &signature)
                }
                Pair::Rsa(pair) => {
                    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key())
                        .verify(b"message", &signature)
                }
            };
            verified.unwrap();
            assert!(!format!("{key:?}").contains("PRIVATE"));
        }
    }

    #[test]
    fn a_thumbprint_is_of_the_members_that_count_in_their_order() {
        // RFC 7638 §3.1, computed with its example key.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L\
                 6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4Qy\
                 Q5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI\
                 SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-\
                 kEgU8awapJzKnqDKgw";
        let mut key = SigningKey::new(&Key::generate(KeyType::Ec256).unwrap()).unwrap();
        key.public = vec![("e", "AQAB".into()), ("kty", "RSA".into()), ("n", n.into())];
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
