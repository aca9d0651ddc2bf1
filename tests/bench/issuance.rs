//! `cargo bench --bench issuance [-- KEY=VALUE…]`: how fast certificates come, against Pebble with
//! no sleep, EC256 on all sides. All ways take their turn in each round, so that they share the
//! machine's moods; what counts are the ratios.
//!
//! Keys: `rounds` (3), `routes` (300) of each way, `served` (20) routes one after the other, `good`
//! (100) and `dead` (1000) names beside each other; 0 leaves a part out. `binary` is another
//! `routecert` than the one that cargo built.

#![expect(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops when something is odd"
)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

#[path = "../parts/parts.rs"]
pub mod parts;

use parts::alone::Alone;
use parts::ca::Ca;
use parts::cluster::Cluster;
use parts::routecert::Routecert;
use parts::stand::Stand;
use parts::{process, tools};

/// Orders of lego in flight, as many as ours.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_mins(10);
const LE: &str = "{certResolver: le}";

struct Sizes {
    rounds: usize,
    routes: usize,
    served: usize,
    good: usize,
    dead: usize,
    binary: PathBuf,
}

impl Sizes {
    fn given() -> Self {
        // cargo adds `--bench`
        let words = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
        let given: BTreeMap<String, String> = words
            .map(|word| word.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned())).unwrap())
            .collect();
        let size = |key: &str, usual| given.get(key).map_or(usual, |value| value.parse().unwrap());
        let binary = given.get("binary").map_or(env!("CARGO_BIN_EXE_routecert"), String::as_str);
        Self {
            rounds: size("rounds", 3),
            routes: size("routes", 300),
            served: size("served", 20),
            good: size("good", 100),
            dead: size("dead", 1000),
            binary: binary.into(),
        }
    }
}

#[tokio::main]
async fn main() {
    let sizes = Sizes::given();
    let lego = tools::folder("lego").join("lego");
    println!("load of the machine: {}", load());
    let cluster = Cluster::start();
    cluster.apply_crds(&tools::clone_root().join("crds"));
    cluster.apply_crds(&tools::folder("traefik"));
    for round in 1..=sizes.rounds {
        println!("\nround {round}, load {}", load());
        if sizes.routes > 0 {
            let with_lego = by_lego(&lego, sizes.routes);
            told("lego, 32 in flight", sizes.routes, with_lego, with_lego);
            let in_files = in_files(&sizes).await;
            told("file store", sizes.routes, in_files, with_lego);
            in_cluster(&sizes, &cluster, round, with_lego).await;
        }
        if sizes.served > 0 {
            served(&sizes, &cluster, round, "http").await;
            served(&sizes, &cluster, round, "tls").await;
        }
        if sizes.good > 0 {
            beside_dead(&sizes, round).await;
        }
    }
}

/// Of the last minute.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split(' ').next().unwrap().to_owned()
}

/// No sleeps, no nonces refused, no `Retry-After`.
fn ca(http: u16, tls: Option<u16>) -> Ca {
    let mut settings = serde_json::json!({"retryAfter": {"authz": 0, "order": 0}});
    if let Some(tls) = tls {
        settings["tlsPort"] = tls.into();
    }
    Ca::start_with(http, &[("PEBBLE_WFE_NONCEREJECT", "0")], &settings)
}

fn hosts(count: usize, what: &str) -> Vec<String> {
    (0..count).map(|number| format!("{what}-{number}.example.com")).collect()
}

fn told(what: &str, count: usize, took: Duration, lego: Duration) {
    let speed = f64::from(u32::try_from(count).unwrap()) / took.as_secs_f64();
    let ratio = lego.as_secs_f64() / took.as_secs_f64();
    println!("{what:20} {speed:6.1} certificates/s, {ratio:.2} x lego");
}

fn by_lego(program: &PathBuf, count: usize) -> Duration {
    let [port] = process::free_ports();
    let ca = ca(port, None);
    let mut command = Command::new(program);
    process::clean_environment(&mut command, &process::new_folder("lego"));
    command.env("LEGO_CA_CERTIFICATES", &ca.trust);
    command.args([ca.directory(), port.to_string(), AT_ONCE.to_string()]);
    command.args(hosts(count, "lego"));
    let output = process::run(command, "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(ca.issued(), count);
    Duration::from_secs_f64(String::from_utf8(output.stdout).unwrap().trim().parse().unwrap())
}

/// From the start of the process to the last certificate in `acme.json`.
async fn in_files(sizes: &Sizes) -> Duration {
    let alone = Alone::with_ca(&sizes.binary, "files", |web| ca(web, None));
    let hosts = hosts(sizes.routes, "file");
    alone.route(&hosts.iter().map(String::as_str).collect::<Vec<_>>());
    let start = Instant::now();
    let run = alone.launch();
    let stored = || alone.stored().matches("\"certificate\":").count();
    until(&run, || stored() >= sizes.routes).await;
    start.elapsed()
}

async fn until(run: &Routecert, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "it takes too long\n{}", run.process.tail());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn new_stand<'c>(sizes: &Sizes, cluster: &'c Cluster, prefix: &str) -> Stand<'c> {
    let mut stand = Stand::new(cluster, &sizes.binary, prefix).await;
    let ca = ca(stand.settings.web, Some(stand.settings.websecure));
    let (web, websecure) = (stand.settings.web, stand.settings.websecure);
    stand.settings.own = vec![parts::stand::self_check((web, websecure), ca.dns)];
    stand.use_ca(ca);
    stand
}

