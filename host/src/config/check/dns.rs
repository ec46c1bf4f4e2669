//! How names are resolved: `upstreams.NAME.dns`.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::{all, word};
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::{Dns, Family};

/// What the bounds of a time to live may be.
const TTLS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(24 * 3600);
/// Most servers that may be named.
const SERVERS: usize = 8;
/// Where servers listen (RFC 1035 §4.2).
const PORT: u16 = 53;

pub(super) fn dns(node: &Node<'_>) -> Option<Dns> {
    let default = Dns::default();
    let mut fields = Fields::of(node)?;
    let servers = fields.optional("servers").map_or(Some(Vec::new()), |node| servers(&node));
    let min_ttl = fields.optional("min_ttl").map_or(Some(default.min_ttl), |node| node.duration(TTLS));
    let place = fields.optional("max_ttl");
    let max_ttl = place.as_ref().map_or(Some(default.max_ttl), |node| node.duration(TTLS));
    let families = [("any", Family::Any), ("ipv4", Family::Ipv4), ("ipv6", Family::Ipv6)];
    let family = fields.optional("family").map_or(Some(default.family), |node| word(&node, &families));
    fields.finish();
    let (min_ttl, max_ttl) = (min_ttl?, max_ttl?);
    if min_ttl > max_ttl {
        place.as_ref().unwrap_or(node).problem("\"max_ttl\" must not be less than \"min_ttl\"");
        return None;
    }
    Some(Dns { servers: servers?, min_ttl, max_ttl, family: family? })
}

fn servers(node: &Node<'_>) -> Option<Vec<SocketAddr>> {
    let nodes = node.some_elements()?;
    if nodes.len() > SERVERS {
        node.problem(format!("at most {SERVERS} servers can be named"));
        return None;
    }
    all(&nodes, |node| {
        node.parsed("the address of a server such as \"10.0.0.10\" or \"127.0.0.1:5353\"", |text| {
            text.parse().ok().or_else(|| Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, PORT)))
        })
    })
}
