//! A CA (RFC 8555 §7): accounts by key, orders, one challenge told and looked at, one finalize.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use rand::Rng;
use rand::rngs::StdRng;

use super::records::Records;
use crate::acme;
use crate::cert::Key;
use crate::challenge;
use crate::name::{Name, Names};
use crate::order::{Offer, OrderView, Status, Unproven};
use crate::resolver::ChallengeKind;

const KINDS: [ChallengeKind; 3] =
    [ChallengeKind::TlsAlpn01, ChallengeKind::Http01, ChallengeKind::Dns01];

pub(super) struct Ca {
    /// Account keys, in PEM.
    pub(super) accounts: BTreeSet<String>,
    pub(super) orders: BTreeMap<String, Order>,
    /// Some orders end before they should.
    hasty: bool,
    /// A name that was proven need not be proven again.
    reuses: bool,
    proven: BTreeSet<Name>,
}

pub(super) struct Order {
    names: Names,
    pub(super) status: Status,
    authorizations: Vec<Authorization>,
    expires: Timestamp,
    /// When a finalized order is done.
    done_at: Timestamp,
    /// In PEM, once it was finalized.
    chain: Option<String>,
}

struct Authorization {
    name: Name,
    token: String,
    status: Proven,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proven {
    Pending,
    /// Told to look, which it does then.
    Told(ChallengeKind, Timestamp),
    Valid,
    Invalid,
}

type Reply<T> = Result<T, acme::Error>;

impl Ca {
    pub(super) fn new(dice: &mut StdRng) -> Self {
        Self {
            accounts: BTreeSet::new(),
            orders: BTreeMap::new(),
            hasty: dice.random_ratio(1, 4),
            reuses: dice.random_ratio(1, 4),
            proven: BTreeSet::new(),
        }
    }

    pub(super) fn place(&mut self, names: &Names, now: Timestamp, dice: &mut StdRng) -> String {
        let url = format!("order-{}", self.orders.len() + 1);
        let authorizations = names.iter().enumerate().map(|(number, name)| {
            let known = self.reuses && self.proven.contains(name);
            let status = if known { Proven::Valid } else { Proven::Pending };
            Authorization { name: name.clone(), token: format!("{url}_{number}"), status }
        });
        let authorizations: Vec<_> = authorizations.collect();
        let ready = authorizations.iter().all(|one| one.status == Proven::Valid);
        let status = if ready { Status::Ready } else { Status::Pending };
        let hasty = self.hasty && dice.random_ratio(1, 3);
        let lives = if hasty { dice.random_range(1..60) } else { 7 * 24 * 3600 };
        let expires = now + SignedDuration::from_secs(lives);
        let order = Order {
            names: names.clone(),
            status,
            authorizations,
            expires,
            done_at: now,
            chain: None,
        };
        self.orders.insert(url.clone(), order);
        url
    }

    pub(super) fn look(&self, url: &str) -> OrderView {
        let (mut unproven, mut failed) = (Vec::new(), Vec::new());
        let Some(order) = self.orders.get(url) else {
            return OrderView { status: Status::Gone, unproven, problem: None, failed };
        };
        for one in &order.authorizations {
            match one.status {
                Proven::Pending | Proven::Told(..) => unproven.push(one.unproven(url)),
                Proven::Invalid => failed.push(one.name.clone()),
                Proven::Valid => {}
            }
        }
        if order.status != Status::Pending {
            unproven.clear();
        }
        OrderView { status: order.status, unproven, problem: None, failed }
    }

    /// The challenge of this URL is told (RFC 8555 §7.5.1).
    pub(super) fn tell(&mut self, challenge: &str, look_at: Timestamp) -> Reply<()> {
        let gone = || acme::Error::Refused("no such challenge".to_owned());
        let (authorization, kind) = challenge.rsplit_once('/').ok_or_else(gone)?;
        let kind = KINDS.into_iter().find(|one| one.as_str() == kind).ok_or_else(gone)?;
        let (url, _) = authorization.rsplit_once('_').ok_or_else(gone)?;
        let order = self.orders.get_mut(url).ok_or_else(gone)?;
        let mut all = order.authorizations.iter_mut();
        let one = all.find(|one| one.token == authorization).ok_or_else(gone)?;
        if one.status == Proven::Pending && order.status == Status::Pending {
            one.status = Proven::Told(kind, look_at);
        }
        Ok(())
    }

