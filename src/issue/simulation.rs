//! Orders under crashes, pauses and lost replies, with one controller or two: whatever happens, each
//! certificate that is wanted comes once, and nothing is left over.
//!
//! The crash matrix of the integration tests kills the real program after each write, once. This
//! does what that cannot: several faults in one order, two that believe to lead, requests that
//! arrive late. One seed makes one run, so that a failure can be looked at again:
//! `ROUTECERT_SEED=7 cargo test --lib simulation -- --nocapture`.
//!
//! Real are the decisions: [`crate::order::next`], what is stored in the state, what counts as a
//! failure, the entries of the challenge table and what they answer, whether a chain belongs to a
//! key. Mirrored are the mechanics of `issue::drive` (which effect writes what, and where the fence
//! is asked), of the challenge table's writer, of the account's registration and of the Lease;
//! simulated are the store, the CA and the DNS. A request to a DNS provider arrives before another
//! controller may lead: there nothing but the fence keeps a late one away.

mod ca;
mod driver;
mod hand;
mod leader;
mod process;
mod records;
mod table;
mod world;

use std::cell::RefCell;
use std::rc::Rc;

use rand::Rng;

use crate::name::{Name, Names};
use crate::order::{Asked, Status};
use crate::resolver::ChallengeKind;
use hand::Shared;
use leader::Want;
use process::Process;
use world::World;

const SEEDS: u64 = 1000;
/// So long things go wrong.
const CHAOS: usize = 3000;
/// More than a run takes.
const MOST: usize = 60_000;

#[test]
#[expect(clippy::disallowed_methods, reason = "a person names one seed to look at")]
#[expect(clippy::print_stdout, reason = "what happened is for the person who looks")]
fn whatever_happens_each_certificate_comes_once_and_nothing_is_left() {
    let one = std::env::var("ROUTECERT_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let mut wrong = Vec::new();
    for seed in one.map_or(0..SEEDS, |seed| seed..seed + 1) {
        let world = run(seed);
        let world = world.borrow();
        if one.is_some() || (wrong.is_empty() && !world.violations.is_empty()) {
            println!("{}", world.log.join("\n"));
        }
        if !world.violations.is_empty() {
            wrong.push(format!("ROUTECERT_SEED={seed}: {}", world.violations.join("; ")));
        }
    }
    let (number, first) = (wrong.len(), wrong.iter().take(20).cloned().collect::<Vec<_>>());
    assert!(wrong.is_empty(), "{number} seeds show it again:\n{}", first.join("\n"));
}

fn run(seed: u64) -> Shared {
    let mut world = World::new(seed);
    let want = want(&mut world);
    let controllers: usize = world.dice.random_range(1..=2);
    let wanted: usize = world.dice.random_range(1..=3);
    let chaos = world.dice.random_range(0..CHAOS);
    let shared: Shared = Rc::new(RefCell::new(world));
    let mut processes: Vec<_> =
        (0..controllers).map(|who| Process::new(who, &shared, &want)).collect();
    let mut asked = 1;
    for step in 0..MOST {
        let which = shared.borrow_mut().dice.random_range(0..controllers);
        processes[which].step();
        let mut world = shared.borrow_mut();
        let time = world.between(0, 200);
        world.pass(time);
        world.calm = step >= chaos;
        if has_come(&world, asked) && asked < wanted {
            asked += 1;
            ask_for_another(&mut world);
        }
        if asked == wanted && step > chaos && is_at_rest(&world, wanted) {
            break;
        }
    }
    drop(processes);
    judge(&mut shared.borrow_mut(), wanted);
    shared
}

fn want(world: &mut World) -> Want {
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};
    let (names, kinds): (&[&str], &[ChallengeKind]) = match world.dice.random_range(0..5) {
        0 => (&["a.x"], &[Http01]),
        1 => (&["a.x", "b.x"], &[TlsAlpn01, Http01]),
        2 => (&["a.x", "*.a.x"], &[Dns01]),
        3 => (&["a.x", "*.a.x", "b.x"], &[TlsAlpn01, Http01, Dns01]),
        _ => (&["a.x"], &[TlsAlpn01]),
    };
    let names = Names::new(names.iter().map(|name| Name::parse(name).unwrap())).unwrap();
    Want { names, kinds: kinds.to_vec() }
}

/// The certificate that was asked for last is there, and its order over.
fn has_come(world: &World, asked: usize) -> bool {
    let state = world.records.state.value.as_ref();
    state.is_some_and(|state| {
        state.pending.is_none() && state.asked.is_none() && state.issued.len() >= asked
    })
}

/// As `routecert renew` does.
fn ask_for_another(world: &mut World) {
    let (now, record) = (world.now, &mut world.records.state);
    let mut state = record.value.clone().unwrap();
    state.asked = Some(Asked::Renew { at: now, force: false });
    let (version, term) = (record.version, record.term);
    record.put(state, version, term).unwrap();
    world.note("another certificate is asked for");
}

fn is_at_rest(world: &World, wanted: usize) -> bool {
    has_come(world, wanted) && leftovers(world).is_empty()
}

fn leftovers(world: &World) -> Vec<String> {
    let mut left = Vec::new();
    let state = world.records.state.value.as_ref();
    if world.records.answers() > 0 {
        left.push(format!("{} answers are left in the table", world.records.answers()));
    }
    left.extend(world.txt.values().flatten().map(|value| format!("TXT {value} is left")));
    if state.is_some_and(|state| !state.records.is_empty()) {
        left.push("the state lists TXT records".to_owned());
    }
    left
}

fn judge(world: &mut World, wanted: usize) {
    let mut wrong = leftovers(world);
    if !has_come(world, wanted) {
        wrong.push("the certificate did not come".to_owned());
    }
    let accepted = world.ca.accepted();
    if accepted != wanted {
        wrong.push(format!("{accepted} certificates of {wanted}"));
    }
    if world.ca.accounts.len() != 1 {
        wrong.push(format!("{} accounts", world.ca.accounts.len()));
    }
    let state = world.records.state.value.as_ref();
    let counted = state.and_then(|state| state.issued.last());
    let held = world.records.certificate.value.as_ref();
    if held.map(|held| &held.facts().fingerprint) != counted.map(|issued| &issued.fingerprint) {
        wrong.push("the certificate that is held is not the one that was counted".to_owned());
    }
    for (url, order) in &world.ca.orders {
        let over = matches!(order.status, Status::Valid | Status::Invalid | Status::Gone);
        if !over && !world.lost.contains_key(url) {
            wrong.push(format!("{url} was dropped without a reason"));
        }
    }
    for text in wrong {
        world.violation(text);
    }
}
