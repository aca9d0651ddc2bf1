//! Accounts at CAs: the key is stored before it is registered, the URL after, each account once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::acme;
use crate::acme::{Account, Ca, External};
use crate::cert::{Key, KeyType};
use crate::cluster::Fence;
use crate::http;
use crate::issue::Stop;
use crate::resolver::{CaTrust, Eab, MacKey, Resolver};
use crate::store;
use crate::store::{AccountRecord, Store, Versioned, account_hash};

/// Ways to a CA that are kept open; settings that change leave old ones behind.
const KEPT_WAYS: usize = 8;

/// Opened accounts by hash; several orders that begin at once register one account.
#[derive(Debug)]
pub struct Accounts {
    store: Store,
    slots: Mutex<BTreeMap<String, Arc<Mutex<Slot>>>>,
}

/// One account, as far as it was opened.
#[derive(Debug, Default)]
struct Slot {
    /// The oldest first.
    open: Vec<(Way, Account)>,
    /// Mail addresses that were told to the CA, by resolver.
    contacts: BTreeMap<String, String>,
}

/// How the CA is asked: resolvers of one account may differ in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    trust: CaTrust,
    timeout: Duration,
    head_timeout: Duration,
}

impl Accounts {
    pub fn new(store: Store) -> Self {
        Self { store, slots: Mutex::new(BTreeMap::new()) }
    }

    /// The account of a resolver, registered if it is not yet, with the resolver's contact.
    pub async fn open(&self, resolver: &Resolver, fence: &Fence) -> Result<Account, OpenFailed> {
        Ok(self.opened(resolver, fence).await?)
    }

    pub(super) async fn opened(&self, resolver: &Resolver, fence: &Fence) -> Result<Account, Stop> {
        let hash = hash(resolver);
        let slot = Arc::clone(self.slots.lock().await.entry(hash.clone()).or_default());
        let mut slot = slot.lock().await;
        let way = Way::of(resolver);
        let opening = Opening { store: &self.store, resolver, hash: &hash, fence };
        let known = slot.open.iter().find(|(one, _)| *one == way);
        let account = if let Some((_, account)) = known {
            account.clone()
        } else {
            let (account, contacts) = opening.read_or_register().await?;
            slot.contacts = contacts;
            if slot.open.len() >= KEPT_WAYS {
                slot.open.remove(0);
            }
            slot.open.push((way, account.clone()));
            account
        };
        if contact_of(&slot.contacts, resolver) != resolver.email {
            slot.contacts = opening.tell_contact(&account).await?;
        }
        Ok(account)
    }

    /// The CA lost the account: its key is registered again, under a new URL.
    pub(super) async fn forget(&self, resolver: &Resolver) {
        let hash = hash(resolver);
        self.slots.lock().await.remove(&hash);
        if let Ok(Some(stored)) = self.store.account(&hash).await {
            let record = AccountRecord { url: None, ..stored.value };
            let written = self.store.put_account(&hash, &record, Some(&stored.version)).await;
            if let Err(error) = written {
                tracing::warn!("account of resolver {}: {error}", resolver.name);
            }
        }
    }
}

/// Why an account cannot be used now.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct OpenFailed(#[from] Stop);

impl Way {
    fn of(resolver: &Resolver) -> Self {
        Self {
            trust: resolver.trust.clone(),
            timeout: resolver.client_timeout,
            head_timeout: resolver.response_header_timeout,
        }
    }
}

/// One account being opened for one resolver.
struct Opening<'a> {
    store: &'a Store,
    resolver: &'a Resolver,
    hash: &'a str,
    fence: &'a Fence,
}

