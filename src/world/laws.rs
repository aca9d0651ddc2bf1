//! The laws of a whole world: what it holds follows from what there is, never from how that came
//! about; what changes is told; a stranger's route takes nothing.

use std::sync::LazyLock;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;
use crate::cert::KeyType;
use crate::config;
use crate::name::Names;
use crate::route;
use crate::route::{Class, Kind, Part, Service, Tls};

const HOME: &str = "routecert";
const NAMESPACES: [&str; 3] = ["shop", "team", "wild"];
const HOSTS: [&str; 8] = ["a.x.y", "b.x.y", "*.x.y", "x.y", "c.a.x.y", "*.a.x.y", "e.z", "local"];
const SECRETS: [&str; 2] = ["s", "t"];
const SERVICES: [&str; 2] = ["app", "db"];
const CLASSES: [&str; 2] = ["edge", "inner"];

static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "
entryPoints:
  web: {address: ':80'}
  websecure: {address: ':443', asDefault: true}
  auto: {address: ':444', http: {tls: {certResolver: le}}}
  listed: {address: ':445', http: {tls: {certResolver: le, domains: [{main: e.z}]}}}
providers: {kubernetesCRD: {}, kubernetesIngress: {}}
certificatesResolvers:
  le: {acme: {email: a@x, dnsChallenge: {provider: httpreq}}}
  plain: {acme: {email: a@x, httpChallenge: {entryPoint: web}}}
";
    config::parse("c.yml", text).config.unwrap()
});

fn world() -> World {
    World::new(&CONFIG, HOME, Purpose::Plan)
}

/// One thing as it is; a later one about the same thing takes its place.
#[derive(Debug, Clone)]
enum Fact {
    Route(Key, Option<Box<Route>>),
    Service(&'static str, &'static str, Presence),
    Judged(Judged),
    Class(&'static str, Option<&'static str>),
    Resolver(&'static str, Option<Box<Live>>),
    Held(Id, Option<Hold>, Holding),
}

impl Fact {
    /// What it is about.
    fn place(&self) -> String {
        match self {
            Self::Route(key, _) => key.to_string(),
            Self::Service(namespace, name, _) => format!("Service {namespace}/{name}"),
            Self::Judged(_) => "judged".to_owned(),
            Self::Class(name, _) => format!("class {name}"),
            Self::Resolver(name, _) => format!("resolver {name}"),
            Self::Held(id, ..) => format!("held {id}"),
        }
    }

    /// As it was before anything was known of it.
    fn undone(&self) -> Self {
        match self {
            Self::Route(key, _) => Self::Route(key.clone(), None),
            Self::Service(namespace, name, _) => Self::Service(namespace, name, Presence::Gone),
            Self::Judged(_) => Self::Judged(Judged::Nowhere),
            Self::Class(name, _) => Self::Class(name, None),
            Self::Resolver(name, _) => Self::Resolver(name, None),
            Self::Held(id, ..) => Self::Held(id.clone(), None, Holding::Nothing),
        }
    }

