//! Accounts at CAs: the key is stored before it is registered, the URL after, each account once.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

use crate::acme;
use crate::acme::Account;
use crate::cert::{Key, KeyType};
use crate::cluster::Fence;
use crate::http;
use crate::issue::Stop;
use crate::resolver::Resolver;
use crate::store;
use crate::store::{AccountRecord, Store, Versioned, account_hash};

/// Opened accounts by hash; several orders that begin at once register one account.
#[derive(Debug)]
pub struct Accounts {
    store: Store,
    opened: Mutex<BTreeMap<String, Arc<OnceCell<Account>>>>,
}

impl Accounts {
    pub fn new(store: Store) -> Self {
        Self { store, opened: Mutex::new(BTreeMap::new()) }
    }

    pub(super) async fn open(&self, resolver: &Resolver, fence: &Fence) -> Result<Account, Stop> {
        let hash = hash(resolver);
        let cell = Arc::clone(self.opened.lock().await.entry(hash.clone()).or_default());
        let account =
            cell.get_or_try_init(|| self.read_or_register(resolver, &hash, fence)).await?;
        Ok(account.clone())
    }

    /// The CA lost the account: its key is registered again, under a new URL.
    pub(super) async fn forget(&self, resolver: &Resolver) {
        let hash = hash(resolver);
        self.opened.lock().await.remove(&hash);
        if let Ok(Some(stored)) = self.store.account(&hash).await {
            let record = AccountRecord { url: None, ..stored.value };
            let written = self.store.put_account(&hash, &record, Some(&stored.version)).await;
            if let Err(error) = written {
                tracing::warn!("account of resolver {}: {error}", resolver.name);
            }
        }
    }

    async fn read_or_register(
        &self,
        resolver: &Resolver,
        hash: &str,
        fence: &Fence,
    ) -> Result<Account, Stop> {
        let stored = self.stored_key(hash, fence).await?;
        let client = http::Client::new(&resolver.trust, resolver.client_timeout)
            .map_err(|error| acme::Error::Unreachable(error.to_string()))?;
        let AccountRecord { key, url } = &stored.value;
        if let Some(url) = url {
            return Ok(acme::open(client, &resolver.ca_server, key, url).await?);
        }
        fenced(fence)?;
        let account = acme::register(client, &resolver.ca_server, key, &resolver.email).await?;
        let record = AccountRecord { key: key.clone(), url: Some(account.url().to_owned()) };
        self.store.put_account(hash, &record, Some(&stored.version)).await?;
        tracing::info!(resolver = resolver.name, account = account.url(), "account registered");
        Ok(account)
    }

    /// Ours, or that of whoever was faster.
    async fn stored_key(
        &self,
        hash: &str,
        fence: &Fence,
    ) -> Result<Versioned<AccountRecord>, Stop> {
        if let Some(stored) = self.store.account(hash).await? {
            return Ok(stored);
        }
        let key = Key::generate(KeyType::Ec256)
            .map_err(|error| acme::Error::BadAccountKey(error.to_string()))?;
        let record = AccountRecord { key, url: None };
        fenced(fence)?;
        match self.store.put_account(hash, &record, None).await {
            Ok(version) => Ok(Versioned { value: record, version }),
            Err(error @ store::Error::Conflict { .. }) => {
                self.store.account(hash).await?.ok_or(Stop::Store(error))
            }
            Err(error) => Err(error.into()),
        }
    }
}

fn hash(resolver: &Resolver) -> String {
    account_name(resolver)
}

/// Name of the record of the account that the resolver orders by.
pub fn account_name(resolver: &Resolver) -> String {
    account_hash(&resolver.ca_server, &resolver.email, "")
}

fn fenced(fence: &Fence) -> Result<(), Stop> {
    if fence.holds() { Ok(()) } else { Err(Stop::Fenced) }
}
