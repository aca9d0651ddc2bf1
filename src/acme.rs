//! ACME (RFC 8555): the account, and one function per step of an order.
//!
//! Nothing is decided and nothing is stored here; `order` says what comes next.

mod transport;

use std::time::Duration;

use instant_acme::{
    AuthorizationStatus, ChallengeType, Identifier, NewOrder, OrderStatus, Problem, RetryPolicy,
};
use jiff::Timestamp;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::cert::Key;
use crate::challenge;
use crate::challenge::Answer;
use crate::http;
use crate::name::{Name, Names};
use crate::order;
use crate::order::{OrderView, Status, Unproven};

pub use transport::RetryAfter;

/// How long an answer stays valid in the challenge table if nobody takes it away.
const ANSWER_LIVES: jiff::SignedDuration = jiff::SignedDuration::from_hours(1);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no usable answer from the CA: {0}")]
    Unreachable(String),
    #[error("the CA refused: {0}")]
    Refused(String),
    #[error("the CA asks to wait: {message}")]
    RateLimited { message: String, retry_after: Option<RetryAfter> },
    /// `orderNotReady` (RFC 8555 §7.4): ask for the order and act on what it says.
    #[error("the order is in another state than expected: {0}")]
    OtherState(String),
    #[error("the CA does not know the account any more: {0}")]
    AccountGone(String),
    #[error("the CA does not know the order any more: {0}")]
    OrderGone(String),
    #[error("the account's key cannot be used: {0}")]
    BadAccountKey(String),
    #[error("the CA did not settle the order in time")]
    Timeout,
}

/// A registered account at one CA.
#[derive(Clone)]
pub struct Account(instant_acme::Account);

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Account").field(&self.0.id()).finish()
    }
}

/// Registers `key`, or finds the account that it already has (RFC 8555 §7.3.1); then sets the
/// contact, since registering a stored key sends none.
pub async fn register(
    client: http::Client,
    directory: &str,
    key: &Key,
    email: &str,
) -> Result<Account, Error> {
    let der = pkcs8(key)?;
    let pair = (
        instant_acme::Key::from_pkcs8_der(der.clone_key()).map_err(classify)?,
        rustls_pki_types::PrivateKeyDer::Pkcs8(der),
    );
    let (account, _) = transport::builder(client)
        .create_from_key(pair, directory.to_owned())
        .await
        .map_err(classify)?;
    if !email.is_empty() {
        account.update_contacts(&[&format!("mailto:{email}")]).await.map_err(classify)?;
    }
    Ok(Account(account))
}

/// An account whose URL is known; only the directory is read.
pub async fn open(
    client: http::Client,
    directory: &str,
    key: &Key,
    url: &str,
) -> Result<Account, Error> {
    let der = pkcs8(key)?;
    let account = transport::builder(client)
        .from_parts(url.to_owned(), der, directory.to_owned())
        .await
        .map_err(classify)?;
    Ok(Account(account))
}

fn pkcs8(key: &Key) -> Result<PrivatePkcs8KeyDer<'static>, Error> {
    match key.der() {
        Ok(rustls_pki_types::PrivateKeyDer::Pkcs8(der)) => Ok(der),
        Ok(_) => Err(Error::BadAccountKey("it is not in PKCS#8".to_owned())),
        Err(error) => Err(Error::BadAccountKey(error.to_string())),
    }
}

impl Account {
    pub fn url(&self) -> &str {
        self.0.id()
    }

    /// newOrder (RFC 8555 §7.4): the order's URL.
    pub async fn place(&self, names: &Names) -> Result<String, Error> {
        let identifiers: Vec<Identifier> =
            names.iter().map(|name| Identifier::Dns(name.as_str().to_owned())).collect();
        let order = self.0.new_order(&NewOrder::new(&identifiers)).await.map_err(classify)?;
        Ok(order.url().to_owned())
    }

