//! What is shown of certificates and routes, made of what is known.

use jiff::Timestamp;

use crate::api::{AcmeCertificateSpec, AcmeCertificateStatus, CertificateRef, LastError};
use crate::cert::Id;
use crate::controller::leader::Leader;
use crate::controller::publish::{RouteNews, Shown, Verdict};
use crate::name::{Name, Names};
use crate::order::Failure;
use crate::plan::{Held, View};
use crate::route::{Key, Refusal, Route};
use crate::store::CERTIFICATE_PREFIX;
use crate::world::{Certificate, Derived, Want};

/// Of the routes of one certificate, and of the certificates of one route, so many are shown: an
/// object holds about a MiB.
const MAX_SHOWN: usize = 200;
/// And of these no more names than this.
const MAX_NAMES_SHOWN: usize = 1000;
/// Refusals of one route that are told in its one message.
const MAX_REFUSALS_SHOWN: usize = 20;

/// `None`: there is nothing to show, and an AcmeCertificate that is there goes.
pub(super) fn certificate(
    leader: &Leader,
    id: &Id,
    want: Option<&Want>,
    view: &View,
) -> Option<Shown> {
    let held = leader.records.held(id);
    let state = leader.records.state(id);
    let (owner, resolver, names) = match (want, state, held) {
        (Some(want), _, _) => (&want.owner, &want.resolver, &want.names),
        (None, Some(state), held) if *held != Held::Nothing => {
            (&state.owner, &state.resolver, &state.names)
        }
        _ => return None,
    };
    let routes = want.into_iter().flat_map(|want| &want.routes).take(MAX_SHOWN);
    let place = leader.engine.store.place_of(id);
    Some(Shown {
        namespace: owner.clone(),
        spec: AcmeCertificateSpec {
            names: texts(names),
            hosts: texts(names).join(","),
            resolver: resolver.clone(),
            routes: routes.map(ToString::to_string).collect(),
        },
        status: AcmeCertificateStatus {
            ready: if view.ready { "True" } else { "False" }.to_owned(),
            reason: view.reason.as_str().to_owned(),
            message: view.message.clone(),
            not_after: view.not_after.map(shown),
            renewal: view.renewal.map(shown),
            secret: (*held != Held::Nothing).then_some(place),
            last_error: state.and_then(|state| state.failures.last()).map(last_error),
            next_retry: view.retry.map(shown),
        },
    })
}

fn last_error(failure: &Failure) -> LastError {
    LastError {
        kind: failure.kind.as_str().to_owned(),
        message: failure.message.clone(),
        at: shown(failure.at),
    }
}

/// `None`: the route is gone, or not ours, or what becomes of its copy is not known yet; what was
/// shown stays then.
pub(super) fn route(leader: &Leader, key: &Key) -> Option<RouteNews> {
    let (route, derived) = leader.world.route(key)?;
    (!awaits_copy(leader, route, derived)).then(|| RouteNews {
        uid: route.uid.to_string(),
        generation: route.generation,
        verdict: verdict(leader, route, derived),
        present: route.status.as_deref().cloned(),
    })
}

fn verdict(leader: &Leader, route: &Route, derived: &Derived) -> Option<Verdict> {
    let mut refusals = derived.refusals.clone();
    refusals.extend(derived.certificates.iter().filter_map(|it| copy_refusal(leader, route, it)));
    if derived.certificates.is_empty() && refusals.is_empty() {
        return None;
    }
    let waiting = derived.certificates.iter().find_map(|wanted| waits(leader, wanted));
    let (reason, mut message) = match (refusals.first(), &waiting) {
        (Some(refusal), _) => (refusal.reason.as_str(), all(&refusals)),
        (None, Some((reason, message))) => (*reason, message.clone()),
        (None, None) => ("Issued", held(leader, derived)),
    };
    for warning in &derived.warnings {
        message = format!("{message}; {warning}");
    }
    if !route.unknown_fields.is_empty() {
        message = format!("{message}; fields without effect: {}", route.unknown_fields.join(", "));
    }
    Some(Verdict {
        ready: refusals.is_empty() && waiting.is_none(),
        refused: !refusals.is_empty(),
        reason,
        message,
        certificates: references(leader, derived),
    })
}

fn awaits_copy(leader: &Leader, route: &Route, derived: &Derived) -> bool {
    derived.certificates.iter().any(|wanted| {
        let Some(secret) = &wanted.secret_name else { return false };
        let id = leader.world.in_place_of(&wanted.id);
        let wins = leader.world.winner(&route.key.namespace, secret) == Some(id);
        let is_held = leader.records.fingerprint(id).is_some();
        wins && is_held && filled(leader, route, secret, id).is_none()
    })
}

fn filled<'a>(
    leader: &'a Leader,
    route: &Route,
    secret: &str,
    id: &Id,
) -> Option<&'a Result<String, Refusal>> {
    let place = (route.key.namespace.to_string(), secret.to_owned());
    leader.filled.get(&place).filter(|(held, _)| held == id).map(|(_, result)| result)
}

fn copy_refusal(leader: &Leader, route: &Route, wanted: &Certificate) -> Option<Refusal> {
    let secret = wanted.secret_name.as_ref()?;
    if let Some(refusal) = leader.world.lost_copy(&route.key, wanted) {
        return Some(refusal);
    }
    let winner = leader.world.winner(&route.key.namespace, secret)?;
    filled(leader, route, secret, winner)?.as_ref().err().cloned()
}

fn waits(leader: &Leader, wanted: &Certificate) -> Option<(&'static str, String)> {
    let view = leader.records.view(leader.world.in_place_of(&wanted.id))?;
    let names = &wanted.names;
    (!view.ready).then(|| (view.reason.as_str(), format!("{names}: {}", view.message)))
}

fn held(leader: &Leader, derived: &Derived) -> String {
    let until = |wanted: &Certificate| {
        let view = leader.records.view(leader.world.in_place_of(&wanted.id));
        let names = &wanted.names;
        let not_after = view.and_then(|view| view.not_after);
        not_after.map_or_else(|| names.to_string(), |time| format!("{names}: valid until {time}"))
    };
    derived.certificates.iter().map(until).collect::<Vec<_>>().join("; ")
}

fn all(refusals: &[Refusal]) -> String {
    let shown = refusals.iter().take(MAX_REFUSALS_SHOWN);
    let mut messages: Vec<&str> = shown.map(|refusal| refusal.message.as_str()).collect();
    if refusals.len() > messages.len() {
        messages.push("and more");
    }
    messages.join("; ")
}

/// The certificates that serve the route, the first of very many: those whose wildcards cover its
/// names in their place.
fn references(leader: &Leader, derived: &Derived) -> Vec<CertificateRef> {
    let mut found: Vec<CertificateRef> = Vec::new();
    let mut count = 0;
    for wanted in &derived.certificates {
        let id = leader.world.in_place_of(&wanted.id);
        let names = leader.world.names(id).unwrap_or(&wanted.names);
        let name = format!("{CERTIFICATE_PREFIX}{id}");
        if found.iter().any(|known| known.name == name) {
            continue;
        }
        count += names.len();
        if found.len() == MAX_SHOWN || count > MAX_NAMES_SHOWN {
            break;
        }
        found.push(CertificateRef { name, names: texts(names) });
    }
    found
}

fn texts(names: &Names) -> Vec<String> {
    names.iter().map(Name::as_str).map(str::to_owned).collect()
}

fn shown(time: Timestamp) -> String {
    time.to_string()
}
