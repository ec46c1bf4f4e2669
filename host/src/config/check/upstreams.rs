//! Where requests go: `upstreams`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{all, word};
use crate::config::fields::{Fields, is_note};
use crate::config::node::{Member, Node};
use crate::config::{Target, Upstream, UpstreamProtocol};
use crate::route::host::Authority;

/// Limit for establishing a connection: a target on the same continent answers within a second, one lost packet costs
/// another one or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Most characters of a name: it becomes a label of metrics.
const NAME_CHARS: usize = 128;

pub(super) fn upstreams(node: &Node<'_>) -> Option<BTreeMap<String, Upstream>> {
    let members = node.members()?;
    let checked: Vec<Option<Upstream>> = members.iter().filter(|member| !is_note(&member.key)).map(upstream).collect();
    let named = |upstream: Option<Upstream>| upstream.map(|upstream| (upstream.name.to_string(), upstream));
    checked.into_iter().map(named).collect()
}

fn upstream(member: &Member<'_>) -> Option<Upstream> {
    let (name, node) = (&member.key, &member.node);
    let named = !name.is_empty()
        && name.chars().count() <= NAME_CHARS
        && !name.contains(|c: char| c.is_whitespace() || c.is_control());
    if !named {
        let message = format!("an upstream's name has 1 to {NAME_CHARS} characters and no spaces");
        node.problem_at(member.key_span, &node.path, message, None);
    }
    let mut fields = Fields::of(node)?;
    let targets = fields.required("targets").and_then(|node| all(&node.some_elements()?, target));
    let protocols = [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
    let protocol = fields.optional("protocol").map_or(Some(UpstreamProtocol::Http1), |node| word(&node, &protocols));
    let connect_timeout = fields
        .optional("connect_timeout")
        .map_or(Some(CONNECT_TIMEOUT), |node| node.duration(Duration::from_millis(1)..=Duration::from_secs(600)));
    fields.finish();
    Some(Upstream {
        name: name.as_ref().into(),
        targets: targets?,
        protocol: protocol?,
        connect_timeout: connect_timeout?,
    })
}

/// Reads `http://host[:port]` or `https://host[:port]`, perhaps with a slash at the end.
fn target(node: &Node<'_>) -> Option<Target> {
    let text = node.text()?;
    let Some((scheme, rest)) = text.value.split_once("://") else {
        let whole = format!("http://{}", text.value);
        let suggestion = (!text.secret && Authority::parse(&text.value).is_ok()).then_some(whole);
        let message = format!("expected a URL such as \"http://127.0.0.1:9001\", found {}", text.shown);
        node.problem_suggesting(message, suggestion);
        return None;
    };
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "http" => false,
        "https" => true,
        _ => {
            node.problem(format!("expected the scheme http or https, found {}", text.shown));
            return None;
        }
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        node.problem(format!("a target has no path and no query, found {}", text.shown));
        return None;
    }
    match Authority::parse(authority) {
        Ok(Authority { host, port }) => Some(Target {
            tls,
            // Brackets belong to the URL, not to the address that is resolved.
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: port.unwrap_or(if tls { 443 } else { 80 }),
        }),
        Err(error) => {
            node.problem(format!("{error}: {}", text.shown));
            None
        }
    }
}