    /// The order with those of its authorizations that still need an answer.
    pub async fn look(&self, url: &str, now: Timestamp) -> Result<OrderView, Error> {
        let mut order = match self.order(url).await {
            Err(Error::OrderGone(_)) => {
                let (unproven, failed) = (Vec::new(), Vec::new());
                return Ok(OrderView { status: Status::Gone, unproven, problem: None, failed });
            }
            other => other?,
        };
        let status = status(order.state().status);
        let mut problem = order.state().error.as_ref().map(text);
        let mut unproven = Vec::new();
        let mut failed = Vec::new();
        if matches!(status, Status::Pending | Status::Invalid) {
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization.map_err(classify)?;
                problem = failure(&authorization).or(problem);
                if authorization.status == AuthorizationStatus::Invalid {
                    failed.extend(Name::parse(&authorization.identifier().to_string()).ok());
                }
                if authorization.status == AuthorizationStatus::Pending {
                    unproven.push(http01(&mut authorization, now + ANSWER_LIVES)?);
                }
            }
        }
        Ok(OrderView { status, unproven, problem, failed })
    }

    /// Tells the CA that the answers are there (RFC 8555 §7.5.1) and waits until the order is
    /// ready or invalid, or `limit` is over.
    pub async fn prove(
        &self,
        url: &str,
        unproven: &[Unproven],
        limit: Duration,
    ) -> Result<(), Error> {
        let mut order = self.order(url).await?;
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization.map_err(classify)?;
            let ours = unproven.iter().any(|one| one.authorization_url == authorization.url());
            if !ours || authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            if let Some(mut challenge) = authorization.challenge(ChallengeType::Http01) {
                match challenge.set_ready().await.map_err(classify) {
                    // The CA is faster than its reply: what became of it is read from the order.
                    Ok(()) | Err(Error::Refused(_) | Error::OtherState(_)) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        settled(order.poll_ready(&patience(limit)).await.map(drop))
    }

    /// Sends the signing request (RFC 8555 §7.4).
    pub async fn finalize(&self, url: &str, csr: &[u8]) -> Result<(), Error> {
        self.order(url).await?.finalize_csr(csr).await.map_err(classify)
    }

    /// Waits until the CA has decided on an order that it is working on.
    pub async fn wait(&self, url: &str, limit: Duration) -> Result<(), Error> {
        let mut order = self.order(url).await?;
        let before = order.state().status;
        let polled = match before {
            OrderStatus::Pending => order.poll_ready(&patience(limit)).await.map(drop),
            _ => order.poll_certificate(&patience(limit)).await.map(drop),
        };
        settled(polled)
    }

    /// The chain in PEM, leaf first (RFC 8555 §7.4.2).
    pub async fn download(&self, url: &str) -> Result<String, Error> {
        let chain = self.order(url).await?.certificate().await.map_err(classify)?;
        chain.ok_or_else(|| Error::OtherState("the certificate is not there yet".to_owned()))
    }

    async fn order(&self, url: &str) -> Result<instant_acme::Order, Error> {
        self.0.order(url.to_owned()).await.map_err(|error| match classify(error) {
            Error::Refused(message) => Error::OrderGone(message),
            other => other,
        })
    }
}

fn patience(limit: Duration) -> RetryPolicy {
    RetryPolicy::new().initial_delay(Duration::from_millis(150)).backoff(1.5).timeout(limit)
}

/// An order that failed is settled too; why is read with the next look.
fn settled(polled: Result<(), instant_acme::Error>) -> Result<(), Error> {
    match polled.map_err(classify) {
        Ok(()) | Err(Error::Refused(_) | Error::OtherState(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn http01<'a>(
    authorization: &'a mut instant_acme::AuthorizationHandle<'a>,
    expires: Timestamp,
) -> Result<Unproven, Error> {
    let authorization_url = authorization.url().to_owned();
    let challenge = authorization
        .challenge(ChallengeType::Http01)
        .ok_or_else(|| Error::Refused("the CA offers no HTTP-01 challenge".to_owned()))?;
    if !challenge::is_token(&challenge.token) {
        return Err(Error::Refused("the CA sent a token that is none (RFC 8555 §8.3)".to_owned()));
    }
    let name = challenge.identifier().to_string();
    let name = Name::parse(&name)
        .map_err(|error| Error::Refused(format!("the CA asks to prove another name: {error}")))?;
    let answer = challenge.key_authorization().as_str().to_owned();
    Ok(Unproven {
        token: challenge.token.clone(),
        answer: Answer { name, answer, expires },
        authorization_url,
    })
}

/// Why an authorization failed, with the name that it is about.
fn failure(authorization: &instant_acme::AuthorizationHandle<'_>) -> Option<String> {
    if authorization.status != AuthorizationStatus::Invalid {
        return None;
    }
    let name = order::shown(&authorization.identifier().to_string());
    let reason = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
    Some(format!("{name}: {}", reason.map_or_else(|| "no reason given".to_owned(), text)))
}

fn status(status: OrderStatus) -> Status {
    match status {
        OrderStatus::Pending => Status::Pending,
        OrderStatus::Ready => Status::Ready,
        OrderStatus::Processing => Status::Processing,
        OrderStatus::Valid => Status::Valid,
        OrderStatus::Invalid => Status::Invalid,
    }
}

/// A problem document as it may be shown (RFC 7807, RFC 8555 §6.7).
fn text(problem: &Problem) -> String {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    let details: Vec<&str> = problem
        .detail
        .iter()
        .map(String::as_str)
        .chain(problem.subproblems.iter().filter_map(|sub| sub.detail.as_deref()))
        .collect();
    match (kind, details.is_empty()) {
        ("", true) => format!(
            "the CA gave no reason (HTTP {})",
            problem.status.map_or_else(|| "status unknown".to_owned(), |code| code.to_string())
        ),
        (kind, true) => order::shown(kind),
        ("", false) => order::shown(&details.join("; ")),
        (kind, false) => order::shown(&format!("{} ({kind})", details.join("; "))),
    }
}

fn classify(error: instant_acme::Error) -> Error {
    use instant_acme::Error as E;
    match error {
        E::Api(problem) => of_problem(&problem),
        E::Timeout(_) => Error::Timeout,
        E::Other(inner) => transport::classify(inner.as_ref()),
        // A body that is no JSON: a proxy or a CA in trouble, not an answer.
        E::Json(error) => Error::Unreachable(format!("a reply that is not ACME: {error}")),
        E::Str(what) => Error::Unreachable(format!("a reply without what it must have: {what}")),
        other => Error::Refused(order::shown(&other.to_string())),
    }
}

fn of_problem(problem: &Problem) -> Error {
    let message = text(problem);
    let kind = problem.r#type.as_deref().unwrap_or_default();
    match kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind) {
        "accountDoesNotExist" => Error::AccountGone(message),
        "orderNotReady" => Error::OtherState(message),
        "rateLimited" => Error::RateLimited { message, retry_after: None },
        // The client library repeats a refused nonce; past that, it is weather.
        "serverInternal" | "badNonce" => Error::Unreachable(message),
        _ => Error::Refused(message),
    }
}
