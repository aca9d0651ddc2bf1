//! The demo without a cluster: Traefik's files, one process, certificates in `acme.json`.

#![expect(
    clippy::missing_panics_doc,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "it is a program for a person at a terminal"
)]

use std::process::ExitCode;
use std::time::Duration;

#[path = "../parts/parts.rs"]
pub mod parts;
pub mod stage;

use parts::alone::Alone;
use stage::{Clock, End};

const HOSTS: [&str; 3] = ["a.example.com", "b.example.com", "c.example.com"];

fn main() -> ExitCode {
    stage::play(demo(End::asked()))
}

async fn demo(end: End) {
    let clock = Clock::start();
    println!();
    let alone = clock.step("Pebble, upstream", || Alone::new(&stage::binary(), "demo"));
    alone.route(&HOSTS[..2]);
    let run = clock.step("routecert run, with a file of two routers", || alone.start());
    certificates(&clock, &alone, &HOSTS[..2]).await;
    alone.route(&HOSTS);
    certificates(&clock, &alone, &HOSTS[2..]).await;
    clock.step("stop, and start again", || run.process.terminate(Duration::from_secs(10)));
    let run = alone.start();
    prove(&clock, &alone).await;
    println!("\n  all of it holds, after {:.1} s\n", clock.seconds());
    if end == End::Stay {
        let root = alone.ca.root_file();
        println!("  running until Ctrl-C. In another terminal:\n");
        println!("  cat {}", alone.storage.display());
        println!("  vi {}", alone.folder.join("routes.yml").display());
        println!(
            "  curl --cacert {} --connect-to ::127.0.0.1:{} https://a.example.com/",
            root.display(),
            alone.websecure
        );
        println!("\n  log: {}/{}.log", alone.folder.display(), run.process.program.name);
        tokio::signal::ctrl_c().await.unwrap();
    }
}

async fn certificates(clock: &Clock, alone: &Alone, hosts: &[&str]) {
    for host in hosts {
        let what = format!("certificate for {host}");
        clock.step_async(&what, async || alone.certificate(host).await).await;
    }
}

/// Panics if anything is not as promised.
async fn prove(clock: &Clock, alone: &Alone) {
    let root = alone.ca.root();
    println!("\n  proof, with Pebble's root as the only one trusted\n");
    println!("  {:<22}{:<14}{:<14}{:<12}", "name", "acme.json", "handshake", "curl");
    for host in HOSTS {
        let chain = alone.certificate(host).await;
        chain.verify(&root, host).unwrap_or_else(|error| panic!("{host}: {error}"));
        alone.serves(host, &chain).await;
        let reply =
            alone.get(&format!("https://{host}/")).unwrap_or_else(|e| panic!("{host}: {e}"));
        assert_eq!(reply.status, 200, "{host}: {reply:?}");
        println!("  {host:<22}{:<14}{:<14}200 from the upstream", "chain ok", "same chain");
    }
    assert_eq!(alone.ca.orders(), HOSTS.len(), "orders placed at the CA");
    println!(
        "\n  the CA: {} orders, none by the restart ({:.1} s)",
        alone.ca.orders(),
        clock.seconds()
    );
}
