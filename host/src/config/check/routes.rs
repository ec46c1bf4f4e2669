//! Match → chain → upstream: `routes`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::listeners::ListenerNames;
use super::{UpstreamNames, actions, all, effect, filters, matches, reach, word};
use crate::config::fields::Fields;
use crate::config::node::Node;
use crate::config::{FilterEntry, HeaderChanges, Match, PathMatch, PathRewrite, Reroute, Rewrite, Route};
use crate::route::host::Authority;

/// Limit of a route that names none, as in Envoy: long for an answer, short for a client that waits.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Most characters of a name: it becomes a label of metrics.
const NAME_CHARS: usize = 128;

/// `global`: the filters that run before those of a route.
pub(super) fn routes(
    node: &Node<'_>,
    upstreams: &UpstreamNames,
    listeners: &ListenerNames<'_>,
    global: &[FilterEntry],
) -> Option<Vec<Route>> {
    let nodes = node.elements()?;
    let mut names: HashMap<Arc<str>, Node<'_>> = HashMap::new();
    let routes = all(&nodes, |node| route(node, (upstreams, listeners), &mut names))?;
    if !node.document.problems.borrow().is_empty() {
        return Some(routes);
    }
    for (node, route) in nodes.iter().zip(&routes) {
        effect::warn_of_route(node, route, global);
    }
    reach::warn(&nodes, &routes);
    Some(routes)
}

fn route<'a>(
    node: &Node<'a>,
    (upstreams, listeners): (&UpstreamNames, &ListenerNames<'_>),
    names: &mut HashMap<Arc<str>, Node<'a>>,
) -> Option<Route> {
    let mut fields = Fields::of(node)?;
    let name = match fields.optional("name") {
        Some(place) => name(&place, names),
        None => Some(Arc::from(&*node.path)),
    };
    let listeners = fields
        .optional("listeners")
        .map_or_else(|| Some(Vec::new()), |node| all(&node.some_elements()?, |node| listeners.resolve(node)));
    let matches = fields.optional("match").map_or_else(|| Some(Match::default()), |node| matches::condition(&node));
    let filters =
        fields.optional("filters").map_or_else(|| Some(Vec::new()), |node| filters::filters(&node, upstreams));
    let action = actions::action(&mut fields, upstreams, matches.as_ref());
    if let Some(action) = &action {
        effect::refuse_in_route(&mut fields, action);
    }
    let changes =
        |node: Option<Node<'_>>| node.map_or_else(|| Some(HeaderChanges::default()), |node| actions::changes(&node));
    let request_headers = changes(fields.optional("request_headers"));
    let response_headers = changes(fields.optional("response_headers"));
    let mirrors = fields
        .optional("mirrors")
        .map_or_else(|| Some(Vec::new()), |node| all(&node.elements()?, |node| actions::mirror(node, upstreams)));
    let retry = fields.optional("retry").map_or(Some(None), |node| actions::retry(&node).map(Some));
    let rewrite =
        fields.optional("rewrite").map_or_else(|| Some(Rewrite::default()), |node| rewrite(&node, matches.as_ref()));
    let timeout = fields
        .optional("timeout")
        .map_or(Some(TIMEOUT), |node| node.duration(Duration::ZERO..=Duration::from_secs(24 * 3600)));
    let upgrades = fields
        .optional("upgrades")
        .map_or_else(|| Some(vec![HeaderValue::from_static("websocket")]), |node| all(&node.elements()?, protocol));
    let reroute = fields
        .optional("reroute")
        .map_or(Some(Reroute::default()), |node| word(&node, &[("checked", Reroute::Checked), ("any", Reroute::Any)]));
    fields.finish();
    Some(Route {
        name: name?,
        listeners: listeners?,
        matches: matches?,
        filters: filters?,
        action: action?,
        request_headers: request_headers?,
        response_headers: response_headers?,
        mirrors: mirrors?,
        retry: retry?,
        rewrite: rewrite?,
        upgrades: upgrades?,
        reroute: reroute?,
        timeout: timeout.map(|timeout| (!timeout.is_zero()).then_some(timeout))?,
    })
}

fn name<'a>(node: &Node<'a>, names: &mut HashMap<Arc<str>, Node<'a>>) -> Option<Arc<str>> {
    let text = node.text()?;
    if text.value.is_empty() || text.value.chars().count() > NAME_CHARS || text.value.contains(char::is_control) {
        node.problem(format!("a route's name has 1 to {NAME_CHARS} characters, found {}", text.shown));
        return None;
    }
    let name: Arc<str> = text.value.into();
    if let Some(first) = names.get(&name) {
        node.problem(format!("duplicate route name {}; the first is at {}", text.shown, first.place_seen_from(node)));
        return None;
    }
    names.insert(Arc::clone(&name), node.clone());
    Some(name)
}

/// A protocol to switch to. Another version of HTTP would lead its requests around routes and filters.
fn protocol(node: &Node<'_>) -> Option<HeaderValue> {
    let text = node.text()?;
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let lower = text.value.to_ascii_lowercase();
    if lower.is_empty() || !lower.chars().all(token) || ["h2", "h2c", "http", "tls"].contains(&lower.as_str()) {
        node.problem(format!(
            "expected a protocol such as \"websocket\", and none that carries HTTP, found {}",
            text.shown
        ));
        return None;
    }
    HeaderValue::try_from(lower).ok()
}

/// `matches` is `None` when the condition is faulty: then nothing is said about what it lacks.
fn rewrite(node: &Node<'_>, matches: Option<&Match>) -> Option<Rewrite> {
    let mut fields = Fields::of(node)?;
    let path = fields.optional("path").map(|node| path_rewrite(&node, matches));
    let host = fields.optional("host").map(|node| host(&node));
    fields.finish();
    Some(Rewrite {
        path: match path {
            Some(path) => Some(path?),
            None => None,
        },
        host: match host {
            Some(host) => Some(host?),
            None => None,
        },
    })
}

pub(super) fn path_rewrite(node: &Node<'_>, matches: Option<&Match>) -> Option<PathRewrite> {
    let mut fields = Fields::of(node)?;
    let kind = fields.one_of(&["full", "prefix"]);
    fields.finish();
    let (kind, place) = kind?;
    let path = matches::plain_path(&place)?;
    if kind == "full" {
        return Some(PathRewrite::Full(path));
    }
    if matches.is_some_and(|matches| !matches!(matches.path, Some(PathMatch::Prefix(_)))) {
        place.problem("a prefix is rewritten only where the route matches a path prefix");
        return None;
    }
    Some(PathRewrite::Prefix(path))
}

/// A host without a port.
pub(super) fn plain_host(node: &Node<'_>) -> Option<String> {
    let host = host(node)?;
    match Authority::parse(&host) {
        Ok(Authority { host, port: None }) => Some(host.into_owned()),
        _ => {
            node.problem("the port has a key of its own");
            None
        }
    }
}

/// A `host` header as it is sent, port included.
pub(super) fn host(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    match Authority::parse(&text.value) {
        Ok(Authority { host, port: Some(port) }) => Some(format!("{host}:{port}")),
        Ok(Authority { host, port: None }) => Some(host.into_owned()),
        Err(error) => {
            node.problem(format!("{error}: {}", text.shown));
            None
        }
    }
}
