//! Why a request does not meet a condition, and which of two conditions is the more specific one: for people who ask. What
//! serves is `accept.rs` and the router; this tells what they do.

use std::fmt;

use http::HeaderName;

use super::RequestView;
use crate::config::{HostMatch, Match, PathMatch};

/// The first part of a condition that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<'a> {
    /// None of its hosts.
    Host,
    /// Another path.
    Path,
    /// None of its methods.
    Method,
    /// That header: missing, or with other values.
    Header(&'a HeaderName, Lack),
    /// That query parameter.
    Query(&'a str, Lack),
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It is not there.
    Missing,
    /// It has another value.
    OtherValue,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "is missing",
            Self::OtherValue => "has another value",
        })
    }
}

impl Match {
    /// The first part that a request does not meet; `None` when it meets all, see [`Match::accepts`].
    #[must_use]
    pub fn refusal<'a>(&'a self, request: &RequestView<'_>) -> Option<Refusal<'a>> {
        if !self.hosts.is_empty() && !self.hosts.iter().any(|host| host.accepts(request.host)) {
            return Some(Refusal::Host);
        }
        if self.path.as_ref().is_some_and(|path| !path.accepts(request.path)) {
            return Some(Refusal::Path);
        }
        if !self.methods.is_empty() && !self.methods.contains(request.method) {
            return Some(Refusal::Method);
        }
        let lack = |present: bool| if present { Lack::OtherValue } else { Lack::Missing };
        let mut headers = self.headers.iter();
        if let Some((name, _)) = headers.find(|(name, value)| !value.accepts_header(request.headers, name)) {
            return Some(Refusal::Header(name, lack(request.headers.contains_key(name))));
        }
        let query = request.query.unwrap_or_default();
        let mut parameters = self.query.iter();
        let (name, _) = parameters.find(|(name, value)| !value.accepts_query(query, name))?;
        let present = crate::config::ValueMatch::Present.accepts_query(query, name);
        Some(Refusal::Query(name, lack(present)))
    }

    /// How specific it is: of the conditions that a request meets, the one of the highest rank takes it; of equals, the first in
    /// the file. `host`: only what takes that host counts; otherwise the most specific one.
    #[must_use]
    pub fn rank(&self, host: Option<&str>) -> Rank {
        let hosts = self.hosts.iter().filter(|pattern| host.is_none_or(|host| pattern.accepts(host)));
        let host = hosts.map(|pattern| match pattern {
            HostMatch::Exact(_) => (2, 0),
            HostMatch::Suffix(suffix) => (1, suffix.len()),
        });
        let path = match &self.path {
            Some(PathMatch::Exact(_)) => (3, 0),
            Some(PathMatch::Prefix(prefix)) => (2, prefix.trim_end_matches('/').len()),
            Some(PathMatch::Regex(_)) => (1, 0),
            None => (0, 0),
        };
        Rank {
            host: host.max().unwrap_or_default(),
            path,
            method: !self.methods.is_empty(),
            headers: self.headers.len(),
            query: self.query.len(),
        }
    }
}

/// How specific a condition is. Higher goes before lower, part by part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    host: (u8, usize),
    path: (u8, usize),
    method: bool,
    headers: usize,
    query: usize,
}

impl Rank {
    /// The rank among conditions of the same host.
    #[must_use]
    pub fn without_host(self) -> Self {
        Self { host: (0, 0), ..self }
    }
    /// Why a condition of this rank goes before one of `other`.
    #[must_use]
    pub fn reason_before(&self, other: &Self) -> &'static str {
        if self.host != other.host {
            "its host is more specific"
        } else if self.path != other.path {
            "its path is more specific"
        } else if self.method != other.method {
            "it names methods"
        } else if self.headers != other.headers {
            "it asks for more headers"
        } else if self.query != other.query {
            "it asks for more query parameters"
        } else {
            "it is before it in the file"
        }
    }
}