    fn apply(&self, world: &mut World) -> Changed {
        match self.clone() {
            Self::Route(key, route) => world.apply(&key, route.map(|route| *route)),
            Self::Service(namespace, name, is) => world.set_service(namespace, name, is),
            Self::Judged(judged) => world.judge_services(judged),
            Self::Class(name, controller) => world.set_class(name, controller),
            Self::Resolver(name, live) => world.set_resolver(name, live.map(|live| *live)),
            Self::Held(id, hold, holding) => {
                let mut changed = world.hold(&id, hold);
                changed.merge(world.note(&id, holding));
                changed
            }
        }
    }
}

/// The last word about each thing.
fn latest(facts: &[Fact]) -> BTreeMap<String, Fact> {
    facts.iter().map(|fact| (fact.place(), fact.clone())).collect()
}

fn names() -> impl Strategy<Value = Names> {
    prop::collection::vec(select(&HOSTS[..]), 1..=3).prop_map(|texts| {
        Names::new(texts.into_iter().map(|text| Name::parse(text).unwrap())).unwrap()
    })
}

fn time() -> impl Strategy<Value = Timestamp> {
    (1..=9u8).prop_map(|day| format!("2026-01-{day:02}T00:00:00Z").parse().unwrap())
}

fn refused(reason: Reason) -> Refusal {
    Refusal::new(reason, "no")
}

fn some_names() -> impl Strategy<Value = Result<Names, Refusal>> {
    let faults = [Reason::InvalidRule, Reason::NoNames, Reason::InvalidName].map(refused);
    prop_oneof![6 => names().prop_map(Ok), 1 => select(faults.to_vec()).prop_map(Err)]
}

fn part() -> impl Strategy<Value = Part> {
    let service = prop::option::weighted(
        0.4,
        (prop::option::weighted(0.1, select(&NAMESPACES[..])), select(&SERVICES[..])),
    );
    (some_names(), service).prop_map(|(names, service)| Part {
        names,
        services: service
            .into_iter()
            .map(|(namespace, name)| Service {
                namespace: namespace.map(Into::into),
                name: name.into(),
            })
            .collect(),
    })
}

fn tls() -> impl Strategy<Value = Option<Box<Tls>>> {
    let secret = || prop::option::weighted(0.4, select(&SECRETS[..]));
    let entry = (some_names(), secret())
        .prop_map(|(names, secret)| route::Entry { names, secret_name: secret.map(Into::into) });
    let resolver = prop_oneof![
        6 => Just(Some("le")),
        1 => Just(Some("plain")),
        2 => Just(Some("live")),
        1 => Just(Some("nobody")),
        1 => Just(None),
    ];
    let key_type = prop::option::weighted(0.2, Just(KeyType::parse("EC384").unwrap()));
    let entries = prop::collection::vec(entry, 0..=2);
    let tls = (resolver, secret(), entries, key_type).prop_map(
        |(resolver, secret, domains, key_type)| {
            Box::new(Tls {
                resolver: resolver.map(Into::into),
                secret_name: secret.map(Into::into),
                domains,
                key_type,
            })
        },
    );
    prop::option::weighted(0.85, tls)
}

fn class() -> impl Strategy<Value = Class> {
    let named = [Class::Spec("edge".into()), Class::Spec("inner".into()), Class::Anyone];
    let noted = [Class::Annotation("traefik".into()), Class::Annotation("edge".into())];
    let all: Vec<Class> = named.into_iter().chain(noted).collect();
    prop_oneof![3 => Just(Class::Unnamed), 1 => select(all)]
}

fn key(namespace: impl Strategy<Value = &'static str>) -> impl Strategy<Value = Key> {
    let kinds = vec![Kind::OwnHttp, Kind::TraefikTcp, Kind::Ingress, Kind::OwnStore];
    (select(kinds), namespace, select(vec!["r", "default"]))
        .prop_map(|(kind, namespace, name)| Key::new(kind, namespace, name))
}

fn route(key: Key) -> impl Strategy<Value = Route> {
    let entry_points = select(vec![
        vec!["websecure"],
        vec![],
        vec!["auto"],
        vec!["listed"],
        vec!["websecure", "nowhere"],
        vec!["nowhere"],
    ]);
    let created = prop::option::weighted(0.9, time());
    let parts = prop::collection::vec(part(), 0..=2);
    let fault = prop::option::weighted(0.05, Just(Box::new(refused(Reason::Passthrough))));
    (created, class(), entry_points, tls(), parts, fault).prop_map(
        move |(created, class, entry_points, tls, parts, fault)| Route {
            key: key.clone(),
            uid: "u".into(),
            generation: 1,
            created,
            class,
            entry_points: entry_points.into_iter().map(Into::into).collect(),
            tls,
            parts: parts.into(),
            fault,
            unknown_fields: Box::default(),
            status: None,
        },
    )
}

fn live() -> impl Strategy<Value = Option<Live>> {
    let acme = json!({"email": "a@x", "httpChallenge": {"entryPoint": "web"}});
    let specs = [
        json!({"acme": acme}),
        json!({"acme": acme, "allow": {"namespaces": ["shop"], "domains": ["*.x.y"]}}),
        json!({"acme": acme, "grants": [{"namespaces": ["team"], "domains": ["a.x.y"]}]}),
        json!({"acme": acme, "grants": [{"namespaces": ["shop", "wild"], "domains": ["*.x.y"]}]}),
        json!({"acme": {"email": "a@x", "keyType": "DSA"}}),
    ];
    let all = specs.map(|spec| CONFIG.live_resolver("live", &spec).0);
    prop::option::weighted(0.8, select(all.to_vec()))
}

fn held() -> impl Strategy<Value = Fact> {
    let hold = (time(), any::<bool>()).prop_map(|(since, is_firm)| {
        (since, if is_firm { Grip::Firm } else { Grip::WhileClaimed })
    });
    let holding = select(vec![Holding::Nothing, Holding::Stale, Holding::Valid]);
    (select(&NAMESPACES[..]), names(), prop::option::weighted(0.7, hold), holding).prop_map(
        |(namespace, names, hold, holding)| {
            let id = Id::of(namespace, "le", &names);
            let namespace = namespace.to_owned();
            let hold = hold.map(|(since, grip)| Hold { since, namespace, names, grip });
            Fact::Held(id, hold, holding)
        },
    )
}

fn fact() -> impl Strategy<Value = Fact> {
    let route = key(select(&NAMESPACES[..])).prop_flat_map(|key| {
        prop::option::weighted(0.8, route(key.clone()))
            .prop_map(move |route| Fact::Route(key.clone(), route.map(Box::new)))
    });
    let presence = || select(vec![Presence::There, Presence::Gone]);
    let service = (select(&NAMESPACES[..]), select(&SERVICES[..]), presence())
        .prop_map(|(namespace, name, is)| Fact::Service(namespace, name, is));
    let judged = select(vec![
        Judged::Nowhere,
        Judged::Everywhere,
        Judged::In(["shop".to_owned()].into()),
        Judged::WhereAnyIsKnown,
    ]);
    let controllers = vec![Some("traefik.io/ingress-controller"), Some("k8s.io/other"), None];
    prop_oneof![
        12 => route,
        3 => service,
        1 => judged.prop_map(Fact::Judged),
        1 => (select(&CLASSES[..]), select(controllers)).prop_map(|(name, one)| Fact::Class(name, one)),
        2 => live().prop_map(|live| Fact::Resolver("live", live.map(Box::new))),
        3 => held(),
    ]
}

fn facts() -> impl Strategy<Value = Vec<Fact>> {
    prop::collection::vec(fact(), 0..40)
}

/// A certificate as the world knows it.
type Shown = (Option<Want>, Id, BTreeSet<(String, String)>);

/// Everything that anybody can ask of a world.
#[derive(Debug, PartialEq)]
struct Seen {
    certificates: BTreeMap<Id, Shown>,
    routes: BTreeMap<Key, (Derived, Vec<Option<Refusal>>)>,
    winners: BTreeMap<(&'static str, &'static str), Option<Id>>,
    unclear: Vec<&'static str>,
}

fn look(world: &World) -> Seen {
    let certificate = |id: &Id| {
        (id.clone(), (world.want(id), world.in_place_of(id).clone(), world.copies_of(id)))
    };
    let leads = |(_, derived): &(&Route, &Derived)| **derived != Derived::default();
    let route = |(route, derived): (&Route, &Derived)| {
        let lost = derived.certificates.iter().map(|one| world.lost_copy(&route.key, one));
        (route.key.clone(), (derived.clone(), lost.collect()))
    };
    let places = NAMESPACES.into_iter().flat_map(|one| SECRETS.map(|secret| (one, secret)));
    Seen {
        certificates: world.ids().map(certificate).collect(),
        routes: world.derived().filter(leads).map(route).collect(),
        winners: places.map(|it| (it, world.winner(it.0, it.1).cloned())).collect(),
        unclear: NAMESPACES.into_iter().filter(|one| world.is_unclear(one)).collect(),
    }
}

/// Keys whose values differ.
fn differing<K: Ord + Clone, V: PartialEq>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
) -> BTreeSet<K> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| before.get(key) != after.get(key)).cloned().collect()
}

