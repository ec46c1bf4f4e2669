//! Which addresses are listened on: bound before a generation is published, so that an address in use changes nothing.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio_util::either::Either;

use crate::address::Address;
use crate::config::{Config, Listener};
use crate::listener::{self, Listening as Socket, SocketFile};

/// One socket per worker for an address, all on the same port.
pub(super) struct Bound {
    /// As it stands in the configuration: port 0 stays 0.
    pub(super) configured: Address,
    /// What the kernel gave, as a URL.
    pub(super) url: String,
    pub(super) sockets: Vec<Socket>,
    /// Of a Unix socket.
    file: Option<Arc<SocketFile>>,
}

/// The addresses that the workers listen on now, as configured.
#[derive(Default)]
pub(super) struct Listening(BTreeMap<Address, Option<Arc<SocketFile>>>);

impl Listening {
    /// Binds what `config` adds, for every worker.
    ///
    /// # Errors
    /// An address is in use or not allowed; nothing has changed.
    pub(super) fn bind_new(&self, config: &Config, workers: usize) -> Result<Vec<Bound>> {
        let new = config.listeners.iter().filter(|listener| !self.0.contains_key(&listener.address));
        let mut own: Vec<SocketAddr> = self.0.keys().filter_map(Address::network).collect();
        let mut bound = Vec::new();
        for listener in new {
            bound.push(bind(listener, &own, workers)?);
            own.extend(listener.address.network());
        }
        Ok(bound)
    }

    /// The addresses that `config` no longer has.
    pub(super) fn gone(&self, config: &Config) -> Vec<Address> {
        let kept = |address: &Address| config.listeners.iter().any(|listener| listener.address == *address);
        self.0.keys().filter(|address| !kept(address)).cloned().collect()
    }

    /// Remembers what has been handed to the workers. The files of Unix sockets that are gone are removed.
    pub(super) fn update(&mut self, bound: &[Bound], gone: &[Address]) {
        for address in gone {
            self.0.remove(address);
        }
        self.0.extend(bound.iter().map(|bound| (bound.configured.clone(), bound.file.clone())));
    }

    /// Nothing is listened on any more.
    pub(super) fn close(&mut self) {
        self.0.clear();
    }
}

/// `own`: the addresses that this process listens on already.
fn bind(listener: &Listener, own: &[SocketAddr], workers: usize) -> Result<Bound> {
    let configured = listener.address.clone();
    let failed = || format!("cannot listen on {configured}");
    let (sockets, actual, file) = match &configured {
        Address::Ip(address) => {
            let sockets = bind_network(*address, own, workers).with_context(failed)?;
            let actual = sockets.first().map_or(Ok(*address), TcpListener::local_addr).with_context(failed)?;
            (sockets.into_iter().map(Either::Left).collect(), Address::Ip(actual), None)
        }
        Address::Unix(path) => {
            let (sockets, file) = listener::bind_unix(path, listener.mode, workers).with_context(failed)?;
            (sockets.into_iter().map(Either::Right).collect(), configured.clone(), Some(Arc::new(file)))
        }
    };
    let scheme = match (&listener.tcp, &listener.tls) {
        (Some(_), _) => "tcp",
        (None, Some(_)) => "https",
        (None, None) => "http",
    };
    Ok(Bound { url: format!("{scheme}://{actual}"), configured, sockets, file })
}

fn bind_network(address: SocketAddr, own: &[SocketAddr], workers: usize) -> std::io::Result<Vec<TcpListener>> {
    // From one address to a wider or narrower one: the old sockets serve until the new ones do.
    let beside = own.iter().any(|own| listener::overlap(*own, address));
    if beside { listener::bind_beside(address, workers) } else { listener::bind_all(address, workers) }
}
