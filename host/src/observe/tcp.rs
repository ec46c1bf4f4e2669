//! The ledger of one TCP listener: its connections, how they ended, the bytes they carried. Over all workers.

use std::fmt;
use std::sync::Arc;

use super::exposition::{Labels, Page, signed};
use super::sharded::{Count, Sharded};

/// How a TCP connection ended, as counted in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TcpEnd {
    /// Both sides had said all they had to say.
    Complete,
    /// The client broke it off.
    ClientGone,
    /// The upstream broke it off.
    UpstreamGone,
    /// No target of the upstream took it.
    UpstreamConnect,
    /// A filter closed it.
    Filter,
    /// A filter faulted, and its `on_error` is `closed`.
    FilterFault,
    /// A filter held, or made, more bytes than may be held.
    BufferLimit,
    /// It was not taken on, because the process has more memory than it may have.
    MemoryLimit,
    /// No byte moved for too long.
    IdleTimeout,
    /// The gateway shut down and would wait no longer.
    Drain,
}

impl TcpEnd {
    /// Every end, in the order of the enumeration.
    pub const ALL: [Self; 10] = [
        Self::Complete,
        Self::ClientGone,
        Self::UpstreamGone,
        Self::UpstreamConnect,
        Self::Filter,
        Self::FilterFault,
        Self::BufferLimit,
        Self::MemoryLimit,
        Self::IdleTimeout,
        Self::Drain,
    ];

    /// The word used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::UpstreamGone => "upstream_gone",
            Self::UpstreamConnect => "upstream_connect",
            Self::Filter => "filter",
            Self::FilterFault => "filter_fault",
            Self::BufferLimit => "buffer_limit",
            Self::MemoryLimit => "memory_limit",
            Self::IdleTimeout => "idle_timeout",
            Self::Drain => "drain",
        }
    }
}

/// Connections of one TCP listener.
pub struct TcpLedger {
    listener: Arc<str>,
    connections: Sharded<Connections>,
}

#[derive(Default)]
struct Connections {
    opened: Count,
    ended: [Count; TcpEnd::ALL.len()],
    received: Count,
    sent: Count,
}

impl TcpLedger {
    /// The ledger of the listener with that configured address.
    #[must_use]
    pub fn new(listener: impl Into<Arc<str>>) -> Self {
        Self { listener: listener.into(), connections: Sharded::default() }
    }

    /// A connection was accepted. Exactly one [`TcpLedger::ended`] must follow: call it from a guard.
    pub fn opened(&self) {
        let (connections, slot) = self.connections.local();
        connections.opened.add(1, slot);
    }

    /// A connection is over.
    pub fn ended(&self, end: TcpEnd) {
        let (connections, slot) = self.connections.local();
        connections.ended[end as usize].add(1, slot);
    }

    /// So many bytes came from a client.
    pub fn received(&self, bytes: usize) {
        let (connections, slot) = self.connections.local();
        connections.received.add(u64::try_from(bytes).unwrap_or(u64::MAX), slot);
    }

    /// So many bytes went to a client.
    pub fn sent(&self, bytes: usize) {
        let (connections, slot) = self.connections.local();
        connections.sent.add(u64::try_from(bytes).unwrap_or(u64::MAX), slot);
    }

    fn sum(&self, count: impl Fn(&Connections) -> &Count) -> u64 {
        self.connections.sum(count)
    }
}

/// Writes the metrics of every TCP listener down.
pub(super) fn write(page: &mut Page<'_>, ledgers: &[Arc<TcpLedger>]) -> fmt::Result {
    fn of(ledger: &TcpLedger) -> Labels<'_> {
        vec![("listener", (*ledger.listener).into())]
    }
    // The ended first: a connection that ends in between must not make the difference negative.
    let ended: Vec<[u64; TcpEnd::ALL.len()]> =
        ledgers.iter().map(|ledger| TcpEnd::ALL.map(|end| ledger.sum(|all| &all.ended[end as usize]))).collect();
    let open = ledgers.iter().zip(&ended).map(|(ledger, ended)| {
        let open = ledger.sum(|all| &all.opened).saturating_sub(ended.iter().sum());
        (of(ledger), signed(open))
    });
    page.gauge("tcp_connections", "Open connections of TCP listeners", open)?;
    let opened = ledgers.iter().map(|ledger| (of(ledger), ledger.sum(|all| &all.opened)));
    page.counter("tcp_connections_opened", "Connections that TCP listeners accepted", opened)?;
    let ends = ledgers.iter().zip(&ended).flat_map(|(ledger, ended)| {
        TcpEnd::ALL.into_iter().zip(ended).map(|(end, count)| {
            let mut labels = of(ledger);
            labels.push(("reason", end.as_str().into()));
            (labels, *count)
        })
    });
    page.counter("tcp_connections_closed", "Connections of TCP listeners that ended, by why", ends)?;
    let received = ledgers.iter().map(|ledger| (of(ledger), ledger.sum(|all| &all.received)));
    page.counter("tcp_received_bytes", "Bytes from clients of TCP listeners", received)?;
    let sent = ledgers.iter().map(|ledger| (of(ledger), ledger.sum(|all| &all.sent)));
    page.counter("tcp_sent_bytes", "Bytes to clients of TCP listeners", sent)
}

#[cfg(test)]
mod tests {
    use super::TcpEnd;

    #[test]
    fn ends_are_listed_in_the_order_of_their_enum() {
        assert!(TcpEnd::ALL.into_iter().enumerate().all(|(place, end)| end as usize == place));
    }
}
