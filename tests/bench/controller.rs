//! `cargo bench --bench controller [-- ROUTES [BINARY]]`: a controller on a real API server with 100,000
//! IngressRoutes, of which one in ten asks for a certificate, and all of these are held already.
//!
//! It is started three times: the first start shows every certificate (AcmeCertificates, statuses),
//! the second has nothing to write, the third finds 20,000 Secrets that are none of its business.

#![expect(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and stops when something is odd"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "controller/fill.rs"]
mod fill;
#[path = "../parts/parts.rs"]
pub mod parts;

use data_encoding::BASE64;
use routecert::cert::{Certificate, Id};
use routecert::name::{Name, Names};
use routecert::order::{Issued, State};
use routecert::route::Kind;
use serde_json::{Value, json};

use parts::cluster::Cluster;
use parts::routecert::{Routecert, Settings};
use parts::stand::Stand;
use parts::tools;

const ROUTES: usize = 100_000;
const NAMESPACES: usize = 100;
const FOREIGN_SECRETS: usize = 20_000;
/// One route in so many asks for a certificate.
const ASKING: usize = 10;
/// To be ready.
const PATIENCE: Duration = Duration::from_mins(5);
/// Without a request for so long, all is done.
const QUIET: Duration = Duration::from_secs(6);

#[tokio::main]
async fn main() {
    // cargo adds `--bench`
    let mut given = std::env::args().skip(1).filter(|word| !word.starts_with("--"));
    let routes = given.next().map_or(ROUTES, |word| word.parse().unwrap());
    let binary = given.next().unwrap_or_else(|| env!("CARGO_BIN_EXE_routecert").to_owned());
    let cluster = Cluster::start();
    cluster.apply_crds(&tools::clone_root().join("crds"));
    cluster.apply_crds(&tools::folder("traefik"));
    let stand = stand(&cluster, Path::new(&binary)).await;
    let start = Instant::now();
    fill::fill(cluster.etcd, (0..routes).map(route)).await;
    let certificates = Certificates::new();
    let asking = (0..routes).step_by(ASKING);
    let records = asking.flat_map(|number| certificates.records(&stand, number));
    fill::fill(cluster.etcd, records).await;
    await_caches(&cluster);
    println!("{routes} routes and their records filled in {:.1?}\n", start.elapsed());
    println!(
        "{:14}  {:>8}  {:>8}  {:>8}  {:>8}  {:>8}  {:>9}  {:>9}",
        "", "ready", "resident", "done", "resident", "peak", "CPU", "requests"
    );
    measure(&stand, "first start");
    measure(&stand, "second start");
    fill::fill(cluster.etcd, (0..FOREIGN_SECRETS).map(|number| foreign(&stand, number))).await;
    measure(&stand, "20,000 Secrets");
    assert_eq!(stand.ca.orders(), 0, "every certificate is held already");
}

async fn stand<'c>(cluster: &'c Cluster, binary: &Path) -> Stand<'c> {
    let mut stand = Stand::new(cluster, binary, "bench").await;
    stand.settings.namespaces = Vec::new();
    stand.settings.crd = Vec::new();
    let namespaces =
        (0..NAMESPACES).map(|number| parts::stand::namespace_with_service(&team(number)));
    cluster.apply(&namespaces.collect::<Vec<_>>().join("---\n"));
    stand
}

