//! A store in files as it is to who is not its process: read without a lock, and asked by `.ask`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use futures::stream::BoxStream;
use jiff::Timestamp;

use crate::cert::Id;
use crate::order;
use crate::order::{Asked, Declined, State};
use crate::store::files::asks;
use crate::store::files::asks::Wish;
use crate::store::files::contents::Contents;
use crate::store::files::disk;
use crate::store::files::disk::Unusable;
use crate::store::files::document::Document;
use crate::store::files::log;
use crate::store::format;
use crate::store::record::Kind;

/// The record with the wish in it, or as it is, and why the wish is declined.
type Answer = Result<State, (State, Declined)>;

#[derive(Debug)]
pub struct Visitor {
    /// Where links lead to.
    storages: Vec<PathBuf>,
    home: String,
}

impl Visitor {
    /// `storages` and `home`: as of the process.
    pub fn new(storages: &BTreeMap<String, PathBuf>, home: &str) -> Self {
        let real = |path: &PathBuf| disk::real(path).unwrap_or_else(|_| path.clone());
        let storages: BTreeSet<PathBuf> = storages.values().map(real).collect();
        Self { storages: storages.into_iter().collect(), home: home.to_owned() }
    }

    /// As they are on the disk, with what is asked for and not taken yet.
    pub fn states(&self) -> Result<Vec<(Id, State)>, Unusable> {
        let mut all = Vec::new();
        for storage in &self.storages {
            all.extend(self.states_in(storage)?);
        }
        Ok(all)
    }

    fn states_in(&self, storage: &Path) -> Result<Vec<(Id, State)>, Unusable> {
        // Read first: what is taken from it meanwhile is in the records by then.
        let wishes = pending(storage)?;
        let mut states = self.contents(storage)?.states();
        for wish in wishes {
            let Wish::Certificate { certificate, asked } = wish else { continue };
            for (_, state) in states.iter_mut().filter(|(id, _)| id.as_str() == certificate) {
                if let Ok(asked) = order::ask(state, asked.clone()) {
                    *state = asked;
                }
            }
        }
        Ok(states)
    }

    fn contents(&self, storage: &Path) -> Result<Contents, Unusable> {
        let document = disk::text(storage)?;
        let document = Document::parse(&document).map_err(|fault| Unusable::of(storage, fault))?;
        let rows = disk::bytes(&disk::beside(storage, "state"))?;
        let rows = log::parse(&rows).ok_or_else(|| Unusable::TooNew(storage.to_owned()))?.rows;
        Ok(Contents::new(document, rows, &self.home, storage.display().to_string()))
    }

    /// Until when certificates became unused that a person lets go.
    pub fn let_go(&self) -> Result<Option<Timestamp>, Unusable> {
        let mut until = None;
        for storage in &self.storages {
            let wishes = pending(storage)?;
            let said = self.contents(storage)?.list(Kind::Removal);
            until = until.max(said.iter().filter_map(format::let_go).max());
            for wish in wishes {
                if let Wish::LetGo { let_go } = wish {
                    until = until.max(Some(let_go));
                }
            }
        }
        Ok(until)
    }

    /// As [`crate::store::Store::ask`].
    pub fn ask(&self, id: &Id, wish: &Asked) -> Result<Option<Answer>, Unusable> {
        for storage in &self.storages {
            let states = self.states_in(storage)?;
            let Some((_, state)) = states.into_iter().find(|(one, _)| one == id) else { continue };
            let asked = match order::ask(&state, wish.clone()) {
                Ok(asked) => asked,
                Err(declined) => return Ok(Some(Err((state, declined)))),
            };
            let wish = Wish::Certificate { certificate: id.to_string(), asked: wish.clone() };
            add(storage, &wish)?;
            return Ok(Some(Ok(asked)));
        }
        Ok(None)
    }

    pub fn put_let_go(&self, until: Timestamp) -> Result<(), Unusable> {
        let wish = Wish::LetGo { let_go: until };
        self.storages.first().map_or(Ok(()), |storage| add(storage, &wish))
    }

    /// Once at once, then whenever a state may have changed.
    pub fn changes(&self) -> BoxStream<'static, ()> {
        asks::changes(&self.storages, "state")
    }
}

fn add(storage: &Path, wish: &Wish) -> Result<(), Unusable> {
    let path = disk::beside(storage, "ask");
    asks::add(storage, wish).map_err(|error| Unusable::not_allowed(&path, "written", error))
}

fn pending(storage: &Path) -> Result<Vec<Wish>, Unusable> {
    let path = disk::beside(storage, "ask");
    asks::pending(storage).map_err(|error| Unusable::not_allowed(&path, "read", error))
}
