//! The steps of an order (RFC 8555 §7.4, §7.5): place, look, prove, finalize, wait, download.

use std::time::Duration;

use ::http::StatusCode;
use data_encoding::BASE64URL_NOPAD;
use futures::{StreamExt, TryStreamExt, stream};
use instant_acme::{AuthorizationStatus, ChallengeType, Identifier, NewOrder, OrderStatus};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::acme::pace::Pace;
use crate::acme::reply::{Problem, Reply, https, items, text, word};
use crate::acme::{Account, Error, RetryAfter, chain};
use crate::name::{Name, Names};
use crate::order;
use crate::order::{Chosen, Offer, OrderView, Status, Unproven};
use crate::resolver::ChallengeKind;

/// Requests about one order that are under way at once.
const AT_ONCE: usize = 8;
/// More than any order has.
const MAX_AUTHORIZATIONS: usize = 1000;

/// What became of waiting for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waited {
    /// The CA has decided, or does not know the order any more: look.
    Settled,
    /// It goes on working on it.
    Open {
        /// When it wants to be asked again, if it said so.
        retry_after: Option<RetryAfter>,
        /// When it gives the order up, if it said so.
        expires: Option<Timestamp>,
    },
}

/// An authorization as the CA shows it.
struct Authorization {
    url: String,
    body: Value,
    retry_after: Option<RetryAfter>,
}

impl Account {
    /// newOrder (RFC 8555 §7.4): the order's URL. `replaces`: the ARI id of the certificate that is
    /// renewed (RFC 9773 §5), for a CA that knows such things; one that refuses it is asked again
    /// without.
    pub async fn place(
        &self,
        names: &Names,
        profile: Option<&str>,
        replaces: Option<&str>,
    ) -> Result<String, Error> {
        self.check_profile(profile).await?;
        let identifiers: Vec<Identifier> =
            names.iter().map(|name| Identifier::Dns(name.as_str().to_owned())).collect();
        let order = NewOrder::new(&identifiers);
        let order = match profile {
            Some(profile) => order.profile(profile),
            None => order,
        };
        let plain = serde_json::to_value(order)
            .map_err(|error| Error::Refused(format!("an order that cannot be made: {error}")))?;
        let directory = self.ca.directory().await?;
        let url = directory.new_order;
        let replaces = replaces.filter(|_| directory.renewal_info.is_some());
        let mut reply = self.post(&url, &with_replaces(&plain, replaces)).await?;
        if let (Some(problem), Some(id)) = (reply.problem(), replaces)
            && may_be_about_replaces(&problem, reply.status)
        {
            tracing::debug!("an order that replaces {id} is refused: {}", problem.message);
            reply = self.post(&url, &plain.to_string()).await?;
        }
        if let Some(problem) = reply.problem().filter(|problem| problem.kind == "unauthorized")
            && !self.is_good().await?
        {
            return Err(Error::AccountGone(problem.message));
        }
        let reply = reply.ok()?;
        let order = reply.location().ok_or_else(|| {
            Error::Refused("the CA gave the order no URL (no Location)".to_owned())
        })?;
        https(&order)?;
        self.learn_order(&order, &reply, &reply.json().unwrap_or_default()).await;
        Ok(order)
    }

    /// What the CA would ignore or refuse is told before an order is placed.
    async fn check_profile(&self, profile: Option<&str>) -> Result<(), Error> {
        let Some(profile) = profile else { return Ok(()) };
        let has = |known: &Option<Vec<String>>| {
            known.as_ref().is_some_and(|known| known.iter().any(|one| one == profile))
        };
        if has(&self.ca.directory().await?.profiles) {
            return Ok(());
        }
        let known = self.ca.directory_again().await?.profiles;
        if has(&known) {
            return Ok(());
        }
        let profile = order::shown(profile);
        Err(Error::Refused(match known {
            None => format!("profile `{profile}`: the CA has no profiles; remove the setting"),
            Some(known) => {
                let known = order::shown(&known.join(", "));
                format!("profile `{profile}` is none of the CA's; it has: {known}")
            }
        }))
    }

