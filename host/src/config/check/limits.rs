//! Bounds: `limits`, each with its default and the reason for it.

use std::ops::RangeInclusive;
use std::time::Duration;

use jsonc_parser::ast::Value;

use crate::config::Limits;
use crate::config::fields::Fields;
use crate::config::memory;
use crate::config::node::Node;

/// Most bytes of a request head: room for large cookies and tokens, as Envoy's 60 KiB.
const HEADER_BYTES: usize = 64 << 10;
/// Most fields of a head; browsers send 20, and each costs memory beyond its bytes.
const HEADER_COUNT: usize = 100;
/// How long a request's body may stall, as in nginx: a mobile network that is lost for longer has lost the connection too.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// Most body bytes that a stage holds, as Envoy's buffers.
const BUFFER_BYTES: usize = 1 << 20;
/// Of what the process's cgroup may have, tenths: the kernel counts more than what is resident, and what runs may still grow.
const MEMORY_TENTHS: u64 = 9;
/// Most open client connections: with 16 KiB each, 160 MB.
const CONNECTIONS: usize = 10_000;
/// Time for a whole request head: a slow mobile network needs a few seconds, a slow attacker wants minutes.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle time of a kept connection: longer than load balancers in front keep theirs for most requests to reuse one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a gateway that is to end still takes new connections: none, as only who routes to it can say how long that goes on.
const DRAIN_DELAY: Duration = Duration::ZERO;
/// How long a shutdown or an old generation waits: orchestrators kill after 30 s by default.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long nothing may flow through a tunnel, as Envoy's idle streams: WebSockets are pinged every half minute or so.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(300);
/// Concurrent HTTP/2 streams per connection: the least that RFC 9113 §6.5.2 recommends.
const HTTP2_STREAMS: u32 = 100;
/// Most body bytes of a callout's answer: the guest gets it as one piece.
const CALLOUT_BYTES: usize = 1 << 20;
/// Open callouts per filter and worker: above it, the called service is the one that suffers.
const CALLOUTS: usize = 1000;

/// Sizes that make sense anywhere: 1 KiB to 1 GiB.
const SIZES: RangeInclusive<u64> = 1 << 10..=1 << 30;
/// Targets of requests: what a hyperlink needs, to the most that a head may have.
const URIS: RangeInclusive<u64> = 64..=1 << 20;
/// Bodies: 1 B to 1 PiB.
const BODIES: RangeInclusive<u64> = 1..=1 << 50;
/// Memory of a process: 1 MiB to 1 PiB.
const MEMORY: RangeInclusive<u64> = 1 << 20..=1 << 50;
/// Timeouts that make sense anywhere.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

impl Default for Limits {
    fn default() -> Self {
        Self {
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            header_bytes: HEADER_BYTES,
            header_count: HEADER_COUNT,
            uri_bytes: None,
            body_bytes: None,
            body_timeout: BODY_TIMEOUT,
            buffer_bytes: BUFFER_BYTES,
            memory: memory::limit().map(|limit| limit / 10 * MEMORY_TENTHS),
            connections: CONNECTIONS,
            connections_per_client: None,
            requests_per_connection: None,
            header_timeout: HEADER_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            drain_delay: DRAIN_DELAY,
            drain_timeout: DRAIN_TIMEOUT,
            tunnel_timeout: TUNNEL_TIMEOUT,
            http2_streams: HTTP2_STREAMS,
            callout_bytes: CALLOUT_BYTES,
            callouts: CALLOUTS,
        }
    }
}

