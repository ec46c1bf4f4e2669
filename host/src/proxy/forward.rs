//! Hygiene of heads: what belongs to one hop only is removed, what tells of this hop is added (RFC 9110 §7.6). Pure.
//!
//! Requests are cleaned before filters see them, so that no filter believes what a client only claims. Filters see a list in
//! the client's order; without filters the map is cleaned in place, where order does not matter.

use bytes::{BufMut, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};

use super::asker::{Asker, X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PROTO};
use super::request_id::X_REQUEST_ID;
use crate::config::{PathMatch, PathRewrite, Route};
use crate::filter::{Headers, Name};
use crate::route::path;

/// What a client's request gains and loses at this hop.
pub(super) struct RequestHop {
    hop: Hop,
    added: [Option<(HeaderName, HeaderValue)>; 5],
}

impl RequestHop {
    pub(super) fn new(parts: &Parts, asker: &Asker, authority: &HeaderValue, id: HeaderValue) -> Self {
        let trailers = te_trailers(&parts.headers);
        let added = [
            trailers.then(|| (header::TE, HeaderValue::from_static("trailers"))),
            Some((X_FORWARDED_FOR, asker.forwarded_for.clone())),
            Some((X_FORWARDED_PROTO, HeaderValue::from_static(if asker.secure { "https" } else { "http" }))),
            Some((X_FORWARDED_HOST, asker.host.as_ref().unwrap_or(authority).clone())),
            Some((X_REQUEST_ID, id)),
        ];
        Self { hop: Hop::new(&parts.headers), added }
    }
    /// The request's identifier.
    pub(super) fn id(&self) -> Option<&HeaderValue> {
        let (_, id) = self.added.last()?.as_ref()?;
        Some(id)
    }
    /// Cleans a map in place.
    pub(super) fn apply(self, headers: &mut HeaderMap) {
        self.hop.clean(headers, is_claim);
        for (name, value) in self.added.into_iter().flatten() {
            headers.insert(name, value);
        }
    }
    /// Adds the clean fields of a map to a list, in the map's order; without `host`.
    pub(super) fn list(self, headers: HeaderMap, list: &mut Headers) {
        let keep = |name: &HeaderName| *name != header::HOST && !is_claim(name) && !self.hop.ends(name);
        list.extend_from_map_if(headers, keep);
        for (name, value) in self.added.into_iter().flatten() {
            list.append(Name::Header(name), value);
        }
    }
}

/// Which fields of a message end at this hop (RFC 9110 §7.6.1).
pub(super) struct Hop {
    /// Named by `connection`; mostly none.
    nominated: Vec<HeaderName>,
    /// A length beside a transfer coding is a lie (RFC 9112 §6.3).
    ends_length: bool,
}

impl Hop {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
        let words = values.flat_map(|value| value.split(',')).map(str::trim);
        // The two common ones name no field that is not removed anyway.
        let words = words.filter(|word| !["close", "keep-alive"].iter().any(|known| word.eq_ignore_ascii_case(known)));
        let names = words.filter_map(|name| HeaderName::try_from(name).ok());
        let nominated = names.filter(|name| !is_end_to_end(name)).collect();
        Self { nominated, ends_length: headers.contains_key(header::TRANSFER_ENCODING) }
    }
    /// Whether a field goes no further.
    pub(super) fn ends(&self, name: &HeaderName) -> bool {
        match name.as_str() {
            // `expect` is answered here, when the body is first read; `te` is said anew; credentials for a proxy are
            // for this one.
            "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authorization"
            | "proxy-authenticate"
            | "transfer-encoding"
            | "te"
            | "upgrade"
            | "expect" => true,
            "content-length" => self.ends_length,
            _ => self.nominated.contains(name),
        }
    }
    /// Removes from a map what ends here, and what `also` says.
    pub(super) fn clean(&self, headers: &mut HeaderMap, also: impl Fn(&HeaderName) -> bool) {
        remove_if(headers, |name| self.ends(name) || also(name));
    }
}

/// Removes the fields of those names.
pub(super) fn remove_if(headers: &mut HeaderMap, ends: impl Fn(&HeaderName) -> bool) {
    let ending: Vec<HeaderName> = headers.keys().filter(|name| ends(name)).cloned().collect();
    for name in ending {
        headers.remove(name);
    }
}

/// Removes from a request's head what a client may only claim about itself, so that it chooses neither route nor filters.
pub(super) fn drop_claims(headers: &mut HeaderMap) {
    if headers.keys().any(is_claim) {
        remove_if(headers, is_claim);
    }
}