    /// The order with those of its authorizations that still need an answer.
    pub async fn look(&self, url: &str) -> Result<OrderView, Error> {
        let body = match self.order(url).await {
            Err(Error::OrderGone(_)) => {
                self.unlearn(url).await;
                return Ok(view(Status::Gone, None));
            }
            other => other?,
        };
        let status = status(&body)?;
        let problem = body.get("error").map(|error| Problem::read(error, StatusCode::OK).message);
        let mut view = view(status, problem);
        if matches!(status, Status::Pending | Status::Invalid) {
            let urls = items(&body, "authorizations").filter_map(Value::as_str);
            let urls: Vec<String> = urls.take(MAX_AUTHORIZATIONS).map(str::to_owned).collect();
            let all: Vec<Authorization> = stream::iter(urls)
                .map(|url| self.authorization(url))
                .buffered(AT_ONCE)
                .try_collect()
                .await?;
            let mut failures = Vec::new();
            for authorization in &all {
                if authorization.is_pending() {
                    view.unproven.push(self.unproven(authorization)?);
                } else if let Some(why) = authorization.failure() {
                    view.failed.extend(authorization.full_name());
                    failures.push(why);
                }
            }
            if !failures.is_empty() {
                view.problem = Some(order::shown(&failures.join("; ")));
            }
        }
        Ok(view)
    }

    fn unproven(&self, authorization: &Authorization) -> Result<Unproven, Error> {
        let offers = items(&authorization.body, "challenges").filter_map(|challenge| {
            let kind = match word(challenge, "type")? {
                ChallengeType::Dns01 => ChallengeKind::Dns01,
                ChallengeType::Http01 => ChallengeKind::Http01,
                ChallengeType::TlsAlpn01 => ChallengeKind::TlsAlpn01,
                _ => return None,
            };
            let token = text(challenge, "token").unwrap_or_default();
            Some(Offer {
                kind,
                url: text(challenge, "url")?.to_owned(),
                token: token.to_owned(),
                key_authorization: format!("{token}.{}", self.key.thumbprint()),
            })
        });
        Ok(Unproven {
            authorization_url: authorization.url.clone(),
            name: authorization.name()?,
            wildcard: authorization.is_wildcard(),
            offers: offers.collect(),
        })
    }

    /// Tells the CA that the answers are there (RFC 8555 §7.5.1) and waits until each of the
    /// authorizations is valid or is not, or `limit` is over.
    pub async fn prove(
        &self,
        order: &str,
        chosen: &[Chosen],
        limit: Duration,
    ) -> Result<(), Error> {
        tracing::debug!(order, challenges = chosen.len(), "the CA is told to look");
        let settled = stream::iter(chosen.to_vec())
            .map(|one| self.prove_one(one, Pace::new(limit)))
            .buffer_unordered(AT_ONCE);
        settled.try_collect().await
    }

    async fn prove_one(&self, chosen: Chosen, mut pace: Pace) -> Result<(), Error> {
        let told = self.post(&chosen.challenge_url, "{}").await?;
        let mut due = due(told.retry_after());
        match told.ok() {
            // The CA is faster than its reply: what became of it is read from the authorization.
            Ok(_) | Err(Error::Refused(_) | Error::OtherState(_)) => {}
            Err(error) => return Err(error),
        }
        while pace.wait(due).await {
            let authorization = self.authorization(chosen.authorization_url.clone()).await?;
            if !authorization.is_pending() {
                return Ok(());
            }
            due = self::due(authorization.retry_after);
        }
        Err(Error::Timeout)
    }

