//! The servers that look up names for others: those of the configuration, else the system's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::lookup_host;

const SYSTEM: &str = "/etc/resolv.conf";
/// Nobody has more; each may be waited for.
const MAX_SERVERS: usize = 8;
/// If the system names none: 1.1.1.1 and its likes, as in Traefik.
const PUBLIC: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(1, 1, 1, 1)),
    IpAddr::V4(Ipv4Addr::new(1, 0, 0, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1111)),
    IpAddr::V6(Ipv6Addr::new(0x2606, 0x4700, 0x4700, 0, 0, 0, 0, 0x1001)),
];
const PORT: u16 = 53;

/// A server with its address now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// As a person knows it.
    pub(super) name: String,
    pub(super) address: SocketAddr,
}

impl Server {
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { name: address.to_string(), address }
    }
}

/// The addresses of `named` (`host`, `host:port`), in their order; of the system's if that is
/// empty. `Err`: why there is none.
pub(super) async fn addresses(named: &[String]) -> Result<Vec<Server>, String> {
    if named.is_empty() {
        return Ok(system().into_iter().take(MAX_SERVERS).map(Server::at).collect());
    }
    let mut found = Vec::new();
    let mut why = String::new();
    for text in named.iter().take(MAX_SERVERS) {
        match of(text).await {
            Ok(servers) => found.extend(servers),
            Err(error) => why = format!("{text}: {error}"),
        }
    }
    if found.is_empty() { Err(why) } else { Ok(found) }
}

/// The addresses of one server.
pub(super) async fn of(text: &str) -> Result<Vec<Server>, String> {
    let (host, port) = split(text).ok_or_else(|| "is no host or host:port".to_owned())?;
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![Server::at((address, port).into())]);
    }
    let found = lookup_host((host, port)).await.map_err(|error| error.to_string())?;
    let server = |address| Server { name: format!("{text} ({address})"), address };
    Ok(found.take(MAX_SERVERS).map(server).collect())
}

fn split(text: &str) -> Option<(&str, u16)> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        let port = rest.strip_prefix(':').map_or(Ok(PORT), str::parse);
        return Some((host, port.ok()?));
    }
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Some((host, port.parse().ok()?)),
        _ => Some((text, PORT)),
    }
}

fn system() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(SYSTEM).unwrap_or_default();
    let found = named_in(&text);
    if found.is_empty() { PUBLIC.map(|address| (address, PORT).into()).to_vec() } else { found }
}

/// The lines `nameserver ADDRESS` (resolv.conf(5)).
fn named_in(text: &str) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = lines.filter_map(|rest| {
        let first = rest.split_whitespace().next()?;
        let (address, _zone) = first.split_once('%').unwrap_or((first, ""));
        address.parse::<IpAddr>().ok()
    });
    addresses.map(|address| (address, PORT).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::{named_in, split};

    #[test]
    fn a_server_is_a_host_or_a_host_with_a_port() {
        assert_eq!(split("1.1.1.1"), Some(("1.1.1.1", 53)));
        assert_eq!(split("dns.example:5353"), Some(("dns.example", 5353)));
        assert_eq!(split("2606:4700::1"), Some(("2606:4700::1", 53)));
        assert_eq!(split("[2606:4700::1]:5353"), Some(("2606:4700::1", 5353)));
        assert_eq!(split("[2606:4700::1]"), Some(("2606:4700::1", 53)));
        assert_eq!(split("dns.example:no"), None);
    }

    #[test]
    fn the_system_names_its_servers() {
        let text =
            "# nameserver 9.9.9.9\nsearch x\nnameserver 10.0.0.10\n nameserver fe80::1%eth0 # b\n";
        let found: Vec<String> = named_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.10:53", "[fe80::1]:53"]);
    }
}
