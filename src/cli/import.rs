//! `routecert import`: the certificates of an `acme.json` become records, without one order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::Args;
use futures::StreamExt;
use jiff::Timestamp;

use crate::cert::{Certificate, Id};
use crate::cli::place::{Records, in_runtime, records};
use crate::cli::{Common, Failure, print, understood};
use crate::config::{Config, StoreKind};
use crate::name::{Name, Names};
use crate::order::State;
use crate::store::{AcmeJson, Change, Entry, Error, Found, Label, Store, Unusable, Versioned};

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The `acme.json` to take over; it is left as it is
    file: PathBuf,
    /// Resolver for a file of Traefik 1, whose certificates belong to none
    #[arg(long, value_name = "NAME")]
    resolver: Option<String>,
    /// Resolver that is called otherwise now; repeatable
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed)]
    resolver_map: Vec<(String, String)>,
    #[command(flatten)]
    common: Common,
}

fn renamed(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').filter(|(old, new)| !old.is_empty() && !new.is_empty());
    let (old, new) = parts.ok_or("expected OLD=NEW, two names of resolvers")?;
    Ok((old.to_owned(), new.to_owned()))
}

/// Resolver and sorted names.
type Identity = (String, Vec<Name>);

impl Import {
    pub(super) fn run(
        &self,
        environment: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let file = self.read()?;
        let (config, _) = understood(&self.common.configuration, environment)?;
        let names: BTreeMap<&str, &str> =
            self.resolver_map.iter().map(|(old, new)| (old.as_str(), new.as_str())).collect();
        let renamed = |old: &str| (*names.get(old).unwrap_or(&old)).to_owned();
        known(&config, &file, &renamed)?;
        in_runtime(async {
            self.move_aside(&config)?;
            let records = records(&self.common, config).await?;
            let mut import = Job {
                records: &records,
                now,
                held: held(&records.store).await,
                told: Told::default(),
            };
            for mut found in file.certificates() {
                found.resolver = renamed(&found.resolver);
                import.take(found).await?;
            }
            for old in file.resolvers() {
                import.account(&renamed(old), file.account(old).as_deref()).await?;
            }
            import.told.end()
        })
    }

    fn read(&self) -> Result<AcmeJson, Failure> {
        if !self.file.exists() {
            return Err(Failure::Failed(format!("{}: is not there", self.file.display())));
        }
        let file = AcmeJson::read(&self.file, self.resolver.as_deref());
        let file = file.map_err(|error| match error {
            Unusable::Flat(path) => Failure::Failed(format!(
                "{}: is in the format of Traefik 1, whose certificates belong to no resolver. Say \
                 which one they are for: --resolver NAME, such as `--resolver le`. The file is left \
                 as it is",
                path.display()
            )),
            other => Failure::Failed(other.to_string()),
        })?;
        let is_flat = AcmeJson::read(&self.file, None).is_err();
        if self.resolver.is_some() && !is_flat {
            let message = "--resolver is for a file of Traefik 1; this one says which resolvers its \
                           certificates are of. To rename one: --resolver-map OLD=NEW";
            return Err(Failure::Configuration(message.to_owned()));
        }
        Ok(file)
    }

    /// A file of Traefik 1 at the very place of the store makes room for it.
    fn move_aside(&self, config: &Config) -> Result<(), Failure> {
        let is_store = |path: &PathBuf| is_same(path, &self.file);
        if self.resolver.is_none()
            || config.store() != StoreKind::File
            || !config.storages.values().any(is_store)
        {
            return Ok(());
        }
        let mut aside = self.file.clone().into_os_string();
        aside.push(".traefik1");
        let aside = PathBuf::from(aside);
        let failed = |error: String| {
            Failure::Failed(format!("{}: cannot be moved aside: {error}", self.file.display()))
        };
        if aside.exists() {
            return Err(failed(format!("{} is there already", aside.display())));
        }
        std::fs::rename(&self.file, &aside).map_err(|error| failed(error.to_string()))?;
        print(&format!("{} is {} now\n", self.file.display(), aside.display()))
    }
}

fn is_same(one: &Path, other: &Path) -> bool {
    one.canonicalize().is_ok_and(|one| other.canonicalize().is_ok_and(|other| one == other))
}

/// Before anything is written, every resolver is known that has certificates.
fn known(
    config: &Config,
    file: &AcmeJson,
    renamed: &impl Fn(&str) -> String,
) -> Result<(), Failure> {
    let targets: BTreeSet<String> =
        file.certificates().map(|found| renamed(&found.resolver)).collect();
    let unknown: Vec<&str> = targets
        .iter()
        .filter(|name| !config.resolvers.contains_key(*name))
        .map(String::as_str)
        .collect();
    let Some(first) = unknown.first() else { return Ok(()) };
    let known: Vec<&str> = config.resolvers.keys().map(String::as_str).collect();
    Err(Failure::Failed(format!(
        "not in certificatesResolvers: {}; known: {}. Say what it is called now: --resolver-map \
         {first}=NAME. Nothing was imported",
        unknown.join(", "),
        known.join(", ")
    )))
}

