//! One CA: its directory, its nonces, and signed requests to it (RFC 8555 §6, §7.1, §7.2).

use std::time::{Duration, Instant};

use ::http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use ::http::{Method, Request, StatusCode};
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use crate::acme::key::SigningKey;
use crate::acme::reply::{Reply, https, text};
use crate::acme::{Error, RetryAfter};
use crate::http::{Client, chain};
use crate::order;

const AGENT: &str = concat!("routecert/", env!("CARGO_PKG_VERSION"));
/// A CA may refuse good nonces at random; with every second one refused, this many tries fail once
/// in 65,536 requests.
const TRIES: usize = 16;
/// More are never in use at once.
const KEPT_NONCES: usize = 64;
/// A directory is read again after this long, so that a CA may change it.
const DIRECTORY_LIVES: Duration = Duration::from_hours(6);

/// A CA, by the URL of its directory. Shared by everything that asks it.
pub struct Ca {
    client: Client,
    url: String,
    directory: Mutex<Option<(Instant, Directory)>>,
    /// The newest last: an old one may not be good any more.
    nonces: Mutex<Vec<String>>,
    /// It is in trouble and asked not to be asked before.
    quiet: Mutex<Option<(Instant, String)>>,
}

impl std::fmt::Debug for Ca {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ca").field("url", &self.url).finish_non_exhaustive()
    }
}

/// RFC 8555 §7.1.1.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    pub(super) new_nonce: String,
    pub(super) new_account: String,
    pub(super) new_order: String,
    pub(super) revoke: Option<String>,
    /// RFC 9773 §4.
    pub(super) renewal_info: Option<String>,
    pub(super) external_account_required: bool,
    /// Names of the profiles; `None`: it tells of none.
    pub(super) profiles: Option<Vec<String>>,
}

/// Who signs: a registered account, or a bare key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer<'a> {
    pub(super) key: &'a SigningKey,
    /// URL of the account.
    pub(super) account: Option<&'a str>,
}

impl Ca {
    /// `url`: of the directory. Nothing is asked yet.
    pub fn new(client: Client, url: &str) -> Self {
        Self {
            client,
            url: url.to_owned(),
            directory: Mutex::new(None),
            nonces: Mutex::new(Vec::new()),
            quiet: Mutex::new(None),
        }
    }

    pub(super) async fn directory(&self) -> Result<Directory, Error> {
        let mut known = self.directory.lock().await;
        if let Some((read, directory)) = known.as_ref()
            && read.elapsed() < DIRECTORY_LIVES
        {
            return Ok(directory.clone());
        }
        let earlier = known.as_ref().map(|(_, directory)| directory.clone());
        match (self.read_directory().await, earlier) {
            (Ok(directory), _) => {
                *known = Some((Instant::now(), directory.clone()));
                Ok(directory)
            }
            // One that was good goes on being used while the CA has none to show.
            (Err(_), Some(directory)) => Ok(directory),
            (Err(error), None) => Err(error),
        }
    }

    /// Past what is known: something is looked for that was not in it.
    pub(super) async fn directory_again(&self) -> Result<Directory, Error> {
        *self.directory.lock().await = None;
        self.directory().await
    }

    async fn read_directory(&self) -> Result<Directory, Error> {
        let reply = self.get(&self.url).await?.ok()?;
        Directory::read(&reply.json()?)
    }

    pub(super) async fn get(&self, url: &str) -> Result<Reply, Error> {
        self.exchange(Request::get(https(url)?), Bytes::new()).await
    }

    /// POST with `payload`, or POST-as-GET (RFC 8555 §6.3) if it is empty. The reply may be a
    /// refusal.
    pub(super) async fn post(
        &self,
        signer: Signer<'_>,
        url: &str,
        payload: &str,
    ) -> Result<Reply, Error> {
        let uri = https(url)?;
        for _ in 0..TRIES {
            let nonce = self.nonce().await?;
            let body = signer.sign(&nonce, url, payload)?.to_string();
            let request = Request::builder()
                .method(Method::POST)
                .uri(uri.clone())
                .header(CONTENT_TYPE, "application/jose+json")
                .header(ACCEPT, "application/pem-certificate-chain, application/json, */*");
            let reply = self.exchange(request, Bytes::from(body)).await?;
            match reply.problem() {
                Some(problem) if problem.kind == "badNonce" => {}
                _ => return Ok(reply),
            }
        }
        Err(Error::Unreachable(format!("the CA refused {TRIES} nonces in a row (badNonce)")))
    }