impl Opening<'_> {
    async fn read_or_register(&self) -> Result<(Account, BTreeMap<String, String>), Stop> {
        let (stored, is_new) = self.stored_key().await?;
        let ca = self.ca()?;
        let Versioned { value: AccountRecord { key, url, contacts }, version } = stored;
        if let Some(url) = url {
            return Ok((Account::open(ca, &key, &url)?, contacts));
        }
        let with_ours = self.with_ours(&contacts);
        let emails = emails(&with_ours);
        self.fenced()?;
        let external = self.external().await?;
        // The key may be registered already, and a binding may be good only once.
        let found = if is_new { Ok(None) } else { Account::find(Arc::clone(&ca), &key).await };
        let (key, account) = match found {
            Ok(Some(account)) => {
                account.set_contact(&emails).await?;
                (key, account)
            }
            Ok(None) => {
                let account = Account::register(ca, &key, &emails, external.as_ref()).await?;
                (key, account)
            }
            Err(acme::Error::KeyRefused(why)) => {
                tracing::warn!(
                    "resolver {}: {why}; another account is registered, with a new key",
                    self.resolver.name
                );
                return Box::pin(self.with_another_key(&version)).await;
            }
            Err(error) => return Err(error.into()),
        };
        let url = Some(account.url().to_owned());
        let record = AccountRecord { key, url, contacts: with_ours.clone() };
        self.store.put_account(self.hash, &record, Some(&version)).await?;
        tracing::info!(
            resolver = self.resolver.name,
            account = account.url(),
            "account registered"
        );
        Ok((account, with_ours))
    }

    /// The account of the stored key was deactivated: no key can be registered twice.
    async fn with_another_key(
        &self,
        version: &str,
    ) -> Result<(Account, BTreeMap<String, String>), Stop> {
        let contacts = self.with_ours(&BTreeMap::new());
        let mut record = AccountRecord { key: new_key()?, url: None, contacts: contacts.clone() };
        self.fenced()?;
        let version = self.store.put_account(self.hash, &record, Some(version)).await?;
        let external = self.external().await?;
        let (ca, emails) = (self.ca()?, emails(&contacts));
        let account = Account::register(ca, &record.key, &emails, external.as_ref()).await?;
        record.url = Some(account.url().to_owned());
        self.store.put_account(self.hash, &record, Some(&version)).await?;
        tracing::info!(
            resolver = self.resolver.name,
            account = account.url(),
            "account registered"
        );
        Ok((account, contacts))
    }

    /// A contact that the CA refuses costs no certificate.
    async fn tell_contact(&self, account: &Account) -> Result<BTreeMap<String, String>, Stop> {
        let Some(stored) = self.store.account(self.hash).await? else {
            return Ok(self.with_ours(&BTreeMap::new()));
        };
        let Versioned { value, version } = stored;
        let contacts = self.with_ours(&value.contacts);
        if contacts == value.contacts {
            return Ok(contacts);
        }
        self.fenced()?;
        if emails(&contacts) != emails(&value.contacts) {
            match account.set_contact(&emails(&contacts)).await {
                Ok(()) => tracing::info!(resolver = self.resolver.name, "contact changed"),
                Err(acme::Error::Refused(why)) => {
                    let resolver = &self.resolver.name;
                    tracing::warn!("email of resolver {resolver}: the CA refused it: {why}");
                    return Ok(contacts);
                }
                Err(error) => return Err(error.into()),
            }
        }
        let record = AccountRecord { contacts: contacts.clone(), ..value };
        self.store.put_account(self.hash, &record, Some(&version)).await?;
        Ok(contacts)
    }

    /// Resolvers of one account may name several addresses: the CA is told all of them.
    fn with_ours(&self, contacts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut contacts = contacts.clone();
        let (name, email) = (&self.resolver.name, &self.resolver.email);
        if email.is_empty() {
            contacts.remove(name);
        } else {
            contacts.insert(name.clone(), email.clone());
        }
        contacts
    }

    fn ca(&self) -> Result<Arc<Ca>, Stop> {
        let client = http::Client::new(&self.resolver.trust, self.resolver.client_timeout)
            .map_err(|error| acme::Error::Unreachable(error.to_string()))?;
        let client = client.with_head_timeout(self.resolver.response_header_timeout);
        Ok(Arc::new(Ca::new(client, &self.resolver.ca_server)))
    }

    async fn external(&self) -> Result<Option<External>, Stop> {
        let Some(Eab { kid, key }) = &self.resolver.eab else { return Ok(None) };
        let mac_key = match key {
            MacKey::Given(key) => key.clone(),
            MacKey::Secret(secret) => {
                let value = self.store.credential(&secret.name, &secret.key).await?;
                let text = String::from_utf8(value).unwrap_or_default();
                MacKey::decode(&text).ok_or_else(|| {
                    acme::Error::Refused(format!(
                        "eab: Secret {}, key `{}` holds no base64url text, as the CA gives it",
                        secret.name, secret.key
                    ))
                })?
            }
        };
        Ok(Some(External { kid: kid.clone(), mac_key }))
    }

    /// Ours, or that of whoever was faster; and whether it was made just now.
    async fn stored_key(&self) -> Result<(Versioned<AccountRecord>, bool), Stop> {
        if let Some(stored) = self.store.account(self.hash).await? {
            return Ok((stored, false));
        }
        let record = AccountRecord { key: new_key()?, url: None, contacts: BTreeMap::new() };
        self.fenced()?;
        match self.store.put_account(self.hash, &record, None).await {
            Ok(version) => Ok((Versioned { value: record, version }, true)),
            Err(error @ store::Error::Conflict { .. }) => {
                let stored = self.store.account(self.hash).await?.ok_or(Stop::Store(error))?;
                Ok((stored, false))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn fenced(&self) -> Result<(), Stop> {
        if self.fence.holds() { Ok(()) } else { Err(Stop::Fenced) }
    }
}

fn new_key() -> Result<Key, acme::Error> {
    Key::generate(KeyType::Ec256).map_err(|error| acme::Error::BadAccountKey(error.to_string()))
}

fn contact_of<'a>(contacts: &'a BTreeMap<String, String>, resolver: &Resolver) -> &'a str {
    contacts.get(&resolver.name).map(String::as_str).unwrap_or_default()
}

/// Each address once.
fn emails(contacts: &BTreeMap<String, String>) -> Vec<String> {
    let mut emails: Vec<String> = contacts.values().cloned().collect();
    emails.sort_unstable();
    emails.dedup();
    emails
}

fn hash(resolver: &Resolver) -> String {
    account_name(resolver)
}

/// Name of the record of the account that the resolver orders by.
pub fn account_name(resolver: &Resolver) -> String {
    let external = resolver.eab.as_ref().map(|eab| eab.kid.as_str());
    account_hash(&resolver.ca_server, external.unwrap_or_default())
}
