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
    let place = fields.required("targets");
    let targets = place.as_ref().and_then(|node| all(&node.some_elements()?, target));
    let protocols = [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
    let said = fields.optional("protocol").map(|node| (word(&node, &protocols), node));
    let connect_timeout = fields
        .optional("connect_timeout")
        .map_or(Some(CONNECT_TIMEOUT), |node| node.duration(Duration::from_millis(1)..=Duration::from_secs(600)));
    fields.finish();
    let (targets, schemes): (Vec<_>, Vec<_>) = targets?.into_iter().unzip();
    let protocol = if schemes.iter().all(|scheme| *scheme != Scheme::Tcp) {
        said.map_or(Some(UpstreamProtocol::Http1), |(protocol, _)| protocol)
    } else if schemes.iter().any(|scheme| *scheme != Scheme::Tcp) {
        place?.problem("targets are all tcp:// or none is");
        None
    } else if let Some((_, said)) = said {
        said.problem("an upstream of tcp:// targets has no HTTP version");
        None
    } else {
        Some(UpstreamProtocol::Tcp)
    };
    Some(Upstream { name: name.as_ref().into(), targets, protocol: protocol?, connect_timeout: connect_timeout? })
}

/// What is spoken to a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Tcp,
}

/// Reads `http://host[:port]`, `https://host[:port]` or `tcp://host:port`, perhaps with a slash at the end.
fn target(node: &Node<'_>) -> Option<(Target, Scheme)> {
    let text = node.text()?;
    let Some((scheme, rest)) = text.value.split_once("://") else {
        let whole = format!("http://{}", text.value);
        let suggestion = (!text.secret && Authority::parse(&text.value).is_ok()).then_some(whole);
        let message = format!("expected a URL such as \"http://127.0.0.1:9001\", found {}", text.shown);
        node.problem_suggesting(message, suggestion);
        return None;
    };
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "tcp" => Scheme::Tcp,
        _ => {
            node.problem(format!("expected the scheme http, https or tcp, found {}", text.shown));
            return None;
        }
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains(['/', '?', '#']) {
        node.problem(format!("a target has no path and no query, found {}", text.shown));
        return None;
    }
    let Authority { host, port } = match Authority::parse(authority) {
        Ok(authority) => authority,
        Err(error) => {
            node.problem(format!("{error}: {}", text.shown));
            return None;
        }
    };
    let usual = match scheme {
        Scheme::Http => Some(80),
        Scheme::Https => Some(443),
        Scheme::Tcp => None,
    };
    let Some(port) = port.or(usual) else {
        node.problem(format!("a tcp:// target needs a port, found {}", text.shown));
        return None;
    };
    // Brackets belong to the URL, not to the address that is resolved.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((Target { tls: scheme == Scheme::Https, host, port }, scheme))
}
