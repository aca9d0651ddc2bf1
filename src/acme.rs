//! ACME (RFC 8555): the account, and one function per step of an order.
//!
//! Nothing is decided and nothing is stored here; `order` says what comes next. The words of the
//! protocol are those of `instant-acme`; requests and replies are ours, because a CA's refusals,
//! its wishes to be left alone and its shorter replies have to be understood.

mod ca;
mod chain;
mod key;
mod pace;
mod register;
mod renewal;
mod reply;
mod retry_after;
mod revoke;
mod steps;

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::acme::ca::Signer;
use crate::acme::key::SigningKey;
use crate::acme::reply::Reply;

pub use ca::Ca;
pub use instant_acme::RevocationReason;
pub use register::External;
pub use renewal::{Window, renewal_info};
pub use retry_after::RetryAfter;
pub use revoke::revoke_with_its_key;
pub use steps::Waited;

/// Orders of which more than the URL is remembered; one that is forgotten is asked for again.
const KNOWN_ORDERS: usize = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no usable answer from the CA: {0}")]
    Unreachable(String),
    #[error("the CA refused: {0}")]
    Refused(String),
    /// 429, or 503 with `Retry-After`: nothing may be sent before.
    #[error("the CA asks to wait: {message}")]
    RateLimited { message: String, retry_after: Option<RetryAfter> },
    /// `orderNotReady` (RFC 8555 §7.4): ask for the order and act on what it says.
    #[error("the order is in another state than expected: {0}")]
    OtherState(String),
    #[error("the CA does not know the account any more: {0}")]
    AccountGone(String),
    /// The account of this key was deactivated or revoked; the key cannot be registered again.
    #[error("the CA takes nothing signed with the account's key any more: {0}")]
    KeyRefused(String),
    #[error("the CA does not know the order any more: {0}")]
    OrderGone(String),
    #[error("the CA sent a chain that cannot be used: {0}")]
    BadChain(String),
    #[error("the account's key cannot be used: {0}")]
    BadAccountKey(String),
    #[error("the CA did not settle the order in time")]
    Timeout,
}

/// A registered account at one CA. Clones share what is known of its orders.
#[derive(Clone)]
pub struct Account {
    ca: Arc<Ca>,
    key: Arc<SigningKey>,
    url: Arc<str>,
    orders: Arc<Mutex<BTreeMap<String, Known>>>,
}

/// What was learnt of an order: each of it saves a request, none of it is needed.
#[derive(Debug, Clone, Default)]
struct Known {
    finalize: Option<String>,
    certificate: Option<String>,
    /// The CA does not want to be asked for it before.
    due: Option<Instant>,
    /// As it was sent first: a finalize that was refused as none is sent again with the same one.
    csr: Option<Vec<u8>>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Account").field(&self.url).finish()
    }
}

impl Account {
    fn new(ca: Arc<Ca>, key: Arc<SigningKey>, url: &str) -> Self {
        Self { ca, key, url: url.into(), orders: Arc::default() }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn ca(&self) -> &Arc<Ca> {
        &self.ca
    }

    /// Signed with the account's key; `""`: POST-as-GET.
    async fn post(&self, url: &str, payload: &str) -> Result<Reply, Error> {
        let signer = Signer { key: &self.key, account: Some(&self.url) };
        self.ca.post(signer, url, payload).await
    }

    async fn known(&self, order: &str) -> Known {
        self.orders.lock().await.get(order).cloned().unwrap_or_default()
    }

    async fn learn(&self, order: &str, learn: impl FnOnce(&mut Known)) {
        let mut orders = self.orders.lock().await;
        if orders.len() >= KNOWN_ORDERS {
            orders.clear();
        }
        learn(orders.entry(order.to_owned()).or_default());
    }

    async fn unlearn(&self, order: &str) {
        self.orders.lock().await.remove(order);
    }
}
