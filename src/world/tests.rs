//! Routes come and go; what certificates they lead to, and what changed.

use super::*;
use crate::config;
use crate::name::{Name, Names};
use crate::route;
use crate::route::{Class, Kind, Part, Service, Tls};

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
    world_of(CONFIGURATION)
}

fn world_of(text: &str) -> World {
    World::new(&config::parse("c.yml", text).config.unwrap(), "routecert", Purpose::Act)
}

fn names(text: &str) -> Names {
    Names::new(text.split(',').map(|name| Name::parse(name).unwrap())).unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "as the field has it")]
fn tls(resolver: Option<&str>) -> Option<Box<Tls>> {
    Some(Box::new(Tls { resolver: resolver.map(Into::into), ..Tls::default() }))
}

fn part(text: &str) -> Part {
    Part { names: Ok(names(text)), services: Box::default() }
}

/// A route that asks resolver `le` for certificates, one a text of names.
fn route(name: &str, asks: &[&str]) -> Route {
    Route {
        key: Key::new(Kind::OwnHttp, "shop", name),
        uid: name.into(),
        generation: 1,
        created: None,
        class: Class::Unnamed,
        entry_points: ["websecure".into()].into(),
        tls: tls(Some("le")),
        parts: asks.iter().map(|text| part(text)).collect(),
        fault: None,
        unknown_fields: Box::default(),
        status: None,
    }
}

fn with_secret(mut route: Route, secret: &str, created: &str) -> Route {
    route.created = Some(created.parse().unwrap());
    route.tls = Some(Box::new(Tls {
        resolver: Some("le".into()),
        secret_name: Some(secret.into()),
        ..Tls::default()
    }));
    route
}

fn id(text: &str) -> Id {
    Id::of("shop", "le", &names(text))
}

