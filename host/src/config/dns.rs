//! How the names of an upstream's targets are resolved: `upstreams.NAME.dns`.

use std::net::SocketAddr;
use std::time::Duration;

/// How the names of an upstream's targets are resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dns {
    /// Who is asked; without any, who `/etc/resolv.conf` names, with its search domains. `/etc/hosts` comes first in both cases.
    pub servers: Vec<SocketAddr>,
    /// An answer is asked for again when its time to live ends, but not before this (1 s).
    pub min_ttl: Duration,
    /// And not after this (5 min).
    pub max_ttl: Duration,
    /// Which addresses of a name are used.
    pub family: Family,
}

/// Kinds of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// All.
    #[default]
    Any,
    /// Those of IPv4.
    Ipv4,
    /// Those of IPv6.
    Ipv6,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            // A name whose answers may not be kept at all is asked for once a second, not without pause.
            min_ttl: Duration::from_secs(1),
            // Whoever moves a service and has forgotten to lower its time to live waits no longer than this.
            max_ttl: Duration::from_secs(300),
            family: Family::Any,
        }
    }
}
