//! Where requests go: `upstreams`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use jsonc_parser::ast::Value;

use super::{all, balance, dns, pool, tls, word};
use crate::config::balance::Probe;
use crate::config::fields::{Fields, is_note};
use crate::config::node::{Member, Node};
use crate::config::{
    Balance, Dns, Ejection, HealthCheck, Place, PoolLimits, SOCKET_PATH_BYTES, Target, Upstream, UpstreamProtocol,
    origins,
};
use crate::route::host::Authority;

/// Limit for establishing a connection: a target on the same continent answers within a second, one lost packet costs
/// another one or two.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Largest bound of requests under way that makes sense.
const MAX_REQUESTS: u64 = 1_000_000;
/// Largest weight of a target.
const WEIGHT: u64 = 1_000_000;
/// Highest number of a priority.
const PRIORITY: u64 = 127;

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
    let place = origins::Place { path: node.path.to_string(), key: Some(member.key_span), value: node.span() };
    node.document.upstreams.borrow_mut().insert(name.to_string(), place);
    let mut fields = Fields::of(node)?;
    let place = fields.required("targets");
    let targets = place.as_ref().and_then(|node| all(&node.some_elements()?, target));
    let protocols = [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
    let said = fields.optional("protocol").map(|node| (word(&node, &protocols), node));
    let connect_timeout = fields
        .optional("connect_timeout")
        .map_or(Some(CONNECT_TIMEOUT), |node| node.duration(Duration::from_millis(1)..=Duration::from_secs(600)));
    let balance = fields.optional("balance").map_or(Some(Balance::default()), |node| balance::balance(&node));
    let health = fields.optional("health").map_or(Some(None), |node| balance::health(&node).map(Some));
    let ejection = fields.optional("eject").map_or(Some(Ejection::default()), |node| balance::ejection(&node));
    let tls = fields.optional("tls").map_or(Some(None), |node| tls::upstream(&node).map(Some));
    let dns = fields.optional("dns").map_or(Some(Dns::default()), |node| dns::dns(&node));
    let pool = fields.optional("pool").map_or(Some(PoolLimits::default()), |node| pool::pool(&node));
    let max_requests =
        fields.optional("max_requests").map_or(Some(None), |node| node.count(1..=MAX_REQUESTS).map(Some));
    if let Some(Some(HealthCheck { probe: Probe::Grpc { .. }, .. })) = &health
        && !matches!(said, Some((Some(UpstreamProtocol::Http2), _)))
    {
        node.problem("a health check over gRPC needs \"protocol\": \"http2\"");
        return None;
    }
    if let (Some(place), Some(targets)) = (&place, &targets) {
        refuse_idle(&fields, place, targets);
    }
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
    Some(Upstream {
        name: name.as_ref().into(),
        targets,
        protocol: protocol?,
        connect_timeout: connect_timeout?,
        balance: balance?,
        health: health?,
        ejection: ejection?,
        tls: tls?,
        dns: dns?,
        pool: pool?,
        max_requests: max_requests?,
    })
}

/// Refuses what would have no effect, or leave nobody to ask.
fn refuse_idle(fields: &Fields<'_>, place: &Node<'_>, targets: &[(Target, Scheme)]) {
    if targets.iter().all(|(_, scheme)| *scheme != Scheme::Https) {
        let message = "has no effect: no target is https://; write the targets so, or leave it out";
        fields.key_problem("tls", message.to_owned(), None);
    }
    if !targets.is_empty() && targets.iter().all(|(target, _)| target.weight == 0) {
        place.problem("one target at least must have a weight above 0");
    }
}

/// What is spoken to a target.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Tcp,
    Unix,
}

/// A URL, or `{"url": …, "weight": …, "priority": …}`.
fn target(node: &Node<'_>) -> Option<(Target, Scheme)> {
    if !matches!(node.value, Value::Object(_)) {
        return url(node);
    }
    let mut fields = Fields::of(node)?;
    let target = fields.required("url").and_then(|node| url(&node));
    let number = |node: Option<Node<'_>>, default: u64, most: u64| {
        u32::try_from(node.map_or(Some(default), |node| node.integer(0..=most))?).ok()
    };
    let weight = number(fields.optional("weight"), 1, WEIGHT);
    let priority = number(fields.optional("priority"), 0, PRIORITY);
    fields.finish();
    let (target, scheme) = target?;
    Some((Target { weight: weight?, priority: priority?, ..target }, scheme))
}

/// Reads `http://host[:port]`, `https://host[:port]` or `tcp://host:port`, perhaps with a slash at the end, or `unix:/path`.
fn url(node: &Node<'_>) -> Option<(Target, Scheme)> {
    let text = node.text()?;
    if let Some(path) = text.value.strip_prefix("unix:") {
        let place = Place::Unix(socket(node, path)?);
        return Some((Target { tls: false, place, weight: 1, priority: 0 }, Scheme::Unix));
    }
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
            node.problem(format!("expected http://, https://, tcp:// or unix:/, found {}", text.shown));
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
        Scheme::Tcp | Scheme::Unix => None,
    };
    let Some(port) = port.or(usual) else {
        node.problem(format!("a tcp:// target needs a port, found {}", text.shown));
        return None;
    };
    // Brackets belong to the URL, not to the address that is resolved.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Some((Target { tls: scheme == Scheme::Https, ..Target::network(host, port) }, scheme))
}

/// The path of a Unix socket, as it stands behind `unix:`; `unix:///path` is the same as `unix:/path`.
pub(super) fn socket(node: &Node<'_>, path: &str) -> Option<PathBuf> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if !path.starts_with('/') || path.ends_with('/') || path.contains('\0') {
        node.problem("a Unix socket has an absolute path, such as \"unix:/run/app.sock\"");
        return None;
    }
    if path.len() > SOCKET_PATH_BYTES {
        node.problem(format!("the path of a Unix socket has at most {SOCKET_PATH_BYTES} bytes"));
        return None;
    }
    Some(path.into())
}
