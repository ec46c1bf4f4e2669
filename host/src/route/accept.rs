//! Whether one request meets one condition. The router's index is a faster way to the same answer.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue, Method};

use crate::config::{HostMatch, Match, PathMatch, ValueMatch};

/// What routing sees of a request.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// The host as [`super::host::Authority`] has it, without the port.
    pub host: &'a str,
    /// The path as [`super::path::normalise`] has it, without the query and without parameters.
    pub path: &'a str,
    /// The query, without the question mark.
    pub query: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The configured address of the listener that it came to.
    pub listener: SocketAddr,
}

impl Match {
    /// Whether a request meets every part of this condition.
    #[must_use]
    pub fn accepts(&self, request: &RequestView<'_>) -> bool {
        (self.hosts.is_empty() || self.hosts.iter().any(|host| host.accepts(request.host)))
            && self.path.as_ref().is_none_or(|path| path.accepts(request.path))
            && self.accepts_rest(request)
    }
    /// The parts that the router's index does not decide: method, headers, query.
    pub(super) fn accepts_rest(&self, request: &RequestView<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(request.method))
            && self.headers.iter().all(|(name, value)| value.accepts_header(request.headers, name))
            && self.query.iter().all(|(name, value)| value.accepts_query(request.query.unwrap_or_default(), name))
    }
}

impl HostMatch {
    /// Whether a host, lower-case and without a port, is one of these.
    #[must_use]
    pub fn accepts(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => host == exact,
            Self::Suffix(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl PathMatch {
    /// Whether a normalised path is one of these.
    #[must_use]
    pub fn accepts(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => has_prefix(path, prefix.trim_end_matches('/')),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// Whether `path` has the segments of `prefix`, which has no slash at its end, at its beginning.
pub(super) fn has_prefix(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/') || (rest.is_empty() && !prefix.is_empty()))
}

impl ValueMatch {
    /// Any field of that name will do: values are looked at one by one, never joined.
    pub(super) fn accepts_header(&self, headers: &HeaderMap, name: &http::HeaderName) -> bool {
        let accepts = |value: &HeaderValue| match self {
            Self::Exact(exact) => value.as_bytes() == exact.as_bytes(),
            Self::Regex(regex) => std::str::from_utf8(value.as_bytes()).is_ok_and(|value| regex.is_match(value)),
            Self::Present => true,
        };
        headers.get_all(name).iter().any(accepts)
    }
    /// The first parameter of that name decides; names and values are compared decoded.
    pub(super) fn accepts_query(&self, query: &str, name: &str) -> bool {
        let mut parameters = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let Some((_, value)) = parameters.find(|(key, _)| decode(key) == name) else {
            return false;
        };
        match self {
            Self::Exact(exact) => decode(value) == exact.as_str(),
            Self::Regex(regex) => regex.is_match(&decode(value)),
            Self::Present => true,
        }
    }
}

/// Decodes a query's name or value (`application/x-www-form-urlencoded`). A `%` that encodes nothing stays, as in browsers.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escape = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        match (escape, byte) {
            (Some(octet), _) => decoded.push(octet),
            (None, b'+') => decoded.push(b' '),
            (None, byte) => decoded.push(*byte),
        }
        at += if escape.is_some() { 3 } else { 1 };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}