/// From the start of the process, with the routes there, to the last certificate Secret.
async fn in_cluster(sizes: &Sizes, cluster: &Cluster, round: usize, lego: Duration) {
    let stand = new_stand(sizes, cluster, &format!("many-{round}")).await;
    let each = |(number, host): (usize, String)| {
        stand.manifest(&format!("r-{number}"), &format!("Host(`{host}`)"), LE)
    };
    let routes: Vec<String> =
        hosts(sizes.routes, "cluster").into_iter().enumerate().map(each).collect();
    cluster.apply(&routes.join("---\n"));
    let start = Instant::now();
    let run = stand.launch("run");
    // the audit log is long: it is read at the end only
    let stored = || stand.writes().get("certificate").copied().unwrap_or_default();
    until(&run, || stand.ca.issued() >= sizes.routes && stored() >= sizes.routes).await;
    told("API server", sizes.routes, start.elapsed(), lego);
    // what is shown follows
    tokio::time::sleep(Duration::from_secs(5)).await;
    let writes = stand.writes();
    let total: usize = writes.values().sum();
    let of = |count: usize| {
        f64::from(u32::try_from(count).unwrap()) / f64::from(u32::try_from(sizes.routes).unwrap())
    };
    println!("{:20} {:.2} writes a certificate: {writes:?}", "", of(total));
}

/// From `kubectl apply` to the right certificate in a handshake, one route after the other.
async fn served(sizes: &Sizes, cluster: &Cluster, round: usize, challenge: &str) {
    let mut stand = new_stand(sizes, cluster, &format!("{challenge}-{round}")).await;
    if challenge == "tls" {
        stand.settings.acme.push(("", "httpChallenge", String::new()));
        stand.settings.acme.push(("", "tlsChallenge", "{}".to_owned()));
    }
    let (controller, proxy) = (stand.start_controller(), stand.start_proxy());
    let (mut all, mut applying) = (Vec::new(), Vec::new());
    for (number, host) in hosts(sizes.served, challenge).iter().enumerate() {
        let start = Instant::now();
        stand.route(&format!("r-{number}"), &format!("Host(`{host}`)"), LE);
        applying.push(start.elapsed());
        let is_served = || stand.served(host).is_ok_and(|chain| chain.names() == [host.clone()]);
        until(&controller, is_served).await;
        all.push(start.elapsed());
    }
    drop(proxy);
    let name = if challenge == "tls" { "TLS-ALPN-01" } else { "HTTP-01" };
    let (p50, p95) = (percentile(&mut all, 50), percentile(&mut all, 95));
    let kubectl = percentile(&mut applying, 50);
    println!(
        "{name:20} served after {p50:.2?} (p50), {p95:.2?} (p95); of it kubectl {kubectl:.2?}"
    );
}

fn percentile(all: &mut [Duration], part: usize) -> Duration {
    all.sort_unstable();
    all.get((all.len() * part).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}

/// When each good name was stored, with and without dead ones that came before them.
async fn beside_dead(sizes: &Sizes, round: usize) {
    // who is first differs from round to round
    let mut ways = [0, sizes.dead];
    if round.is_multiple_of(2) {
        ways.reverse();
    }
    for dead in ways {
        let mut all = good(sizes, dead).await;
        let (p50, p95) = (percentile(&mut all, 50), percentile(&mut all, 95));
        let what = format!("{} good, {dead} dead", sizes.good);
        println!("{what:20} good ones stored after {p50:.2?} (p50), {p95:.2?} (p95)");
    }
}

async fn good(sizes: &Sizes, dead: usize) -> Vec<Duration> {
    let alone = Alone::with_ca(&sizes.binary, "dead", |web| ca(web, None));
    let (good, dead) = (hosts(sizes.good, "good"), hosts(dead, "dead"));
    for host in &dead {
        alone.ca.break_name(host);
    }
    let run = alone.start();
    let start = Instant::now();
    let all: Vec<&str> = dead.iter().chain(&good).map(String::as_str).collect();
    alone.route(&all);
    let mut stored = Vec::new();
    until(&run, || {
        let now = alone.stored().matches("\"certificate\":").count();
        stored.resize(now.max(stored.len()), start.elapsed());
        now >= sizes.good
    })
    .await;
    stored
}
