//! `cargo bench --bench world`: what one changed route costs among 1,000, 10,000 and 100,000, and
//! how long it takes to read and plan all of them. One route in ten asks for a certificate.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench prints, and stops when something is odd"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use routecert::api::Object;
use routecert::config;
use routecert::route;
use routecert::route::{Kind, Route};
use routecert::rule::Syntax;
use routecert::world::{Purpose, World};
use serde_json::json;

const CONFIGURATION: &str = "
entryPoints:
  web: {address: ':80'}
  websecure: {address: ':443'}
certificatesResolvers:
  le: {acme: {email: ops@example.com, httpChallenge: {entryPoint: web}}}
";
const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
const CHANGES: usize = 2_000;

fn main() {
    println!("{:>8}  {:>10}  {:>12}  {:>12}", "routes", "cold plan", "one change", "p99");
    let mut first = None;
    for size in SIZES {
        let (cold, mut world) = cold(size);
        let (median, p99) = changes(&mut world, size);
        let ratio = median.as_secs_f64() / first.get_or_insert(median).as_secs_f64();
        println!("{size:>8}  {cold:>10.2?}  {median:>12.2?}  {p99:>12.2?}  ratio {ratio:.2}");
    }
}

/// Reads every object and plans it.
fn cold(size: usize) -> (Duration, World) {
    let objects: Vec<Object> = (0..size).map(|number| object(number, "host")).collect();
    let config = config::parse("bench.yml", CONFIGURATION).config.expect("a configuration");
    let start = Instant::now();
    let mut world = World::new(&config, "routecert", Purpose::Act);
    for object in &objects {
        let route = read(object);
        world.apply(&route.key.clone(), Some(route));
    }
    black_box(world.wants().count());
    (start.elapsed(), world)
}

/// The median and the 99th percentile of one change, reading included.
fn changes(world: &mut World, size: usize) -> (Duration, Duration) {
    let mut taken: Vec<Duration> = (0..CHANGES)
        .map(|change| {
            // Every fifth is one that asks for a certificate; its host becomes another one.
            let number = (change * 7919 + change % 5) % size;
            let object = object(number, if change % 2 == 0 { "other" } else { "host" });
            let start = Instant::now();
            let route = read(&object);
            black_box(world.apply(&route.key.clone(), Some(route)));
            start.elapsed()
        })
        .collect();
    taken.sort();
    (taken[CHANGES / 2], taken[CHANGES * 99 / 100])
}

fn read(object: &Object) -> Route {
    route::read(Kind::TraefikHttp, object, Syntax::V3)
}

fn object(number: usize, host: &str) -> Object {
    let rule = format!("Host(`{host}-{number}.example.com`) && PathPrefix(`/app`)");
    let tls = if number.is_multiple_of(10) { json!({"certResolver": "le"}) } else { json!({}) };
    Object {
        namespace: format!("team-{}", number % 100),
        name: format!("route-{number}"),
        uid: format!("{number:032x}"),
        generation: 1,
        created: "2026-01-01T00:00:00Z".parse().ok(),
        spec: Some(json!({
            "entryPoints": ["websecure"],
            "routes": [{"kind": "Rule", "match": rule, "services": [{"name": "app", "port": 80}]}],
            "tls": tls,
        })),
        ..Object::default()
    }
}