    async fn nonce(&self) -> Result<String, Error> {
        if let Some(nonce) = self.nonces.lock().await.pop() {
            return Ok(nonce);
        }
        let directory = self.directory().await?;
        let request = Request::builder().method(Method::HEAD).uri(https(&directory.new_nonce)?);
        self.exchange(request, Bytes::new()).await?.ok()?;
        let nonce = self.nonces.lock().await.pop();
        nonce.ok_or_else(|| Error::Unreachable("the CA gave no nonce".to_owned()))
    }

    async fn exchange(&self, request: http::request::Builder, body: Bytes) -> Result<Reply, Error> {
        self.may_be_asked().await?;
        let request = request
            .header(USER_AGENT, AGENT)
            .body(body)
            .map_err(|error| Error::Refused(format!("a request that cannot be sent: {error}")))?;
        let asked = request.uri().clone();
        let reply = self
            .client
            .send(request)
            .await
            .map_err(|error| Error::Unreachable(order::shown(&chain(&error))))?;
        let reply = Reply::new(asked, reply);
        if let Some(nonce) = reply.nonce() {
            let mut nonces = self.nonces.lock().await;
            if nonces.len() >= KEPT_NONCES {
                nonces.remove(0);
            }
            nonces.push(nonce.to_owned());
        }
        match later(&reply) {
            Some(error) => {
                self.fall_quiet(&reply, &error).await;
                Err(error)
            }
            None => Ok(reply),
        }
    }

    async fn may_be_asked(&self) -> Result<(), Error> {
        let mut quiet = self.quiet.lock().await;
        let Some((until, message)) = quiet.as_ref() else { return Ok(()) };
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            *quiet = None;
            return Ok(());
        }
        let retry_after = Some(RetryAfter::In(left));
        Err(Error::RateLimited { message: message.clone(), retry_after })
    }

    /// A limit is one account's or one name's; trouble is everybody's.
    async fn fall_quiet(&self, reply: &Reply, error: &Error) {
        let wait = reply.retry_after().and_then(RetryAfter::wait);
        if reply.status != StatusCode::SERVICE_UNAVAILABLE {
            return;
        }
        if let (Some(until), Error::RateLimited { message, .. }) =
            (wait.and_then(|wait| Instant::now().checked_add(wait)), error)
        {
            *self.quiet.lock().await = Some((until, message.clone()));
        }
    }
}

/// 429 and 503: not an answer to the question but a request to come later.
fn later(reply: &Reply) -> Option<Error> {
    let limited = reply.status == StatusCode::TOO_MANY_REQUESTS;
    if !limited && reply.status != StatusCode::SERVICE_UNAVAILABLE {
        return None;
    }
    let message = reply.problem().map(|problem| problem.message).unwrap_or_default();
    let retry_after = reply.retry_after();
    if limited || retry_after.is_some() {
        return Some(Error::RateLimited { message, retry_after });
    }
    Some(Error::Unreachable(message))
}

impl Directory {
    fn read(directory: &Value) -> Result<Self, Error> {
        let needed = |key: &str| {
            let url = text(directory, key).ok_or_else(|| {
                Error::Unreachable(format!("the directory has no {key}; is caServer right?"))
            })?;
            https(url).map(|_| url.to_owned())
        };
        let may = |key: &str| text(directory, key).map(str::to_owned);
        let nothing = Value::Null;
        let meta = directory.get("meta").unwrap_or(&nothing);
        let profiles = meta.get("profiles").and_then(Value::as_object);
        let required = meta.get("externalAccountRequired").and_then(Value::as_bool);
        Ok(Self {
            new_nonce: needed("newNonce")?,
            new_account: needed("newAccount")?,
            new_order: needed("newOrder")?,
            revoke: may("revokeCert"),
            renewal_info: may("renewalInfo"),
            external_account_required: required.unwrap_or(false),
            profiles: profiles.map(|all| all.keys().cloned().collect()),
        })
    }
}

impl Signer<'_> {
    /// Flattened JSON (RFC 7515 §7.2.2).
    fn sign(&self, nonce: &str, url: &str, payload: &str) -> Result<Value, Error> {
        let who = match self.account {
            Some(account) => ("kid", account.into()),
            None => ("jwk", self.key.jwk()),
        };
        let mut protected = Map::new();
        protected.insert("alg".to_owned(), self.key.algorithm().into());
        protected.insert(who.0.to_owned(), who.1);
        protected.insert("nonce".to_owned(), nonce.into());
        protected.insert("url".to_owned(), url.into());
        let protected = Value::Object(protected);
        let protected = BASE64URL_NOPAD.encode(protected.to_string().as_bytes());
        let payload = BASE64URL_NOPAD.encode(payload.as_bytes());
        let signature = self.key.sign(format!("{protected}.{payload}").as_bytes())?;
        Ok(json!({ "protected": protected, "payload": payload, "signature": signature }))
    }
}
