//! Routes, and filters of routes, that no request can reach: warned about, naming who takes their requests.

use std::collections::HashMap;

use http::Method;

use crate::config::node::Node;
use crate::config::{HostMatch, Match, PathMatch, Route, ValueMatch};

/// Most routes of one host and path that a route is compared with: with more, each of them would cost as many comparisons.
const COMPARED: usize = 64;

/// Routes by host, then by path. Only those of the same host can be in each other's way.
type Index<'a> = HashMap<Option<(bool, &'a str)>, HashMap<PathKey<'a>, Vec<usize>>>;

/// What paths a route takes, as far as that can be looked up.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum PathKey<'a> {
    Exact(&'a str),
    /// Without a slash at its end; the root is empty.
    Prefix(&'a str),
    Regex(&'a str),
    Any,
}

/// Warns about every route that can never be taken, and every filter of a route that can never run.
pub(super) fn warn(nodes: &[Node<'_>], routes: &[Route]) {
    let index = index(routes);
    for (place, (node, route)) in nodes.iter().zip(routes).enumerate() {
        if let Some(rival) = rival(&index, routes, place) {
            let at = nodes.get(rival).map(|rival| rival.place_seen_from(node)).unwrap_or_default();
            let name = routes.get(rival).map(|rival| &*rival.name).unwrap_or_default();
            node.warning(format!(
                "can never match: the route \"{name}\" ({at}) goes before it and takes all that it could take"
            ));
        }
        for (number, filter) in route.filters.iter().enumerate() {
            if filter.when.as_ref().is_some_and(|when| excludes(&route.matches, when)) {
                let filters = node.member("filters").and_then(|filters| filters.elements()).unwrap_or_default();
                let when = filters.get(number).and_then(|filter| filter.member("when"));
                let message = "never holds for a request of this route, so that the filter never runs";
                when.iter().for_each(|when| when.warning(message));
            }
        }
    }
}

fn index(routes: &[Route]) -> Index<'_> {
    let mut index = Index::new();
    for (place, route) in routes.iter().enumerate() {
        for host in hosts(&route.matches) {
            index.entry(host).or_default().entry(path_key(&route.matches)).or_default().push(place);
        }
    }
    index
}

/// The hosts of a condition; `None` for any.
fn hosts(condition: &Match) -> impl Iterator<Item = Option<(bool, &str)>> {
    let named = condition.hosts.iter().map(|host| {
        Some(match host {
            HostMatch::Exact(host) => (true, host.as_str()),
            HostMatch::Suffix(suffix) => (false, suffix.as_str()),
        })
    });
    named.chain(condition.hosts.is_empty().then_some(None))
}

fn path_key(condition: &Match) -> PathKey<'_> {
    match &condition.path {
        Some(PathMatch::Exact(path)) => PathKey::Exact(path),
        Some(PathMatch::Prefix(prefix)) => PathKey::Prefix(prefix.trim_end_matches('/')),
        Some(PathMatch::Regex(regex)) => PathKey::Regex(regex.as_str()),
        None => PathKey::Any,
    }
}

/// A route that takes all requests of the one at that place, host by host; of several the one for its first host.
fn rival(index: &Index<'_>, routes: &[Route], place: usize) -> Option<usize> {
    let own = routes.get(place)?;
    let mut first = None;
    for host in hosts(&own.matches) {
        let paths = index.get(&host)?;
        let lists = covering_keys(&own.matches).into_iter().filter_map(|key| paths.get(&key));
        let mut candidates = lists.flat_map(|list| list.iter().take(COMPARED)).copied();
        let found = candidates.find(|other| {
            *other != place && routes.get(*other).is_some_and(|rival| takes_all(rival, *other < place, own))
        })?;
        first.get_or_insert(found);
    }
    first
}

/// The keys under which there are routes that take every path of this condition and may go before it. Prefixes go before
/// regular expressions, however these begin.
fn covering_keys(condition: &Match) -> Vec<PathKey<'_>> {
    let own = path_key(condition);
    let mut keys = vec![own];
    // The root takes every path but that of "OPTIONS *".
    let options = condition.methods.is_empty() || condition.methods.contains(&Method::OPTIONS);
    if own == PathKey::Any && !options {
        keys.push(PathKey::Prefix(""));
    }
    if let PathKey::Regex(pattern) = own {
        let beginning = literal_beginning(pattern);
        let ends = beginning.match_indices('/').map(|(slash, _)| slash);
        keys.extend(ends.map(|end| PathKey::Prefix(&beginning[..end])));
    }
    keys
}

