//! The leader's hand on the challenge table, as `store::Table` is.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::hand::Hand;
use super::records::Answers;
use crate::challenge;
use crate::challenge::{Answer, SHARDS};
use crate::issue::Stop;
use crate::store;

pub(super) struct Table {
    hand: Hand,
    shards: RefCell<Vec<Stored>>,
}

#[derive(Clone)]
struct Stored {
    answers: Answers,
    version: u64,
    live: BTreeSet<String>,
    dirty: bool,
}

impl Table {
    pub(super) async fn take_over(hand: &Hand) -> Result<Self, Stop> {
        let mut shards = Vec::new();
        for index in 0..SHARDS {
            let (answers, version) = hand.read(|it| &mut it.shards[usize::from(index)]).await?;
            let (answers, live) = (answers.unwrap_or_default(), BTreeSet::new());
            shards.push(Stored { answers, version, live, dirty: false });
        }
        Ok(Self { hand: hand.clone(), shards: RefCell::new(shards) })
    }

    pub(super) async fn present(&self, answers: Vec<(String, Answer)>) -> Result<(), Stop> {
        for (key, answer) in answers {
            let stored = &mut self.shards.borrow_mut()[usize::from(challenge::shard_of(&key))];
            stored.live.insert(key.clone());
            if stored.answers.get(&key) != Some(&answer) {
                stored.answers.insert(key, answer);
                stored.dirty = true;
            }
        }
        self.write().await?;
        self.hand.sleep(200).await;
        Ok(())
    }

    pub(super) async fn withdraw(&self, key: &str) -> Result<(), Stop> {
        {
            let stored = &mut self.shards.borrow_mut()[usize::from(challenge::shard_of(key))];
            stored.live.remove(key);
            stored.dirty |= stored.answers.remove(key).is_some();
        }
        self.write().await
    }

    pub(super) async fn settle(&self) -> Result<(), Stop> {
        for stored in self.shards.borrow_mut().iter_mut() {
            let before = stored.answers.len();
            stored.answers.retain(|key, _| stored.live.contains(key));
            stored.dirty |= stored.answers.len() != before;
        }
        self.write().await
    }

    /// What is left to write, which is tried again by itself.
    pub(super) async fn write(&self) -> Result<(), Stop> {
        for index in 0..usize::from(SHARDS) {
            let stored = self.shards.borrow()[index].clone();
            if stored.dirty {
                let version = self.write_one(index, &stored).await?;
                let stored = &mut self.shards.borrow_mut()[index];
                (stored.version, stored.dirty) = (version, false);
            }
        }
        Ok(())
    }

    async fn write_one(&self, index: usize, stored: &Stored) -> Result<u64, Stop> {
        self.hand.may_act()?;
        let answers = stored.answers.clone();
        match self.hand.put(|it| &mut it.shards[index], answers, stored.version).await {
            Err(Stop::Store(store::Error::Conflict { .. })) => {
                let (_, version) = self.hand.read(|it| &mut it.shards[index]).await?;
                let answers = stored.answers.clone();
                self.hand.put(|it| &mut it.shards[index], answers, version).await
            }
            other => other,
        }
    }
}
