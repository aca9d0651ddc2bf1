//! Which certificates a person means.

use std::collections::BTreeSet;

use crate::cert::Id;
use crate::cli::Failure;
use crate::cli::by_hand::records::Records;
use crate::cli::status::{self, Named};
use crate::config;
use crate::name::Name;
use crate::order::State;
use crate::store::CERTIFICATE_PREFIX;

/// Of certificates that may be meant, so many are shown.
const MAX_SHOWN: usize = 10;

/// At least one, each once.
pub(super) async fn find(records: &Records, words: &[String]) -> Result<BTreeSet<Id>, Failure> {
    if let Some(domain) = domain(words) {
        return of_domain(records, &domain).await;
    }
    let named = match records {
        Records::Cluster(cluster) => status::named(&cluster.client, words).await?,
        Records::Files { .. } => match status::certificate(words)? {
            Some(named) => named,
            None => return Err(unnamed(records).await?),
        },
    };
    match named {
        Named::Certificate { namespace, id } => {
            let fits = |state: &State| {
                namespace.as_ref().is_none_or(|namespace| *namespace == state.owner)
            };
            if records.state(&id).await?.is_some_and(|state| fits(&state)) {
                return Ok([id].into());
            }
            let name = format!("{CERTIFICATE_PREFIX}{id}");
            let full = namespace.map_or_else(|| name.clone(), |it| format!("{it}/{name}"));
            Err(unknown(records, &full, &name).await?)
        }
        Named::OfRoutes(ids) if ids.is_empty() => Err(Failure::Failed(
            "the route has no certificate: `routecert status` says why".to_owned(),
        )),
        Named::OfRoutes(ids) => Ok(ids),
    }
}

/// A word that can be nothing else.
fn domain(words: &[String]) -> Option<Name> {
    let [word] = words else { return None };
    let is_one = word.contains('.') && !word.contains(['/', '@']);
    Name::parse(word).ok().filter(|_| is_one)
}

async fn of_domain(records: &Records, domain: &Name) -> Result<BTreeSet<Id>, Failure> {
    let states = present(records).await?;
    let has = |state: &State| state.names.iter().any(|name| name == domain);
    let found: Vec<&(Id, State)> = states.iter().filter(|(_, state)| has(state)).collect();
    match found.as_slice() {
        [(id, _)] => Ok([id.clone()].into()),
        [] => {
            let names = states.iter().flat_map(|(_, state)| state.names.iter());
            let near = config::nearest(domain.as_str(), names.map(Name::as_str));
            let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            Err(Failure::Failed(format!("there is no certificate for {domain}{near}")))
        }
        several => {
            let list = list(several.iter().map(|(id, state)| (id, state)));
            Err(Failure::Failed(format!(
                "several certificates are for {domain}; name one of them:{list}"
            )))
        }
    }
}

/// Those that there are, and not those that are only remembered.
async fn present(records: &Records) -> Result<Vec<(Id, State)>, Failure> {
    let mut states = records.states().await?;
    states.retain(|(_, state)| state.removed_at.is_none());
    Ok(states)
}

/// What a route led to is known to nobody but the process.
async fn unnamed(records: &Records) -> Result<Failure, Failure> {
    let states = present(records).await?;
    let list = list(states.iter().map(|(id, state)| (id, state)));
    Ok(Failure::Failed(format!(
        "without a cluster, name a certificate or one of its domains. There are:{list}"
    )))
}

async fn unknown(records: &Records, full: &str, name: &str) -> Result<Failure, Failure> {
    let states = present(records).await?;
    let names: Vec<String> =
        states.iter().map(|(id, _)| format!("{CERTIFICATE_PREFIX}{id}")).collect();
    let near = config::nearest(name, names.iter().map(String::as_str));
    let near = |(id, _): &&(Id, State)| near == Some(format!("{CERTIFICATE_PREFIX}{id}").as_str());
    let found: Vec<_> = states.iter().filter(near).collect();
    let all = || list(states.iter().map(|(id, state)| (id, state)));
    let what = match found.as_slice() {
        _ if states.is_empty() => format!(", and no record at all{}", records.hint()),
        [] => format!(". There are:{}", all()),
        near => format!(". Nearest is:{}", list(near.iter().map(|(id, state)| (id, state)))),
    };
    Ok(Failure::Failed(format!("there is no certificate {full}{what}")))
}

fn list<'a>(all: impl Iterator<Item = (&'a Id, &'a State)>) -> String {
    let lines: Vec<String> =
        all.map(|(id, state)| format!("\n  {}", super::shown(id, state))).collect();
    let more = lines.len().saturating_sub(MAX_SHOWN);
    let more = (more > 0).then(|| format!("\n  and {more} more"));
    lines.into_iter().take(MAX_SHOWN).chain(more).collect()
}
