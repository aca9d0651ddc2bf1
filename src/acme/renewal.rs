//! When the CA would like a certificate to be renewed (RFC 9773).

use jiff::Timestamp;

use crate::acme::ca::Ca;
use crate::acme::reply::text;
use crate::acme::{Error, RetryAfter};
use crate::http::Client;
use crate::order;

/// `suggestedWindow`, RFC 9773 §4.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub start: Timestamp,
    /// After the start.
    pub end: Timestamp,
    /// Where the CA says why; may be shown.
    pub explanation: Option<String>,
    /// When to ask again; some CAs do not say.
    pub retry_after: Option<RetryAfter>,
}

/// Asks the CA at `directory`, which is read anew; see [`Ca::renewal_info`].
pub async fn renewal_info(
    client: &Client,
    directory: &str,
    ari_id: &str,
) -> Result<Option<Window>, Error> {
    Ca::new(client.clone(), directory).renewal_info(ari_id).await
}

impl Ca {
    /// `ari_id`: of the certificate, RFC 9773 §4.1. `None`: the CA does not tell such things.
    pub async fn renewal_info(&self, ari_id: &str) -> Result<Option<Window>, Error> {
        let Some(base) = self.directory().await?.renewal_info else { return Ok(None) };
        let reply = self.get(&format!("{}/{ari_id}", base.trim_end_matches('/'))).await?.ok()?;
        let body = reply.json()?;
        let time = |key: &str| {
            let window = body.get("suggestedWindow")?;
            text(window, key)?.parse::<Timestamp>().ok()
        };
        match (time("start"), time("end")) {
            (Some(start), Some(end)) if start < end => Ok(Some(Window {
                start,
                end,
                explanation: text(&body, "explanationURL").map(order::shown),
                retry_after: reply.retry_after(),
            })),
            _ => Err(Error::Unreachable("renewal information without a window".to_owned())),
        }
    }
}
