//! One connection of a TCP listener: hands its bytes to the proxy, and closes it as its end deserves.

use std::rc::Rc;

use super::arrived::Arrived;
use super::drain::Drain;
use super::serve::next_id;
use super::tls::Secured;
use crate::filter::exchange::ConnectionFacts;
use crate::observe::TcpEnd;
use crate::proxy::tcp::{reset_at_close, serve as relay};
use crate::proxy::{Proxy, TcpService};

/// Serves one connection to its end.
pub(super) async fn serve(arrived: Arrived, service: Rc<TcpService>, proxy: Rc<Proxy>, mut drain: Drain) {
    if proxy.is_over_memory() {
        return refuse(&arrived, &service);
    }
    let Arrived { mut stream, remote, local, tls, .. } = arrived;
    let _counted = proxy.count_connection();
    let facts = ConnectionFacts { id: next_id(), remote, local, tls: None };
    let Some(tls) = tls else {
        reset_at_close(&stream, true);
        let ended = relay(&mut stream, facts, &service, drain.wait()).await;
        return reset_at_close(&stream, ended.is_broken());
    };
    let timeout = proxy.generation().config.limits.header_timeout;
    let secured = tokio::select! {
        secured = Box::pin(tls.accept(stream, timeout)) => secured,
        // Nothing was carried yet, so nothing is owed.
        () = drain.wait() => return,
    };
    match secured {
        Ok(Secured { mut stream, facts: known, .. }) => {
            reset_at_close(stream.get_ref().0, true);
            let facts = ConnectionFacts { tls: Some(known), ..facts };
            let ended = relay(&mut stream, facts, &service, drain.wait()).await;
            reset_at_close(stream.get_ref().0, ended.is_broken());
        }
        Err(refused) => refused.tell(&proxy, remote),
    }
}

/// Closes a connection that cannot be afforded, before any filter has heard of it.
fn refuse(arrived: &Arrived, service: &TcpService) {
    service.ledger.opened();
    service.ledger.ended(TcpEnd::MemoryLimit);
    tracing::debug!(remote = %arrived.remote, listener = &*service.listener, "Connection closed: memory is short.");
}
