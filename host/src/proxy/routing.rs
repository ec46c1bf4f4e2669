//! Where a request goes: what two servers could read differently is refused, then one normal form chooses the route.

use std::borrow::Cow;
use std::net::SocketAddr;

use http::HeaderValue;
use http::request::Parts;

use super::error::ProxyError;
use super::generation::{Filters, WorkerGeneration};
use super::normal::{self, Normal};

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

/// Checks, normalises and routes. `listener`: the configured address of the one that it came to.
pub(super) fn route(generation: &WorkerGeneration, parts: &Parts, listener: SocketAddr) -> Result<Routed, ProxyError> {
    let authority = normal::checked(parts, generation.config.limits.header_count)?;
    let normal = Normal::new(parts, &authority)?;
    let view = normal.view(parts, listener);
    let route = generation.router.find(&view).filter(|route| *route < generation.routes.len());
    let share = route.and_then(|route| generation.routes[route].shares.next());
    let filters = route.map_or(&generation.unrouted, |route| &generation.routes[route].filters).select(&view);
    let path = match normal.path {
        Cow::Owned(path) => Some(path),
        Cow::Borrowed(_) => None,
    };
    Ok(Routed { route, share, filters, authority, path })
}
