//! Proxies whose word about who asks is believed.

use std::sync::Arc;

use ipnet::IpNet;

use crate::address::Address;

/// Where they are.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Arc<[IpNet]>,
    /// Whoever may connect to a Unix socket.
    unix: bool,
}

/// Some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trusted {
    /// A network.
    Network(IpNet),
    /// `"unix:"`: the clients of Unix sockets.
    Unix,
}

impl TrustedProxies {
    /// Whether that peer is one of them.
    #[must_use]
    pub fn contains(&self, peer: &Address) -> bool {
        match peer.ip() {
            Some(address) => {
                let address = address.to_canonical();
                self.networks.iter().any(|network| network.contains(&address))
            }
            None => self.unix,
        }
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }
}

impl From<Vec<Trusted>> for TrustedProxies {
    fn from(all: Vec<Trusted>) -> Self {
        let network = |trusted: &Trusted| match trusted {
            Trusted::Network(network) => Some(*network),
            Trusted::Unix => None,
        };
        Self { networks: all.iter().filter_map(network).collect(), unix: all.contains(&Trusted::Unix) }
    }
}
