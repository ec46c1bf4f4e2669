//! A connection that is about to be served: what is known of it before its first byte of TLS or HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;

use super::proxied;
use super::serve::lost;
use super::tls::Termination;
use crate::config::TrustedProxies;
use crate::proxy::Proxy;

/// Said loudly once: a load balancer that does not speak as configured would fill the log.
static SAID: AtomicBool = AtomicBool::new(false);

/// See the module.
pub(super) struct Arrived {
    pub(super) stream: TcpStream,
    /// The client, as a load balancer tells it where the listener asks for that.
    pub(super) remote: SocketAddr,
    /// Where it connected to.
    pub(super) local: SocketAddr,
    /// Its listener's address, as configured.
    pub(super) configured: SocketAddr,
    /// The listener's TLS as it was when the connection was accepted.
    pub(super) tls: Option<Arc<Termination>>,
    /// Whose `x-forwarded-*` fields are believed.
    pub(super) trusted: TrustedProxies,
}

impl Arrived {
    /// Makes a connection ready; `None` when there is nothing to serve. `configured`: its listener's address.
    pub(super) async fn new(
        mut stream: TcpStream,
        mut remote: SocketAddr,
        configured: SocketAddr,
        tls: Option<Arc<Termination>>,
        proxy: &Proxy,
    ) -> Option<Self> {
        let config = Arc::clone(&proxy.generation().config);
        let listener = config.listeners.iter().find(|listener| listener.address == configured)?;
        let mut local = match stream.set_nodelay(true).and_then(|()| stream.local_addr()) {
            Ok(local) => local,
            Err(error) => {
                lost(&error, remote);
                return None;
            }
        };
        if listener.proxy_protocol {
            match proxied::read(&mut stream, config.limits.header_timeout).await {
                Ok(Some((client, asked))) => (remote, local) = (client, asked),
                Ok(None) => {}
                // Load balancers try whether somebody listens, and go.
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    tracing::debug!(%error, %remote, "Connection closed before its PROXY header.");
                    return None;
                }
                Err(error) if SAID.swap(true, Ordering::Relaxed) => {
                    tracing::debug!(%error, %remote, "No PROXY header, connection closed.");
                    return None;
                }
                Err(error) => {
                    tracing::warn!(%error, %remote, "No PROXY header, connection closed. This is said once.");
                    return None;
                }
            }
        }
        Some(Self { stream, remote, local, configured, tls, trusted: listener.trusted_proxies.clone() })
    }
}
