//! Conditions on requests: a route's `match`, a filter's `when`.

use std::borrow::Cow;

use http::{HeaderName, Method};
use jsonc_parser::ast::Value;
use regex::Regex;

use super::{all, suggest};
use crate::config::fields::{Fields, is_note};
use crate::config::node::{Member, Node};
use crate::config::{HostMatch, Match, PathMatch, ValueMatch};
use crate::route::host::Authority;
use crate::route::path::{normalise, without_parameters};

/// The methods of RFC 9110 §9 and RFC 5789, for suggestions; others are allowed.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

pub(super) fn condition(node: &Node<'_>) -> Option<Match> {
    let mut fields = Fields::of(node)?;
    let one = fields.optional("host").map(|node| host(&node));
    let many = fields.optional("hosts").map(|node| all(&node.some_elements()?, host));
    let path = fields.optional("path").map(|node| path(&node));
    let methods = fields.optional("methods").map(|node| all(&node.some_elements()?, method));
    let headers = fields.optional("headers").map(|node| values(&node, header_name));
    let query = fields.optional("query").map(|node| values(&node, |member| Some(member.key.to_string())));
    fields.finish();
    let mut hosts = many.unwrap_or_else(|| Some(Vec::new()))?;
    if let Some(one) = one {
        hosts.push(one?);
    }
    Some(Match {
        hosts,
        path: match path {
            Some(path) => Some(path?),
            None => None,
        },
        methods: methods.unwrap_or_else(|| Some(Vec::new()))?,
        headers: headers.unwrap_or_else(|| Some(Vec::new()))?,
        query: query.unwrap_or_else(|| Some(Vec::new()))?,
    })
}

fn host(node: &Node<'_>) -> Option<HostMatch> {
    let text = node.text()?;
    let (name, suffix) = match text.value.strip_prefix("*.") {
        Some(name) => (name, true),
        None => (&*text.value, false),
    };
    match Authority::parse(name) {
        Ok(Authority { port: Some(_), .. }) => {
            node.problem(format!("a host pattern has no port, found {}", text.shown))
        }
        Ok(Authority { host, .. }) if suffix && !host.starts_with('[') => {
            return Some(HostMatch::Suffix(format!(".{host}")));
        }
        Ok(Authority { host, .. }) if !suffix => return Some(HostMatch::Exact(host.into_owned())),
        _ if name == "*" => node.problem("any host is meant by leaving hosts out"),
        _ => node
            .problem(format!("expected a host such as \"api.example.com\" or \"*.example.com\", found {}", text.shown)),
    }
    None
}

/// A path: a text is a prefix, as is usual.
fn path(node: &Node<'_>) -> Option<PathMatch> {
    if matches!(node.value, Value::StringLit(_)) {
        return prefix(node).map(PathMatch::Prefix);
    }
    let mut fields = Fields::of(node)?;
    let kind = fields.one_of(&["exact", "prefix", "regex"]);
    fields.finish();
    let (kind, node) = kind?;
    match kind {
        "exact" => matched_path(&node).map(PathMatch::Exact),
        "prefix" => prefix(&node).map(PathMatch::Prefix),
        _ => whole_regex(&node).map(PathMatch::Regex),
    }
}

/// A prefix of whole segments, without a slash at its end.
fn prefix(node: &Node<'_>) -> Option<String> {
    let path = matched_path(node)?;
    if let Some(whole) = path.strip_suffix("/*") {
        let whole = if whole.is_empty() { "/" } else { whole };
        node.problem_suggesting("a prefix takes every path below it without \"*\"", Some(whole.to_owned()));
        return None;
    }
    Some(if path == "/" { path } else { path.trim_end_matches('/').to_owned() })
}

/// A path as routing looks at it: parameters are not there.
fn matched_path(node: &Node<'_>) -> Option<String> {
    let path = plain_path(node)?;
    match without_parameters(&path) {
        Cow::Borrowed(_) => Some(path),
        Cow::Owned(without) => {
            node.problem_suggesting("parameters of a path (\";...\") take no part in routing", Some(without));
            None
        }
    }
}

/// A path as requests have it when they are matched: another one would never match.
pub(super) fn plain_path(node: &Node<'_>) -> Option<String> {
    let text = node.text()?;
    match normalise(&text.value) {
        Ok(path) if path == text.value => return Some(path.into_owned()),
        Ok(path) => {
            let suggestion = (!text.secret).then(|| path.into_owned());
            node.problem_suggesting(format!("no request has the path {} after normalisation", text.shown), suggestion);
        }
        Err(error) => node.problem(format!("{error}: {}", text.shown)),
    }
    None
}

fn method(node: &Node<'_>) -> Option<Method> {
    let text = node.text()?;
    let upper = text.value.to_uppercase();
    let suggestion = suggest(&text, METHODS).or_else(|| (!text.secret).then_some(upper.clone()));
    let slip = !METHODS.contains(&&*text.value) && METHODS.iter().any(|known| strsim::osa_distance(known, &upper) == 1);
    match Method::from_bytes(text.value.as_bytes()) {
        Ok(method) if !slip && *text.value == *upper => return Some(method),
        Ok(_) => node.problem_suggesting(format!("unknown method {}", text.shown), suggestion),
        Err(_) => node.problem(format!("{} is not a method", text.shown)),
    }
    None
}

pub(super) fn header_name(member: &Member<'_>) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(member.key.as_bytes()).ok();
    if name.is_none() {
        let message = "not a header name".to_owned();
        member.node.problem_at(member.key_span, &member.node.path, message, None);
    }
    name
}

/// `{"name": "value" | {"exact" | "regex" | "present": …}}`
fn values<N>(node: &Node<'_>, name: impl Fn(&Member<'_>) -> Option<N>) -> Option<Vec<(N, ValueMatch)>> {
    let members = node.members()?;
    let pair = |member: &Member<'_>| {
        let (name, value) = (name(member), value(&member.node));
        Some((name?, value?))
    };
    let checked: Vec<_> = members.iter().filter(|member| !is_note(&member.key)).map(pair).collect();
    checked.into_iter().collect()
}

fn value(node: &Node<'_>) -> Option<ValueMatch> {
    if matches!(node.value, Value::StringLit(_)) {
        return Some(ValueMatch::Exact(node.text()?.value.into_owned()));
    }
    let mut fields = Fields::of(node)?;
    let kind = fields.one_of(&["exact", "regex", "present"]);
    fields.finish();
    let (kind, node) = kind?;
    match kind {
        "exact" => Some(ValueMatch::Exact(node.text()?.value.into_owned())),
        "regex" => whole_regex(&node).map(ValueMatch::Regex),
        _ if node.boolean()? => Some(ValueMatch::Present),
        _ => {
            node.problem("only true is possible");
            None
        }
    }
}

/// A regular expression that matches as a whole.
fn whole_regex(node: &Node<'_>) -> Option<Regex> {
    let text = node.text()?;
    // First by itself: `a)(b` is only wrong without the anchors around it.
    let regex = Regex::new(&text.value).and_then(|_| Regex::new(&format!(r"\A(?:{})\z", text.value)));
    match regex {
        Ok(regex) => Some(regex),
        Err(error) => {
            // The crate's message shows the pattern with a mark, then the reason on a line of its own.
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            node.problem(format!("bad regular expression {}: {reason}", text.shown));
            None
        }
    }
}
