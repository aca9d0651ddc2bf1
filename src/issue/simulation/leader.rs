//! One term of a leader: what is to be done is decided on what it knows, and driven.

use super::driver::{Ended, Job, drive, tidy};
use super::hand::Hand;
use super::table::Table;
use crate::issue::Stop;
use crate::name::Names;
use crate::order::{Asked, State};
use crate::resolver::ChallengeKind;

/// What is wanted.
#[derive(Clone)]
pub(super) struct Want {
    pub(super) names: Names,
    pub(super) kinds: Vec<ChallengeKind>,
}

pub(super) async fn lead(hand: Hand, want: Want) {
    loop {
        match begin(&hand, &want).await {
            Ok(()) => return,
            Err(stop) => hand.note(&format!("cannot begin: {stop}")),
        }
        hand.sleep(2000).await;
    }
}

#[expect(clippy::infinite_loop, reason = "whoever polls it drops it")]
async fn begin(hand: &Hand, want: &Want) -> Result<(), Stop> {
    let mut known = hand.read(|it| &mut it.state).await?.0;
    let table = Table::take_over(hand).await?;
    let mut inherits = known.as_ref().is_some_and(|state| state.pending.is_some());
    let mut settled = false;
    let mut pause = 1000;
    let mut doubted = false;
    loop {
        if doubted && let Ok((state, _)) = hand.read(|it| &mut it.state).await {
            (known, doubted) = (state, false);
        }
        if doubted {
            hand.sleep(pause).await;
            continue;
        }
        let ended = turn(hand, &table, want, known.as_ref()).await;
        inherits &= ended.is_none();
        if !inherits && !settled {
            settled = true;
            drop(table.settle().await);
        }
        pause = match ended {
            None => 1000,
            Some(Ended::Known(state, later)) => {
                known = Some(*state);
                later
            }
            Some(Ended::Interrupted(why)) => {
                hand.note(&format!("interrupted: {why}"));
                doubted = true;
                (pause * 2).min(20_000)
            }
        };
        hand.sleep(pause).await;
        drop(table.write().await);
        // Somebody asks for something: such records are watched.
        if let Ok((Some(state), _)) = hand.read(|it| &mut it.state).await
            && state.asked.is_some()
        {
            known = Some(state);
        }
    }
}

/// `None`: there was nothing to do.
async fn turn(hand: &Hand, table: &Table, want: &Want, known: Option<&State>) -> Option<Ended> {
    let held = match hand.read(|it| &mut it.certificate).await {
        Ok((held, _)) => held.map(|certificate| certificate.facts().fingerprint.clone()),
        Err(stop) => return Some(Ended::Interrupted(stop.to_string())),
    };
    let goes_on = known.is_some_and(|state| state.pending.is_some());
    let asked = known.is_some_and(|state| matches!(state.asked, Some(Asked::Renew { .. })));
    let job = Job { want: want.clone(), basis: held.clone(), goes_on };
    if goes_on || held.is_none() || asked {
        return Some(drive(hand, table, &job).await);
    }
    if known.is_some_and(|state| !state.records.is_empty()) {
        return Some(tidy(hand, table, &job).await);
    }
    None
}
