//! The end of an exchange: what an access log wants to know.

use std::cell::RefMut;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::engine::Stream;
use crate::headers::Headers;
use crate::host::Map;
use crate::property::{self, Property, PropertyPaths};
use crate::request::Request;
use crate::response;

/// An exchange that is over, to read.
pub struct End {
    request: Request,
}

impl End {
    pub(crate) const fn new(stream: Rc<Stream>) -> Self {
        Self { request: Request::new(stream) }
    }

    /// The request.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The headers of the request.
    #[must_use]
    pub const fn request_headers(&self) -> Headers<'_> {
        Headers::new(Map::Request)
    }

    /// The headers of the response.
    #[must_use]
    pub const fn response_headers(&self) -> Headers<'_> {
        Headers::new(Map::Response)
    }

    /// The status of the response; 0 when there was none.
    #[must_use]
    pub fn status(&self) -> u16 {
        response::status()
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> String {
        self.request.method()
    }

    /// The path with its query.
    #[must_use]
    pub fn path(&self) -> String {
        self.request.path()
    }

    /// From the first byte of the request to the last of the response.
    #[must_use]
    pub fn duration(&self) -> Duration {
        property::duration(&["request", "duration"]).unwrap_or_default()
    }

    /// The size of the request's body, bytes.
    #[must_use]
    pub fn request_size(&self) -> u64 {
        property::number(&["request", "size"]).unwrap_or(0)
    }

    /// The size of the response's body, bytes.
    #[must_use]
    pub fn response_size(&self) -> u64 {
        property::number(&["response", "size"]).unwrap_or(0)
    }

    /// Why the response is what it is, in the host's words; empty when there is nothing to say.
    #[must_use]
    pub fn details(&self) -> String {
        property::text(&["response", "code_details"]).unwrap_or_default()
    }

    /// Who the client was, if a filter said so.
    #[must_use]
    pub fn consumer(&self) -> Option<String> {
        property::consumer()
    }

    /// A property of the exchange, in the host's encoding.
    #[must_use]
    pub fn property(&self, path: &[&str]) -> Option<Bytes> {
        property::one(path).map(Bytes::from)
    }

    /// Several properties, in the order of `paths`: one hostcall for all where the host can do that.
    pub fn properties(&self, paths: &PropertyPaths) -> impl Iterator<Item = Option<Property>> {
        property::many(paths)
    }

    /// A property of the exchange that is a text; none when it is missing or empty.
    #[must_use]
    pub fn property_str(&self, path: &[&str]) -> Option<String> {
        property::text(path)
    }

    /// The filter's own state of this exchange; see [`Request::ext`].
    #[must_use]
    pub fn ext<T: Default + 'static>(&self) -> RefMut<'_, T> {
        self.request.ext()
    }
}
