//! What is asked of a CA beside orders: when to renew, and to revoke.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::acme;
use crate::acme::{Ca, RevocationReason};
use crate::cert::{Certificate, Id};
use crate::http;
use crate::issue::{Engine, Outcome, Stop, fenced};
use crate::order::{Ari, Polled, State, Window, learn};
use crate::resolver::Resolver;
use crate::store::Versioned;

/// Renewal information is worth so much waiting, and no more.
const POLL_LIMIT: Duration = Duration::from_secs(10);

/// Asks the CA when to renew the certificate (RFC 9773). `ari_id`: which certificate.
pub async fn poll(engine: &Engine, resolver: &Resolver, ari_id: String, now: Timestamp) -> Outcome {
    let polled = async {
        fenced(&engine.fence)?;
        let account = engine.accounts.opened(resolver, &engine.fence).await?;
        Ok::<_, Stop>(window(account.ca(), &ari_id, now).await?)
    };
    match polled.await {
        Ok(polled) => Outcome::Polled { ari_id, polled },
        Err(error) => {
            tracing::debug!("renewal information of {ari_id}: {error}; what is known stays");
            Outcome::NotPolled { ari_id }
        }
    }
}

/// `None`: the CA does not tell such things.
async fn window(ca: &Arc<Ca>, ari_id: &str, now: Timestamp) -> Result<Option<Polled>, acme::Error> {
    let answer = tokio::time::timeout(POLL_LIMIT, ca.renewal_info(ari_id)).await;
    let answer = answer.map_err(|_elapsed| acme::Error::Timeout)??;
    Ok(answer.map(|answer| {
        let wait = answer.retry_after.map(|after| after.resolve(now).duration_since(now));
        let window = Window { start: answer.start, end: answer.end };
        Polled { window, retry_after: wait }
    }))
}

/// What the CA suggests for a certificate that it issued just now. Never worth a failure.
pub(super) async fn first_window(
    ca: &Arc<Ca>,
    certificate: &Certificate,
    now: Timestamp,
) -> Option<Ari> {
    let ari_id = certificate.facts().ari_id.as_ref()?;
    match window(ca, ari_id, now).await {
        Ok(polled) => learn(None, ari_id, Some(polled?), now, rand::random()),
        Err(error) => {
            tracing::debug!("renewal information of {ari_id}: {error}; asked for again");
            None
        }
    }
}

/// The certificate to revoke.
#[derive(Debug, Clone)]
pub struct Revocation {
    pub id: Id,
    pub resolver: Resolver,
    /// RFC 5280 §5.3.1.
    pub reason: Option<u8>,
}

/// Revokes the certificate that is held and notes that it was done.
pub async fn revoke(engine: &Engine, revocation: &Revocation) -> Outcome {
    match try_revoke(engine, revocation).await {
        Ok(state) => Outcome::Noted(state),
        Err(stop) => Outcome::Interrupted(format!("not revoked yet: {stop}")),
    }
}

async fn try_revoke(engine: &Engine, revocation: &Revocation) -> Result<Versioned<State>, Stop> {
    let id = &revocation.id;
    let Some(Versioned { value: state, version }) = engine.store.state(id).await? else {
        return Err(Stop::Overtaken);
    };
    let held = engine.store.certificate(id).await?.and_then(|entry| entry.content.ok());
    let mut state = State { asked: None, ..state };
    if let Some(certificate) = held {
        fenced(&engine.fence)?;
        match revoke_at_its_ca(engine, revocation, &state, &certificate).await {
            Ok(()) => {
                tracing::info!(names = %state.names, "certificate revoked");
                state.revoked = Some(certificate.facts().fingerprint.clone());
            }
            // Asked again it would say the same.
            Err(Stop::Acme(acme::Error::Refused(why))) => {
                tracing::error!(names = %state.names, "the CA does not revoke it: {why}");
            }
            Err(stop) => return Err(stop),
        }
    } else {
        tracing::warn!(names = %state.names, "there is no certificate to revoke");
    }
    fenced(&engine.fence)?;
    let version = engine.store.put_state(id, &state, Some(&version)).await?;
    Ok(Versioned { value: state, version })
}

async fn revoke_at_its_ca(
    engine: &Engine,
    revocation: &Revocation,
    state: &State,
    certificate: &Certificate,
) -> Result<(), Stop> {
    let resolver = &revocation.resolver;
    let reason = reason(revocation.reason);
    let fingerprint = &certificate.facts().fingerprint;
    let issued = state.issued.iter().find(|issued| issued.fingerprint == *fingerprint);
    let ca = issued.and_then(|issued| issued.terms.as_ref()).map(|terms| &terms.spec.ca);
    match ca.filter(|ca| **ca != resolver.ca_server) {
        None => {
            let account = engine.accounts.opened(resolver, &engine.fence).await?;
            account.revoke(certificate, reason).await?;
        }
        // No account is made for that: who has the key may revoke.
        Some(ca) => {
            let client = http::Client::new(&resolver.trust, resolver.client_timeout)
                .map_err(|error| acme::Error::Unreachable(error.to_string()))?;
            let ca = Arc::new(Ca::new(client, ca));
            acme::revoke_with_its_key(&ca, certificate, reason).await?;
        }
    }
    Ok(())
}

fn reason(code: Option<u8>) -> Option<RevocationReason> {
    Some(match code? {
        1 => RevocationReason::KeyCompromise,
        2 => RevocationReason::CaCompromise,
        3 => RevocationReason::AffiliationChanged,
        4 => RevocationReason::Superseded,
        5 => RevocationReason::CessationOfOperation,
        6 => RevocationReason::CertificateHold,
        8 => RevocationReason::RemoveFromCrl,
        9 => RevocationReason::PrivilegeWithdrawn,
        10 => RevocationReason::AaCompromise,
        _ => RevocationReason::Unspecified,
    })
}
