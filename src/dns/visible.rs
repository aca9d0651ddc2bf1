//! Whether a TXT value can be seen where the CA will look: at every server of its zone.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::dns::answer::{Cut, alias_in, parse, referral, text};
use crate::dns::lookup::Lookup;
use crate::dns::servers::Server;
use crate::dns::wire::{self, Ask, Silence};
use crate::dns::{Error, Task, Timing};
use crate::http;
use crate::resolver::Propagation;

/// Of several servers that lack the record, so many are named.
const SHOWN: usize = 3;

/// Between two looks, whatever is configured.
const SHORTEST: Duration = Duration::from_millis(200);
/// For one look, beyond the time-out.
const LONGEST: Duration = Duration::from_secs(15);

/// One record that is waited for.
struct Watch<'a> {
    lookup: &'a Lookup,
    name: Name,
    value: &'a str,
    cut: Option<Cut>,
    /// Servers that have it: what was seen once is not asked for again.
    seen: BTreeSet<String>,
}

/// Waits until every server of its zone has the record, and then, if the settings say so, every
/// recursive server. The time for the delay before the first look is not counted.
pub(super) async fn wait(
    lookup: &Lookup,
    task: &Task,
    propagation: Propagation,
    timing: Timing,
) -> Result<(), Error> {
    sleep(propagation.delay_before_checks).await;
    if propagation.disable_checks {
        return Ok(());
    }
    let name = parse(&task.fqdn)?;
    let mut watch = Watch { lookup, name, value: &task.value, cut: None, seen: BTreeSet::new() };
    let start = Instant::now();
    let end = start + timing.propagation_timeout;
    let interval = timing.polling_interval.max(SHORTEST);
    let mut missing = "its servers have not been found yet".to_owned();
    loop {
        // One look may take longer than the time-out; it is not cut off at once.
        match timeout_at(end + LONGEST, watch.look(propagation)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(seen)) => missing = seen,
            Err(_late) => {}
        }
        let next = Instant::now() + interval;
        if next > end {
            return Err(Error::NotVisible {
                name: task.fqdn.clone(),
                seconds: start.elapsed().as_secs(),
                seen: missing,
            });
        }
        sleep_until(next).await;
    }
}

impl Watch<'_> {
    /// `Err`: who does not have it, and what was answered instead.
    async fn look(&mut self, propagation: Propagation) -> Result<(), String> {
        if !propagation.disable_ans_checks {
            self.authorities().await?;
        }
        // Asked only now: a recursive server remembers for long that there was nothing.
        if propagation.require_all_rns {
            let servers = self.lookup.servers().await.map_err(|error| error.to_string())?;
            let looks = servers.iter().filter(|it| !self.seen.contains(&it.name));
            let looks = looks.map(|it| self.one(it.clone(), Ask::Recursive));
            let found = join_all(looks).await;
            self.collect(found)?;
        }
        Ok(())
    }

    async fn authorities(&mut self) -> Result<(), String> {
        let cut = match self.cut.take() {
            Some(cut) => cut,
            None => self.lookup.authorities(&self.name).await.map_err(|error| error.to_string())?,
        };
        let missing = cut.authorities.iter().filter(|it| !self.seen.contains(&it.name));
        let looks = missing.map(|authority| async {
            let mut last = Err((authority.name.clone(), Seen::NoWay(String::new())));
            for address in &authority.addresses {
                let name = format!("{} ({address})", authority.name);
                let server = Server { name, address: *address };
                last = match self.one(server, Ask::Authority).await {
                    Ok(_) => return Ok(authority.name.clone()),
                    Err(silent @ (_, Seen::NoWay(_))) => Err(silent),
                    answered @ Err(_) => return answered,
                };
            }
            last
        });
        let found = join_all(looks).await;
        // Where no way leads, others look.
        let reached = found.iter().any(|it| !matches!(it, Err((_, Seen::NoWay(_)))));
        let reached = reached || !self.seen.is_empty();
        let counts = |it: &Found| !reached || !matches!(it, Err((_, Seen::NoWay(_))));
        let referred = found.iter().any(|it| matches!(it, Err((_, Seen::Elsewhere(_)))));
        let result = self.collect(found.into_iter().filter(counts).collect());
        if !referred {
            self.cut = Some(cut);
        }
        result
    }

    fn collect(&mut self, found: Vec<Found>) -> Result<(), String> {
        let mut missing = Vec::new();
        for one in found {
            match one {
                Ok(name) => {
                    self.seen.insert(name);
                }
                Err((server, seen)) => missing.push(format!("{server} {}", seen.text())),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let more = missing.len().saturating_sub(SHOWN);
        missing.truncate(SHOWN);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        Err(http::shown(&format!("{}{more}", missing.join("; "))))
    }

    async fn one(&self, server: Server, ask: Ask) -> Found {
        let answer = self.lookup.ask(server.address, &self.name, RecordType::TXT, ask).await;
        let seen = match answer {
            Ok(answer) if values(&answer, &self.name).any(|it| it == self.value.as_bytes()) => {
                return Ok(server.name);
            }
            Ok(answer) => match referral(&answer, &self.name) {
                Some(cut) => Seen::Elsewhere(text(&cut.zone)),
                None => Seen::Other(instead(&answer, &self.name)),
            },
            Err(Silence::NoWay(cause)) => Seen::NoWay(cause),
            Err(silence) => Seen::Other(silence.to_string()),
        };
        Err((server.name, seen))
    }
}

/// The server that has the record, or the one that has not and what it says.
type Found = Result<String, (String, Seen)>;

enum Seen {
    NoWay(String),
    /// The server says that the name is in this zone of others.
    Elsewhere(String),
    Other(String),
}

impl Seen {
    fn text(&self) -> String {
        match self {
            Self::NoWay(cause) => format!("cannot be reached from here: {cause}"),
            Self::Elsewhere(zone) => format!("says that others answer for `{zone}`"),
            Self::Other(what) => what.clone(),
        }
    }
}

/// The TXT values at the name, or at what its CNAME leads to; strings of one value joined (RFC
/// 7208 §3.3).
fn values<'a>(answer: &'a Message, name: &'a Name) -> impl Iterator<Item = Vec<u8>> + 'a {
    let target = alias_in(answer, name);
    answer.answers.iter().filter_map(move |it| {
        let owner = it.name.to_lowercase();
        let RData::TXT(txt) = &it.data else { return None };
        (owner == *name || Some(owner) == target).then(|| txt.txt_data.concat())
    })
}

/// What a server answers that does not have the value.
fn instead(answer: &Message, name: &Name) -> String {
    let found: Vec<String> = values(answer, name)
        .map(|value| format!("\"{}\"", String::from_utf8_lossy(&value)))
        .collect();
    if !found.is_empty() {
        return format!("has other values: {}", found.join(", "));
    }
    match alias_in(answer, name) {
        Some(target) => format!("answers with a CNAME to `{}`", text(&target)),
        None => format!("answers {}", wire::code(answer)),
    }
}