/// Everything that is held already.
async fn held(store: &Store) -> BTreeMap<Identity, Vec<Entry>> {
    let mut held: BTreeMap<Identity, Vec<Entry>> = BTreeMap::new();
    let mut changes = store.certificates();
    while let Some(change) = changes.next().await {
        match change {
            Change::Put(entry) => {
                if let Ok(certificate) = &entry.content {
                    let identity = identity(&entry.resolver, &certificate.facts().names);
                    held.entry(identity).or_default().push(*entry);
                }
            }
            Change::Gone(_) => {}
            // In trouble, each write says what is wrong.
            Change::Synced | Change::Trouble(_) => break,
        }
    }
    held
}

fn identity(resolver: &str, names: &Names) -> Identity {
    (resolver.to_owned(), names.sorted().into_iter().cloned().collect())
}

struct Job<'a> {
    records: &'a Records,
    now: Timestamp,
    held: BTreeMap<Identity, Vec<Entry>>,
    told: Told,
}

/// What became of them, for the last line.
#[derive(Default)]
struct Told {
    imported: usize,
    kept: usize,
    failed: usize,
}

impl Told {
    fn end(&self) -> Result<(), Failure> {
        let Self { imported, kept, failed } = self;
        print(&format!(
            "{imported} imported, {kept} there already, {failed} not usable; no order was placed\n"
        ))?;
        if *failed == 0 {
            return Ok(());
        }
        Err(Failure::Failed(format!("{failed} of the file cannot be used: see above")))
    }
}

impl Job<'_> {
    async fn take(&mut self, found: Found) -> Result<(), Failure> {
        let Found { resolver, domain, content } = found;
        let certificate = match content {
            Ok(certificate) => certificate,
            Err(why) => {
                self.told.failed += 1;
                return print(&format!("not usable  {resolver}  {domain}: {why}\n"));
            }
        };
        let facts = certificate.facts().clone();
        let word = match self.keep(&resolver, certificate).await {
            Ok(true) => {
                self.told.imported += 1;
                "imported"
            }
            Ok(false) => {
                self.told.kept += 1;
                "there already"
            }
            Err(error) => return Err(Failure::Failed(format!("{}: {error}", facts.names))),
        };
        let until = facts.not_after;
        let until = if until <= self.now {
            format!("EXPIRED at {until}: a new one is got once a route wants it")
        } else {
            format!("valid until {until}")
        };
        print(&format!("{word}  {resolver}  {}  {until}\n", facts.names))
    }

    /// Whether there was anything to write. One that lasts longer stays.
    async fn keep(&mut self, resolver: &str, certificate: Certificate) -> Result<bool, Error> {
        let facts = certificate.facts().clone();
        let identity = identity(resolver, &facts.names);
        let lasts = |entry: &Entry| {
            let held = entry.content.as_ref().ok().map(Certificate::facts);
            held.is_some_and(|held| held.not_after >= facts.not_after)
        };
        if self.held.get(&identity).is_some_and(|entries| entries.iter().any(lasts)) {
            return Ok(false);
        }
        let (store, home) = (&self.records.store, &self.records.home);
        let id = Id::of(home, resolver, &facts.names);
        // The state first: without it the certificate is one that nobody wants any more.
        self.note(&id, resolver, &facts.names).await?;
        let label = Label { id: &id, owner: home, resolver, names: &facts.names };
        let present = store.certificate(&id).await?;
        let version = present.as_ref().map(|entry| entry.version.as_str());
        store.keep(label, &certificate, version).await?;
        if let Some(entry) = store.certificate(&id).await? {
            self.held.entry(identity).or_default().push(entry);
        }
        Ok(true)
    }

    async fn note(&self, id: &Id, resolver: &str, names: &Names) -> Result<(), Error> {
        let (store, home) = (&self.records.store, &self.records.home);
        match store.state(id).await? {
            None => {
                let state = State::taken_over(home, resolver, names);
                store.put_state(id, &state, None).await?;
            }
            Some(Versioned { value, version }) if value.removed_at.is_some() => {
                let state =
                    State { taken_over: true, unused_since: None, removed_at: None, ..value };
                store.put_state(id, &state, Some(&version)).await?;
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Accounts of Traefik are RSA: another program's, to be given back by `export`.
    async fn account(&self, resolver: &str, account: Option<&str>) -> Result<(), Failure> {
        let Some(account) = account else { return Ok(()) };
        let failed = |error: Error| Failure::Failed(format!("account of {resolver}: {error}"));
        self.records.store.keep_foreign_account(resolver, account).await.map_err(failed)?;
        print(&format!(
            "account of {resolver}: kept for `export`. Its RSA key cannot be used here: an account \
             of our own is registered when first needed; renewals of the same names stay exempt \
             from the limits for orders and domains\n"
        ))
    }
}
