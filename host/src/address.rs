//! Where connections come in: an address of a network with a port, or a Unix socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// One end of a connection, or where it is listened for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// An address of a network and a port.
    Ip(SocketAddr),
    /// A Unix socket's file; empty for a client at one, which has none.
    Unix(Arc<Path>),
}

impl Address {
    /// A client at a Unix socket.
    #[must_use]
    pub fn local_client() -> Self {
        Self::Unix(Arc::from(Path::new("")))
    }
    /// The address of a network, if it is one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.network().map(|address| address.ip())
    }
    /// The address of a network and the port, if it is one.
    #[must_use]
    pub fn network(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for Address {
    /// `127.0.0.1:8080`, `unix:/run/gateway.sock`; `unix:` for a client, as nginx says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
