//! Listeners: one for each worker and entry point, on the same port.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use crate::config::EntryPoint;

/// Connections that may wait to be accepted; the kernel's own limit cuts it.
const BACKLOG: i32 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "entry point {entry_point}: {address} is taken by another process; stop that one, or give \
         the entry point another port (`entryPoints.{entry_point}.address`)"
    )]
    Taken { entry_point: String, address: String },
    #[error(
        "entry point {entry_point}: no right to listen on {address}; add the capability \
         NET_BIND_SERVICE, or give it a port above 1023 (`entryPoints.{entry_point}.address`)"
    )]
    Forbidden { entry_point: String, address: String },
    #[error(
        "entry point {entry_point}: cannot listen on {address}: {error}; correct \
         `entryPoints.{entry_point}.address`"
    )]
    Other { entry_point: String, address: String, error: io::Error },
}

/// Several workers of this process may share a port; several processes may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Workers,
}

/// Fails if another process listens on the port. The kernel would let it be shared.
pub(super) fn check(entry_point: &EntryPoint) -> Result<(), Error> {
    open(entry_point, entry_point.port, Sharing::Alone).map(drop)
}

/// One listener for each worker. Port 0 becomes the same free port for all of them.
pub(super) fn bind(entry_point: &EntryPoint, workers: usize) -> Result<Vec<TcpListener>, Error> {
    check(entry_point)?;
    let mut port = entry_point.port;
    (0..workers)
        .map(|_| {
            let socket = open(entry_point, port, Sharing::Workers)?;
            let listening = socket.listen(BACKLOG).and_then(|()| socket.local_addr());
            let address = listening.map_err(|error| failed(entry_point, error))?;
            port = address.as_socket().map_or(port, |address| address.port());
            Ok(TcpListener::from(socket))
        })
        .collect()
}

fn open(entry_point: &EntryPoint, port: u16, sharing: Sharing) -> Result<Socket, Error> {
    let opened = match entry_point.host {
        Some(host) => socket(SocketAddr::new(host, port), sharing),
        None => match socket(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port), sharing) {
            Err(error) if lacks_ipv6(&error) => {
                socket(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port), sharing)
            }
            other => other,
        },
    };
    opened.map_err(|error| failed(entry_point, error))
}

fn socket(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Workers)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A kernel without IPv6, or one with it switched off.
fn lacks_ipv6(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT) || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn failed(entry_point: &EntryPoint, error: io::Error) -> Error {
    let address = match entry_point.host {
        Some(host) => SocketAddr::new(host, entry_point.port).to_string(),
        None => format!(":{}", entry_point.port),
    };
    let entry_point = entry_point.name.clone();
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::Taken { entry_point, address },
        io::ErrorKind::PermissionDenied => Error::Forbidden { entry_point, address },
        _ => Error::Other { entry_point, address, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry_point(host: Option<IpAddr>, port: u16) -> EntryPoint {
        EntryPoint {
            name: "websecure".to_owned(),
            host,
            port,
            redirect: None,
            ..EntryPoint::default()
        }
    }

    #[test]
    fn a_taken_port_names_the_entry_point() {
        for sharing in [Sharing::Alone, Sharing::Workers] {
            let other = socket("127.0.0.1:0".parse().unwrap(), sharing).unwrap();
            other.listen(1).unwrap();
            let address = other.local_addr().unwrap().as_socket().unwrap();
            let error = bind(&entry_point(Some(address.ip()), address.port()), 2).unwrap_err();
            let message = error.to_string();
            let start = format!("entry point websecure: {address} is taken by another process; ");
            assert!(message.starts_with(&start), "{message}");
            assert!(check(&entry_point(None, address.port())).is_err());
        }
    }

    #[test]
    fn workers_share_one_port() {
        let listeners = bind(&entry_point(None, 0), 3).unwrap();
        let ports: Vec<u16> =
            listeners.iter().map(|one| one.local_addr().unwrap().port()).collect();
        assert_eq!(ports.len(), 3);
        assert!(ports.iter().all(|port| *port == ports[0] && *port != 0), "{ports:?}");
    }
}
