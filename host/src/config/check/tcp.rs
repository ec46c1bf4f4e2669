//! Listeners for TCP connections: `listeners[].tcp`.

use std::time::Duration;

use super::{UpstreamNames, filters};
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::{Listener, TcpService};

/// How long a connection may be silent: pools of database clients keep theirs open for most of an hour.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

pub(super) fn service(node: &Node<'_>, upstreams: &UpstreamNames) -> Option<TcpService> {
    let mut fields = Fields::of(node)?;
    let upstream = fields.required("upstream").and_then(|node| upstreams.resolve_tcp(&node));
    let filters = fields.optional("filters").map_or_else(
        || Some(Vec::new()),
        |node| {
            let conditions = refuse_conditions(&node);
            filters::filters(&node, upstreams).filter(|_| conditions.is_some())
        },
    );
    let idle_timeout = fields
        .optional("idle_timeout")
        .map_or(Some(IDLE_TIMEOUT), |node| node.duration(Duration::from_millis(1)..=Duration::from_secs(24 * 3600)));
    fields.finish();
    Some(TcpService { upstream: upstream?.into(), filters: filters?, idle_timeout: idle_timeout? })
}

/// `when` is about requests; a filter that seems to be conditional must not run for every connection, or for none.
fn refuse_conditions(filters: &Node<'_>) -> Option<()> {
    let mut none = Some(());
    // What is no array and no object is reported by who reads it.
    let nodes = if is_array(filters) { filters.elements()? } else { return none };
    for node in nodes.iter().filter(|node| is_object(node)) {
        let Some(when) = Fields::of(node)?.optional("when") else { continue };
        when.problem("conditions are about requests; connections have none");
        none = None;
    }
    none
}

fn is_array(node: &Node<'_>) -> bool {
    matches!(node.value, jsonc_parser::ast::Value::Array(_))
}

fn is_object(node: &Node<'_>) -> bool {
    matches!(node.value, jsonc_parser::ast::Value::Object(_))
}

/// A connection finds its service by the address of its listener, so that one must have it alone, port 0 included.
pub(super) fn alone(nodes: &[Node<'_>], listeners: &[Listener]) -> Option<()> {
    let mut fine = Some(());
    for (place, (node, listener)) in nodes.iter().zip(listeners).enumerate() {
        let mut before = listeners.iter().take(place).filter(|other| other.address == listener.address);
        if before.any(|other| other.tcp.is_some() || listener.tcp.is_some()) {
            node.problem("a listener before it has this address, and one of them is for TCP");
            fine = None;
        }
    }
    fine
}
