//! `routecert export`: all certificates as an `acme.json` that Traefik reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use clap::Args;
use futures::StreamExt;

use crate::cert::Id;
use crate::cli::place::{in_runtime, records};
use crate::cli::{Common, Failure, print, understood};
use crate::config::StoreKind;
use crate::store::{AcmeJson, Change, Error, Store};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to write; it must not be there yet
    file: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Export {
    pub(super) fn run(&self, environment: &BTreeMap<String, String>) -> Result<(), Failure> {
        let (config, _) = understood(&self.common.configuration, environment)?;
        let mut export = Collected::default();
        if config.store() == StoreKind::File {
            // They are in Traefik's format; who reads them needs no lock.
            let paths: BTreeSet<&PathBuf> = config.storages.values().collect();
            for path in paths {
                let file = AcmeJson::read(path, None);
                export.file(&file.map_err(|error| Failure::Failed(error.to_string()))?);
            }
        } else {
            in_runtime(async {
                let records = records(&self.common, config).await?;
                let failed = |error: Error| Failure::Failed(error.to_string());
                export.store(&records.store).await.map_err(failed)
            })?;
        }
        export.file.write(&self.file).map_err(|error| {
            Failure::Failed(format!("{}: cannot be written: {error}", self.file.display()))
        })?;
        for left_out in &export.left_out {
            print(&format!("left out  {left_out}\n"))?;
        }
        print(&format!("{} certificates in {}\n", export.ids.len(), self.file.display()))
    }
}

#[derive(Default)]
struct Collected {
    file: AcmeJson,
    ids: BTreeSet<Id>,
    left_out: Vec<String>,
}

impl Collected {
    fn file(&mut self, from: &AcmeJson) {
        for found in from.certificates() {
            match found.content {
                Ok(certificate) => {
                    let id = Id::of("", &found.resolver, &certificate.facts().names);
                    self.file.add(&found.resolver, &id, &certificate);
                    self.ids.insert(id);
                }
                Err(why) => self.left_out.push(format!("{}: {why}", found.domain)),
            }
        }
        for resolver in from.resolvers() {
            if let Some(account) = from.account(resolver) {
                self.file.add_account(resolver, &account);
            }
        }
    }

    /// Of several for the same names, which only namespaces tell apart, the one that lasts longest.
    async fn store(&mut self, store: &Store) -> Result<(), Error> {
        let mut changes = store.certificates();
        let mut all = Vec::new();
        while let Some(change) = changes.next().await {
            match change {
                Change::Put(entry) => match entry.content {
                    Ok(certificate) => all.push((entry.resolver, certificate)),
                    Err(why) => self.left_out.push(format!("rc-{}: {why}", entry.id)),
                },
                Change::Gone(_) => {}
                Change::Synced => break,
                Change::Trouble(trouble) => {
                    let object = store.certificates_place();
                    return Err(Error::Failed { object, cause: trouble.to_string() });
                }
            }
        }
        all.sort_by_key(|(_, certificate)| certificate.facts().not_after);
        for (resolver, certificate) in all {
            let id = Id::of("", &resolver, &certificate.facts().names);
            self.file.add(&resolver, &id, &certificate);
            self.ids.insert(id);
        }
        for (resolver, account) in store.foreign_accounts().await? {
            self.file.add_account(&resolver, &account);
        }
        Ok(())
    }
}
