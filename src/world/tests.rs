//! Routes come and go; what certificates they lead to, and what changed.

use super::*;
use crate::config;
use crate::name::Name;
use crate::route::{Kind, Tls};

const CONFIGURATION: &str = "
entryPoints:
  web: {address: ':80'}
  websecure: {address: ':443'}
  auto:
    address: ':444'
    http: {tls: {certResolver: le, domains: [{main: d.x, sans: [e.x]}]}}
certificatesResolvers:
  le: {acme: {email: a@x, httpChallenge: {entryPoint: web}}}
  broken: {acme: {email: a@x, keyType: DSA, httpChallenge: {entryPoint: web}}}
";

fn world() -> World {
    World::new(&config::parse("c.yml", CONFIGURATION).config.unwrap())
}

fn names(text: &str) -> Names {
    Names::new(text.split(',').map(|name| Name::parse(name).unwrap())).unwrap()
}

/// A route that asks resolver `le` for certificates, one a text of names.
fn route(name: &str, asks: &[&str]) -> Route {
    Route {
        key: Key { kind: Kind::OwnHttp, namespace: "shop".to_owned(), name: name.to_owned() },
        uid: name.to_owned(),
        generation: 1,
        created: None,
        class: None,
        entry_points: vec!["websecure".to_owned()],
        tls: Some(Tls { resolver: Some("le".to_owned()), secret_name: None }),
        asks: asks.iter().map(|text| Ok(names(text))).collect(),
        unknown_fields: Vec::new(),
        status: None,
    }
}

fn with_secret(mut route: Route, secret: &str, created: &str) -> Route {
    route.created = Some(created.parse().unwrap());
    route.tls = Some(Tls { resolver: Some("le".to_owned()), secret_name: Some(secret.to_owned()) });
    route
}

fn id(text: &str) -> Id {
    Id::of("shop", "le", &names(text))
}

fn put(world: &mut World, route: &Route) -> Changed {
    world.apply(&route.key.clone(), Some(route.clone()))
}

#[track_caller]
fn is_refused(route: &Route, reason: Reason, part: &str) {
    let mut world = world();
    put(&mut world, route);
    let (_, derived) = world.route(&route.key).unwrap();
    let refusal = derived.refusals.first().expect("a refusal");
    assert_eq!(refusal.reason, reason);
    assert!(refusal.message.contains(part), "{}", refusal.message);
    assert_eq!(world.wants().count(), 0);
}

#[test]
fn equal_name_sets_of_a_namespace_share_a_certificate() {
    let mut world = world();
    put(&mut world, &route("one", &["a.x,b.x"]));
    let changed = put(&mut world, &route("two", &["b.x,a.x"]));
    assert_eq!(changed.ids, [id("a.x,b.x")].into());
    assert_eq!(world.want(&id("a.x,b.x")).unwrap().routes.len(), 2);
    world.apply(&route("one", &[]).key, None);
    assert!(world.want(&id("a.x,b.x")).is_some());
    world.apply(&route("two", &[]).key, None);
    assert!(world.want(&id("a.x,b.x")).is_none());
}

#[test]
fn a_change_touches_what_it_names_and_nothing_else() {
    let mut world = world();
    put(&mut world, &route("one", &["a.x"]));
    put(&mut world, &route("two", &["b.x"]));
    let changed = put(&mut world, &route("one", &["c.x"]));
    assert_eq!(changed.ids, [id("a.x"), id("c.x")].into());
    assert!(world.want(&id("a.x")).is_none() && world.want(&id("b.x")).is_some());
}

#[test]
fn any_order_of_arrival_gives_the_same() {
    let routes = [
        with_secret(route("one", &["a.x"]), "s", "2026-01-01T00:00:00Z"),
        with_secret(route("two", &["b.x"]), "s", "2026-01-02T00:00:00Z"),
        route("three", &["a.x", "c.x"]),
    ];
    let result = |order: [usize; 3]| {
        let mut world = world();
        for position in order {
            put(&mut world, &routes[position]);
        }
        let wants: Vec<_> = world.wants().map(|(id, want)| (id.clone(), want.clone())).collect();
        (wants, world.winner("shop", "s").cloned())
    };
    let first = result([0, 1, 2]);
    assert_eq!(first.1, Some(id("a.x")));
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(result(order), first, "{order:?}");
    }
}

