//! The store in files, as those who use it see it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use futures::StreamExt;
use jiff::Timestamp;

use crate::cert::{Certificate, Id};
use crate::name::{Name, Names};
use crate::order::State;
use crate::store::{Change, Error, Label, Store};

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("routecert-{:016x}", rand::random::<u64>()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// Resolver `le` in `a.json`, `other` in `b.json`.
    fn open(&self) -> Store {
        Store::in_files(&self.storages(), "home").unwrap()
    }

    fn storages(&self) -> BTreeMap<String, PathBuf> {
        let storages = [("le", "a.json"), ("too", "./a.json"), ("other", "b.json")];
        storages.map(|(name, file)| (name.to_owned(), self.0.join(file))).into()
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.0.join(file)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn names(name: &str) -> Names {
    Names::new([Name::parse(name).unwrap()]).unwrap()
}

fn certificate(name: &str) -> Certificate {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    Certificate::self_signed(&names(name), now, 90).unwrap()
}

async fn keep(store: &Store, owner: &str, resolver: &str, name: &str) -> Id {
    let names = names(name);
    let id = Id::of(owner, resolver, &names);
    store.put_state(&id, &State::new(owner, resolver, &names), None).await.unwrap();
    let label = Label { id: &id, owner, resolver, names: &names };
    store.keep(label, &certificate(name), None).await.unwrap();
    id
}

fn is_conflict<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Conflict { .. }))
}

/// The store is free once the thread that writes has ended.
async fn reopened(folder: &Folder, store: Store) -> Store {
    drop(store);
    loop {
        match Store::in_files(&folder.storages(), "home") {
            Ok(store) => return store,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn whoever_lost_a_race_for_a_record_overwrites_nothing() {
    let folder = Folder::new();
    let store = folder.open();
    let id = Id::of("home", "le", &names("a.x"));
    let state = State::new("home", "le", &names("a.x"));
    let first = store.put_state(&id, &state, None).await.unwrap();
    assert!(is_conflict(&store.put_state(&id, &state, None).await));
    let second = store.put_state(&id, &state, Some(&first)).await.unwrap();
    assert!(is_conflict(&store.put_state(&id, &state, Some(&first)).await));
    assert!(is_conflict(&store.remove_state(&id, &first).await));
    store.remove_state(&id, &second).await.unwrap();
    store.remove_state(&id, &second).await.unwrap();
    let gone = store.put_state(&id, &state, Some(&second)).await;
    assert!(matches!(gone, Err(Error::Missing { .. })), "{gone:?}");
}

#[tokio::test]
async fn each_resolver_has_its_file_and_nothing_is_lost_by_a_restart() {
    let folder = Folder::new();
    let store = folder.open();
    let a = keep(&store, "home", "le", "a.x").await;
    let b = keep(&store, "shop", "too", "b.x").await;
    let c = keep(&store, "home", "other", "c.x").await;
    assert!(folder.text("a.json").contains("a.x") && folder.text("a.json").contains("b.x"));
    assert!(folder.text("b.json").contains("c.x") && !folder.text("b.json").contains("a.x"));
    let store = reopened(&folder, store).await;
    for (id, owner) in [(&a, "home"), (&b, "shop"), (&c, "home")] {
        let entry = store.certificate(id).await.unwrap().unwrap();
        assert_eq!(entry.owner, owner);
        assert!(entry.content.is_ok());
        assert!(!store.state(id).await.unwrap().unwrap().value.taken_over);
    }
}

#[tokio::test]
async fn without_its_state_a_certificate_is_one_that_nobody_has_wanted_yet() {
    let folder = Folder::new();
    let store = folder.open();
    keep(&store, "shop", "le", "a.x").await;
    fs::remove_file(folder.0.join("a.json.state")).unwrap();
    let store = reopened(&folder, store).await;
    let id = Id::of("home", "le", &names("a.x"));
    assert_eq!(store.certificate(&id).await.unwrap().unwrap().owner, "home");
    assert!(store.state(&id).await.unwrap().unwrap().value.taken_over);
    assert_eq!(store.states().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_watch_tells_what_is_there_and_then_what_changes() {
    let folder = Folder::new();
    let store = folder.open();
    let a = keep(&store, "home", "le", "a.x").await;
    let mut changes = store.certificates();
    assert!(matches!(changes.next().await, Some(Change::Put(entry)) if entry.id == a));
    assert!(matches!(changes.next().await, Some(Change::Synced)));
    let b = keep(&store, "home", "le", "b.x").await;
    assert!(matches!(changes.next().await, Some(Change::Put(entry)) if entry.id == b));
    let entry = store.certificate(&a).await.unwrap().unwrap();
    store.remove_certificate(&entry).await.unwrap();
    assert!(matches!(changes.next().await, Some(Change::Gone(id)) if id == a));
    assert!(!folder.text("a.json").contains("a.x"));
}

#[tokio::test]
async fn changes_that_come_together_share_a_write_and_a_state_that_grew_is_compacted() {
    let folder = Folder::new();
    let store = folder.open();
    let id = Id::of("home", "le", &names("a.x"));
    let state = State::new("home", "le", &names("a.x"));
    let mut version = store.put_state(&id, &state, None).await.unwrap();
    for _ in 0..600 {
        version = store.put_state(&id, &state, Some(&version)).await.unwrap();
    }
    let length = folder.text("a.json.state").len();
    assert!(length < 80 * 1024, "{length}");
    let many = (0..200).map(|number| {
        let store = store.clone();
        async move { keep(&store, "home", "le", &format!("h{number}.x")).await }
    });
    futures::future::join_all(many).await;
    let store = reopened(&folder, store).await;
    assert_eq!(store.states().await.unwrap().len(), 201);
    assert!(store.state(&id).await.unwrap().is_some());
}

#[test]
fn a_store_is_of_one_process_and_says_every_fault_at_once() {
    let folder = Folder::new();
    let _held = folder.open();
    let refused = Store::in_files(&folder.storages(), "home").unwrap_err();
    assert_eq!(refused.len(), 2, "{refused:?}");
    let nowhere = [("le".to_owned(), Path::new("/nowhere/acme.json").to_owned())].into();
    let refused = Store::in_files(&nowhere, "home").unwrap_err();
    assert!(refused[0].to_string().contains("Make its folder"), "{refused:?}");
}
