//! Where an upstream's targets are: host names, addresses, Unix sockets.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// One place to send requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether to speak TLS (`https://`); never over a Unix socket.
    pub tls: bool,
    /// Where it is.
    pub place: Place,
    /// Its share of the requests, against those of the others of its priority; 0 for none.
    pub weight: u32,
    /// Targets of a higher number get requests only when none of a lower one can take them.
    pub priority: u32,
}

/// Where a target is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// On the network.
    Network {
        /// Host name or address, lower-case; an IPv6 address without brackets.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket, by its absolute path.
    Unix(PathBuf),
}

/// Most bytes of a Unix socket's path: what the kernel takes (`sun_path`), without the zero at its end.
pub const SOCKET_PATH_BYTES: usize = 107;

impl fmt::Display for Target {
    /// `host:port`, or `unix:/path`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Network { host, port } => write!(f, "{host}:{port}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Target {
    /// One on the network, with the share and the priority that are usual.
    #[must_use]
    pub fn network(host: impl Into<String>, port: u16) -> Self {
        Self { tls: false, place: Place::Network { host: host.into(), port }, weight: 1, priority: 0 }
    }
    /// Whether another one is the same place, whatever its share.
    #[must_use]
    pub fn is_at(&self, other: &Self) -> bool {
        (self.tls, &self.place) == (other.tls, &other.place)
    }
    /// The name that has to be resolved to reach it, if there is one.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match &self.place {
            Place::Network { host, .. } if host.parse::<IpAddr>().is_err() => Some(host),
            Place::Network { .. } | Place::Unix(_) => None,
        }
    }
    /// As a URL. `tcp`: it carries bytes alone.
    #[must_use]
    pub fn url(&self, tcp: bool) -> String {
        let (host, port) = match &self.place {
            Place::Network { host, port } => (host, port),
            Place::Unix(_) => return self.to_string(),
        };
        let scheme = match (tcp, self.tls) {
            (true, _) => "tcp",
            (_, true) => "https",
            (_, false) => "http",
        };
        if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
    }
}
