//! BIND: a name server on port 53 of an address of its own, with zones that can be updated.
//!
//! BIND itself listens only on addresses that an interface has, and only an administrator of the
//! network can give it one more; so it has a port of 127.0.0.1, and a relay passes on to it what
//! comes to the address.

use std::fmt::Write;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::parts::process::{self, Process, Program};

const READY: Duration = Duration::from_secs(20);

/// The secret of every [`Key`].
pub const SECRET: &str = "cm91dGVjZXJ0IHRlc3RzIHNoYXJlIHRoaXMgb25lIHNlY3JldA==";

/// What a server is told.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// TSIG keys by name, each with its algorithm; all of them may update every zone.
    pub keys: Vec<(&'static str, &'static str)>,
    pub zones: Vec<Zone>,
}

#[derive(Debug, Clone)]
pub enum Zone {
    /// Name, and the records behind SOA, `NS ns1` and `ns1 A` of the server itself.
    Primary(&'static str, String),
    /// Copied from this address when it is told to, and by itself after an hour.
    Secondary(&'static str, Ipv4Addr),
    /// Looked up for others at this address.
    At(&'static str, Ipv4Addr),
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Named {
    pub address: Ipv4Addr,
    process: Process,
    _relay: Relay,
}

/// A loopback address on whose port 53 nobody listens.
pub fn address() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    loop {
        let last = NEXT.fetch_add(1, Ordering::Relaxed);
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, high | 0x40, low, last);
        match UdpSocket::bind((address, 53)) {
            Ok(_) => return address,
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => panic!("{address}:53: {error}; name servers need root, or port 53"),
        }
    }
}

impl Named {
    pub fn start(address: Ipv4Addr, setup: &Setup) -> Self {
        let folder = process::new_folder("named");
        let [port] = process::free_ports();
        let relay = Relay::start(address, (Ipv4Addr::LOCALHOST, port).into());
        let config = config((address, port), setup, &folder);
        let process = Process::start(Program {
            name: "named".to_owned(),
            path: program(),
            args: ["-g", "-c"].map(str::to_owned).into_iter().chain([config]).collect(),
            env: Vec::new(),
            folder,
        });
        process.await_ready(READY, || process.log().lines().any(|line| line.ends_with(" running")));
        Self { address, process, _relay: relay }
    }

    /// As a list of DNS servers has it.
    pub fn server(&self) -> String {
        format!("{}:53", self.address)
    }

    /// The TXT values at `name`, sorted, as `dig` shows them without the quotes.
    pub fn txt(&self, name: &str) -> Vec<String> {
        let text = self.dig(&["+short", "TXT", name]);
        let mut values: Vec<String> =
            text.lines().map(|line| line.trim_matches('"').to_owned()).collect();
        values.sort();
        values
    }

    /// `dig` at this server.
    pub fn dig(&self, args: &[&str]) -> String {
        let mut command = Command::new("dig");
        command.arg(format!("@{}", self.address)).args(["+tries=1", "+time=5"]).args(args);
        let output = process::run(command, "");
        assert!(output.status.success(), "dig {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Tells a secondary server that its primary has news.
    pub fn notify(&self, zone: &str) {
        self.dig(&["+opcode=NOTIFY", "+noedns", "SOA", zone]);
    }

    /// How often it was asked for something in whose log line all of `parts` stand.
    pub fn asked(&self, parts: &[&str]) -> usize {
        let log = self.process.log();
        let lines = log.lines().filter(|line| line.contains(": query: "));
        lines.filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }

    /// The last lines of its log, for the message of a failure.
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

fn program() -> PathBuf {
    // Debian has it where only root's PATH leads.
    let known = ["/usr/sbin/named", "/usr/local/sbin/named", "/usr/bin/named"];
    known.iter().map(PathBuf::from).find(|path| path.exists()).unwrap_or_else(|| "named".into())
}

fn config((address, port): (Ipv4Addr, u16), setup: &Setup, folder: &Path) -> String {
    let mut text = String::new();
    for (name, algorithm) in &setup.keys {
        writeln!(text, "key \"{name}\" {{ algorithm {algorithm}; secret \"{SECRET}\"; }};")
            .unwrap();
    }
    let keys: Vec<String> = setup.keys.iter().map(|(name, _)| format!("key \"{name}\";")).collect();
    let update = if keys.is_empty() { "none;".to_owned() } else { keys.join(" ") };
    let looks_up = setup.zones.iter().any(|zone| matches!(zone, Zone::At(..)));
    writeln!(
        text,
        "options {{ directory \"{}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  pid-file none; session-keyfile \"session.key\"; dnssec-validation no; notify no; querylog yes;
  empty-zones-enable no; recursion {}; allow-query {{ any; }}; allow-transfer {{ any; }}; }};
controls {{ }};",
        folder.display(),
        if looks_up { "yes" } else { "no" }
    )
    .unwrap();
    for zone in &setup.zones {
        let line = match zone {
            Zone::Primary(name, records) => {
                process::write(folder, &format!("{name}.zone"), &zone_text(address, records));
                format!("type primary; file \"{name}.zone\"; allow-update {{ {update} }};")
            }
            Zone::Secondary(name, primary) => format!(
                "type secondary; file \"{name}.copy\"; primaries {{ {primary}; }}; \
                 allow-notify {{ any; }};"
            ),
            Zone::At(_, address) => {
                format!("type static-stub; server-addresses {{ {address}; }};")
            }
        };
        let (Zone::Primary(name, _) | Zone::Secondary(name, _) | Zone::At(name, _)) = zone;
        writeln!(text, "zone \"{name}\" {{ {line} }};").unwrap();
    }
    process::write(folder, "named.conf", &text).display().to_string()
}

fn zone_text(address: Ipv4Addr, records: &str) -> String {
    format!(
        "$TTL 60
@ IN SOA ns1 host 1 3600 3600 86400 60
@ IN NS ns1
ns1 IN A {address}
{records}
"
    )
}

/// Passes on what comes to an address, until it is dropped.
#[derive(Debug)]
struct Relay {
    runtime: Option<tokio::runtime::Runtime>,
}

impl Relay {
    fn start(address: Ipv4Addr, to: SocketAddr) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.unwrap();
        let udp = UdpSocket::bind((address, 53)).unwrap();
        udp.set_nonblocking(true).unwrap();
        let tcp = std::net::TcpListener::bind((address, 53)).unwrap();
        tcp.set_nonblocking(true).unwrap();
        {
            let _inside = runtime.enter();
            let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
            let tcp = TcpListener::from_std(tcp).unwrap();
            runtime.spawn(over_udp(Arc::new(udp), to));
            runtime.spawn(over_tcp(tcp, to));
        }
        Self { runtime: Some(runtime) }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // A test's own runtime must not wait for this one.
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn over_udp(here: Arc<tokio::net::UdpSocket>, to: SocketAddr) {
    let mut exchanges = JoinSet::new();
    let mut buffer = vec![0; 65535];
    while let Ok((length, from)) = here.recv_from(&mut buffer).await {
        let packet = buffer[..length].to_vec();
        let here = Arc::clone(&here);
        exchanges.spawn(async move {
            let there = tokio::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            there.connect(to).await?;
            there.send(&packet).await?;
            let mut answer = vec![0; 65535];
            let length = there.recv(&mut answer).await?;
            here.send_to(&answer[..length], from).await?;
            io::Result::Ok(())
        });
        while exchanges.try_join_next().is_some() {}
    }
}

async fn over_tcp(here: TcpListener, to: SocketAddr) {
    let mut exchanges = JoinSet::new();
    while let Ok((mut from, _)) = here.accept().await {
        exchanges.spawn(async move {
            let mut there = TcpStream::connect(to).await?;
            tokio::io::copy_bidirectional(&mut from, &mut there).await
        });
        while exchanges.try_join_next().is_some() {}
    }
}
