//! The seam for TCP connections: what a filter may see and do of one, and the chain that runs its filters.
//!
//! Smaller than that of requests: a connection has two flows of bytes and no heads. A filter is told of the new connection, of
//! the bytes of each flow and of the end; it holds what it answers Pause to, changes what it holds, and may close the connection.

mod chain;
mod connection;
#[cfg(test)]
mod tests;

pub use chain::{Closing, TcpChain};
pub use connection::{TcpConnection, TcpFacts, TcpStage, TcpStop};

use super::{Fault, OnError, Outcome, Phase};

/// One of the two peers of a connection, and the flow of bytes that comes from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The client. Its bytes pass the filters 1..n.
    Downstream,
    /// The upstream. Its bytes pass the filters n..1.
    Upstream,
}

impl Side {
    /// Both, the client first.
    pub const BOTH: [Self; 2] = [Self::Downstream, Self::Upstream];

    /// The one of two things that belongs to this side.
    #[must_use]
    pub fn pick<T>(self, downstream: T, upstream: T) -> T {
        match self {
            Self::Downstream => downstream,
            Self::Upstream => upstream,
        }
    }
}

/// What a filter answers to a new connection and to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpAction {
    /// The connection, or what is held of the flow, goes on.
    Continue,
    /// A new connection waits until the filter resumes it. Bytes stay; the filter is called again when there are more, and
    /// a resume lets them go on without another call.
    Pause,
}

/// Who ended a connection (`proxy_peer_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The gateway, or a filter.
    Local,
    /// The peer at the other end.
    Remote,
}

/// The callbacks for connections that a filter implements; the others are never called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TcpCallbacks {
    /// `proxy_on_new_connection`
    pub new_connection: bool,
    /// `proxy_on_downstream_data`
    pub downstream_data: bool,
    /// `proxy_on_upstream_data`
    pub upstream_data: bool,
    /// `proxy_on_downstream_connection_close`
    pub downstream_close: bool,
    /// `proxy_on_upstream_connection_close`
    pub upstream_close: bool,
}

impl TcpCallbacks {
    /// The words for those that are implemented, as in metrics.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.new_connection, "new_connection"),
            (self.downstream_data, "downstream_data"),
            (self.upstream_data, "upstream_data"),
            (self.downstream_close, "downstream_close"),
            (self.upstream_close, "upstream_close"),
        ]
        .into_iter()
        .filter_map(|(implemented, name)| implemented.then_some(name))
    }
    fn data(&self, side: Side) -> bool {
        side.pick(self.downstream_data, self.upstream_data)
    }
    fn close(&self, side: Side) -> bool {
        side.pick(self.downstream_close, self.upstream_close)
    }
}

/// One filter serving one connection: a stream context of the ABI. Dropped without [`TcpFilter::finish`] when its instance
/// died. Callbacks are synchronous and act on the [`TcpStage`] that the filter was made with.
pub trait TcpFilter {
    /// A client has connected; nothing was read yet and no upstream is connected.
    ///
    /// # Errors
    /// The instance is gone; the chain applies the filter's `on_error`.
    fn on_new_connection(&mut self) -> Result<TcpAction, Fault>;
    /// The stage now holds `size` bytes from `side`, and after them nothing more comes when `end_of_stream`.
    ///
    /// # Errors
    /// As [`TcpFilter::on_new_connection`].
    fn on_data(&mut self, side: Side, size: usize, end_of_stream: bool) -> Result<TcpAction, Fault>;
    /// The connection to `side` has ended, by whom `peer` says.
    ///
    /// # Errors
    /// As [`TcpFilter::on_new_connection`].
    fn on_close(&mut self, side: Side, peer: Peer) -> Result<(), Fault>;
    /// The connection is over: `on_done` (may defer), `on_log`, `on_delete`, once each.
    fn finish(self: Box<Self>);
    /// Set when the instance died between callbacks.
    fn fault(&self) -> Option<Fault>;
}

/// Makes the [`TcpFilter`] of one connection: one entry of a chain, configured, on one worker.
pub trait TcpSource {
    /// The entry's name, for logs and reasons.
    fn name(&self) -> &str;
    /// What it implements.
    fn callbacks(&self) -> TcpCallbacks;
    /// What a fault of this filter does to the connection: `Closed` closes it, `Open` goes on without the filter.
    fn on_error(&self) -> OnError;
    /// Creates the stream context.
    ///
    /// # Errors
    /// There is no instance and none could be made.
    fn start(&self, stage: TcpStage) -> Result<Box<dyn TcpFilter>, Fault>;
    /// Records one callback in the ledger.
    fn record(&self, phase: Phase, nanos: u64, outcome: Outcome);
}
