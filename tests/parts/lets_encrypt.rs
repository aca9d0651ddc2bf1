//! What Let's Encrypt would say: its token buckets and its exemptions, exactly.
//!
//! Limits: <https://letsencrypt.org/docs/rate-limits/>. Buckets are GCRA with a burst of the whole
//! capacity. New orders are spent when an order is placed; certificates per domain and per exact set
//! are asked then and spent at issuance; failed authorizations are asked then and spent at each
//! failure. Times are milliseconds of any one clock.

use std::collections::{BTreeMap, BTreeSet};

const SECOND: i64 = 1000;
const HOUR: i64 = 3600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// Within this time another certificate for the same names is a renewal.
const RENEWAL: i64 = 120 * DAY;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    Orders,
    Domain,
    Exact,
    Failures,
    Paused,
}

impl Limit {
    /// Tokens, and the time in which all of them come back.
    fn rate(self) -> (i64, i64) {
        match self {
            Self::Orders => (300, 3 * HOUR),
            Self::Domain => (50, 7 * DAY),
            Self::Exact => (5, 7 * DAY),
            Self::Failures => (5, HOUR),
            Self::Paused => (1152, 1152 * DAY),
        }
    }
}

/// Why an order would have been refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub limit: Limit,
    /// The account, the domain, the names or the name.
    pub of: String,
    pub retry_after: i64,
}

/// Which limits an order did not count against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exempt {
    No,
    /// The same names within 120 days: orders and domains.
    SameNames,
    /// In the suggested window, and it replaces: everything.
    Window,
}

#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    pub account: &'a str,
    pub names: &'a [String],
    pub replaces: Option<&'a str>,
}

#[derive(Debug)]
struct Issued {
    account: String,
    names: BTreeSet<String>,
    window: (i64, i64),
    replaced: bool,
}

#[derive(Debug, Default)]
pub struct LetsEncrypt {
    /// Theoretical arrival times.
    buckets: BTreeMap<(Limit, String), i64>,
    certificates: BTreeMap<String, Issued>,
    /// When each set of names last had a certificate.
    sets: BTreeMap<String, i64>,
    pub refusals: Vec<Refusal>,
}

impl LetsEncrypt {
    /// newOrder. A refusal costs nothing, and is counted.
    pub fn place(&mut self, order: Order<'_>, now: i64) -> Result<Exempt, Refusal> {
        let exempt = self.exempt(order, now);
        if exempt == Exempt::Window {
            return Ok(exempt);
        }
        let mut asked = vec![(Limit::Exact, set(order.names))];
        if exempt == Exempt::No {
            asked.push((Limit::Orders, order.account.to_owned()));
            asked.extend(domains(order.names).map(|domain| (Limit::Domain, domain)));
        }
        for name in order.names {
            let of = authorization(order.account, name);
            asked.push((Limit::Failures, of.clone()));
            asked.push((Limit::Paused, of));
        }
        for (limit, of) in asked {
            if let Some(retry_after) = self.lacks(limit, &of, now) {
                let refusal = Refusal { limit, of, retry_after };
                self.refusals.push(refusal.clone());
                return Err(refusal);
            }
        }
        if exempt == Exempt::No {
            self.spend(Limit::Orders, order.account, now);
        }
        Ok(exempt)
    }

    /// The order was finalized. `certificate`: what renewal information names it by; `life`: of the
    /// certificate, which begins an hour ago.
    pub fn issue(
        &mut self,
        order: Order<'_>,
        exempt: Exempt,
        (certificate, life): (&str, i64),
        now: i64,
    ) {
        if exempt != Exempt::Window {
            self.spend(Limit::Exact, &set(order.names), now);
        }
        if exempt == Exempt::No {
            for domain in domains(order.names) {
                self.spend(Limit::Domain, &domain, now);
            }
        }
        for name in order.names {
            self.buckets.remove(&(Limit::Paused, authorization(order.account, name)));
        }
        if let Some(replaced) = order.replaces.and_then(|id| self.certificates.get_mut(id)) {
            replaced.replaced = true;
        }
        self.sets.insert(set(order.names), now);
        let issued = Issued {
            account: order.account.to_owned(),
            names: order.names.iter().cloned().collect(),
            window: window(now - HOUR, life),
            replaced: false,
        };
        self.certificates.insert(certificate.to_owned(), issued);
    }

    /// An authorization failed.
    pub fn fail(&mut self, account: &str, name: &str, now: i64) {
        let of = authorization(account, name);
        self.spend(Limit::Failures, &of, now);
        self.spend(Limit::Paused, &of, now);
    }

    /// The window moves into the past.
    pub fn revoke(&mut self, certificate: &str, now: i64) {
        if let Some(issued) = self.certificates.get_mut(certificate) {
            issued.window = (now - HOUR, now - HOUR / 2);
        }
    }

    /// `suggestedWindow`.
    pub fn window(&self, certificate: &str) -> Option<(i64, i64)> {
        self.certificates.get(certificate).map(|issued| issued.window)
    }

    fn exempt(&self, order: Order<'_>, now: i64) -> Exempt {
        let replaced = order.replaces.and_then(|id| self.certificates.get(id));
        let in_window = replaced.is_some_and(|old| {
            old.account == order.account
                && !old.replaced
                && order.names.iter().any(|name| old.names.contains(name))
                && (old.window.0..old.window.1).contains(&now)
        });
        let last = self.sets.get(&set(order.names));
        match last {
            _ if in_window => Exempt::Window,
            Some(last) if now < last + RENEWAL => Exempt::SameNames,
            _ => Exempt::No,
        }
    }

    /// How long until a token is there.
    fn lacks(&self, limit: Limit, of: &str, now: i64) -> Option<i64> {
        let (tokens, period) = limit.rate();
        let arrival = self.buckets.get(&(limit, of.to_owned())).copied().unwrap_or(now).max(now);
        let wait = arrival + period / tokens - period - now;
        (wait > 0).then_some(wait)
    }

    fn spend(&mut self, limit: Limit, of: &str, now: i64) {
        let (tokens, period) = limit.rate();
        let arrival = self.buckets.entry((limit, of.to_owned())).or_insert(now);
        *arrival = (*arrival).max(now) + period / tokens;
    }
}

/// Two hundredths of the life, centred at two thirds of it, at a half of one under ten days.
fn window(from: i64, life: i64) -> (i64, i64) {
    let centre = from + if life < 10 * DAY { life / 2 } else { life / 3 * 2 };
    (centre - life / 100, centre + life / 100)
}

fn set(names: &[String]) -> String {
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    names.into_iter().collect::<Vec<_>>().join(",")
}

fn domains(names: &[String]) -> impl Iterator<Item = String> {
    let domain = |name: &String| {
        let name = name.trim_start_matches("*.");
        psl::domain_str(name).unwrap_or(name).to_owned()
    };
    names.iter().map(domain).collect::<BTreeSet<String>>().into_iter()
}

fn authorization(account: &str, name: &str) -> String {
    format!("{account} {}", name.trim_start_matches("*."))
}