/// The API server reads so much that it did not write itself anew, and serves lists slowly until
/// then.
fn await_caches(cluster: &Cluster) {
    for kind in [
        "apis/traefik.io/v1alpha1/ingressroutes",
        "apis/routecert.dev/v1alpha1/rcingressroutes",
        "api/v1/secrets",
    ] {
        let (group, plural) = kind.rsplit_once('/').unwrap();
        let url = format!("/{group}/namespaces/default/{plural}?resourceVersion=0");
        while !cluster.try_kubectl(&["get", "--raw", &url], "").status.success() {
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// Starts a controller, waits until it is ready and has nothing more to do, and tells what it took.
fn measure(stand: &Stand<'_>, what: &str) {
    let before = asked(stand);
    let start = Instant::now();
    let controller = stand.launch("controller");
    while !controller.is_ready() {
        assert!(start.elapsed() < PATIENCE, "not ready\n{}", controller.process.tail());
        std::thread::sleep(Duration::from_millis(100));
    }
    let ready = start.elapsed();
    let (memory, mut busy_until, mut last) = (memory(&controller), Instant::now(), before.clone());
    while busy_until.elapsed() < QUIET {
        std::thread::sleep(Duration::from_millis(500));
        let now = asked(stand);
        if now != last {
            (busy_until, last) = (Instant::now(), now);
        }
    }
    let done = busy_until.duration_since(start);
    let requests = last.values().sum::<usize>() - before.values().sum::<usize>();
    let (mb, now) = (|size: usize| format!("{} MB", size / 1024), self::memory(&controller));
    println!(
        "{what:14}  {ready:>8.1?}  {:>8}  {done:>8.1?}  {:>8}  {:>8}  {:>7.1} s  {requests:>9}",
        mb(memory["VmRSS"]),
        mb(now["VmRSS"]),
        mb(now["VmHWM"]),
        processor_time(&controller),
    );
    for (what, count) in last {
        let count = count - before.get(&what).copied().unwrap_or_default();
        if count > 0 {
            println!("{:16}{what}: {count}", "");
        }
    }
    controller.process.terminate(Duration::from_secs(30));
}

/// Requests of the controller, but for the Lease, which it renews all the time.
fn asked(stand: &Stand<'_>) -> BTreeMap<String, usize> {
    let namespace = &stand.settings.controller_namespace;
    let mut asked = stand.cluster.asked(namespace, "routecert-controller");
    asked.retain(|what, _| !what.ends_with(" leases"));
    asked
}

/// `VmRSS` and the like, in KiB.
fn memory(controller: &Routecert) -> BTreeMap<String, usize> {
    let file = format!("/proc/{}/status", controller.process.pid());
    let text = std::fs::read_to_string(file).unwrap();
    let fields = text.lines().filter_map(|line| line.split_once(':'));
    let sizes = fields.filter_map(|(name, value)| {
        Some((name.to_owned(), value.trim().strip_suffix(" kB")?.parse().ok()?))
    });
    sizes.collect()
}

/// Seconds, of user and system.
fn processor_time(controller: &Routecert) -> f64 {
    let file = format!("/proc/{}/stat", controller.process.pid());
    let text = std::fs::read_to_string(file).unwrap();
    let fields = text.rsplit(") ").next().unwrap().split(' ').skip(11).take(2);
    let ticks: u32 = fields.map(|field| field.parse::<u32>().unwrap()).sum();
    f64::from(ticks) / 100.0
}

fn team(number: usize) -> String {
    format!("team-{}", number % NAMESPACES)
}

fn host(number: usize) -> String {
    format!("host-{number}.example.com")
}

/// Traefik's, but half of those that ask are of ours, and have a status.
fn kind(number: usize) -> Kind {
    if number.is_multiple_of(2 * ASKING) { Kind::OwnHttp } else { Kind::TraefikHttp }
}

fn route(number: usize) -> (&'static str, Value) {
    let (folder, group) = match kind(number) {
        Kind::OwnHttp => ("routecert.dev/rcingressroutes", "routecert.dev"),
        _ => ("traefik.io/ingressroutes", "traefik.io"),
    };
    let tls = if number.is_multiple_of(ASKING) { json!({"certResolver": "le"}) } else { json!({}) };
    let rule = format!("Host(`{}`) && PathPrefix(`/app`)", host(number));
    let fields = json!({"f:spec": {".": {}, "f:entryPoints": {}, "f:routes": {}, "f:tls": {".": {},
        "f:certResolver": {}}}});
    let object = json!({
        "apiVersion": format!("{group}/v1alpha1"),
        "kind": "IngressRoute",
        "metadata": {
            "name": format!("route-{number}"), "namespace": team(number), "generation": 1,
            "labels": {"app.kubernetes.io/name": "app", "app.kubernetes.io/managed-by": "Helm"},
            "managedFields": [{"apiVersion": format!("{group}/v1alpha1"), "manager": "helm",
                "operation": "Update", "time": "2026-01-01T00:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": fields}],
        },
        "spec": {
            "entryPoints": ["websecure"],
            "routes": [{"kind": "Rule", "match": rule, "services": [{"name": "app", "port": 80}]}],
            "tls": tls,
        },
    });
    (folder, object)
}

/// What makes certificates: one authority, and one key, since keys do not matter here.
struct Certificates {
    authority: rcgen::Issuer<'static, rcgen::KeyPair>,
    root: String,
    key: rcgen::KeyPair,
}

impl Certificates {
    fn new() -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().pem();
        let authority = rcgen::Issuer::new(params, key);
        Self { authority, root, key: rcgen::KeyPair::generate().unwrap() }
    }

    /// The certificate that a route asks for, as it is kept, and its state record.
    fn records(&self, stand: &Stand<'_>, number: usize) -> [(&'static str, Value); 2] {
        let (owner, host) = (team(number), host(number));
        let names = Names::new([Name::parse(&host).unwrap()]).unwrap();
        let id = Id::of(&owner, "le", &names);
        let certificate = self.certificate(host.clone());
        let data = json!({
            "tls.crt": BASE64.encode(certificate.chain().as_bytes()),
            "tls.key": BASE64.encode(certificate.key().pem().as_bytes()),
        });
        let mut kept = secret(&stand.settings.certificates_namespace, &format!("rc-{id}"), &data);
        kept["type"] = "kubernetes.io/tls".into();
        kept["metadata"]["labels"] = json!({"routecert.dev/kind": "certificate",
            "routecert.dev/owner": owner, "routecert.dev/id": id.as_str()});
        kept["metadata"]["annotations"] =
            json!({"routecert.dev/names": host, "routecert.dev/resolver": "le"});

        let mut state = State::new(&owner, "le", &names);
        state.kinds = vec![kind(number).as_str().to_owned()];
        let facts = certificate.facts();
        let (at, not_after) = (facts.not_before, facts.not_after);
        state.issued =
            vec![Issued { at, fingerprint: facts.fingerprint.clone(), not_after, terms: None }];
        let data = serde_json::to_string(&state).unwrap();
        let data = json!({"state.json": BASE64.encode(data.as_bytes())});
        let name = format!("routecert-state-{id}");
        let mut state = secret(&stand.settings.controller_namespace, &name, &data);
        state["metadata"]["labels"] =
            json!({"routecert.dev/kind": "state", "routecert.dev/id": id.as_str()});
        [("secrets", kept), ("secrets", state)]
    }

    /// From yesterday, good for three months.
    fn certificate(&self, host: String) -> Certificate {
        let mut params = rcgen::CertificateParams::new(vec![host]).unwrap();
        let yesterday = time::OffsetDateTime::now_utc() - time::Duration::DAY;
        (params.not_before, params.not_after) = (yesterday, yesterday + 90 * time::Duration::DAY);
        let leaf = params.signed_by(&self.key, &self.authority).unwrap();
        Certificate::parse(&(leaf.pem() + &self.root), &self.key.serialize_pem()).unwrap()
    }
}

/// One that nobody names: of a namespace of routes, or of one of ours.
fn foreign(stand: &Stand<'_>, number: usize) -> (&'static str, Value) {
    let Settings { controller_namespace, certificates_namespace, .. } = &stand.settings;
    let namespace = match number % 10 {
        0 => certificates_namespace.clone(),
        1 => controller_namespace.clone(),
        _ => team(number),
    };
    let data = json!({"value": BASE64.encode(&[7; 3000])});
    ("secrets", secret(&namespace, &format!("foreign-{number}"), &data))
}

fn secret(namespace: &str, name: &str, data: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    })
}