/// Certificates of the namespaces but `wild`.
fn of_others(world: &World) -> BTreeMap<Id, (Want, BTreeSet<(String, String)>)> {
    let others = world.wants().filter(|(_, want)| want.owner != "wild" && want.owner != HOME);
    others.map(|(id, want)| (id.clone(), (want, world.copies_of(id)))).collect()
}

/// What each route of a namespace but `wild` leads to.
fn routes_of_others(world: &World) -> BTreeMap<Key, Vec<Certificate>> {
    let others = world.derived().filter(|(route, derived)| {
        &*route.key.namespace != "wild" && **derived != Derived::default()
    });
    others.map(|(route, derived)| (route.key.clone(), derived.certificates.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// So it is with every order of arrival, and with what went and came again.
    #[test]
    fn a_world_follows_from_what_there_is_and_not_from_how_it_came(
        facts in facts(),
        order in prop::collection::vec(any::<u32>(), 40),
    ) {
        let mut lived = world();
        for fact in &facts {
            fact.apply(&mut lived);
        }
        let latest = latest(&facts);
        let mut shuffled: Vec<(u32, &Fact)> = order.into_iter().zip(latest.values()).collect();
        shuffled.sort_by_key(|(position, _)| *position);
        let mut fresh = world();
        for (_, fact) in shuffled {
            fact.apply(&mut fresh);
        }
        prop_assert_eq!(look(&lived), look(&fresh));
    }

    #[test]
    fn whatever_differs_afterwards_is_told(facts in facts()) {
        let mut world = world();
        let mut before = look(&world);
        for fact in &facts {
            let changed = fact.apply(&mut world);
            let after = look(&world);
            let ids = differing(&before.certificates, &after.certificates);
            prop_assert!(changed.ids.is_superset(&ids), "{fact:?}: {changed:?}, not {ids:?}");
            let routes = differing(&before.routes, &after.routes);
            prop_assert!(changed.routes.is_superset(&routes), "{fact:?}: {changed:?}, not {routes:?}");
            before = after;
        }
    }

    #[test]
    fn nothing_is_left_of_what_has_gone(facts in facts()) {
        let mut world = world();
        let empty = format!("{world:?}");
        for fact in &facts {
            fact.apply(&mut world);
        }
        for fact in latest(&facts).values() {
            fact.undone().apply(&mut world);
        }
        prop_assert_eq!(format!("{world:?}"), empty);
    }

    /// What the configuration asks for at an entry point belongs to nobody but itself.
    #[test]
    fn two_namespaces_have_one_host_only_by_a_grant_to_both(facts in facts()) {
        let mut world = world();
        for fact in &facts {
            fact.apply(&mut world);
        }
        let mut owner: BTreeMap<Name, String> = BTreeMap::new();
        for (_, want) in world.wants().filter(|(_, want)| want.owner != HOME) {
            for name in want.names.iter() {
                let other = owner.insert(name.clone(), want.owner.clone());
                let is_shared = world.settings.grants().iter().any(|one| one.is_about(name));
                let same = other.is_none_or(|other| other == want.owner);
                prop_assert!(same || is_shared, "{name}");
            }
        }
    }

    #[test]
    fn a_stranger_takes_no_more_than_hosts_that_are_its_own(
        facts in facts(),
        stranger in key(Just("wild")).prop_flat_map(route),
    ) {
        let mut world = world();
        for fact in &facts {
            fact.apply(&mut world);
        }
        world.apply(&stranger.key, None);
        let before = routes_of_others(&world);
        world.apply(&stranger.key, Some(stranger.clone()));
        let taken: BTreeSet<&Name> =
            stranger.hosts().filter(|name| world.hosts.allows("wild", name)).collect();
        let left = |wanted: &Certificate| {
            wanted.owner == HOME || !wanted.names.iter().any(|name| taken.contains(name))
        };
        let granted = world.settings.grants();
        let keeps = |wanted: &Certificate| {
            left(wanted)
                || wanted.names.iter().all(|name| world.hosts.allows(&wanted.owner, name))
        };
        let mut expected = before;
        for certificates in expected.values_mut() {
            certificates.retain(keeps);
        }
        expected.retain(|key, _| world.route(key).is_some_and(|(_, derived)| *derived != Derived::default()));
        prop_assert_eq!(routes_of_others(&world), expected, "{:?}", granted);
    }

    /// The youngest one, without a hold or a grant of its own.
    #[test]
    fn a_newcomer_changes_nothing_for_anybody(
        facts in facts(),
        newcomer in key(Just("wild")).prop_flat_map(route),
    ) {
        let mut world = world();
        let is_its_own = |fact: &&Fact| match fact {
            Fact::Route(key, _) => &*key.namespace == "wild",
            Fact::Held(_, Some(hold), _) => hold.namespace == "wild",
            Fact::Resolver(..) => true,
            _ => false,
        };
        for fact in facts.iter().filter(|fact| !is_its_own(fact)) {
            fact.apply(&mut world);
        }
        let before = (of_others(&world), routes_of_others(&world));
        let newcomer = Route { created: None, ..newcomer };
        world.apply(&newcomer.key, Some(newcomer.clone()));
        prop_assert_eq!((of_others(&world), routes_of_others(&world)), before);
    }
}
