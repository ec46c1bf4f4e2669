//! A stream context that serves a TCP connection, as the chain drives it.

use std::rc::Rc;

use super::host_state::{Effective, Stream};
use super::running::Running;
use crate::filter::tcp::{Peer, Side, TcpAction, TcpFilter};
use crate::filter::{Fault, FaultKind};

/// One filter serving one connection.
pub(super) struct ConnectionContext {
    running: Rc<Running>,
    stream: Rc<Stream>,
    /// The guest has been told that the connection is over.
    finished: bool,
}

impl ConnectionContext {
    pub(super) fn new(running: Rc<Running>, stream: Rc<Stream>) -> Self {
        Self { running, stream, finished: false }
    }
    fn effective(&self) -> Effective {
        Effective::Stream(Rc::clone(&self.stream))
    }
    /// What the callback answered, unless it reported a fault.
    fn answer(&self, action: u32, callback: &str) -> Result<TcpAction, Fault> {
        if let Some(fault) = &*self.stream.reported.borrow() {
            return Err(fault.clone());
        }
        match action {
            0 => Ok(TcpAction::Continue),
            1 => Ok(TcpAction::Pause),
            _ => Err(Fault {
                kind: FaultKind::Abi,
                detail: Rc::from(format!("{callback} answered an action that does not exist")),
            }),
        }
    }
}

impl TcpFilter for ConnectionContext {
    fn on_new_connection(&mut self) -> Result<TcpAction, Fault> {
        let (id, callback) = (self.stream.id, "proxy_on_new_connection");
        let action = self.running.call(self.effective(), callback, |exports, store| {
            exports.new_connection.as_ref().map_or(Ok(0), |opened| opened.call(store, id))
        })?;
        self.answer(action, callback)
    }
    fn on_data(&mut self, side: Side, size: usize, end_of_stream: bool) -> Result<TcpAction, Fault> {
        let (id, callback) = (self.stream.id, side.pick("proxy_on_downstream_data", "proxy_on_upstream_data"));
        let action = self.running.call(self.effective(), callback, |exports, store| match exports.data(side) {
            Some(data) => data.call(store, (id, u32::try_from(size).unwrap_or(u32::MAX), end_of_stream.into())),
            None => Ok(0),
        })?;
        self.answer(action, callback)
    }
    fn on_close(&mut self, side: Side, peer: Peer) -> Result<(), Fault> {
        let id = self.stream.id;
        let callback = side.pick("proxy_on_downstream_connection_close", "proxy_on_upstream_connection_close");
        // proxy_peer_type_t
        let peer = match peer {
            Peer::Local => 1,
            Peer::Remote => 2,
        };
        self.running.call(self.effective(), callback, |exports, store| match exports.connection_close(side) {
            Some(close) => close.call(store, (id, peer)),
            None => Ok(()),
        })?;
        self.answer(0, callback).map(drop)
    }
    fn finish(mut self: Box<Self>) {
        self.finished = true;
        self.running.finish(&self.stream);
    }
    fn fault(&self) -> Option<Fault> {
        self.stream.reported.borrow().clone().or_else(|| self.running.fault())
    }
}

impl Drop for ConnectionContext {
    /// As for requests: the guest still learns that a connection is over whose filter reported a fault.
    fn drop(&mut self) {
        if !self.finished {
            self.running.finish_later(Rc::clone(&self.stream));
        }
    }
}