/// What every text begins with that a pattern (between `\A(?:` and `)\z`) matches; a part of it at least.
fn literal_beginning(pattern: &str) -> &str {
    let inner = pattern.strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z")).unwrap_or_default();
    if inner.contains('|') {
        // Alternatives have their slash in common, where they can be told apart.
        let paths = !inner.contains(['(', '[', '\\']) && inner.split('|').all(|path| path.starts_with('/'));
        return if paths { "/" } else { "" };
    }
    let end = inner.find(|c: char| r"\.+*?()[]{}^$".contains(c)).unwrap_or(inner.len());
    let quantified = inner[end..].starts_with(['*', '?', '{']);
    let last = inner[..end].chars().next_back().map_or(0, char::len_utf8);
    &inner[..if quantified { end - last } else { end }]
}

/// Whether a route, whose host and path take all that the other's take, goes before it and takes the rest as well.
fn takes_all(rival: &Route, is_earlier: bool, own: &Route) -> bool {
    let (a, b) = (&rival.matches, &own.matches);
    let (rank, own_rank) = (a.rank(None).without_host(), b.rank(None).without_host());
    let methods =
        a.methods.is_empty() || (!b.methods.is_empty() && b.methods.iter().all(|method| a.methods.contains(method)));
    (rank > own_rank || (rank == own_rank && is_earlier))
        && methods
        && a.headers
            .iter()
            .all(|(name, value)| b.headers.iter().any(|(other, own)| other == name && follows(value, own)))
        && a.query.iter().all(|(name, value)| b.query.iter().any(|(other, own)| other == name && follows(value, own)))
}

/// Whether a value that meets the one condition meets the other.
fn follows(value: &ValueMatch, own: &ValueMatch) -> bool {
    match (value, own) {
        (ValueMatch::Present, _) => true,
        (ValueMatch::Exact(value), ValueMatch::Exact(own)) => value == own,
        (ValueMatch::Regex(regex), ValueMatch::Exact(own)) => regex.is_match(own),
        (ValueMatch::Regex(regex), ValueMatch::Regex(own)) => regex.as_str() == own.as_str(),
        _ => false,
    }
}

/// Whether no request meets both conditions.
fn excludes(route: &Match, when: &Match) -> bool {
    let methods = !route.methods.is_empty()
        && !when.methods.is_empty()
        && !route.methods.iter().any(|method| when.methods.contains(method));
    let apart = |a: &HostMatch, b: &HostMatch| match (a, b) {
        (HostMatch::Exact(host), pattern) | (pattern, HostMatch::Exact(host)) => !pattern.accepts(host),
        (HostMatch::Suffix(a), HostMatch::Suffix(b)) => !a.ends_with(b.as_str()) && !b.ends_with(a.as_str()),
    };
    let hosts = !route.hosts.is_empty()
        && !when.hosts.is_empty()
        && route.hosts.iter().all(|host| when.hosts.iter().all(|other| apart(host, other)));
    let paths = match (&route.path, &when.path) {
        (Some(PathMatch::Exact(path)), Some(pattern)) | (Some(pattern), Some(PathMatch::Exact(path))) => {
            !pattern.accepts(path)
        }
        (Some(a @ PathMatch::Prefix(prefix)), Some(b @ PathMatch::Prefix(other))) => {
            !a.accepts(other) && !b.accepts(prefix)
        }
        _ => false,
    };
    methods || hosts || paths
}
