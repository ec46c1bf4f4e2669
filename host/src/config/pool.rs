//! The connections that are kept to an upstream's targets: `upstreams.NAME.pool`.

use std::time::Duration;

/// Bounds of the connections to each target of an upstream: one worker's part of what is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Most HTTP/1 connections, if there is a limit.
    pub connections: Option<usize>,
    /// Most requests that wait for one of these (1000).
    pub pending: usize,
    /// Most idle ones that a worker keeps (256).
    pub idle: usize,
    /// How long these are kept (30 s).
    pub idle_timeout: Duration,
    /// Age after which a connection gets no further request; any by default.
    pub lifetime: Option<Duration>,
}

impl PoolLimits {
    /// One worker's part, of so many.
    #[must_use]
    pub fn part(&self, workers: usize) -> Self {
        let part = |whole: usize| whole.div_ceil(workers.max(1));
        Self { connections: self.connections.map(part), pending: part(self.pending), ..self.clone() }
    }
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            connections: None,
            pending: 1000,
            idle: 256,
            // Shorter than most servers keep theirs, so that they seldom close first.
            idle_timeout: Duration::from_secs(30),
            lifetime: None,
        }
    }
}
