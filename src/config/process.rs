//! Variables that are no keys of the configuration, but hold for the whole process.

use std::collections::BTreeMap;

use crate::config::Problem;
use crate::config::tree::Place;
use crate::config::value::boolean;
use crate::config::walk::Walk;
use crate::resolver::{DnsSwitches, Proxy};

type Environment = BTreeMap<String, String>;

const CNAME: &str = "LEGO_DISABLE_CNAME_SUPPORT";
const TCP: &str = "LEGO_EXPERIMENTAL_DNS_TCP_ONLY";

pub(super) fn dns(environment: &Environment, walk: &mut Walk) -> DnsSwitches {
    DnsSwitches {
        disable_cname_support: switch(environment, CNAME, walk),
        tcp_only: switch(environment, TCP, walk),
    }
}

/// What is no truth value is none, as in Traefik.
fn switch(environment: &Environment, name: &str, walk: &mut Walk) -> bool {
    let Some(value) = environment.get(name).filter(|value| !value.is_empty()) else { return false };
    boolean(value).unwrap_or_else(|expected| {
        let message = format!("{expected}; it is left out of account");
        walk.warnings.push(Problem::at(&Place::variable(name), "", message));
        false
    })
}

/// A proxy that cannot be read is an error: to go past it would be no one's wish.
pub(super) fn proxy(environment: &Environment, walk: &mut Walk) -> Option<Proxy> {
    let (name, url) = either_case(environment, "HTTPS_PROXY")?;
    let except = either_case(environment, "NO_PROXY").map_or("", |(_, value)| value);
    let proxy = Proxy::parse(url, except);
    proxy.map_err(|why| walk.errors.push(Problem::at(&Place::variable(&name), "", why))).ok()
}

fn either_case<'e>(environment: &'e Environment, name: &str) -> Option<(String, &'e str)> {
    [name.to_owned(), name.to_lowercase()].into_iter().find_map(|name| {
        let value = environment.get(&name).map(|value| value.trim())?;
        (!value.is_empty()).then_some((name, value))
    })
}

/// What of it is set, each with its value as it may be shown.
pub(super) fn shown(dns: DnsSwitches, proxy: Option<&Proxy>) -> Vec<(&'static str, String)> {
    let switches = [(CNAME, dns.disable_cname_support), (TCP, dns.tcp_only)];
    let on = switches.into_iter().filter(|(_, on)| *on).map(|(name, on)| (name, on.to_string()));
    on.chain(proxy.map(|proxy| ("HTTPS_PROXY", proxy.to_string()))).collect()
}