fn copies(world: &World, text: &str) -> Vec<String> {
    world.copies_of(&id(text)).into_iter().map(|(_, name)| name).collect()
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
fn a_route_that_asks_for_the_same_again_is_told_and_touches_no_certificate() {
    let mut world = world();
    let one = with_secret(route("one", &["a.x", "b.x"]), "s", "2026-01-01T00:00:00Z");
    put(&mut world, &one);
    let again = Route { generation: 2, ..one.clone() };
    let changed = put(&mut world, &again);
    assert_eq!(changed, Changed { ids: BTreeSet::new(), routes: [one.key.clone()].into() });
    assert_eq!(world.route(&one.key).unwrap().0.generation, 2);
    let later = Route { created: None, ..again };
    let changed = put(&mut world, &later);
    assert_eq!(changed.ids, [id("a.x"), id("b.x")].into(), "its age counts");
}

#[test]
fn a_route_that_asks_for_nothing_is_no_more_than_its_claims() {
    let mut world = world();
    let quiet = Route { tls: tls(None), ..of("shop", "quiet", 1, &["a.x"]) };
    assert_eq!(put(&mut world, &quiet), Changed::default());
    assert!(world.route(&quiet.key).is_none() && world.len() == 1);
    put(&mut world, &of("other", "young", 2, &["a.x"]));
    assert_eq!(owners(&world), [""; 0], "the older route owns the host");
    let changed = world.apply(&quiet.key, None);
    assert_eq!(changed.ids, [Id::of("other", "le", &names("a.x"))].into());
    assert_eq!(owners(&world), ["other: a.x"]);
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
        let wants: Vec<_> = world.wants().map(|(id, want)| (id.clone(), want)).collect();
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
    assert_eq!(copies(&world, "b.x"), ["s"]);
    let changed = put(&mut world, &old);
    assert!(changed.ids.contains(&id("b.x")), "the loser is looked at again");
    assert_eq!(copies(&world, "a.x"), ["s"]);
    assert!(copies(&world, "b.x").is_empty());
    let changed = world.apply(&old.key, None);
    assert!(changed.ids.contains(&id("b.x")), "the loser wins now");
    assert_eq!(copies(&world, "b.x"), ["s"]);
}

#[test]
fn a_route_without_a_resolver_leads_to_nothing_in_silence() {
    let mut world = world();
    let silent = Route { tls: tls(None), ..route("r", &["a.x"]) };
    assert!(put(&mut world, &silent).routes.is_empty());
    assert!(world.route(&silent.key).is_none() && world.len() == 1);
}

#[test]
fn an_entry_points_resolver_and_domains_count_for_routes_without_a_tls_block() {
    let mut world = world();
    let plain = Route { tls: None, entry_points: ["auto".into()].into(), ..route("r", &["a.x"]) };
    put(&mut world, &plain);
    let listed = Id::of("routecert", "le", &names("d.x,e.x"));
    assert_eq!(world.want(&listed).unwrap().owner, "routecert", "the configuration asks for it");
    assert!(world.want(&id("a.x")).is_none());
    let (_, derived) = world.route(&plain.key).unwrap();
    assert!(derived.warnings[0].contains("covers a.x"), "{:?}", derived.warnings);
    let own = Route { tls: tls(None), ..plain.clone() };
    put(&mut world, &own);
    assert_eq!(world.wants().count(), 0, "its own block replaces the entry point's");
    let tcp = Route { key: Key::new(Kind::OwnTcp, "shop", "r"), ..plain };
    put(&mut world, &tcp);
    assert_eq!(world.wants().count(), 0, "an entry point's http.tls is for HTTP");
}

#[test]
fn each_entry_point_of_a_route_counts() {
    let two = CONFIGURATION.replace("domains: [{main: d.x, sans: [e.x]}]", "").replace(
        "  websecure: {address: ':443'}",
        "  websecure: {address: ':443', http: {tls: {certResolver: other}}}",
    ) + "  other: {acme: {email: a@x, httpChallenge: {entryPoint: web}}}\n";
    let mut world = world_of(&two);
    let entry_points = ["auto".into(), "websecure".into()].into();
    put(&mut world, &Route { tls: None, entry_points, ..route("r", &["a.x"]) });
    let resolvers: BTreeSet<String> = world.wants().map(|(_, want)| want.resolver).collect();
    assert_eq!(resolvers, ["le".to_owned(), "other".to_owned()].into());
}

#[test]
fn a_route_that_names_no_entry_point_gets_the_default_ones() {
    let unnamed = Route { tls: None, entry_points: Box::default(), ..route("r", &["a.x"]) };
    let mut all_count = world();
    put(&mut all_count, &unnamed);
    assert_eq!(all_count.wants().count(), 1, "none is marked: all count");
    let text =
        CONFIGURATION.replace("web: {address: ':80'}", "web: {address: ':80', asDefault: true}");
    let mut one_is_marked = world_of(&text);
    put(&mut one_is_marked, &unnamed);
    assert_eq!(one_is_marked.wants().count(), 0);
}

#[test]
fn refusals_name_what_is_wrong_and_what_is_known() {
    let mut unknown = route("r", &["a.x"]);
    unknown.tls = tls(Some("el"));
    is_refused(&unknown, Reason::UnknownResolver, "known: broken, le");
    unknown.tls = tls(Some("broken"));
    is_refused(&unknown, Reason::ResolverUnusable, "keyType");
    let elsewhere = Route { entry_points: ["ws".into()].into(), ..route("r", &["a.x"]) };
    is_refused(&elsewhere, Reason::UnknownEntryPoint, "`ws`");
    is_refused(&route("r", &["*.a.x"]), Reason::WildcardNeedsDns01, "*.a.x");
    let many: Vec<String> = (0..101).map(|number| format!("n{number}.x")).collect();
    is_refused(&route("r", &[many.join(",").as_str()]), Reason::TooManyNames, "101");
}

#[test]
fn only_routes_of_our_class_count() {
    let of_class = |class: Option<&str>| Route {
        class: class.map_or(Class::Unnamed, |name| Class::Spec(name.into())),
        ..route("r", &["a.x"])
    };
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
    unreadable.fault = Some(Box::new(Refusal::new(Reason::InvalidObject, "no")));
    let mut unknown = route("r", &["a.x"]);
    unknown.tls = tls(Some("el"));
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
    route.key.namespace = namespace.into();
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
    let certificate = id("a.x");
    let since = "2025-01-01T00:00:00Z".parse().unwrap();
    let hold = |grip| Hold { since, namespace: "shop".to_owned(), names: names("a.x"), grip };
    world.hold(&certificate, Some(hold(Grip::Firm)));
    put(&mut world, &of("evil", "r", 1, &["a.x"]));
    assert_eq!(owners(&world), Vec::<String>::new());
    put(&mut world, &of("shop", "r", 9, &["a.x"]));
    assert_eq!(owners(&world), ["shop: a.x"]);
    world.apply(&of("shop", "r", 9, &[]).key, None);
    assert_eq!(owners(&world), Vec::<String>::new(), "a while after its last route too");
    let changed = world.hold(&certificate, Some(hold(Grip::WhileClaimed)));
    assert!(changed.routes.contains(&of("evil", "r", 1, &[]).key));
    assert_eq!(owners(&world), ["evil: a.x"]);
}

#[test]
fn shared_hosts_belong_to_nobody_if_the_configuration_says_so() {
    let text = format!("{CONFIGURATION}routecert: {{allowCrossNamespaceHosts: true}}\n");
    let mut world = world_of(&text);
    put(&mut world, &of("shop", "r", 1, &["a.x"]));
    put(&mut world, &of("evil", "r", 2, &["a.x"]));
    assert_eq!(owners(&world), ["evil: a.x", "shop: a.x"]);
}

#[test]
fn a_route_that_asks_for_nothing_is_the_owner_of_its_hosts_all_the_same() {
    let mut world = world();
    put(&mut world, &Route { tls: None, ..of("shop", "r", 1, &["a.x"]) });
    put(&mut world, &of("evil", "r", 2, &["a.x"]));
    assert_eq!(owners(&world), Vec::<String>::new());
}

#[test]
fn a_grant_goes_before_age_and_takes_from_all_others() {
    let grants = "routecert: {grants: [{namespaces: [evil], domains: ['*.x']}]}\n";
    let mut world = world_of(&format!("{CONFIGURATION}{grants}"));
    put(&mut world, &of("shop", "r", 1, &["a.x", "b.y"]));
    put(&mut world, &of("evil", "r", 2, &["a.x"]));
    assert_eq!(owners(&world), ["evil: a.x", "shop: b.y"]);
}

#[test]
fn until_grants_are_known_only_a_holder_and_a_known_grant_give_a_host() {
    let grants = "routecert: {grants: [{namespaces: [shop], domains: [granted.x]}]}\n";
    let mut world = world_of(&format!("{CONFIGURATION}{grants}"));
    world.learn(Grants::Unread);
    let since = "2025-01-01T00:00:00Z".parse().unwrap();
    let (namespace, grip) = ("shop".to_owned(), Grip::Firm);
    let hold = Hold { since, namespace, names: names("held.x"), grip };
    world.hold(&id("held.x"), Some(hold));
    let asking = of("shop", "r", 1, &["held.x", "granted.x", "new.x"]);
    put(&mut world, &asking);
    put(&mut world, &of("evil", "r", 1, &["held.x"]));
    assert_eq!(owners(&world), ["shop: granted.x", "shop: held.x"]);
    let reason = |world: &World| world.route(&asking.key).unwrap().1.refusals[0].reason;
    assert_eq!(reason(&world), Reason::OwnerUnknown);
    let changed = world.learn(Grants::Read);
    assert!(changed.routes.contains(&asking.key) && changed.ids.contains(&id("new.x")));
    assert_eq!(owners(&world), ["shop: granted.x", "shop: held.x", "shop: new.x"]);
}

#[test]
fn a_rule_whose_service_is_missing_waits_for_it() {
    let mut world = world();
    let mut route = route("r", &["a.x", "b.x"]);
    route.parts[0].services = [Service { namespace: None, name: "app".into() }].into();
    put(&mut world, &route);
    assert_eq!(world.wants().count(), 2, "Services are not known yet");
    world.judge_services(Judged::Everywhere);
    assert_eq!(owners(&world), ["shop: b.x"]);
    let (_, derived) = world.route(&route.key).unwrap();
    assert_eq!(derived.refusals[0].reason, Reason::MissingService);
    let changed = world.set_service("shop", "app", Presence::There);
    assert_eq!(changed.routes, [route.key.clone()].into());
    assert_eq!(owners(&world), ["shop: a.x", "shop: b.x"]);
    world.set_service("shop", "app", Presence::Gone);
    assert_eq!(owners(&world), ["shop: b.x"]);
    route.parts[0].services = [Service { namespace: Some("x".into()), name: "app".into() }].into();
    put(&mut world, &route);
    let (_, derived) = world.route(&route.key).unwrap();
    assert_eq!(derived.refusals[0].reason, Reason::CrossNamespace);
}

#[test]
fn broken_rules_alone_have_no_domains_either() {
    let mut world = world();
    let mut route = route("r", &["a.x"]);
    let broken =
        Part { names: Err(Refusal::new(Reason::InvalidRule, "no")), services: Box::default() };
    let entry = route::Entry { names: Ok(names("d.x,a.x")), secret_name: None };
    route.tls.as_mut().unwrap().domains = vec![entry];
    let good = std::mem::replace(&mut route.parts, [broken].into());
    put(&mut world, &route);
    assert_eq!(world.wants().count(), 0);
    route.parts = [good[0].clone(), route.parts[0].clone()].into();
    put(&mut world, &route);
    assert_eq!(owners(&world), ["shop: d.x, a.x"], "each rule stands alone");
    route.tls = tls(None);
    route.tls.as_mut().unwrap().domains =
        vec![route::Entry { names: Ok(names("d.x")), secret_name: None }];
    is_refused(&route, Reason::UnknownResolver, "tls.certResolver");
}

/// A world whose resolver proves wildcards too; what is only planned.
fn planning() -> World {
    let text = CONFIGURATION.replace(
        "le: {acme: {email: a@x,",
        "le: {acme: {email: a@x, dnsChallenge: {provider: httpreq},",
    );
    World::new(&config::parse("c.yml", &text).config.unwrap(), "routecert", Purpose::Plan)
}

#[test]
fn a_name_under_a_wildcard_leads_to_no_certificate_of_its_own() {
    let mut world = planning();
    put(&mut world, &with_secret(route("host", &["a.x.y"]), "s", "2026-01-01T00:00:00Z"));
    assert_eq!(owners(&world), ["shop: a.x.y"]);
    let changed = put(&mut world, &route("wild", &["*.x.y,x.y"]));
    assert_eq!(owners(&world), ["shop: *.x.y, x.y"]);
    let wild = id("*.x.y,x.y");
    assert!(changed.ids.contains(&id("a.x.y")) && changed.routes.contains(&route("host", &[]).key));
    assert_eq!(world.want(&wild).unwrap().routes.len(), 2);
    assert_eq!(copies(&world, "*.x.y,x.y"), ["s"]);
    world.apply(&route("wild", &[]).key, None);
    assert_eq!(owners(&world), ["shop: a.x.y"]);
    put(&mut world, &of("other", "wild", 1, &["*.x.y"]));
    assert_eq!(owners(&world).len(), 2, "another namespace's wildcard takes nothing");
}

#[test]
fn a_held_certificate_is_left_only_for_one_that_is_held_and_valid() {
    let mut world = planning();
    let (host, wild) = (id("a.x.y"), id("*.x.y"));
    put(&mut world, &route("host", &["a.x.y"]));
    world.note(&host, Holding::Valid);
    put(&mut world, &route("wild", &["*.x.y"]));
    assert!(world.want(&host).is_some() && world.want(&wild).is_some());
    world.note(&wild, Holding::Stale);
    assert!(world.want(&host).is_some());
    let changed = world.note(&wild, Holding::Valid);
    assert!(changed.ids.contains(&host));
    assert!(world.want(&host).is_none());
    world.note(&wild, Holding::Stale);
    assert!(world.want(&host).is_some(), "what is left of it is better than nothing");
    world.note(&host, Holding::Nothing);
    assert!(world.want(&host).is_none());
}

#[test]
fn a_resolver_that_is_an_object_comes_changes_and_goes() {
    let text = config::parse("c.yml", CONFIGURATION).config.unwrap();
    let live = |spec: serde_json::Value| Some(text.live_resolver("cl", &spec).0);
    let acme = serde_json::json!({"email": "a@x", "httpChallenge": {"entryPoint": "web"}});
    let mut world = world();
    let asking = Route { tls: tls(Some("cl")), ..route("r", &["a.x"]) };
    put(&mut world, &asking);
    let reason = |world: &World| world.route(&asking.key).unwrap().1.refusals[0].reason;
    assert_eq!(reason(&world), Reason::UnknownResolver);
    let changed = world.set_resolver("cl", live(serde_json::json!({"acme": acme})));
    assert_eq!(changed.routes, [asking.key.clone()].into());
    assert_eq!(owners(&world), ["shop: a.x"]);
    let allow = serde_json::json!({"namespaces": ["shop"], "domains": ["b.x"]});
    world.set_resolver("cl", live(serde_json::json!({"acme": acme, "allow": allow})));
    assert_eq!(reason(&world), Reason::NotAllowed);
    let grants = serde_json::json!([{"namespaces": ["other"], "domains": ["a.x"]}]);
    world.set_resolver("cl", live(serde_json::json!({"acme": acme, "grants": grants})));
    assert_eq!(reason(&world), Reason::HostOwnedElsewhere);
    world.set_resolver("cl", None);
    assert_eq!(reason(&world), Reason::UnknownResolver);
    world.set_resolver("le", live(serde_json::json!({"acme": acme, "allow": allow})));
    put(&mut world, &route("static", &["c.x"]));
    assert_eq!(owners(&world), ["shop: c.x"], "an object never shadows the configuration");
}
