//! What a person asks for of certificates: it is written where the controller reads it, and whoever
//! leads does it.

mod gc;
mod names;
mod records;
mod wait;

use std::collections::BTreeMap;
use std::io::Write;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args};
use jiff::Timestamp;

use crate::cert::Id;
use crate::cli::by_hand::records::{Place, Records};
use crate::cli::place::in_runtime;
use crate::cli::{Failure, say};
use crate::order::{Asked, State};

pub(super) use gc::Gc;

/// RFC 5280 §5.3.1, those that a CA takes from whom it certified (RFC 8555 §7.6).
const REASONS: [(&str, u8); 6] = [
    ("unspecified", 0),
    ("keyCompromise", 1),
    ("affiliationChanged", 3),
    ("superseded", 4),
    ("cessationOfOperation", 5),
    ("privilegeWithdrawn", 9),
];

/// Arguments of `renew`.
#[derive(Debug, Args)]
pub(super) struct Renew {
    #[command(flatten)]
    named: Named,
    /// At once: past the back-off after failures and the loop breaker, never past what the CA says
    #[arg(long, action = ArgAction::SetTrue)]
    force: bool,
}

/// Arguments of `revoke`.
#[derive(Debug, Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    named: Named,
    /// Why, as RFC 5280 names it; without it the CA is told none
    #[arg(long, ignore_case = true, value_parser = PossibleValuesParser::new(REASONS.map(|it| it.0)))]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct Named {
    /// A certificate, as [NAMESPACE/]rc-ID or by one of its domains, or a route as `status` takes it
    #[arg(value_name = "NAME|ROUTE", num_args = 1..=2, required = true)]
    words: Vec<String>,
    /// Wait until it is done, five minutes at most; exits with 1 if it failed
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    place: Place,
}

impl Renew {
    pub(super) fn run(
        &self,
        environment: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        self.named.ask(environment, &Asked::Renew { at: now, force: self.force })
    }
}

impl Revoke {
    pub(super) fn run(
        &self,
        environment: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let given = self.reason.as_deref();
        let reason = given.and_then(|given| {
            REASONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(given)).map(|it| it.1)
        });
        self.named.ask(environment, &Asked::Revoke { at: now, reason })
    }
}

impl Named {
    fn ask(&self, environment: &BTreeMap<String, String>, wish: &Asked) -> Result<(), Failure> {
        in_runtime(async {
            let records = self.place.open(environment).await?;
            let ids = names::find(&records, &self.words).await?;
            let mut taken = Vec::new();
            let mut declined = 0;
            for id in &ids {
                match ask(&records, id, wish).await? {
                    Some(state) => taken.push((id, state)),
                    None => declined += 1,
                }
            }
            if !taken.is_empty() {
                records.tell_who_does_it(wish.at()).await;
            }
            if self.wait {
                for (id, state) in &taken {
                    wait::until_done(&records, id, wish, state).await?;
                }
            }
            match declined {
                0 => Ok(()),
                _ => Err(Failure::Failed(format!("nothing was asked for {declined} of them"))),
            }
        })
    }
}

/// `None`: there is a reason not to, and it is told. What was asked for already is no mistake.
async fn ask(records: &Records, id: &Id, wish: &Asked) -> Result<Option<State>, Failure> {
    use crate::order::Declined;
    match records.ask(id, wish).await? {
        Ok(state) => {
            tell(&format!(
                "{}: {}",
                shown(id, &state),
                next(&records.look(id, &state), wish, &state)
            ))?;
            Ok(Some(state))
        }
        Err((state, declined @ Declined::Already(_))) => {
            tell(&format!("{}: {declined}; nothing was written", shown(id, &state)))?;
            Ok(Some(state))
        }
        Err((state, declined)) => {
            say(&format!("{}: {declined}; nothing was written", shown(id, &state)));
            Ok(None)
        }
    }
}

/// What was done, and what happens next.
fn next(look: &str, wish: &Asked, state: &State) -> String {
    match wish {
        Asked::Renew { force: true, .. } => {
            format!("renewal asked for; it is ordered as soon as the CA allows it. {look}")
        }
        Asked::Renew { force: false, .. } => {
            let back_off = match state.failed {
                0 => String::new(),
                1 => " It failed last time, so it waits its time: --force does not.".to_owned(),
                times => {
                    format!(" It failed {times} times, so it waits its time: --force does not.")
                }
            };
            format!("renewal asked for; it is ordered when it is its turn.{back_off} {look}")
        }
        Asked::Revoke { reason, .. } => {
            let name = REASONS.iter().find(|(_, code)| Some(*code) == *reason);
            let reason = name.map(|(name, _)| format!(" with reason {name}")).unwrap_or_default();
            let then = match state.unused_since {
                None => {
                    "replaced at once by one with a new key. Until that is there it is served on"
                }
                Some(_) => "deleted, since no route wants it",
            };
            format!("revocation{reason} asked for; it is revoked at its CA, then {then}. {look}")
        }
    }
}

fn shown(id: &Id, state: &State) -> String {
    format!("{}/rc-{id} ({})", state.owner, state.names)
}

fn tell(text: &str) -> Result<(), Failure> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        // Whoever reads has read enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failure::Failed(format!("cannot print: {error}"))),
    }
}