    pub(super) fn is_pending(&self, authorization: &str) -> bool {
        let mut all = self.orders.values().flat_map(|order| &order.authorizations);
        let one = all.find(|one| one.token == authorization);
        one.is_some_and(|one| matches!(one.status, Proven::Pending | Proven::Told(..)))
    }

    /// A signing request is its key here.
    pub(super) fn finalize(&mut self, url: &str, key: &Key, done_at: Timestamp) -> Reply<()> {
        let not_ready = || acme::Error::OtherState("orderNotReady".to_owned());
        let order = self.orders.get_mut(url).ok_or_else(not_ready)?;
        if order.status != Status::Ready {
            return Err(not_ready());
        }
        order.status = Status::Processing;
        order.done_at = done_at;
        order.chain = Some(certificate(&order.names, key));
        Ok(())
    }

    pub(super) fn download(&self, url: &str) -> Reply<String> {
        let not_there = || acme::Error::OtherState("not there yet".to_owned());
        let order = self.orders.get(url).filter(|order| order.status == Status::Valid);
        let order = order.ok_or_else(not_there)?;
        order.chain.clone().ok_or_else(not_there)
    }

    /// How many certificates there are, or will be.
    pub(super) fn accepted(&self) -> usize {
        self.orders.values().filter(|order| order.chain.is_some()).count()
    }

    /// Looks where it was told to look, ends what is over; says so.
    pub(super) fn pass(
        &mut self,
        now: Timestamp,
        records: &Records,
        txt: &BTreeMap<String, BTreeSet<String>>,
    ) -> Vec<String> {
        let mut told = Vec::new();
        for (url, order) in &mut self.orders {
            let before = order.status;
            order.look_around(now, records, txt);
            if order.status == Status::Ready {
                self.proven.extend(order.names.iter().cloned());
            }
            if order.status != before {
                told.push(format!("CA: {url} is {:?}", order.status));
            }
        }
        told
    }
}

fn certificate(names: &Names, key: &Key) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let pair = rcgen::KeyPair::from_pem(key.pem()).unwrap();
    rcgen::CertificateParams::new(names).unwrap().self_signed(&pair).unwrap().pem()
}

impl Order {
    fn look_around(
        &mut self,
        now: Timestamp,
        records: &Records,
        txt: &BTreeMap<String, BTreeSet<String>>,
    ) {
        for one in &mut self.authorizations {
            if let Proven::Told(kind, at) = one.status
                && at <= now
            {
                let seen = one.is_answered(kind, now, records, txt);
                one.status = if seen { Proven::Valid } else { Proven::Invalid };
            }
        }
        let statuses = || self.authorizations.iter().map(|one| one.status);
        self.status = match self.status {
            Status::Pending if statuses().any(|one| one == Proven::Invalid) => Status::Invalid,
            Status::Pending if statuses().all(|one| one == Proven::Valid) => Status::Ready,
            Status::Processing if self.done_at <= now => Status::Valid,
            Status::Pending | Status::Ready if self.expires <= now => Status::Gone,
            same => same,
        };
    }
}

impl Authorization {
    fn is_answered(
        &self,
        kind: ChallengeKind,
        now: Timestamp,
        records: &Records,
        txt: &BTreeMap<String, BTreeSet<String>>,
    ) -> bool {
        let domain = self.name.without_wildcard();
        let answer = self.key_authorization();
        let key = match kind {
            ChallengeKind::Http01 => self.token.clone(),
            ChallengeKind::TlsAlpn01 => challenge::alpn_key(domain.as_str()),
            ChallengeKind::Dns01 => {
                let values = txt.get(&format!("_acme-challenge.{domain}"));
                return values.is_some_and(|values| values.contains(&answer));
            }
        };
        let found = records.answer(&key).and_then(|it| it.for_host(domain.as_str(), now));
        found == Some(answer.as_str())
    }

    fn key_authorization(&self) -> String {
        format!("{}.thumbprint", self.token)
    }

    fn unproven(&self, url: &str) -> Unproven {
        let wildcard = self.name.as_str().starts_with("*.");
        let kinds = KINDS.iter().filter(|kind| !wildcard || **kind == ChallengeKind::Dns01);
        let offer = |kind: &ChallengeKind| Offer {
            kind: *kind,
            url: format!("{}/{}", self.token, kind.as_str()),
            token: self.token.clone(),
            key_authorization: self.key_authorization(),
        };
        debug_assert!(self.token.starts_with(url));
        Unproven {
            authorization_url: self.token.clone(),
            name: self.name.without_wildcard(),
            wildcard,
            offers: kinds.map(offer).collect(),
        }
    }
}
