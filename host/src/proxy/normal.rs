//! What routing looks at, from a request's checked head: one way for requests and for explanations of them. Pure.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::request::Parts;
use http::{HeaderValue, Method};

use super::error::ProxyError;
use super::validate::{self, BadRequest};
use crate::route::host::Authority;
use crate::route::{RequestView, path};

/// Checks a head, at most `header_count` fields long, and gives its one authority.
///
/// # Errors
/// It is refused before anything else looks at it.
pub(crate) fn checked(parts: &Parts, header_count: usize) -> Result<HeaderValue, ProxyError> {
    if parts.method == Method::CONNECT {
        return Err(ProxyError::NotImplemented);
    }
    // HTTP/1 heads are counted where they are read.
    if parts.headers.len() > header_count {
        return Err(ProxyError::TooManyHeaders);
    }
    Ok(validate::authority(parts)?)
}

/// A request's host and path in their one form.
pub(crate) struct Normal<'a> {
    pub(crate) host: Cow<'a, str>,
    /// With the parameters of its segments.
    pub(crate) path: Cow<'a, str>,
    /// Without them, when it has some.
    plain: Option<String>,
}

impl<'a> Normal<'a> {
    /// `authority`: the one of that head, see [`checked`].
    ///
    /// # Errors
    /// The host, the path or the query is none.
    pub(crate) fn new(parts: &'a Parts, authority: &'a HeaderValue) -> Result<Self, BadRequest> {
        // Bytes beyond ASCII have to be percent-encoded (RFC 3986 §2.1).
        if parts.uri.query().is_some_and(|query| !query.is_ascii()) {
            return Err(BadRequest::InvalidTarget);
        }
        let host = authority.to_str().ok().and_then(|text| Authority::parse(text).ok());
        let host = host.ok_or(BadRequest::InvalidHost)?.host;
        let path = match parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            // Between an authority and a query the path may be missing, and then it is the root (RFC 9110 §4.2.3).
            Some(target) if target.starts_with('?') => Cow::Owned("/".to_owned()),
            _ => path::normalise(parts.uri.path()).map_err(|_| BadRequest::InvalidPath)?,
        };
        let plain = match path::without_parameters(&path) {
            Cow::Owned(plain) => Some(plain),
            Cow::Borrowed(_) => None,
        };
        Ok(Self { host, path, plain })
    }
    /// What conditions are compared with. `listener`: the configured address of the one that it came to.
    pub(crate) fn view(&'a self, parts: &'a Parts, listener: SocketAddr) -> RequestView<'a> {
        RequestView {
            host: &self.host,
            path: self.plain.as_deref().unwrap_or(&self.path),
            query: parts.uri.query(),
            method: &parts.method,
            headers: &parts.headers,
            listener,
        }
    }
}
