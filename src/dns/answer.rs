//! What stands in a DNS answer: records, a referral, or that there is nothing.

use std::net::{IpAddr, SocketAddr};

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::dns::Error;
use crate::http;

/// Nobody has more servers for a zone, or addresses for a server.
const MAX_AUTHORITIES: usize = 16;

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

/// How much an answer helps. `None`: it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    Nothing,
    Referral,
    Records,
}

pub(super) fn worth(answer: &Message, name: &Name) -> Option<Worth> {
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

type Records = [Record];

pub(super) fn delegated(records: &Records, glue: &Records, zone: &Name) -> Vec<Authority> {
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
pub(super) fn addresses_in(records: &Records) -> Vec<SocketAddr> {
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
    let is_it =
        |it: &Record| it.record_type() == RecordType::SOA && it.name.to_lowercase() == *name;
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
