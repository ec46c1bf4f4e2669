//! Where a request goes: what two servers could read differently is refused, then one normal form chooses the route.

use std::borrow::Cow;

use http::request::Parts;
use http::{HeaderValue, Method};

use super::error::ProxyError;
use super::generation::{Filters, WorkerGeneration};
use super::validate::{self, BadRequest};
use crate::route::host::Authority;
use crate::route::{RequestView, path};

/// Where a request goes.
pub(super) struct Routed {
    /// Index of the route, if one takes the request.
    pub(super) route: Option<usize>,
    /// Which of the route's upstreams gets it, if it goes to one.
    pub(super) share: Option<usize>,
    /// What it passes.
    pub(super) filters: Filters,
    /// `host` as the client wrote it.
    pub(super) authority: HeaderValue,
    /// The normalised path, when it is not what the client wrote.
    pub(super) path: Option<String>,
}

/// Checks, normalises and routes.
pub(super) fn route(generation: &WorkerGeneration, parts: &Parts) -> Result<Routed, ProxyError> {
    if parts.method == Method::CONNECT {
        return Err(ProxyError::NotImplemented);
    }
    // HTTP/1 heads are counted where they are read.
    if parts.headers.len() > generation.config.limits.header_count {
        return Err(ProxyError::TooManyHeaders);
    }
    let value = validate::authority(parts)?;
    // Bytes beyond ASCII have to be percent-encoded (RFC 3986 §2.1).
    if parts.uri.query().is_some_and(|query| !query.is_ascii()) {
        return Err(BadRequest::InvalidTarget.into());
    }
    let host = value.to_str().ok().and_then(|text| Authority::parse(text).ok()).ok_or(BadRequest::InvalidHost)?;
    let path = match parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
        // Between an authority and a query the path may be missing, and then it is the root (RFC 9110 §4.2.3).
        Some(target) if target.starts_with('?') => Cow::Owned("/".to_owned()),
        _ => path::normalise(parts.uri.path()).map_err(|_| BadRequest::InvalidPath)?,
    };
    let matched = path::without_parameters(&path);
    let view = RequestView {
        host: &host.host,
        path: &matched,
        query: parts.uri.query(),
        method: &parts.method,
        headers: &parts.headers,
    };
    let route = generation.router.find(&view).filter(|route| *route < generation.routes.len());
    let share = route.and_then(|route| generation.routes[route].shares.next());
    let filters = route.map_or(&generation.unrouted, |route| &generation.routes[route].filters).select(&view);
    drop(matched);
    let path = match path {
        Cow::Owned(path) => Some(path),
        Cow::Borrowed(_) => None,
    };
    drop(host);
    Ok(Routed { route, share, filters, authority: value, path })
}
