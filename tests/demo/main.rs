//! The demo: everything started from nothing, three routes applied, three certificates proven.

#![expect(
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it is a program for a person at a terminal"
)]

use std::path::Path;
use std::process::ExitCode;

#[path = "../parts/parts.rs"]
pub mod parts;
pub mod stage;

use parts::cluster::Cluster;
use parts::routecert::Routecert;
use parts::stand::Stand;
use parts::tools;
use stage::{Clock, End};

/// The names of each sample route's certificate, sorted, as the Secret's annotation has them.
const EXPECTED: [&[&str]; 3] = [
    &["a.example.com"],
    &["b.example.com", "blog.b.example.org"],
    &["c.example.com", "www.c.example.org"],
];

fn main() -> ExitCode {
    stage::play(demo(End::asked()))
}

async fn demo(end: End) {
    let clock = Clock::start();
    println!();
    let cluster = clock.step("etcd and kube-apiserver", Cluster::start);
    clock.step("kubectl apply -f crds/", || {
        cluster.apply_crds(&tools::clone_root().join("crds"));
    });
    let mut stand = clock
        .step_async("Pebble, upstream, ServiceAccounts with least rights", async || {
            Stand::new(&cluster, &stage::binary(), "routecert").await
        })
        .await;
    stand.settings.namespaces.clear();
    "blog".clone_into(&mut stand.routes);
    let controller = clock.step("routecert controller", || stand.start_controller());
    let proxy = clock.step("routecert proxy", || stand.start_proxy());
    let sample = tools::clone_root().join("tests/manifests/sample-routes.yaml");
    clock.step("kubectl apply -f tests/manifests/sample-routes.yaml", || {
        cluster.apply_path(&sample);
    });
    for names in EXPECTED {
        let what = format!("certificate for {}", names.join(", "));
        clock.step_async(&what, async || stand.certificate(&names.join(",")).await).await;
    }
    prove(&clock, &stand).await;
    println!("\n  all of it holds, after {:.1} s\n", clock.seconds());
    if end == End::Stay {
        play(&stand, &controller, &proxy).await;
    }
}

/// Panics if anything is not as promised.
async fn prove(clock: &Clock, stand: &Stand<'_>) {
    let root = stand.ca.root();
    println!("\n  proof, with Pebble's root as the only one trusted\n");
    println!("  {:<38}{:<12}{:<12}{:<12}", "name", "Secret", "handshake", "curl");
    for names in EXPECTED {
        let issued = stand.certificate(&names.join(",")).await;
        assert_eq!(issued.chain.names(), names, "names in Secret {}", issued.secret);
        for name in names {
            issued.chain.verify(&root, name).unwrap_or_else(|e| panic!("{}: {e}", issued.secret));
            let through = reach(stand, &issued.chain, name).await;
            println!("  {name:<38}{:<12}{:<12}{through}", "chain ok", "same chain");
        }
    }
    let certificates = ["get", "acmecert", "-A", "-o", "wide"];
    println!("\n  $ kubectl {}", certificates.join(" "));
    let table = acme_certificates(stand, &certificates).await;
    table.lines().for_each(|line| println!("  {line}"));
    assert_eq!(stand.ca.orders(), EXPECTED.len(), "orders placed at the CA");
    println!(
        "\n  the CA: {} orders, {} requests, 5 % of the good nonces refused ({:.1} s)",
        stand.ca.orders(),
        stand.ca.requests(),
        clock.seconds()
    );
}

/// The proxy shows the Secret's chain for `name`, and forwards to the upstream: curl's status.
async fn reach(stand: &Stand<'_>, chain: &parts::client::Chain, name: &str) -> String {
    let url = format!("https://{name}/blog");
    let reply = stand
        .eventually(&format!("{url} through the proxy"), async || {
            let served = stand.served(name)?;
            if served != *chain {
                return Err(format!("the proxy serves {:?}", served.names()));
            }
            stand.get(&url)
        })
        .await;
    assert_eq!(reply.status, 200, "{url}: {reply:?}");
    let host = reply.json()["headers"]["host"].clone();
    assert_eq!(host, name, "the upstream was asked for another host");
    format!("{} from the upstream", reply.status)
}

/// The table that a person sees, once all of its certificates are told as ready.
async fn acme_certificates(stand: &Stand<'_>, args: &[&str]) -> String {
    stand
        .eventually("AcmeCertificates for all three, ready", async || {
            let ready = "jsonpath={range .items[*]}{.status.ready}{\"\\n\"}{end}";
            let told = stand.cluster.kubectl(&["get", "acmecert", "-A", "-o", ready], "");
            let count = told.lines().filter(|line| line.eq_ignore_ascii_case("true")).count();
            if count == EXPECTED.len() { Ok(()) } else { Err(format!("{count} are ready")) }
        })
        .await;
    stand.cluster.kubectl(args, "")
}

/// Leaves everything running until Ctrl-C.
async fn play(stand: &Stand<'_>, controller: &Routecert, proxy: &Routecert) {
    let kubectl = stand.cluster.kubectl_program();
    let root = stand.ca.root_file();
    println!("  running until Ctrl-C. In another terminal:\n");
    println!("  export KUBECONFIG={}", stand.cluster.admin.display());
    println!("  alias kubectl={}\n", kubectl.display());
    println!("  kubectl get rcingressroute,acmecert -A");
    println!("  kubectl get secrets -n {}", stand.settings.certificates_namespace);
    println!(
        "  curl --cacert {} --connect-to ::127.0.0.1:{} https://a.example.com/blog",
        root.display(),
        stand.settings.websecure
    );
    println!("  curl http://127.0.0.1:{}/readyz    # controller", controller.admin);
    println!("  curl http://127.0.0.1:{}/readyz    # proxy", proxy.admin);
    println!("\n  logs: {}", relative(&stand.folder));
    tokio::signal::ctrl_c().await.unwrap();
    println!("\n  stopping");
}

fn relative(folder: &Path) -> String {
    format!("{}/*.log", folder.display())
}
