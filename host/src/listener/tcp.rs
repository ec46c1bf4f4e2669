//! One connection of a TCP listener: hands its bytes to the proxy, and closes it as its end deserves.

use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::TcpStream;
use tracing::debug;

use super::drain::Drain;
use super::serve::next_id;
use crate::filter::exchange::ConnectionFacts;
use crate::proxy::tcp::{reset_at_close, serve as relay};
use crate::proxy::{Proxy, TcpService};

/// Serves one connection to its end.
pub(super) async fn serve(
    mut stream: TcpStream,
    remote: SocketAddr,
    local: SocketAddr,
    service: Rc<TcpService>,
    proxy: Rc<Proxy>,
    mut drain: Drain,
) {
    let _counted = proxy.count_connection();
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, %remote, "Connection lost.");
        return;
    }
    let facts = ConnectionFacts { id: next_id(), remote, local, tls_version: None, server_name: None };
    reset_at_close(&stream, true);
    let ended = relay(&mut stream, facts, &service, drain.wait()).await;
    reset_at_close(&stream, ended.is_broken());
}
