//! Tables of paths, hosts and precedence, and the index against a plain search.

mod hosts;
mod paths;
mod precedence;
mod scale;
mod search;

use std::net::SocketAddr;

use http::{HeaderMap, Method};

use super::RequestView;
use crate::config::{Action, HeaderChanges, HostMatch, Match, PathMatch, Reroute, Rewrite, Route, ValueMatch};

/// A request without a query and with few headers, to build on.
#[derive(Debug)]
struct Request {
    host: &'static str,
    path: String,
    query: Option<String>,
    method: Method,
    headers: HeaderMap,
    listener: SocketAddr,
}

impl Request {
    fn get(host: &'static str, path: &str) -> Self {
        let listener = SocketAddr::from(([127, 0, 0, 1], 80));
        Self { host, path: path.to_owned(), query: None, method: Method::GET, headers: HeaderMap::new(), listener }
    }
    fn view(&self) -> RequestView<'_> {
        RequestView {
            host: self.host,
            path: &self.path,
            query: self.query.as_deref(),
            method: &self.method,
            headers: &self.headers,
            listener: self.listener,
        }
    }
}

/// A route with a condition.
fn route(name: &str, matches: Match) -> Route {
    Route {
        name: name.into(),
        listeners: Vec::new(),
        matches,
        filters: Vec::new(),
        action: Action::to("upstream"),
        request_headers: HeaderChanges::default(),
        response_headers: HeaderChanges::default(),
        mirrors: Vec::new(),
        retry: None,
        rewrite: Rewrite::default(),
        timeout: None,
        upgrades: Vec::new(),
        reroute: Reroute::default(),
    }
}

/// `api.example`, `*.example`
fn host(pattern: &str) -> HostMatch {
    match pattern.strip_prefix('*') {
        Some(suffix) => HostMatch::Suffix(suffix.to_owned()),
        None => HostMatch::Exact(pattern.to_owned()),
    }
}

/// `= /a` exact, `/a` prefix, `~ /a.*` regular expression
fn path(pattern: &str) -> PathMatch {
    match pattern.split_once(' ') {
        Some(("=", path)) => PathMatch::Exact(path.to_owned()),
        Some((_, regex)) => PathMatch::Regex(whole(regex)),
        None => PathMatch::Prefix(pattern.to_owned()),
    }
}

/// A regular expression as the configuration makes it.
fn whole(regex: &str) -> regex::Regex {
    regex::Regex::new(&format!(r"\A(?:{regex})\z")).unwrap()
}

fn exact(value: &str) -> ValueMatch {
    ValueMatch::Exact(value.to_owned())
}
