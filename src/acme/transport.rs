//! The HTTP below ACME: our client, with what the protocol library drops (`Retry-After`).

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use ::http::header::{RETRY_AFTER, USER_AGENT};
use ::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use instant_acme::{AccountBuilder, BodyWrapper, BytesResponse, HttpClient};
use jiff::Timestamp;

use crate::acme::Error;
use crate::http;
use crate::order;

const AGENT: &str = concat!("routecert/", env!("CARGO_PKG_VERSION"));

/// When the CA wants to be asked again (RFC 9110 §10.2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryAfter {
    In(Duration),
    At(Timestamp),
}

impl RetryAfter {
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(seconds) = text.trim().parse::<u32>() {
            return Some(Self::In(Duration::from_secs(seconds.into())));
        }
        jiff::fmt::rfc2822::parse(text.trim()).ok().map(|date| Self::At(date.timestamp()))
    }

    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::In(duration) => now
                .checked_add(jiff::SignedDuration::try_from(duration).unwrap_or_default())
                .unwrap_or(now),
            Self::At(time) => time,
        }
    }
}

pub(super) fn builder(client: http::Client) -> AccountBuilder {
    instant_acme::Account::builder_with_http(Box::new(Transport(client)))
}

struct Transport(http::Client);

/// 429 or 503: not an answer to the question but a request to come later.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Later {
    message: String,
    retry_after: Option<RetryAfter>,
    limited: bool,
}

type Reply = Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>>;

impl HttpClient for Transport {
    fn request(&self, request: Request<BodyWrapper<Bytes>>) -> Reply {
        let client = self.0.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            parts.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
            let body = match body.collect().await {
                Ok(body) => body.to_bytes(),
                Err(never) => match never {},
            };
            let reply = client
                .send(Request::from_parts(parts, body))
                .await
                .map_err(|error| instant_acme::Error::Other(Box::new(error)))?;
            match later(&reply) {
                Some(later) => Err(instant_acme::Error::Other(Box::new(later))),
                None => Ok(BytesResponse::from(reply.map(Full::new))),
            }
        })
    }
}

fn later(reply: &Response<Bytes>) -> Option<Later> {
    let limited = reply.status() == StatusCode::TOO_MANY_REQUESTS;
    if !limited && reply.status() != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let header = reply.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let detail = serde_json::from_slice::<serde_json::Value>(reply.body())
        .ok()
        .and_then(|problem| Some(problem.get("detail")?.as_str()?.to_owned()))
        .unwrap_or_else(|| "no reason given".to_owned());
    Some(Later {
        message: format!("{} (HTTP {})", order::shown(&detail), reply.status().as_u16()),
        retry_after: header.and_then(RetryAfter::parse),
        limited,
    })
}

/// What our own transport reported through the library.
pub(super) fn classify(error: &(dyn std::error::Error + Send + Sync + 'static)) -> Error {
    if let Some(later) = error.downcast_ref::<Later>() {
        let message = later.message.clone();
        if later.limited || later.retry_after.is_some() {
            return Error::RateLimited { message, retry_after: later.retry_after };
        }
        return Error::Unreachable(message);
    }
    Error::Unreachable(order::shown(&http::chain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now: Timestamp = "2026-11-25T00:00:00Z".parse().unwrap();
        let resolved = |text| RetryAfter::parse(text).map(|after| after.resolve(now).to_string());
        assert_eq!(resolved("3600").as_deref(), Some("2026-11-25T01:00:00Z"));
        let date = "Wed, 25 Nov 2026 02:00:00 GMT";
        assert_eq!(resolved(date).as_deref(), Some("2026-11-25T02:00:00Z"));
        assert_eq!(resolved("soon"), None);
        assert_eq!(resolved("-1"), None);
    }
}
