//! Which addresses are listened on: bound before a generation is published, so that an address in use changes nothing.

use std::collections::BTreeSet;
use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};

use crate::config::{Config, Listener};
use crate::listener;

/// One socket per worker for an address, all on the same port.
pub(super) struct Bound {
    /// As it stands in the configuration: port 0 stays 0.
    pub(super) configured: SocketAddr,
    /// What the kernel gave, as a URL.
    pub(super) url: String,
    pub(super) sockets: Vec<TcpListener>,
}

/// The addresses that the workers listen on now, as configured.
#[derive(Default)]
pub(super) struct Listening(BTreeSet<SocketAddr>);

impl Listening {
    /// Binds what `config` adds, for every worker.
    ///
    /// # Errors
    /// An address is in use or not allowed; nothing has changed.
    pub(super) fn bind_new(&self, config: &Config, workers: usize) -> Result<Vec<Bound>> {
        let new = config.listeners.iter().filter(|listener| !self.0.contains(&listener.address));
        let mut own: Vec<SocketAddr> = self.0.iter().copied().collect();
        let mut bound = Vec::new();
        for listener in new {
            bound.push(bind(listener, &own, workers)?);
            own.push(listener.address);
        }
        Ok(bound)
    }

    /// The addresses that `config` no longer has.
    pub(super) fn gone(&self, config: &Config) -> Vec<SocketAddr> {
        let kept = |address: &SocketAddr| config.listeners.iter().any(|listener| listener.address == *address);
        self.0.iter().copied().filter(|address| !kept(address)).collect()
    }

    /// Remembers what has been handed to the workers.
    pub(super) fn update(&mut self, bound: &[Bound], gone: &[SocketAddr]) {
        for address in gone {
            self.0.remove(address);
        }
        self.0.extend(bound.iter().map(|bound| bound.configured));
    }
}

/// `own`: the addresses that this process listens on already.
fn bind(listener: &Listener, own: &[SocketAddr], workers: usize) -> Result<Bound> {
    let configured = listener.address;
    let failed = || format!("cannot listen on {configured}");
    // From one address to a wider or narrower one: the old sockets serve until the new ones do.
    let beside = own.iter().any(|own| listener::overlap(*own, configured));
    let bind_all = if beside { listener::bind_beside } else { listener::bind_all };
    let sockets = bind_all(configured, workers).with_context(failed)?;
    let actual = sockets.first().map_or(Ok(configured), TcpListener::local_addr).with_context(failed)?;
    let scheme = match (&listener.tcp, &listener.tls) {
        (Some(_), _) => "tcp",
        (None, Some(_)) => "https",
        (None, None) => "http",
    };
    Ok(Bound { configured, url: format!("{scheme}://{actual}"), sockets })
}