#[test]
fn the_oldest_route_fills_a_secret_that_several_name() {
    let mut world = world();
    let young = with_secret(route("young", &["b.x"]), "s", "2026-01-02T00:00:00Z");
    let old = with_secret(route("old", &["a.x"]), "s", "2026-01-01T00:00:00Z");
    put(&mut world, &young);
    assert_eq!(world.copies_of(&id("b.x"), "shop"), ["s"]);
    let changed = put(&mut world, &old);
    assert!(changed.ids.contains(&id("b.x")), "the loser is looked at again");
    assert_eq!(world.copies_of(&id("a.x"), "shop"), ["s"]);
    assert!(world.copies_of(&id("b.x"), "shop").is_empty());
    let changed = world.apply(&old.key, None);
    assert!(changed.ids.contains(&id("b.x")), "the loser wins now");
    assert_eq!(world.copies_of(&id("b.x"), "shop"), ["s"]);
}

#[test]
fn a_route_without_a_resolver_leads_to_nothing_in_silence() {
    let mut world = world();
    let silent =
        Route { tls: Some(Tls { resolver: None, secret_name: None }), ..route("r", &["a.x"]) };
    put(&mut world, &silent);
    assert_eq!(world.route(&silent.key).unwrap().1, Derived::default());
}

#[test]
fn an_entry_points_resolver_and_domains_count_for_routes_without_a_tls_block() {
    let mut world = world();
    let plain = Route { tls: None, entry_points: vec!["auto".to_owned()], ..route("r", &["a.x"]) };
    put(&mut world, &plain);
    assert!(world.want(&id("d.x,e.x")).is_some() && world.want(&id("a.x")).is_none());
    let own = Route { tls: Some(Tls { resolver: None, secret_name: None }), ..plain };
    put(&mut world, &own);
    assert_eq!(world.wants().count(), 0, "its own block replaces the entry point's");
}

#[test]
fn a_route_that_names_no_entry_point_gets_the_default_ones() {
    let unnamed = Route { tls: None, entry_points: Vec::new(), ..route("r", &["a.x"]) };
    let mut all_count = world();
    put(&mut all_count, &unnamed);
    assert!(all_count.want(&id("d.x,e.x")).is_some(), "none is marked: all count");
    let text =
        CONFIGURATION.replace("web: {address: ':80'}", "web: {address: ':80', asDefault: true}");
    let mut one_is_marked = World::new(&config::parse("c.yml", &text).config.unwrap());
    put(&mut one_is_marked, &unnamed);
    assert_eq!(one_is_marked.wants().count(), 0);
}

#[test]
fn refusals_name_what_is_wrong_and_what_is_known() {
    let mut unknown = route("r", &["a.x"]);
    unknown.tls = Some(Tls { resolver: Some("el".to_owned()), secret_name: None });
    is_refused(&unknown, Reason::UnknownResolver, "known: broken, le");
    unknown.tls = Some(Tls { resolver: Some("broken".to_owned()), secret_name: None });
    is_refused(&unknown, Reason::ResolverUnusable, "keyType");
    let elsewhere = Route { entry_points: vec!["ws".to_owned()], ..route("r", &["a.x"]) };
    is_refused(&elsewhere, Reason::UnknownEntryPoint, "`ws`");
    is_refused(&route("r", &["*.a.x"]), Reason::WildcardNeedsDns01, "*.a.x");
    let many: Vec<String> = (0..101).map(|number| format!("n{number}.x")).collect();
    is_refused(&route("r", &[many.join(",").as_str()]), Reason::TooManyNames, "101");
}

