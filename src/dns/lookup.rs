//! What DNS says of a name: where its CNAMEs lead, which zone it is in, who answers for the zone.

use std::net::SocketAddr;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hickory_proto::op::Message;
use hickory_proto::rr::{Name, RecordType};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::dns::answer::{
    Cut, addresses_in, alias_in, delegated, has_soa, parse, referral, text, worth,
};
use crate::dns::answers::Answers;
use crate::dns::servers::{self, Server};
use crate::dns::wire::{Ask, Silence, Wire};
use crate::dns::{Done, Error, FindZone, Transport};
use crate::http;
use crate::name;

/// For one question to one server.
const TIMEOUT: Duration = Duration::from_secs(5);
/// As many as lego follows.
const MAX_ALIASES: usize = 50;
/// A zone below a zone; nobody has more.
const MAX_CUTS: usize = 16;
/// For the other servers when one has answered.
const PATIENCE: Duration = Duration::from_secs(1);
/// Sockets at a time.
const MAX_QUESTIONS: usize = 200;

/// Asks the servers of a resolver's configuration, or the system's.
#[derive(Debug)]
pub(super) struct Lookup {
    named: Vec<String>,
    wire: Wire,
    places: Semaphore,
}

/// No answer that serves.
struct Failed {
    error: Error,
    /// A server said so itself; asked again, it will again.
    answered: bool,
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        failed.error
    }
}

/// What happens if no server says whether there is a zone at a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Doubt {
    IsError,
    /// There may be one above; who answers for that one knows.
    LooksAbove,
}

impl Lookup {
    pub(super) fn new(named: Vec<String>, transport: Transport) -> Self {
        let wire = Wire { transport, timeout: TIMEOUT };
        Self { named, wire, places: Semaphore::new(MAX_QUESTIONS) }
    }

    /// The recursive servers with their addresses.
    pub(super) async fn servers(&self) -> Result<Vec<Server>, Error> {
        servers::addresses(&self.named).await.map_err(|cause| Error::Lookup {
            name: "dnsChallenge.resolvers".to_owned(),
            kind: "the address",
            server: "system".to_owned(),
            cause,
        })
    }

    pub(super) async fn ask(
        &self,
        server: SocketAddr,
        name: &Name,
        kind: RecordType,
        ask: Ask,
    ) -> Result<Message, Silence> {
        // It is never closed.
        let _place = self.places.acquire().await;
        self.wire.ask(server, name, kind, ask).await
    }

    /// What the recursive servers say, see [`Answers`].
    async fn look(&self, name: &Name, kind: RecordType) -> Result<Message, Failed> {
        let servers = self.servers().await;
        let servers = servers.map_err(|error| Failed { error, answered: false })?;
        let ask = |(place, server): (usize, &Server)| {
            let address = server.address;
            async move { (place, self.ask(address, name, kind, Ask::Recursive).await) }
        };
        let mut asking: FuturesUnordered<_> = servers.iter().enumerate().map(ask).collect();
        let mut answers = Answers::new(servers.len());
        let mut patience = None;
        loop {
            let next = match patience {
                Some(end) => timeout_at(end, asking.next()).await.unwrap_or_default(),
                None => asking.next().await,
            };
            let Some((place, answer)) = next else { break };
            answers.insert(place, answer, name);
            if answers.are_decided() {
                break;
            }
            if answers.help() {
                patience.get_or_insert_with(|| Instant::now() + PATIENCE);
            }
        }
        answers.best().map_err(|(place, silence, answered)| {
            let server = servers.get(place).map_or("dnsChallenge.resolvers", |it| &it.name);
            let error = lookup_error(name, kind, server, &http::shown(&silence));
            Failed { error, answered }
        })
    }

    /// Where a record for `name` must be made: the end of its CNAMEs, without those that only a
    /// wildcard makes (the record itself will be in their place).
    pub(super) async fn effective(&self, name: &str) -> Result<String, Error> {
        let mut at = parse(name)?;
        let mut seen = Vec::new();
        loop {
            let target = match self.alias(&at).await {
                Ok(Some(target)) if !self.is_synthesised(&at, &target).await? => target,
                Ok(_) => break,
                // A server of the last name that knows nothing but TXT.
                Err(failed) if failed.answered && !seen.is_empty() => break,
                Err(failed) => return Err(failed.into()),
            };
            let alias = |cause: String| Error::Alias { name: name.to_owned(), cause };
            seen.push(at);
            if seen.contains(&target) {
                let target = http::shown(&text(&target));
                return Err(alias(format!("`{target}` leads back to itself")));
            }
            if seen.len() > MAX_ALIASES {
                return Err(alias(format!("more than {MAX_ALIASES} of them in a row")));
            }
            at = target;
        }
        Ok(text(&at))
    }

