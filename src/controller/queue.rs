//! Certificates that are to be ordered: they wait for what their CA allows, then a worker begins.

use jiff::{SignedDuration, Timestamp};

use crate::budget;
use crate::budget::Ticket;
use crate::cert::{Facts, Id};
use crate::controller::leader::Leader;
use crate::issue;
use crate::issue::{Job, account_name};
use crate::order::{Cause, Exemption, Record, Spec, State, Terms};
use crate::plan::{Grounds, Held, View, Why, uses_fallback};
use crate::resolver::Resolver;
use crate::world::Want;

/// A resolver that is not there may come.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// By which resolver a certificate is got.
pub(super) struct Choice {
    pub(super) resolver: Resolver,
    /// Its name, if it stands in for the certificate's own.
    fallback: Option<String>,
}

/// The certificate's own resolver, or the one that stands in for it while it fails.
pub(super) fn choose(leader: &Leader, want: &Want, state: Option<&State>) -> Option<Choice> {
    let own = leader.world.resolver(&want.resolver)?;
    if let Some(fallback) = fallback(leader, want)
        && state.is_some_and(|state| is_at_fallback(state, own))
    {
        let name = Some(fallback.name.clone());
        return Some(Choice { resolver: with_key(fallback, want), fallback: name });
    }
    Some(Choice { resolver: with_key(own, want), fallback: None })
}

/// One that can prove these names too.
pub(super) fn fallback<'a>(leader: &'a Leader, want: &Want) -> Option<&'a Resolver> {
    let own = leader.settings.config.own.resolvers.get(&want.resolver)?;
    let fallback = leader.world.resolver(own.fallback_resolver.as_ref()?)?;
    want.names.iter().all(|name| fallback.challenge_of(name).is_ok()).then_some(fallback)
}

fn is_at_fallback(state: &State, own: &Resolver) -> bool {
    let terms = state.pending.as_ref().and_then(|pending| pending.terms.as_ref());
    terms.is_some_and(|terms| terms.fallback.is_some()) || uses_fallback(state, &own.ca_server)
}

fn with_key(resolver: &Resolver, want: &Want) -> Resolver {
    Resolver { key_type: want.key_type.unwrap_or(resolver.key_type), ..resolver.clone() }
}

/// Waits for its turn from now on; what is shown says so if that is known to be later.
pub(super) fn enter(
    leader: &mut Leader,
    (id, want): (&Id, &Want),
    grounds: Grounds,
    now: Timestamp,
    view: &mut View,
) {
    let state = leader.records.state(id);
    let Some(choice) = choose(leader, want, state) else {
        leader.wake(id, Some(now + LOOK_AGAIN));
        return;
    };
    let ticket = Ticket {
        id: id.clone(),
        namespace: want.owner.clone(),
        class: grounds.class,
        ca: choice.resolver.ca_server.clone(),
        account: account_name(&choice.resolver),
        names: want.names.clone(),
        exemption: exemption(leader, id, want, &choice.resolver, now),
        is_placed: state.is_some_and(|state| state.pending.is_some()),
    };
    leader.grounds.insert(id.clone(), grounds);
    leader.budget.enter(ticket);
    if let Some(until) = leader.budget.expected(id, now) {
        let until = Timestamp::from_second(until.as_second() + 1).unwrap_or(until);
        let ca = &choice.resolver.ca_server;
        view.message = format!("{}; waits for its turn at {ca}, about {until}", view.message);
        view.reason = Why::RateLimited;
        let earlier = leader.wake_of.get(id).copied();
        leader.wake(id, earlier.into_iter().chain([until]).min());
    }
}

fn exemption(
    leader: &Leader,
    id: &Id,
    want: &Want,
    resolver: &Resolver,
    now: Timestamp,
) -> Exemption {
    let others = leader.records.of_same_names(id, &want.resolver, &want.names);
    let account = account_name(resolver);
    budget::exemption(
        (&resolver.ca_server, &account),
        &want.names,
        (leader.records.state(id), held(leader, id)),
        others,
        now,
    )
}

fn held<'a>(leader: &'a Leader, id: &Id) -> Option<&'a Facts> {
    match leader.records.held(id) {
        Held::Certificate(facts) => Some(facts),
        Held::Nothing | Held::Unreadable(_) | Held::KeyMismatch => None,
    }
}

/// Begins those whose turn it is.
pub(super) fn start(leader: &mut Leader, now: Timestamp) {
    for ticket in leader.budget.grant(now) {
        if !begin(leader, &ticket, now) {
            leader.budget.ended(&ticket.id);
        }
    }
    leader.turn = leader.budget.wake(now);
}