    /// Sends the signing request (RFC 8555 §7.4). `Some`: the reply says already what became of it.
    pub async fn finalize(&self, url: &str, csr: &[u8]) -> Result<Option<OrderView>, Error> {
        let known = self.known(url).await;
        let csr = known.csr.unwrap_or_else(|| csr.to_vec());
        let finalize =
            match known.finalize {
                Some(finalize) => finalize,
                None => text(&self.order(url).await?, "finalize").map(str::to_owned).ok_or_else(
                    || Error::Refused("the CA says nowhere how to finalize the order".to_owned()),
                )?,
            };
        self.learn(url, |known| known.csr = Some(csr.clone())).await;
        let payload = json!({ "csr": BASE64URL_NOPAD.encode(&csr) }).to_string();
        let reply = self.post(&finalize, &payload).await?.ok()?;
        let body = reply.json().unwrap_or_default();
        self.learn_order(url, &reply, &body).await;
        Ok(match status(&body) {
            Ok(status @ (Status::Processing | Status::Valid)) => Some(view(status, None)),
            _ => None,
        })
    }

    /// Waits until the CA has decided on an order that it is working on, for `limit` at most and
    /// never asking before it wants to be asked.
    pub async fn wait(&self, url: &str, limit: Duration) -> Result<Waited, Error> {
        let mut pace = Pace::new(limit);
        let mut expires = None;
        loop {
            let due = self.known(url).await.due;
            if !pace.wait(due).await {
                let left = due.map(|due| due.saturating_duration_since(Instant::now()));
                return Ok(Waited::Open { retry_after: left.map(RetryAfter::In), expires });
            }
            let body = match self.order(url).await {
                Err(Error::OrderGone(_)) => return Ok(Waited::Settled),
                other => other?,
            };
            if !matches!(status(&body)?, Status::Pending | Status::Processing) {
                return Ok(Waited::Settled);
            }
            expires = text(&body, "expires").and_then(|time| time.parse().ok());
        }
    }

    /// The chain in PEM, leaf first (RFC 8555 §7.4.2): the one whose topmost issuer has the
    /// `preferred` common name, else what the CA gives by itself.
    pub async fn download(&self, url: &str, preferred: Option<&str>) -> Result<String, Error> {
        let certificate = match self.known(url).await.certificate {
            Some(certificate) => certificate,
            None => text(&self.order(url).await?, "certificate")
                .map(str::to_owned)
                .ok_or_else(|| Error::OtherState("the certificate is not there yet".to_owned()))?,
        };
        let reply = self.post(&certificate, "").await?.ok()?;
        let first = chain::checked(&reply.body)?;
        let chosen = match preferred.filter(|name| !chain::ends_with(&first, name)) {
            Some(name) => self.alternate(&reply, name).await?.unwrap_or(first),
            None => first,
        };
        self.unlearn(url).await;
        Ok(chosen)
    }

    async fn alternate(&self, reply: &Reply, preferred: &str) -> Result<Option<String>, Error> {
        for url in reply.links("alternate") {
            match self.post(&url, "").await.and_then(Reply::ok) {
                Ok(reply) => {
                    let chain = chain::checked(&reply.body)?;
                    if chain::ends_with(&chain, preferred) {
                        return Ok(Some(chain));
                    }
                }
                Err(error) => tracing::warn!("an alternate chain: {error}"),
            }
        }
        tracing::info!(
            "preferredChain: no chain of the CA ends with `{preferred}`; its first is \
                        taken"
        );
        Ok(None)
    }

    async fn order(&self, url: &str) -> Result<Value, Error> {
        let reply = self.post(url, "").await?;
        let reply = reply.ok().map_err(|error| match error {
            Error::Refused(message) => Error::OrderGone(message),
            other => other,
        })?;
        let body = reply.json()?;
        self.learn_order(url, &reply, &body).await;
        Ok(body)
    }

    async fn learn_order(&self, url: &str, reply: &Reply, body: &Value) {
        let field = |key: &str| text(body, key).map(str::to_owned);
        let (finalize, certificate) = (field("finalize"), field("certificate"));
        self.learn(url, |known| {
            known.finalize = finalize.or_else(|| known.finalize.take());
            known.certificate = certificate.or_else(|| known.certificate.take());
            known.due = due(reply.retry_after());
        })
        .await;
    }

