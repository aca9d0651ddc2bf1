//! What DNS says of a name: where its CNAMEs lead, which zone it is in, who answers for the zone.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::sync::Semaphore;

use crate::dns::servers::{self, Server};
use crate::dns::wire::{self, Ask, Silence, Wire};
use crate::dns::{Done, Error, FindZone, Transport};
use crate::{http, name};

/// For one question to one server.
const TIMEOUT: Duration = Duration::from_secs(5);
/// As many as lego follows.
const MAX_ALIASES: usize = 50;
/// A zone below a zone; nobody has more.
const MAX_CUTS: usize = 16;
const MAX_AUTHORITIES: usize = 16;
/// Sockets at a time.
const MAX_QUESTIONS: usize = 200;

/// Asks the servers of a resolver's configuration, or the system's.
#[derive(Debug)]
pub(super) struct Lookup {
    named: Vec<String>,
    wire: Wire,
    places: Semaphore,
}

/// One of the servers that a zone is delegated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) name: String,
    /// IPv4 first.
    pub(super) addresses: Vec<SocketAddr>,
}

/// A zone, and who answers for it as far as that is known.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    pub(super) zone: Name,
    pub(super) authorities: Vec<Authority>,
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

    /// The best answer: the first one with records, else a referral, else that there is none.
    async fn look(&self, name: &Name, kind: RecordType) -> Result<Message, Error> {
        let mut best: Option<(Worth, Message)> = None;
        let mut failure: Option<Error> = None;
        for server in self.servers().await? {
            let failed =
                |cause: String| lookup_error(name, kind, &server.name, &http::shown(&cause));
            match self.ask(server.address, name, kind, Ask::Recursive).await {
                Ok(answer) => match worth(&answer, name) {
                    Some(Worth::Records) => return Ok(answer),
                    Some(worth) if best.as_ref().is_none_or(|(known, _)| worth > *known) => {
                        best = Some((worth, answer));
                    }
                    Some(_) => {}
                    None => {
                        failure.get_or_insert_with(|| {
                            failed(format!("answers {}", wire::code(&answer)))
                        });
                    }
                },
                Err(silence) => {
                    failure.get_or_insert_with(|| failed(silence.to_string()));
                }
            }
        }
        best.map(|(_, answer)| answer).ok_or_else(|| {
            failure.unwrap_or_else(|| lookup_error(name, kind, "resolvers", "there are none"))
        })
    }

    /// Where a record for `name` must be made: the end of its CNAMEs, without those that only a
    /// wildcard makes (the record itself will be in their place).
    pub(super) async fn effective(&self, name: &str) -> Result<String, Error> {
        let mut at = parse(name)?;
        let mut seen = vec![at.clone()];
        while let Some(target) = self.alias(&at).await? {
            if self.is_synthesised(&at, &target).await? {
                break;
            }
            let alias = |cause: String| Error::Alias { name: name.to_owned(), cause };
            if seen.contains(&target) {
                return Err(alias(format!("`{}` leads back to itself", text(&target))));
            }
            if seen.len() > MAX_ALIASES {
                return Err(alias(format!("more than {MAX_ALIASES} of them in a row")));
            }
            seen.push(target.clone());
            at = target;
        }
        Ok(text(&at))
    }

    async fn alias(&self, name: &Name) -> Result<Option<Name>, Error> {
        let answer = self.look(name, RecordType::CNAME).await?;
        Ok(alias_in(&answer, name))
    }

    /// RFC 4592: a wildcard answers for names beside and below `name` only if `name` itself does
    /// not exist.
    async fn is_synthesised(&self, name: &Name, target: &Name) -> Result<bool, Error> {
        let random = format!("routecert-{:016x}", rand::random::<u64>());
        for parent in [name.base_name(), name.clone()] {
            let Ok(other) = parent.prepend_label(random.as_str()) else { return Ok(false) };
            if self.alias(&other).await?.as_ref() != Some(target) {
                return Ok(false);
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
                Err(error) if doubt == Doubt::IsError => return Err(error),
                Err(error) => {
                    first_failure.get_or_insert(error);
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

/// How much an answer helps. `None`: it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Nothing,
    Referral,
    Records,
}

fn worth(answer: &Message, name: &Name) -> Option<Worth> {
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if !answer.answers.is_empty() => {
            Some(Worth::Records)
        }
        ResponseCode::NoError if referral(answer, name).is_some() => Some(Worth::Referral),
        ResponseCode::NoError | ResponseCode::NXDomain => Some(Worth::Nothing),
        _ => None,
    }
}

/// RFC 1034 §4.3.2, 3b: not our zone below this point; ask these.
pub(super) fn referral(answer: &Message, name: &Name) -> Option<Cut> {
    let has_soa = answer.authorities.iter().any(|it| it.record_type() == RecordType::SOA);
    if answer.metadata.authoritative || has_soa || !answer.answers.is_empty() {
        return None;
    }
    let ns = answer.authorities.iter().find(|it| it.record_type() == RecordType::NS)?;
    let zone = ns.name.to_lowercase();
    if zone.is_root() || !zone.zone_of(name) {
        return None;
    }
    let authorities = delegated(&answer.authorities, &answer.additionals, &zone);
    Some(Cut { zone, authorities })
}

type Records = [hickory_proto::rr::Record];

fn delegated(records: &Records, glue: &Records, zone: &Name) -> Vec<Authority> {
    let hosts = records.iter().filter(|it| it.name.to_lowercase() == *zone).filter_map(|it| {
        let RData::NS(ns) = &it.data else { return None };
        Some(ns.0.to_lowercase())
    });
    let authority = |host: Name| {
        let own = glue.iter().filter(|it| it.name.to_lowercase() == host).cloned();
        Authority { addresses: addresses_in(&own.collect::<Vec<_>>()), name: text(&host) }
    };
    hosts.take(MAX_AUTHORITIES).map(authority).collect()
}

/// IPv4 first: more machines have a way to it.
fn addresses_in(records: &Records) -> Vec<SocketAddr> {
    let mut found: Vec<IpAddr> = records
        .iter()
        .filter_map(|it| match &it.data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        })
        .take(MAX_AUTHORITIES)
        .collect();
    found.sort_by_key(IpAddr::is_ipv6);
    found.into_iter().map(|address| (address, 53).into()).collect()
}

/// The target of the CNAME at exactly `name`.
pub(super) fn alias_in(answer: &Message, name: &Name) -> Option<Name> {
    answer.answers.iter().find_map(|it| match &it.data {
        RData::CNAME(target) if it.name.to_lowercase() == *name => Some(target.0.to_lowercase()),
        _ => None,
    })
}

pub(super) fn has_soa(answer: &Message, name: &Name) -> bool {
    let is_it = |it: &hickory_proto::rr::Record| {
        it.record_type() == RecordType::SOA && it.name.to_lowercase() == *name
    };
    answer.answers.iter().any(is_it)
}

/// A name of ours as the wire has it, lower case.
pub(super) fn parse(name: &str) -> Result<Name, Error> {
    let dotted = format!("{}.", name.trim_end_matches('.'));
    let parsed = Name::from_ascii(&dotted).map(|name| name.to_lowercase());
    parsed.map_err(|error| Error::Alias {
        name: http::shown(name),
        cause: http::shown(&format!("it is no DNS name: {error}")),
    })
}

/// Lower case, without a dot at the end.
pub(super) fn text(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map_or_else(|| text.clone(), str::to_owned)
}

fn lookup_error(name: &Name, kind: RecordType, server: &str, cause: &str) -> Error {
    Error::Lookup {
        name: http::shown(&text(name)),
        kind: kind.into(),
        server: server.to_owned(),
        cause: cause.to_owned(),
    }
}