    async fn alias(&self, name: &Name) -> Result<Option<Name>, Failed> {
        let answer = self.look(name, RecordType::CNAME).await?;
        Ok(alias_in(&answer, name))
    }

    /// RFC 4592: a wildcard answers for names beside and below `name` only if `name` itself does
    /// not exist.
    async fn is_synthesised(&self, name: &Name, target: &Name) -> Result<bool, Error> {
        let random = format!("routecert-{:016x}", rand::random::<u64>());
        for parent in [name.base_name(), name.clone()] {
            let Ok(other) = parent.prepend_label(random.as_str()) else { return Ok(false) };
            match self.alias(&other).await {
                Ok(Some(found)) if found == *target => {}
                Ok(_) => return Ok(false),
                Err(failed) if failed.answered => return Ok(false),
                Err(failed) => return Err(failed.into()),
            }
        }
        Ok(true)
    }

    /// The zone of `name`, itself maybe.
    async fn cut(&self, name: &Name, doubt: Doubt) -> Result<Cut, Error> {
        let mut candidate = name.clone();
        let mut first_failure = None;
        while !candidate.is_root() && !name::is_registry_suffix(&text(&candidate)) {
            match self.look(&candidate, RecordType::SOA).await {
                Ok(answer) if has_soa(&answer, &candidate) => {
                    return Ok(Cut { zone: candidate, authorities: Vec::new() });
                }
                Ok(answer) => {
                    if let Some(cut) = referral(&answer, &candidate) {
                        return self.descend(name, self.with_addresses(cut).await).await;
                    }
                }
                Err(failed) if doubt == Doubt::IsError => return Err(failed.into()),
                Err(failed) => {
                    first_failure.get_or_insert(failed.error);
                }
            }
            candidate = candidate.base_name();
        }
        Err(first_failure
            .unwrap_or_else(|| Error::NoZone { name: text(name), suffix: text(&candidate) }))
    }

    /// The deepest zone on the way from `cut` to `name`: whoever answers for a zone knows what is
    /// delegated below it.
    async fn descend(&self, name: &Name, mut cut: Cut) -> Result<Cut, Error> {
        for _ in 0..MAX_CUTS {
            let Some(deeper) = self.referred(name, &cut).await else { break };
            cut = self.with_addresses(deeper).await;
        }
        if name::is_registry_suffix(&text(&cut.zone)) {
            return Err(Error::NoZone { name: text(name), suffix: text(&cut.zone) });
        }
        Ok(cut)
    }

    async fn referred(&self, name: &Name, cut: &Cut) -> Option<Cut> {
        for address in cut.authorities.iter().flat_map(|it| &it.addresses) {
            let answer = self.ask(*address, name, RecordType::SOA, Ask::Authority).await;
            if let Ok(answer) = answer
                && worth(&answer, name).is_some()
            {
                let deeper = referral(&answer, name);
                return deeper.filter(|it| it.zone.num_labels() > cut.zone.num_labels());
            }
        }
        None
    }

    /// Everybody who answers for `name`, with an address each.
    pub(super) async fn authorities(&self, name: &Name) -> Result<Cut, Error> {
        let mut cut = self.cut(name, Doubt::LooksAbove).await?;
        if cut.authorities.is_empty() {
            let answer = self.look(&cut.zone, RecordType::NS).await?;
            cut.authorities = delegated(&answer.answers, &answer.additionals, &cut.zone);
            cut = self.with_addresses(cut).await;
        }
        let cut = self.descend(name, cut).await?;
        if cut.authorities.is_empty() {
            let cause = "none of its name servers has an address";
            return Err(lookup_error(&cut.zone, RecordType::NS, "resolvers", cause));
        }
        Ok(cut)
    }

    /// Looks up the addresses that did not come along; servers without one are left out.
    async fn with_addresses(&self, mut cut: Cut) -> Cut {
        for authority in &mut cut.authorities {
            let Ok(host) = parse(&authority.name) else { continue };
            for kind in [RecordType::A, RecordType::AAAA] {
                if authority.addresses.is_empty()
                    && let Ok(answer) = self.look(&host, kind).await
                {
                    authority.addresses = addresses_in(&answer.answers);
                }
            }
        }
        cut.authorities.retain(|authority| !authority.addresses.is_empty());
        cut
    }
}

impl FindZone for Lookup {
    fn zone_of<'a>(&'a self, fqdn: &'a str) -> Done<'a, String> {
        Box::pin(async move {
            let cut = self.cut(&parse(fqdn)?, Doubt::IsError).await?;
            Ok(text(&cut.zone))
        })
    }

    fn transport(&self) -> Transport {
        self.wire.transport
    }
}

fn lookup_error(name: &Name, kind: RecordType, server: &str, cause: &str) -> Error {
    Error::Lookup {
        name: http::shown(&text(name)),
        kind: kind.into(),
        server: server.to_owned(),
        cause: cause.to_owned(),
    }
}
