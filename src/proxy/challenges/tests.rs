//! What is answered, and how often the cluster is asked about what is not known.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::channel::mpsc::{UnboundedSender, unbounded};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::*;
use crate::name::Name;

fn noon() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn shard(token: &str, host: &str) -> Shard {
    let expires = noon() + jiff::SignedDuration::from_hours(1);
    let answer =
        Answer { name: Name::parse(host).unwrap(), answer: format!("{token}.key"), expires };
    let index = challenge::shard_of(token);
    Shard { index, answers: [(token.to_owned(), answer)].into() }
}

fn answer(text: &str) -> Reply {
    Reply::Answer(text.to_owned())
}

struct Stage {
    challenges: Challenges,
    updates: UnboundedSender<Shard>,
    asked: Arc<AtomicUsize>,
    /// One permit for each look-up that may end.
    leave: Arc<Semaphore>,
    /// So many of them fail first.
    fail: Arc<AtomicUsize>,
    desk: JoinSet<()>,
}

/// The cluster holds `token` for a.x, and nothing else.
fn stage(token: &'static str) -> Stage {
    let (updates, stream) = unbounded();
    let asked = Arc::new(AtomicUsize::new(0));
    let leave = Arc::new(Semaphore::new(0));
    let fail = Arc::new(AtomicUsize::new(0));
    let (counter, door, failures) = (Arc::clone(&asked), Arc::clone(&leave), Arc::clone(&fail));
    let look_up: LookUp = Arc::new(move |index| {
        counter.fetch_add(1, Ordering::Relaxed);
        let (door, failures) = (Arc::clone(&door), Arc::clone(&failures));
        Box::pin(async move {
            door.acquire().await.unwrap().forget();
            let fewer = |left: usize| left.checked_sub(1);
            if failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
                return Err("forbidden".to_owned());
            }
            let held = shard(token, "a.x");
            let empty = Shard { index, answers: BTreeMap::new() };
            Ok(if held.index == index { held } else { empty })
        })
    });
    let (challenges, desk) = Challenges::open(Box::pin(stream), look_up);
    let mut tasks = JoinSet::new();
    tasks.spawn(desk.run());
    Stage { challenges, updates, asked, leave, fail, desk: tasks }
}

#[tokio::test(start_paused = true)]
async fn what_the_watch_told_is_answered_without_asking() {
    let stage = stage("other");
    stage.leave.add_permits(100);
    stage.updates.unbounded_send(shard("t", "a.x")).unwrap();
    while stage.challenges.table.iter().all(|slot| slot.load().is_empty()) {
        tokio::task::yield_now().await;
    }
    let ask = |token, host| stage.challenges.answer(token, host, noon);
    assert_eq!(ask("t", "a.x").await, answer("t.key"));
    assert_eq!(ask("t", "b.x").await, Reply::Unknown);
    assert_eq!(stage.asked.load(Ordering::Relaxed), 0, "another host's token needs no look-up");
    assert_eq!(stage.desk.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_token_is_looked_up_once_for_all_who_ask() {
    let stage = stage("t");
    let all =
        futures::future::join_all((0..100).map(|_| stage.challenges.answer("t", "a.x", noon)));
    let release = async {
        while stage.asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        stage.leave.add_permits(100);
    };
    let (answers, ()) = futures::future::join(all, release).await;
    assert!(answers.iter().all(|reply| *reply == answer("t.key")));
    // Those who came during the first look-up may need a second one, all together.
    assert!(stage.asked.load(Ordering::Relaxed) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_tokens_is_bounded() {
    let stage = stage("t");
    stage.leave.add_permits(1000);
    for number in 0..50 {
        let reply = stage.challenges.answer(&format!("flood{number}"), "a.x", noon).await;
        assert_eq!(reply, Reply::Unknown);
    }
    assert_eq!(stage.asked.load(Ordering::Relaxed), 5);
    tokio::time::advance(Duration::from_millis(2500)).await;
    for number in 0..50 {
        stage.challenges.answer(&format!("again{number}"), "a.x", noon).await;
    }
    assert_eq!(stage.asked.load(Ordering::Relaxed), 7);
    tokio::time::advance(Duration::from_secs(1)).await;
    let found = stage.challenges.answer("t", "a.x", noon).await;
    assert_eq!(found, answer("t.key"), "a flood leaves no memory of absence");
}

#[tokio::test(start_paused = true)]
async fn a_look_up_does_not_undo_what_the_watch_told_meanwhile() {
    let stage = stage("old");
    let sibling = (0..).map(|n| format!("n{n}"));
    let same_shard = |token: &String| challenge::shard_of(token) == challenge::shard_of("old");
    let token = sibling.into_iter().find(same_shard).unwrap();
    let told = async {
        while stage.asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        stage.updates.unbounded_send(shard(&token, "a.x")).unwrap();
        while stage.challenges.table.iter().all(|slot| slot.load().is_empty()) {
            tokio::task::yield_now().await;
        }
        stage.leave.add_permits(1);
    };
    let (found, ()) =
        futures::future::join(stage.challenges.answer("old", "a.x", noon), told).await;
    assert_eq!(found, answer("old.key"));
    let reply = stage.challenges.answer(&token, "a.x", noon).await;
    assert_eq!(reply, answer(&format!("{token}.key")));
}

#[tokio::test(start_paused = true)]
async fn look_ups_that_fail_are_repeated_until_one_says_what_there_is() {
    let stage = stage("t");
    stage.fail.store(3, Ordering::Relaxed);
    stage.leave.add_permits(100);
    let ask = |token| stage.challenges.answer(token, "a.x", noon);
    let sibling = (0..).map(|n| format!("n{n}"));
    let same_shard = |token: &String| challenge::shard_of(token) == challenge::shard_of("t");
    let other = sibling.into_iter().find(same_shard).unwrap();
    let replies = futures::future::join3(ask("t"), ask("t"), ask(&other)).await;
    assert_eq!(replies, (answer("t.key"), answer("t.key"), Reply::Unknown));
    assert_eq!(stage.asked.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_cannot_be_read_is_no_proof_of_absence() {
    let stage = stage("t");
    stage.fail.store(usize::MAX, Ordering::Relaxed);
    stage.leave.add_permits(100);
    let start = Instant::now();
    assert_eq!(stage.challenges.answer("t", "a.x", noon).await, Reply::Unreadable);
    assert_eq!(start.elapsed().as_secs(), 8, "before the CA's ten seconds are over");
    let looked = stage.asked.load(Ordering::Relaxed);
    tokio::time::sleep(Duration::from_mins(1)).await;
    let after = stage.asked.load(Ordering::Relaxed);
    assert!(looked <= 9 && after <= looked + 1, "nobody waits any more: {looked}, {after}");
}

#[tokio::test(start_paused = true)]
async fn what_the_watch_tells_ends_the_waiting() {
    let stage = stage("other");
    let told = async {
        while stage.asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        stage.updates.unbounded_send(shard("t", "a.x")).unwrap();
    };
    let (reply, ()) = futures::future::join(stage.challenges.answer("t", "a.x", noon), told).await;
    assert_eq!(reply, answer("t.key"));
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_hangs_ends_before_the_ca_loses_patience() {
    let stage = stage("t");
    let start = Instant::now();
    assert_eq!(stage.challenges.answer("t", "a.x", noon).await, Reply::Unreadable);
    assert_eq!(start.elapsed().as_secs(), 8);
    assert_eq!(stage.asked.load(Ordering::Relaxed), 2);
}
