//! Requests to a provider's HTTP API, and errors that name the step.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use crate::dns::{Error, Exchange};
use crate::http as outgoing;

/// RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Shorter ones occur in texts by chance.
const SHORTEST_SECRET: usize = 6;

/// One API: its address, and the credentials that every request carries.
#[derive(Clone)]
pub struct Api {
    provider: &'static str,
    exchange: Arc<dyn Exchange>,
    base: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Taken out of what the API answers before anybody sees it.
    secrets: Vec<String>,
    timeout: Duration,
}

impl Api {
    pub(super) fn new(
        provider: &'static str,
        exchange: Arc<dyn Exchange>,
        base: &str,
        timeout: Duration,
    ) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { provider, exchange, base, headers: Vec::new(), secrets: Vec::new(), timeout }
    }

    /// Every request carries this header; its value is a secret.
    pub fn header(mut self, name: &'static str, value: &str) -> Result<Self, Error> {
        let mut header = HeaderValue::from_str(value).map_err(|_invalid| Error::Settings {
            provider: self.provider,
            message: format!("a credential cannot be sent in {name}: it has control characters"),
        })?;
        header.set_sensitive(true);
        self.headers.push((HeaderName::from_static(name), header));
        Ok(self.secret(value))
    }

    /// `Authorization: Bearer` (RFC 6750).
    pub fn bearer(self, token: &str) -> Result<Self, Error> {
        self.secret(token).header("authorization", &format!("Bearer {token}"))
    }

    /// `Authorization: Basic` (RFC 7617).
    pub fn basic(self, user: &str, password: &str) -> Result<Self, Error> {
        let pair = BASE64.encode(format!("{user}:{password}").as_bytes());
        self.secret(password).header("authorization", &format!("Basic {pair}"))
    }

    /// Never shown, wherever in a request it stands.
    #[must_use]
    pub fn secret(mut self, value: &str) -> Self {
        if value.len() >= SHORTEST_SECRET {
            self.secrets.push(value.to_owned());
        }
        self
    }

    /// A request for `path` below the base; `step` says in messages what it is for, such as
    /// `create the record`.
    pub fn call(&self, method: Method, step: &'static str, path: &str) -> Call<'_> {
        let request = Request::builder().method(method);
        let url = format!("{}{path}", self.base);
        Call { api: self, step, url, request, query: String::new(), body: Bytes::new() }
    }

    pub fn get(&self, step: &'static str, path: &str) -> Call<'_> {
        self.call(Method::GET, step, path)
    }

    pub fn post(&self, step: &'static str, path: &str) -> Call<'_> {
        self.call(Method::POST, step, path)
    }

    pub fn put(&self, step: &'static str, path: &str) -> Call<'_> {
        self.call(Method::PUT, step, path)
    }

    pub fn patch(&self, step: &'static str, path: &str) -> Call<'_> {
        self.call(Method::PATCH, step, path)
    }

    pub fn delete(&self, step: &'static str, path: &str) -> Call<'_> {
        self.call(Method::DELETE, step, path)
    }

    /// The answer is no; `cause` may be text of the API.
    pub fn refused(&self, step: &'static str, cause: &str) -> Error {
        Error::Refused { provider: self.provider, step, cause: self.clean(cause) }
    }

    /// Without secrets and control characters, and short.
    fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret, "[hidden]");
        }
        outgoing::shown(text.trim())
    }

    fn judged(&self, step: &'static str, response: &Response<Bytes>) -> Result<(), Error> {
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let body = self.clean(&String::from_utf8_lossy(response.body()));
        let cause = format!("HTTP {status}{}{body}", if body.is_empty() { "" } else { ": " });
        let provider = self.provider;
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let header = response.headers().get(http::header::RETRY_AFTER);
            let seconds = header.and_then(|value| value.to_str().ok()?.parse().ok());
            let retry_after = seconds.map(Duration::from_secs);
            return Err(Error::Busy { provider, step, cause, retry_after });
        }
        Err(Error::Refused { provider, step, cause })
    }
}

impl fmt::Debug for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Api").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// A request that is being put together.
#[derive(Debug)]
pub struct Call<'a> {
    api: &'a Api,
    step: &'static str,
    url: String,
    request: http::request::Builder,
    query: String,
    body: Bytes,
}

impl Call<'_> {
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let between = if self.query.is_empty() { '?' } else { '&' };
        self.query = format!("{}{between}{}={}", self.query, escape(name), escape(value));
        self
    }

    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        // A value of ours is always JSON; the API refuses an empty body by name.
        self.text("application/json", serde_json::to_string(body).unwrap_or_default())
    }

    #[must_use]
    pub fn form(self, fields: &[(&str, &str)]) -> Self {
        let field = |(name, value): &(&str, &str)| format!("{}={}", escape(name), escape(value));
        let body: Vec<String> = fields.iter().map(field).collect();
        self.text("application/x-www-form-urlencoded", body.join("&"))
    }

    #[must_use]
    pub fn text(mut self, content_type: &'static str, body: String) -> Self {
        self.request = self.request.header(http::header::CONTENT_TYPE, content_type);
        self.body = body.into();
        self
    }

    /// The reply, if its status is 2xx.
    pub async fn send(self) -> Result<Reply, Error> {
        let (api, step) = (self.api.clone(), self.step);
        let response = self.exchange().await?;
        api.judged(step, &response)?;
        Ok(Reply::new(api, step, response))
    }

    /// As [`Self::send`]; `None` for the status 404, which is no error here.
    pub async fn find(self) -> Result<Option<Reply>, Error> {
        let (api, step) = (self.api.clone(), self.step);
        let response = self.exchange().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        api.judged(step, &response)?;
        Ok(Some(Reply::new(api, step, response)))
    }

    async fn exchange(self) -> Result<Response<Bytes>, Error> {
        let (provider, step) = (self.api.provider, self.step);
        let mut request = self.request.uri(format!("{}{}", self.url, self.query));
        for (name, value) in &self.api.headers {
            request = request.header(name, value);
        }
        let request = request.body(self.body).map_err(|error| Error::Settings {
            provider,
            message: format!("{step}: no request can be made of the settings: {error}"),
        })?;
        if request.uri().host().is_none() {
            let message = format!("{step}: the address of the API is no URL");
            return Err(Error::Settings { provider, message });
        }
        let sent = self.api.exchange.send(request, self.api.timeout).await;
        sent.map_err(|error| {
            let cause = self.api.clean(&error.to_string());
            Error::Unreachable { provider, step, cause }
        })
    }
}

/// What the API answered with success.
#[derive(Debug)]
pub struct Reply {
    api: Api,
    step: &'static str,
    status: StatusCode,
    body: Bytes,
}

impl Reply {
    fn new(api: Api, step: &'static str, response: Response<Bytes>) -> Self {
        Self { api, step, status: response.status(), body: response.into_body() }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Result<Value, Error> {
        serde_json::from_slice(&self.body).map_err(|error| {
            self.refused(&format!("the answer is no JSON ({error}): {}", self.text()))
        })
    }

    /// The value at a JSON pointer (RFC 6901); an error if there is none.
    pub fn at(&self, pointer: &str) -> Result<Value, Error> {
        let found = self.json()?.pointer(pointer).filter(|found| !found.is_null()).cloned();
        found.ok_or_else(|| self.refused(&format!("the answer has no {pointer}: {}", self.text())))
    }

    /// Whatever the status, the answer means no.
    pub fn refused(&self, cause: &str) -> Error {
        self.api.refused(self.step, cause)
    }
}

/// For a segment of a path, or a name or value of a query or form (RFC 3986 §2.1).
pub fn escape(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}