fn begin(leader: &mut Leader, ticket: &Ticket, now: Timestamp) -> bool {
    let id = &ticket.id;
    let Some(want) = leader.world.want(id).or_else(|| leader.wanted_last(id)) else { return false };
    let state = leader.records.state(id);
    let Some(choice) = choose(leader, &want, state) else { return false };
    let Some(grounds) = leader.grounds.remove(id) else { return false };
    if choice.resolver.ca_server != ticket.ca || leader.busy.contains(id) {
        return false;
    }
    if want.names.iter().any(|name| leader.in_flight.contains_key(name)) {
        leader.waiting.insert(id.clone());
        return false;
    }
    leader.in_flight.extend(want.names.iter().map(|name| (name.clone(), id.clone())));
    let job = job(leader, (ticket, &want), choice, grounds, now);
    let (engine, clock) = (leader.engine.clone(), leader.settings.clock);
    leader.work(id, async move { issue::drive(&engine, &job, clock).await });
    true
}

fn job(
    leader: &Leader,
    (ticket, want): (&Ticket, &Want),
    choice: Choice,
    grounds: Grounds,
    now: Timestamp,
) -> Job {
    let id = &ticket.id;
    let exemption = exemption(leader, id, want, &choice.resolver, now);
    let own = &leader.settings.config.own;
    let used = choice.fallback.as_deref().unwrap_or(&want.resolver);
    let more = own.resolvers.get(used);
    let rehearsal = more.and_then(|more| more.rehearsal_ca_server.as_deref());
    let key_type = want.key_type;
    let spec = Spec::of(&choice.resolver, key_type);
    Job {
        id: id.clone(),
        owner: want.owner.clone(),
        names: want.names.clone(),
        kinds: leader.kinds(id, want),
        basis: leader.records.fingerprint(id),
        keeps_key: own.keep_keys && may_keep_key(leader, id, &spec),
        replaces: replaces(leader, id, want),
        asks_when_to_renew: own.asks_when_to_renew(used),
        rehearsal: choice.resolver.rehearsal(rehearsal),
        terms: Terms {
            spec,
            cause: grounds.cause,
            exemption,
            account: ticket.account.clone(),
            fallback: choice.fallback,
            rehearsal: false,
        },
        resolver: choice.resolver,
        resolver_name: want.resolver.clone(),
    }
}

/// To unset the TXT records that an order of the certificate left.
pub(super) fn tidying(leader: &Leader, id: &Id) -> Option<Job> {
    let state = leader.records.state(id)?;
    let named = |record: &Record| leader.world.resolver(&record.resolver);
    let resolver = state.records.iter().find_map(named)?.clone();
    Some(Job {
        id: id.clone(),
        owner: state.owner.clone(),
        names: state.names.clone(),
        kinds: state.kinds.clone(),
        basis: None,
        keeps_key: false,
        replaces: None,
        asks_when_to_renew: false,
        rehearsal: None,
        resolver_name: resolver.name.clone(),
        terms: Terms {
            spec: Spec::of(&resolver, None),
            cause: Cause::Other,
            exemption: Exemption::None,
            account: account_name(&resolver),
            fallback: None,
            rehearsal: false,
        },
        resolver,
    })
}

/// A key that somebody else may have is never kept.
fn may_keep_key(leader: &Leader, id: &Id, spec: &Spec) -> bool {
    let Some(facts) = held(leader, id) else { return false };
    let revoked = leader.records.state(id).and_then(|state| state.revoked.as_ref());
    facts.key_type == Some(spec.key_type) && revoked != Some(&facts.fingerprint)
}

/// What the new certificate stands in for (RFC 9773 §5): the one that is held; else one that no
/// route wants any more and that shares a name with it.
fn replaces(leader: &Leader, id: &Id, want: &Want) -> Option<String> {
    let is_refused = |id: &Id| {
        let ari = leader.records.state(id).and_then(|state| state.ari.as_ref());
        ari.is_some_and(|ari| ari.refused)
    };
    if let Some(facts) = held(leader, id) {
        return facts.ari_id.clone().filter(|_| !is_refused(id));
    }
    let others = leader.records.ids_of_same_names(id, &want.resolver, &want.names);
    let free = |other: &&Id| leader.world.want(other).is_none() && !is_refused(other);
    others.into_iter().filter(free).find_map(|other| held(leader, other)?.ari_id.clone())
}
