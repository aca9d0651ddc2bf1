//! An account's key (RFC 8555 §6.2): signs, and shows its public half.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::acme::Error;
use crate::cert::Key;

/// P-256, so that every signature is ES256 (RFC 7518 §3.4).
pub(super) struct AccountKey {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
}

impl AccountKey {
    pub(super) fn new(key: &Key) -> Result<Self, Error> {
        let bad = |cause: String| Error::BadAccountKey(cause);
        let der = key.der().map_err(|error| bad(error.to_string()))?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_der())
            .map_err(|error| bad(format!("it is no P-256 key in PKCS#8: {error}")))?;
        // SEC 1, §2.3.3: 4, then both coordinates.
        let (x, y) = match pair.public_key().as_ref() {
            [4, point @ ..] if point.len() == 64 => point.split_at(32),
            _ => return Err(bad("its public half has another form than expected".to_owned())),
        };
        let (x, y) = (BASE64URL_NOPAD.encode(x), BASE64URL_NOPAD.encode(y));
        Ok(Self { pair, x, y })
    }

    /// The public half (RFC 7517).
    pub(super) fn jwk(&self) -> Value {
        json!({ "crv": "P-256", "kty": "EC", "x": self.x, "y": self.y })
    }

    /// RFC 7638, in base64url.
    pub(super) fn thumbprint(&self) -> String {
        let (x, y) = (&self.x, &self.y);
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        BASE64URL_NOPAD.encode(digest(&SHA256, canonical.as_bytes()).as_ref())
    }

    /// `r` and `s`, in base64url.
    pub(super) fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_unspecified| Error::BadAccountKey("it cannot sign".to_owned()))?;
        Ok(BASE64URL_NOPAD.encode(signature.as_ref()))
    }
}

impl std::fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccountKey").field("thumbprint", &self.thumbprint()).finish()
    }
}