#[test]
fn only_routes_of_our_class_count() {
    let of_class =
        |class: Option<&str>| Route { class: class.map(str::to_owned), ..route("r", &["a.x"]) };
    for (class, ours) in
        [(None, true), (Some(""), true), (Some("traefik"), true), (Some("edge"), false)]
    {
        let mut world = world();
        put(&mut world, &of_class(class));
        assert_eq!(world.want(&id("a.x")).is_some(), ours, "{class:?}");
    }
}

#[test]
fn a_route_in_error_makes_its_namespace_unclear_until_it_is_mended() {
    let mut world = world();
    let mut unreadable = route("r", &[]);
    unreadable.asks = vec![Err(Refusal::new(Reason::InvalidObject, "no"))];
    let mut unknown = route("r", &["a.x"]);
    unknown.tls = Some(Tls { resolver: Some("el".to_owned()), secret_name: None });
    for in_error in [unreadable, unknown] {
        put(&mut world, &in_error);
        assert!(world.is_unclear("shop") && !world.is_unclear("other"));
        put(&mut world, &route("r", &["a.x"]));
        assert!(!world.is_unclear("shop"));
    }
    put(&mut world, &route("r", &["*.a.x"]));
    assert!(!world.is_unclear("shop"), "what it wants is known, and cannot be had");
}

/// A route of another namespace, made on that day of January.
fn of(namespace: &str, name: &str, day: u8, asks: &[&str]) -> Route {
    let mut route = route(name, asks);
    route.key.namespace = namespace.to_owned();
    route.created = Some(format!("2026-01-{day:02}T00:00:00Z").parse().unwrap());
    route
}

/// Who gets a certificate: the namespaces, each with its names.
fn owners(world: &World) -> Vec<String> {
    let mut owners: Vec<String> =
        world.wants().map(|(_, want)| format!("{}: {}", want.owner, want.names)).collect();
    owners.sort();
    owners
}

#[test]
fn a_host_belongs_to_the_namespace_of_its_oldest_route_in_any_order_of_arrival() {
    let old = of("shop", "r", 1, &["a.x"]);
    let young = of("evil", "r", 2, &["a.x,b.x", "c.x"]);
    for routes in [[&old, &young], [&young, &old]] {
        let mut world = world();
        for route in routes {
            put(&mut world, route);
        }
        assert_eq!(owners(&world), ["evil: c.x", "shop: a.x"]);
        let (_, derived) = world.route(&young.key).unwrap();
        assert_eq!(derived.refusals[0].reason, Reason::HostOwnedElsewhere);
        assert!(!derived.refusals[0].message.contains("shop"), "whose it is, is not told");
        let changed = world.apply(&old.key, None);
        assert!(changed.routes.contains(&young.key), "its turn has come");
        assert_eq!(owners(&world), ["evil: a.x, b.x", "evil: c.x"]);
    }
}

#[test]
fn a_namespace_that_holds_a_certificate_keeps_its_hosts_when_its_route_is_made_anew() {
    let mut world = world();
    let held = id("a.x");
    let since = "2025-01-01T00:00:00Z".parse().unwrap();
    world.hold(&held, Some((since, "shop", &names("a.x"))));
    put(&mut world, &of("evil", "r", 1, &["a.x"]));
    assert_eq!(owners(&world), Vec::<String>::new());
    put(&mut world, &of("shop", "r", 9, &["a.x"]));
    assert_eq!(owners(&world), ["shop: a.x"]);
    world.apply(&of("shop", "r", 9, &[]).key, None);
    let changed = world.hold(&held, None);
    assert!(changed.routes.contains(&of("evil", "r", 1, &[]).key));
    assert_eq!(owners(&world), ["evil: a.x"]);
}

#[test]
fn shared_hosts_belong_to_nobody_if_the_configuration_says_so() {
    let text = format!("{CONFIGURATION}routecert: {{allowCrossNamespaceHosts: true}}\n");
    let mut world = World::new(&config::parse("c.yml", &text).config.unwrap());
    put(&mut world, &of("shop", "r", 1, &["a.x"]));
    put(&mut world, &of("evil", "r", 2, &["a.x"]));
    assert_eq!(owners(&world), ["evil: a.x", "shop: a.x"]);
}
