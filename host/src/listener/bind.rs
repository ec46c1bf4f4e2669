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
    let first = bind(address)?;
    let address = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(bind(address)?);
    }
    Ok(listeners)
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
}