/// Removes from a request's trailers what a client may not claim in a head either, and what has no place in trailers
/// (RFC 9110 §6.5.1): an upstream that merges them into the head would take it for what the gateway says.
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    remove_if(trailers, |name| is_claim(name) || is_head_only(name));
}

/// Framing, routing, authentication, conditions and the format of the content.
fn is_head_only(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "authorization"
            | "proxy-authorization"
            | "cookie"
            | "host"
            | "content-length"
            | "content-encoding"
            | "content-range"
            | "content-type"
            | "transfer-encoding"
            | "connection"
            | "keep-alive"
            | "upgrade"
            | "te"
            | "trailer"
            | "expect"
            | "range"
            | "cache-control"
            | "max-forwards"
            | "via"
    ) || name.starts_with("if-")
}

/// What a client may only claim about itself. Names with underscores are among it: servers that speak CGI take them for the
/// same name with hyphens, and so for a field that a filter has checked or set.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    if name.contains('_') {
        return true;
    }
    match name.as_bytes() {
        [b'x', b'-', ..] => {
            matches!(name, "x-real-ip" | "x-request-id")
                || name.get(2..).is_some_and(|rest| rest.starts_with("forwarded"))
        }
        [b'f', ..] => name == "forwarded",
        _ => false,
    }
}

/// Adds this hop to `via`, in the version in which the message came.
pub(super) fn add_via(headers: &mut HeaderMap, version: Version) {
    let via = match version {
        Version::HTTP_10 => "1.0 sluicegate",
        Version::HTTP_2 => "2 sluicegate",
        _ => "1.1 sluicegate",
    };
    headers.append(header::VIA, HeaderValue::from_static(via));
}

/// The target towards the upstream, in origin form: rewritten as the route says, in the one normal form.
///
/// `normal`: the normalised path when it is not what `uri` has.
///
/// # Errors
/// The rewritten path is none.
pub(crate) fn target(uri: &Uri, normal: Option<&str>, route: &Route) -> Result<Uri, String> {
    let path = normal.unwrap_or_else(|| uri.path());
    let rewritten = route.rewrite.path.as_ref().and_then(|how| rewrite(path, how, route));
    let path = match (&rewritten, normal) {
        (Some(path), _) => path.as_str(),
        (None, Some(path)) => path,
        (None, None) => return Ok(origin_form(uri)),
    };
    let path = path::normalise(path).map_err(|error| error.to_string())?;
    with_path(uri, &path)
}

/// The same target with another path.
///
/// # Errors
/// It is not a path.
pub(super) fn with_path(uri: &Uri, path: &str) -> Result<Uri, String> {
    let mut target = BytesMut::with_capacity(path.len() + 1 + uri.query().map_or(0, str::len));
    target.put(path.as_bytes());
    if let Some(query) = uri.query() {
        target.put_u8(b'?');
        target.put(query.as_bytes());
    }
    Uri::from_maybe_shared(target.freeze()).map_err(|error| error.to_string())
}

fn origin_form(uri: &Uri) -> Uri {
    match uri.path_and_query() {
        Some(path) if uri.authority().is_some() => Uri::from(path.clone()),
        _ => uri.clone(),
    }
}

/// The path that a rewrite makes of one that the route took.
pub(super) fn rewrite(path: &str, rewrite: &PathRewrite, route: &Route) -> Option<String> {
    match rewrite {
        PathRewrite::Full(full) => Some(full.clone()),
        PathRewrite::Prefix(replacement) => {
            let prefix = match &route.matches.path {
                Some(PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/'),
                _ => "",
            };
            // A filter may have led the request elsewhere; then there is nothing to replace.
            let rest = path::after_prefix(path, prefix)?;
            let joined = format!("{}{rest}", replacement.trim_end_matches('/'));
            Some(if joined.is_empty() { "/".to_owned() } else { joined })
        }
    }
}

/// Fields that a `connection` field cannot nominate away (RFC 9110 §7.6.1).
fn is_end_to_end(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host" | "content-length" | "content-type" | "authorization" | "cookie" | "trailer" | "te" | "via"
    )
}

fn te_trailers(headers: &HeaderMap) -> bool {
    let names_trailers = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case("trailers")))
    };
    headers.get_all(header::TE).iter().any(names_trailers)
}

/// HTTP/2 may split `cookie`; elsewhere it is one field (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let Some(first) = crumbs.next() else { return };
    let mut joined = BytesMut::from(first.as_bytes());
    let mut several = false;
    for crumb in crumbs {
        several = true;
        joined.put(&b"; "[..]);
        joined.put(crumb.as_bytes());
    }
    if several && let Ok(cookie) = HeaderValue::from_maybe_shared(joined.freeze()) {
        headers.insert(header::COOKIE, cookie);
    }
}