pub(super) fn limits(node: &Node<'_>) -> Option<Limits> {
    let mut fields = Fields::of(node)?;
    let mut get = Getter { fields: &mut fields };
    let default = Limits::default();
    let workers = get.count("workers", default.workers, 1..=1024);
    let header_bytes = get.size("header_bytes", default.header_bytes, 1 << 10..=1 << 20);
    let header_count = get.count("header_count", default.header_count, 1..=10_000);
    let uri_bytes = get.fields.optional("uri_bytes").map_or(Some(None), |node| node.size(URIS).map(Some));
    let body_bytes = get.fields.optional("body_bytes").map_or(Some(None), |node| node.size(BODIES).map(Some));
    let body_timeout = get.fields.optional("body_timeout").map_or(Some(BODY_TIMEOUT), |node| body_timeout(&node));
    let buffer_bytes = get.size("buffer_bytes", default.buffer_bytes, SIZES);
    let memory = get.fields.optional("memory").map_or(Some(default.memory), |node| memory_of(&node));
    let connections = get.count("connections", default.connections, 1..=10_000_000);
    let connections_per_client = get.optional("connections_per_client", 1..=10_000_000);
    let requests_per_connection = get.optional("requests_per_connection", 1..=1_000_000_000);
    let header_timeout = get.duration("header_timeout", default.header_timeout);
    let idle_timeout = get.duration("idle_timeout", default.idle_timeout);
    let drain_delay = get.delay("drain_delay", default.drain_delay);
    let drain_timeout = get.duration("drain_timeout", default.drain_timeout);
    let tunnel_timeout = get.duration("tunnel_timeout", default.tunnel_timeout);
    let http2_streams = get.count("http2_streams", HTTP2_STREAMS as usize, 1..=100_000);
    let callout_bytes = get.size("callout_bytes", default.callout_bytes, SIZES);
    let callouts = get.count("callouts", default.callouts, 1..=1_000_000);
    fields.finish();
    Some(Limits {
        workers: workers?,
        header_bytes: header_bytes?,
        header_count: header_count?,
        uri_bytes: uri_bytes?,
        body_bytes: body_bytes?.map(|bytes| bytes as u64),
        body_timeout: body_timeout?,
        buffer_bytes: buffer_bytes?,
        memory: memory?,
        connections: connections?,
        connections_per_client: connections_per_client?,
        requests_per_connection: requests_per_connection?.map(|count| count as u64),
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        drain_delay: drain_delay?,
        drain_timeout: drain_timeout?,
        tunnel_timeout: tunnel_timeout?,
        http2_streams: u32::try_from(http2_streams?).ok()?,
        callout_bytes: callout_bytes?,
        callouts: callouts?,
    })
}

/// The most bytes of the bodies of a route's requests; `false`: as many as they like, whatever the limit of all.
pub(super) fn body_bytes(node: &Node<'_>) -> Option<u64> {
    match node.value {
        Value::BooleanLit(literal) if !literal.value => Some(u64::MAX),
        Value::BooleanLit(_) => {
            node.problem("expected a size such as \"10MiB\", or false for no limit");
            None
        }
        _ => node.size(BODIES).map(|bytes| bytes as u64),
    }
}

/// How long a body may stall; zero for any time.
pub(super) fn body_timeout(node: &Node<'_>) -> Option<Duration> {
    node.duration(Duration::ZERO..=*TIMEOUTS.end())
}

/// A size, or `false` for no limit.
fn memory_of(node: &Node<'_>) -> Option<Option<u64>> {
    match node.value {
        Value::BooleanLit(literal) if !literal.value => Some(None),
        Value::BooleanLit(_) => {
            node.problem("expected a size such as \"512MiB\", or false for no limit");
            None
        }
        _ => node.size(MEMORY).map(|bytes| Some(bytes as u64)),
    }
}

/// Reads one bound, or takes its default.
struct Getter<'f, 'a> {
    fields: &'f mut Fields<'a>,
}

impl Getter<'_, '_> {
    fn count(&mut self, key: &'static str, default: usize, bounds: RangeInclusive<u64>) -> Option<usize> {
        self.fields.optional(key).map_or(Some(default), |node| node.count(bounds))
    }
    fn optional(&mut self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<Option<usize>> {
        self.fields.optional(key).map_or(Some(None), |node| node.count(bounds).map(Some))
    }
    fn size(&mut self, key: &'static str, default: usize, bounds: RangeInclusive<u64>) -> Option<usize> {
        self.fields.optional(key).map_or(Some(default), |node| node.size(bounds))
    }
    fn duration(&mut self, key: &'static str, default: Duration) -> Option<Duration> {
        self.fields.optional(key).map_or(Some(default), |node| node.duration(TIMEOUTS))
    }
    /// A duration that may be none.
    fn delay(&mut self, key: &'static str, default: Duration) -> Option<Duration> {
        self.fields.optional(key).map_or(Some(default), |node| node.duration(Duration::ZERO..=*TIMEOUTS.end()))
    }
}
