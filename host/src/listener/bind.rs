//! Listening sockets: one per worker on the same address, so that the kernel spreads connections over them.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// Binds `count` sockets to one address; with port 0 the kernel chooses the port once, for all of them.
///
/// # Errors
/// The address is in use by another program, or is none of this machine.
pub fn bind_all(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // Sockets that share a port do not see one another; without sharing, another program's is noticed.
        open(address, Sharing::Alone)?;
    }
    bind_beside(address, count)
}

/// The same for an address that overlaps one of this process's own: those sockets are in the way of noticing any others. The kernel gives
/// connections to the most specific address; with that one closed, to the wider one.
///
/// # Errors
/// The address is in use by another program that does not share it, or is none of this machine.
pub fn bind_beside(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = bind(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind(address)?);
    }
    Ok(listeners)
}

/// Whether a connection could come to either of two different addresses. A wildcard address of IPv6 takes IPv4 as well.
#[must_use]
pub fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let wide = |address: SocketAddr| address.ip().is_unspecified();
    let takes = |wider: SocketAddr, other: SocketAddr| wide(wider) && (wider.is_ipv6() || other.is_ipv4());
    one != other && one.port() == other.port() && one.port() != 0 && (takes(one, other) || takes(other, one))
}

/// Binds one socket that shares its port with others of this user.
///
/// # Errors
/// The address cannot be bound.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = open(address, Sharing::Shared)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    Alone,
    Shared,
}

fn open(address: SocketAddr, sharing: Sharing) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(sharing == Sharing::Shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_one_address_share_the_port_that_the_kernel_chose() {
        let listeners = bind_all(SocketAddr::from(([127, 0, 0, 1], 0)), 3).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        assert_ne!(port, 0);
        assert!(listeners.iter().all(|listener| listener.local_addr().unwrap().port() == port));
    }

    #[test]
    fn an_address_that_another_socket_listens_on_is_refused() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bind_all(other.local_addr().unwrap(), 2).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_wildcard_overlaps_every_address_of_its_port_and_family() {
        let overlap = |one: &str, other: &str| {
            let (one, other) = (one.parse().unwrap(), other.parse().unwrap());
            assert_eq!(super::overlap(one, other), super::overlap(other, one), "{one} {other}");
            super::overlap(one, other)
        };
        assert!(overlap("0.0.0.0:80", "127.0.0.1:80") && overlap("[::]:80", "[::1]:80"));
        assert!(overlap("[::]:80", "127.0.0.1:80") && overlap("[::]:80", "0.0.0.0:80"));
        assert!(!overlap("0.0.0.0:80", "127.0.0.1:81") && !overlap("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!overlap("0.0.0.0:80", "[::1]:80") && !overlap("0.0.0.0:0", "127.0.0.1:0"));
    }

    #[test]
    fn a_wider_address_is_bound_beside_a_narrower_one_of_this_process() {
        let narrow = bind_all(SocketAddr::from(([127, 0, 0, 1], 0)), 2).unwrap();
        let wide = SocketAddr::from(([0, 0, 0, 0], narrow[0].local_addr().unwrap().port()));
        assert_eq!(bind_all(wide, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(bind_beside(wide, 2).unwrap().len(), 2);
        // Another program's socket, which does not share, is noticed all the same.
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let wide = SocketAddr::from(([0, 0, 0, 0], other.local_addr().unwrap().port()));
        assert_eq!(bind_beside(wide, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
