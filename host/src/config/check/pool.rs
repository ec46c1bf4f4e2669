//! Bounds of connections: `upstreams.NAME.pool`.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::config::PoolLimits;
use crate::config::fields::Fields;
use crate::config::node::Node;

/// What a number of connections or requests may be.
const COUNTS: u64 = 1_000_000;
/// What a time may be.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);

pub(super) fn pool(node: &Node<'_>) -> Option<PoolLimits> {
    let default = PoolLimits::default();
    let mut fields = Fields::of(node)?;
    let connections = fields.optional("connections").map(|node| node.count(1..=COUNTS));
    let pending = fields.optional("pending").map_or(Some(default.pending), |node| node.count(0..=COUNTS));
    let idle = fields.optional("idle").map_or(Some(default.idle), |node| node.count(0..=COUNTS));
    let idle_timeout = fields.optional("idle_timeout").map_or(Some(default.idle_timeout), |node| node.duration(TIMES));
    let lifetime = fields.optional("lifetime").map(|node| node.duration(TIMES));
    if connections.is_none() && fields.optional("pending").is_some() {
        fields.key_warning("pending", "has no effect: without a limit of \"connections\" no request waits".to_owned());
    }
    fields.finish();
    Some(PoolLimits {
        connections: match connections {
            Some(connections) => Some(connections?),
            None => None,
        },
        pending: pending?,
        idle: idle?,
        idle_timeout: idle_timeout?,
        lifetime: match lifetime {
            Some(lifetime) => Some(lifetime?),
            None => None,
        },
    })
}
