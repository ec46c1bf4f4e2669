//! Bounds of what clients and filters may take.

use std::time::Duration;

/// Bounds; their defaults and the reasons for them are in `check/limits.rs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Worker threads (default: one per core).
    pub workers: usize,
    /// Most bytes of a request head (64 KiB).
    pub header_bytes: usize,
    /// Most fields of a head (100).
    pub header_count: usize,
    /// Most bytes of a request's path and query; `None`: what `header_bytes` leaves.
    pub uri_bytes: Option<usize>,
    /// Most bytes of a request's body; no limit by default.
    pub body_bytes: Option<u64>,
    /// How long nothing of a request's body may come while it is waited for, before the response begins (60 s); zero: any time.
    pub body_timeout: Duration,
    /// Most body bytes that a stage holds (1 MiB).
    pub buffer_bytes: usize,
    /// Resident memory of the process above which new requests are refused, bytes; `None`: never (nine tenths of what the cgroup may have).
    pub memory: Option<u64>,
    /// Most open client connections (10 000).
    pub connections: usize,
    /// Most open connections of one client: an IPv4 address, or an IPv6 network of 64 bits; no limit by default.
    pub connections_per_client: Option<usize>,
    /// Requests on one connection before it is wound down; no limit by default.
    pub requests_per_connection: Option<u64>,
    /// Time for a whole request head (30 s).
    pub header_timeout: Duration,
    /// Idle time of a kept connection (60 s).
    pub idle_timeout: Duration,
    /// How long a gateway that is to end still takes new connections, before it drains (0).
    pub drain_delay: Duration,
    /// How long a shutdown, or an old generation after a swap, waits for what runs (30 s).
    pub drain_timeout: Duration,
    /// Concurrent HTTP/2 streams per connection (100).
    pub http2_streams: u32,
    /// Most body bytes of a callout's answer (1 MiB).
    pub callout_bytes: usize,
    /// How long nothing may flow through a connection that was switched to another protocol, or between two events (5 min).
    pub tunnel_timeout: Duration,
    /// Open callouts per filter and worker (1000).
    pub callouts: usize,
}