    async fn authorization(&self, url: String) -> Result<Authorization, Error> {
        let reply = self.post(&url, "").await?.ok()?;
        let (body, retry_after) = (reply.json()?, reply.retry_after());
        Ok(Authorization { url, body, retry_after })
    }
}

impl Authorization {
    fn status(&self) -> Option<AuthorizationStatus> {
        word(&self.body, "status")
    }

    fn is_pending(&self) -> bool {
        self.status() == Some(AuthorizationStatus::Pending)
    }

    fn identifier(&self) -> &str {
        self.body.get("identifier").and_then(|it| text(it, "value")).unwrap_or_default()
    }

    fn name(&self) -> Result<Name, Error> {
        Name::parse(self.identifier())
            .map_err(|error| Error::Refused(format!("the CA asks to prove another name: {error}")))
    }

    /// The name as the certificate has it.
    fn full_name(&self) -> Option<Name> {
        let wildcard = if self.is_wildcard() { "*." } else { "" };
        Name::parse(&format!("{wildcard}{}", self.identifier())).ok()
    }

    fn is_wildcard(&self) -> bool {
        self.body.get("wildcard").and_then(Value::as_bool) == Some(true)
    }

    /// Why it cannot become valid any more, with the name that it is about.
    fn failure(&self) -> Option<String> {
        let status = match self.status() {
            Some(AuthorizationStatus::Valid | AuthorizationStatus::Pending) => return None,
            Some(AuthorizationStatus::Invalid) => None,
            _ => text(&self.body, "status"),
        };
        let challenges = || items(&self.body, "challenges");
        let error = challenges().find_map(|challenge| challenge.get("error"));
        let why = match (error, status) {
            (Some(error), _) => Problem::read(error, StatusCode::OK).message,
            (None, Some(status)) => format!("its authorization is {status}"),
            (None, None) => "the CA gave no reason".to_owned(),
        };
        Some(format!("{}: {why}", order::shown(self.identifier())))
    }
}

fn view(status: Status, problem: Option<String>) -> OrderView {
    OrderView { status, unproven: Vec::new(), problem, failed: Vec::new() }
}

fn status(order: &Value) -> Result<Status, Error> {
    match word(order, "status") {
        Some(OrderStatus::Pending) => Ok(Status::Pending),
        Some(OrderStatus::Ready) => Ok(Status::Ready),
        Some(OrderStatus::Processing) => Ok(Status::Processing),
        Some(OrderStatus::Valid) => Ok(Status::Valid),
        Some(OrderStatus::Invalid) => Ok(Status::Invalid),
        None if text(order, "certificate").is_some() => Ok(Status::Valid),
        None => Err(Error::Unreachable("an order without a status that is known".to_owned())),
    }
}

fn due(retry_after: Option<RetryAfter>) -> Option<Instant> {
    retry_after.and_then(RetryAfter::wait).and_then(|wait| Instant::now().checked_add(wait))
}

fn with_replaces(order: &Value, replaces: Option<&str>) -> String {
    let mut order = order.clone();
    if let (Some(fields), Some(id)) = (order.as_object_mut(), replaces) {
        fields.insert("replaces".to_owned(), id.into());
    }
    order.to_string()
}

/// CAs use 400, 403, 404 and 409 for it, with types of all sorts; these are about something else.
fn may_be_about_replaces(problem: &Problem, status: StatusCode) -> bool {
    let other = [
        "accountDoesNotExist",
        "externalAccountRequired",
        "invalidProfile",
        "rateLimited",
        "rejectedIdentifier",
        "unsupportedIdentifier",
        "userActionRequired",
    ];
    matches!(status.as_u16(), 400 | 403 | 404 | 409) && !other.contains(&problem.kind.as_str())
}
