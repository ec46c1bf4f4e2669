//! Hygiene of heads: what belongs to one hop only is removed, what tells of this hop is added (RFC 9110 §7.6). Pure.
//!
//! Requests are cleaned before filters see them, so that no filter believes what a client only claims.

use bytes::{BufMut, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version, header};

use super::client::Client;
use crate::config::{PathMatch, PathRewrite, Route};
use crate::route::path;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// Names a request across hops.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest identifier taken over from a client, bytes.
const REQUEST_ID_BYTES: usize = 128;

/// Cleans a client's request and tells the upstream where it came from.
pub(super) fn clean_request(parts: &mut Parts, client: &Client, authority: &HeaderValue) {
    let headers = &mut parts.headers;
    let trailers = te_trailers(headers);
    remove_hop_by_hop(headers);
    // Answered here, when the body is first read.
    headers.remove(header::EXPECT);
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if parts.version == Version::HTTP_2 {
        join_cookies(headers);
    }
    remove_claims(headers);
    let secure = client.facts.tls_version.is_some();
    headers.insert(X_FORWARDED_FOR, client.forwarded_for.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if secure { "https" } else { "http" }));
    headers.insert(X_FORWARDED_HOST, authority.clone());
}

/// The client's identifier of the request, if it is fit to be used.
pub(super) fn request_id(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let visible = |value: &&HeaderValue| {
        (1..=REQUEST_ID_BYTES).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    values.next().filter(visible).filter(|_| values.next().is_none())
}

/// Cleans an upstream's response. A length beside a transfer coding is a lie (RFC 9112 §6.3).
pub(super) fn clean_response(headers: &mut HeaderMap) {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        headers.remove(header::CONTENT_LENGTH);
    }
    remove_hop_by_hop(headers);
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
pub(super) fn target(uri: &Uri, normal: Option<&str>, route: &Route) -> Result<Uri, String> {
    let rewritten = rewrite(normal.unwrap_or_else(|| uri.path()), route);
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

fn rewrite(path: &str, route: &Route) -> Option<String> {
    match route.rewrite.path.as_ref()? {
        PathRewrite::Full(full) => Some(full.clone()),
        PathRewrite::Prefix(replacement) => {
            let prefix = match &route.matches.path {
                Some(PathMatch::Prefix(prefix)) => prefix.trim_end_matches('/'),
                _ => "",
            };
            // A filter may have led the request elsewhere; then there is nothing to replace.
            let rest = path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
            let joined = format!("{}{rest}", replacement.trim_end_matches('/'));
            Some(if joined.is_empty() { "/".to_owned() } else { joined })
        }
    }
}

/// Removes the fields of one hop and those that `connection` names.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let values: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
        for name in values.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')) {
            let name = name.trim();
            if !is_end_to_end(name) {
                headers.remove(name);
            }
        }
        headers.remove(header::CONNECTION);
    }
    for name in [header::TRANSFER_ENCODING, header::TE, header::UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection"] {
        headers.remove(name);
    }
}

/// Fields that a `connection` field cannot nominate away (RFC 9110 §7.6.1).
fn is_end_to_end(name: &str) -> bool {
    ["host", "content-length", "content-type", "authorization", "cookie", "trailer", "te"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn te_trailers(headers: &HeaderMap) -> bool {
    let names_trailers = |value: &HeaderValue| {
        value.to_str().is_ok_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case("trailers")))
    };
    headers.get_all(header::TE).iter().any(names_trailers)
}

/// HTTP/2 may split `cookie`; elsewhere it is one field (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
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

/// What a client may only claim about itself: forwarding fields, also in the spellings with underscores that some servers
/// take for the same. The three that are set here are replaced by the caller.
fn remove_claims(headers: &mut HeaderMap) {
    headers.remove(header::FORWARDED);
    headers.remove("x-real-ip");
    let claim = |name: &str| {
        name.len() > 11 && name.starts_with('x') && name.contains('_') && name.replace('_', "-").starts_with("x-forwarded-")
    };
    let spelled: Vec<HeaderName> = headers.keys().filter(|name| claim(name.as_str())).cloned().collect();
    for name in spelled {
        headers.remove(name);
    }
}
