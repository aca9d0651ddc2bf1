//! Revocation (RFC 8555 §7.6).

use std::sync::Arc;

use instant_acme::{RevocationReason, RevocationRequest};

use crate::acme::ca::{Ca, Signer};
use crate::acme::key::SigningKey;
use crate::acme::reply::Reply;
use crate::acme::{Account, Error};
use crate::cert::Certificate;

impl Account {
    /// With the account's key, and with the certificate's own if the account may not. One that is
    /// revoked already is no error.
    pub async fn revoke(
        &self,
        certificate: &Certificate,
        reason: Option<RevocationReason>,
    ) -> Result<(), Error> {
        let (url, payload) = request(&self.ca, certificate, reason.clone()).await?;
        let reply = self.post(&url, &payload).await?;
        let kind = reply.problem().map(|problem| problem.kind).unwrap_or_default();
        match kind.as_str() {
            "unauthorized" | "accountDoesNotExist" => {
                revoke_with_its_key(&self.ca, certificate, reason).await
            }
            _ => done(reply),
        }
    }
}

/// Needs no account: who has the key may revoke.
pub async fn revoke_with_its_key(
    ca: &Arc<Ca>,
    certificate: &Certificate,
    reason: Option<RevocationReason>,
) -> Result<(), Error> {
    let (url, payload) = request(ca, certificate, reason).await?;
    let key = SigningKey::new(certificate.key())?;
    done(ca.post(Signer { key: &key, account: None }, &url, &payload).await?)
}

async fn request(
    ca: &Ca,
    certificate: &Certificate,
    reason: Option<RevocationReason>,
) -> Result<(String, String), Error> {
    let url = ca.directory().await?.revoke;
    let url = url.ok_or_else(|| Error::Refused("the CA revokes nothing by ACME".to_owned()))?;
    let ders = certificate.ders().map_err(|error| Error::Refused(error.to_string()))?;
    let leaf = ders.first().ok_or_else(|| Error::Refused("no certificate".to_owned()))?;
    let request = RevocationRequest { certificate: leaf, reason };
    let payload = serde_json::to_string(&request)
        .map_err(|error| Error::Refused(format!("a request that cannot be made: {error}")))?;
    Ok((url, payload))
}

fn done(reply: Reply) -> Result<(), Error> {
    match reply.problem() {
        Some(problem) if problem.kind == "alreadyRevoked" => Ok(()),
        _ => reply.ok().map(drop),
    }
}
