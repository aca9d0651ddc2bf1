//! Texts of people → the names of certificates.

use std::collections::BTreeSet;

use crate::name::{Name, Names};
use crate::route::{Reason, Refusal};
use crate::rule::{Protocol, Rule, Syntax};

/// The names of one `domains` entry, of a route or of an entry point.
pub fn names_of(main: &str, sans: &[String]) -> Result<Names, Refusal> {
    let texts = std::iter::once(main).chain(sans.iter().map(String::as_str));
    listed(texts, "tls.domains has an entry with neither main nor sans")
}

/// The names that stand in a list; empty texts are none.
pub(super) fn listed<'a>(
    texts: impl Iterator<Item = &'a str>,
    nothing: &str,
) -> Result<Names, Refusal> {
    let parsed: Vec<Name> = texts
        .filter(|text| !text.trim().is_empty())
        .map(Name::parse)
        .collect::<Result<_, _>>()
        .map_err(|error| Refusal::new(Reason::InvalidName, error.to_string()))?;
    Names::new(parsed).ok_or_else(|| Refusal::new(Reason::NoNames, nothing))
}

/// The hosts that a rule names.
pub(super) fn of_rule(text: &str, protocol: Protocol, syntax: Syntax) -> Result<Names, Refusal> {
    let rule = Rule::parse(text, protocol, syntax).map_err(|error| {
        Refusal::new(Reason::InvalidRule, format!("the rule does not parse: {error}"))
    })?;
    // `*` stands for every host, and names none.
    let hosts = rule.names();
    let nothing = match protocol {
        Protocol::Http => "the rule names no host; add Host(`…`) or tls.domains",
        Protocol::Tcp => "the rule names no host; add HostSNI(`…`) or tls.domains",
    };
    listed(hosts.iter().map(String::as_str), nothing)
}

/// The entries of one `tls.domains` without what is in them twice, as Traefik does: a name goes that
/// an earlier entry covers, or a wildcard that is the main name of any other entry; an entry without
/// names goes. What is wrong stays, to be told.
pub fn without_doubles(entries: &[Result<Names, Refusal>]) -> Vec<Result<Names, Refusal>> {
    let good = entries.iter().filter_map(|entry| entry.as_ref().ok());
    let wildcards: BTreeSet<&str> = good
        .filter_map(|names| names.iter().next())
        .filter(|main| main.is_wildcard())
        .map(Name::as_str)
        .collect();
    let mut earlier: BTreeSet<&str> = BTreeSet::new();
    let mut kept = Vec::new();
    for entry in entries {
        let Ok(names) = entry else {
            kept.push(entry.clone());
            continue;
        };
        let is_double = |name: &&Name| {
            let above = name.wildcard_above();
            earlier.contains(name.as_str())
                || above.is_some_and(|it| earlier.contains(&*it) || wildcards.contains(&*it))
        };
        kept.extend(Names::new(names.iter().filter(|name| !is_double(name)).cloned()).map(Ok));
        earlier.extend(names.iter().map(Name::as_str));
    }
    kept
}
