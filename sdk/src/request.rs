//! The request, as a filter sees it.

use std::cell::RefMut;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Stream;
use crate::error::{Error, Fault, Result};
use crate::headers::{HeaderValue, Headers};
use crate::host::{Direction, HOST, Host, Map};
use crate::reply::Reply;
use crate::{property, query};

/// A piece of a body.
pub type Chunk = Bytes;

/// A request on its way to the upstream.
///
/// Nothing is read from the host before it is asked for. What is set takes effect when the phase function returns.
pub struct Request {
    stream: Rc<Stream>,
}

impl Request {
    pub(crate) const fn new(stream: Rc<Stream>) -> Self {
        Self { stream }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> String {
        pseudo(":method")
    }

    /// The path with its query, as the next hop would get it.
    #[must_use]
    pub fn path(&self) -> String {
        pseudo(":path")
    }

    /// The path without its query.
    #[must_use]
    pub fn path_only(&self) -> String {
        let mut path = self.path();
        path.truncate(path.find('?').unwrap_or(path.len()));
        path
    }

    /// The first value of a query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        query::pairs(query::of(&self.path())).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// All query parameters, decoded, in order.
    #[must_use]
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        query::pairs(query::of(&self.path())).collect()
    }

    /// The authority (the `host` header of HTTP/1.1).
    #[must_use]
    pub fn authority(&self) -> String {
        pseudo(":authority")
    }

    /// The scheme: `http` or `https`.
    #[must_use]
    pub fn scheme(&self) -> String {
        pseudo(":scheme")
    }

    /// The value of a header; see [`Headers::get`].
    #[must_use]
    pub fn header(&self, name: &str) -> Option<HeaderValue> {
        self.headers().get(name)
    }

    /// The headers, to read and to change.
    #[must_use]
    pub const fn headers(&self) -> Headers<'_> {
        Headers::new(Map::Request)
    }

    /// Sets the path with its query. The route stays; see [`Request::clear_route_cache`].
    pub fn set_path(&mut self, path: &str) {
        HOST.set_header(Map::Request, ":path", path.as_bytes());
    }

    /// Sets the method.
    pub fn set_method(&mut self, method: &str) {
        HOST.set_header(Map::Request, ":method", method.as_bytes());
    }

    /// Sets the authority.
    pub fn set_authority(&mut self, authority: &str) {
        HOST.set_header(Map::Request, ":authority", authority.as_bytes());
    }

    /// Has the route chosen again by the head as it is when it leaves the filters. The filters that run stay those of the first
    /// route; the gateway lets the request take a route only when it has passed all the filters of that, or when that is open to any
    /// (`reroute`). Envoy has the same function.
    pub fn clear_route_cache(&mut self) {
        // A host without it has no routes to choose from.
        HOST.foreign("clear_route_cache", &[]).ok();
    }

    /// The token of `authorization: Bearer …` (RFC 6750 §2.1).
    #[must_use]
    pub fn bearer(&self) -> Option<String> {
        let value = self.headers().get_str("authorization")?;
        let (scheme, token) = value.split_once(' ')?;
        let token = token.trim();
        (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
    }

    /// The whole body. The head is held until it is there; the host bounds its size (413).
    ///
    /// # Errors
    /// A fault, when `#[filter]` could not see that this filter reads the body.
    pub async fn body(&self) -> Result<Bytes> {
        poll_fn(|_| self.stream.half(Direction::Request).poll_whole()).await
    }

    /// The whole body, read as JSON.
    ///
    /// # Errors
    /// A reply 400 when it is not JSON, or not a `T`.
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let body = self.body().await?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::Reply(Reply::problem_for(400, format_args!("request body: {error}"))))
    }

    /// Replaces the body when the phase function returns; what the client sent is read and dropped.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.stream.half(Direction::Request).replace(body.into());
    }

    /// Replaces the body with JSON and sets `content-type`.
    ///
    /// # Errors
    /// A fault, when `value` cannot be written as JSON.
    pub fn set_json(&mut self, value: &impl Serialize) -> Result {
        let body = to_json(value)?;
        self.headers().set("content-type", "application/json");
        self.set_body(body);
        Ok(())
    }

    /// The next piece of the body as it streams; none after the last. The first call lets the head go.
    ///
    /// The piece is taken out of the stream: it goes on only if it is written back with [`Request::write`]. When the phase
    /// function returns, the rest passes as it comes.
    ///
    /// # Errors
    /// A fault, when `#[filter]` could not see that this filter reads the body.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>> {
        poll_fn(|_| self.stream.half(Direction::Request).poll_chunk()).await
    }

    /// Sends bytes on in the place of the chunk read last. Writing that chunk itself copies nothing.
    pub fn write(&mut self, bytes: impl Into<Bytes>) {
        self.stream.half(Direction::Request).write(bytes.into());
    }

    /// Where the client is, as the gateway sees it.
    #[must_use]
    pub fn client_ip(&self) -> Option<IpAddr> {
        property::client_ip()
    }

    /// A property of the exchange, in the host's encoding.
    #[must_use]
    pub fn property(&self, path: &[&str]) -> Option<Bytes> {
        property::one(path).map(Bytes::from)
    }

    /// A property of the exchange that is a text; none when it is missing or empty.
    #[must_use]
    pub fn property_str(&self, path: &[&str]) -> Option<String> {
        property::text(path)
    }

    /// Who the client is, if a filter said so.
    #[must_use]
    pub fn consumer(&self) -> Option<String> {
        property::consumer()
    }

    /// Says who the client is, to later filters and the access log.
    pub fn set_consumer(&mut self, name: &str) {
        property::set_consumer(name);
    }

    /// The filter's own state of this exchange, shared with its response and `done`; made by default at the first use.
    ///
    /// # Panics
    /// While the result of an earlier call is still held: drop it before the next one, and before an await.
    #[must_use]
    pub fn ext<T: Default + 'static>(&self) -> RefMut<'_, T> {
        self.stream.scratch()
    }

    /// The request's id, for logs.
    #[must_use]
    pub fn id(&self) -> String {
        property::text(&["request", "id"]).or_else(|| self.headers().get_str("x-request-id")).unwrap_or_default()
    }

    /// The name of the route.
    #[must_use]
    pub fn route(&self) -> String {
        property::text(&["xds", "route_name"]).or_else(|| property::text(&["route_name"])).unwrap_or_default()
    }
}

fn pseudo(name: &str) -> String {
    HOST.header(Map::Request, name).map(|value| String::from_utf8_lossy(&value).into_owned()).unwrap_or_default()
}

/// JSON for a body.
pub(crate) fn to_json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::Fault(Fault::new(format!("body: {error}"))))
}
