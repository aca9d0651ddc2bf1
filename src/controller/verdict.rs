//! What is shown of certificates and routes, made of what is known.

use jiff::Timestamp;

use crate::api::{AcmeCertificateSpec, AcmeCertificateStatus, CertificateRef};
use crate::cert::Id;
use crate::controller::leader::Leader;
use crate::controller::publish::{RouteNews, Shown, Verdict};
use crate::name::{Name, Names};
use crate::plan::{Held, View};
use crate::route::{Key, Refusal, Route};
use crate::store::CERTIFICATE_PREFIX;
use crate::world::{Derived, Want};

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
        (None, Some(state), Held::Certificate(_) | Held::Unreadable(_)) => {
            (&state.owner, &state.resolver, &state.names)
        }
        _ => return None,
    };
    let routes = want.into_iter().flat_map(|want| &want.routes).map(ToString::to_string);
    let place =
        format!("{}/{CERTIFICATE_PREFIX}{id}", leader.engine.store.certificates_namespace());
    Some(Shown {
        namespace: owner.clone(),
        spec: AcmeCertificateSpec {
            names: texts(names),
            hosts: texts(names).join(","),
            resolver: resolver.clone(),
            routes: routes.collect(),
        },
        status: AcmeCertificateStatus {
            ready: if view.ready { "True" } else { "False" }.to_owned(),
            reason: view.reason.as_str().to_owned(),
            message: view.message.clone(),
            not_after: view.not_after.map(shown),
            renewal: view.renewal.map(shown),
            secret: (*held != Held::Nothing).then_some(place),
        },
    })
}

/// `None`: the route is gone, or not ours, or what becomes of its copy is not known yet; what was
/// shown stays then.
pub(super) fn route(leader: &Leader, key: &Key) -> Option<RouteNews> {
    let (route, derived) = leader.world.route(key)?;
    (!awaits_copy(leader, route, derived)).then(|| RouteNews {
        uid: route.uid.clone(),
        generation: route.generation,
        verdict: verdict(leader, route, derived),
        present: route.status.clone(),
    })
}

fn verdict(leader: &Leader, route: &Route, derived: &Derived) -> Option<Verdict> {
    let mut refusals = derived.refusals.clone();
    refusals.extend(copy_refusal(leader, route, derived));
    if derived.certificates.is_empty() && refusals.is_empty() {
        return None;
    }
    let waiting = derived.certificates.iter().find_map(|(id, names)| waits(leader, id, names));
    let (reason, mut message) = match (refusals.first(), &waiting) {
        (Some(refusal), _) => (refusal.reason.as_str(), all(&refusals)),
        (None, Some((reason, message))) => (*reason, message.clone()),
        (None, None) => ("Issued", held(leader, derived)),
    };
    if !route.unknown_fields.is_empty() {
        message = format!("{message}; fields without effect: {}", route.unknown_fields.join(", "));
    }
    Some(Verdict {
        ready: refusals.is_empty() && waiting.is_none(),
        refused: !refusals.is_empty(),
        reason,
        message,
        certificates: derived.certificates.iter().map(|(id, names)| reference(id, names)).collect(),
    })
}

fn awaits_copy(leader: &Leader, route: &Route, derived: &Derived) -> bool {
    let (Some(secret), Some(id)) = (&derived.copy, derived.first()) else { return false };
    let wins = leader.world.winner(&route.key.namespace, secret) == Some(id);
    let is_held = leader.records.fingerprint(id).is_some();
    wins && is_held && filled(leader, route, secret, id).is_none()
}

fn filled<'a>(
    leader: &'a Leader,
    route: &Route,
    secret: &str,
    id: &Id,
) -> Option<&'a Result<String, Refusal>> {
    let place = (route.key.namespace.clone(), secret.to_owned());
    leader.filled.get(&place).filter(|(held, _)| held == id).map(|(_, result)| result)
}

fn copy_refusal(leader: &Leader, route: &Route, derived: &Derived) -> Option<Refusal> {
    let secret = derived.copy.as_ref()?;
    let namespace = &route.key.namespace;
    let winner = leader.world.winner(namespace, secret)?;
    if Some(winner) != derived.first() {
        return Some(Refusal::new(
            crate::route::Reason::Conflict,
            format!(
                "Secret {namespace}/{secret} holds the certificate of an older route that names \
                 it too; name another one in tls.secretName"
            ),
        ));
    }
    filled(leader, route, secret, winner)?.as_ref().err().cloned()
}

fn waits(leader: &Leader, id: &Id, names: &Names) -> Option<(&'static str, String)> {
    let view = leader.records.view(id)?;
    (!view.ready).then(|| (view.reason.as_str(), format!("{names}: {}", view.message)))
}

fn held(leader: &Leader, derived: &Derived) -> String {
    let until = |(id, names): &(Id, Names)| {
        let not_after = leader.records.view(id).and_then(|view| view.not_after);
        not_after.map_or_else(|| names.to_string(), |time| format!("{names}: valid until {time}"))
    };
    derived.certificates.iter().map(until).collect::<Vec<_>>().join("; ")
}

fn all(refusals: &[Refusal]) -> String {
    refusals.iter().map(|refusal| refusal.message.as_str()).collect::<Vec<_>>().join("; ")
}

fn reference(id: &Id, names: &Names) -> CertificateRef {
    CertificateRef { name: format!("{CERTIFICATE_PREFIX}{id}"), names: texts(names) }
}

fn texts(names: &Names) -> Vec<String> {
    names.iter().map(Name::as_str).map(str::to_owned).collect()
}

fn shown(time: Timestamp) -> String {
    time.to_string()
}
