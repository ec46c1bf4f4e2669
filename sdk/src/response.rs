//! The response, as a filter sees it.

use std::cell::RefMut;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::engine::Stream;
use crate::error::{Error, Fault, Result};
use crate::headers::{HeaderValue, Headers};
use crate::host::{Direction, HOST, Host, Map};
use crate::reply::Reply;
use crate::request::{Chunk, Request, to_json};

/// A response on its way to the client.
///
/// Nothing is read from the host before it is asked for. What is set takes effect when the phase function returns.
pub struct Response {
    stream: Rc<Stream>,
    request: Request,
}

impl Response {
    pub(crate) fn new(stream: Rc<Stream>) -> Self {
        let request = Request::new(stream.clone());
        Self { stream, request }
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> u16 {
        status()
    }

    /// Sets the status.
    pub fn set_status(&mut self, status: u16) {
        HOST.set_header(Map::Response, ":status", status.to_string().as_bytes());
    }

    /// The value of a header; see [`Headers::get`].
    #[must_use]
    pub fn header(&self, name: &str) -> Option<HeaderValue> {
        self.headers().get(name)
    }

    /// The headers, to read and to change.
    #[must_use]
    pub const fn headers(&self) -> Headers<'_> {
        Headers::new(Map::Response)
    }

    /// The whole body. The head is held until it is there; the host bounds its size (502).
    ///
    /// # Errors
    /// A fault, when `#[filter]` could not see that this filter reads the body.
    pub async fn body(&self) -> Result<Bytes> {
        poll_fn(|_| self.stream.half(Direction::Response).poll_whole()).await
    }

    /// The whole body, read as JSON.
    ///
    /// # Errors
    /// A fault when it is not JSON, or not a `T`: the client can do nothing about it.
    pub async fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let body = self.body().await?;
        serde_json::from_slice(&body).map_err(|error| Error::Fault(Fault::new(format!("response body: {error}"))))
    }

    /// Replaces the body when the phase function returns; what the upstream sent is read and dropped.
    pub fn set_body(&mut self, body: impl Into<Bytes>) {
        self.stream.half(Direction::Response).replace(body.into());
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

    /// The next piece of the body as it streams; see [`Request::chunk`].
    ///
    /// # Errors
    /// A fault, when `#[filter]` could not see that this filter reads the body.
    pub async fn chunk(&mut self) -> Result<Option<Chunk>> {
        poll_fn(|_| self.stream.half(Direction::Response).poll_chunk()).await
    }

    /// Sends bytes on in the place of the chunk read last. Writing that chunk itself copies nothing.
    pub fn write(&mut self, bytes: impl Into<Bytes>) {
        self.stream.half(Direction::Response).write(bytes.into());
    }

    /// The request that this answers, to read. Its head is long gone: what is set on it changes nothing.
    #[must_use]
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// The filter's own state of this exchange; see [`Request::ext`].
    #[must_use]
    pub fn ext<T: Default + 'static>(&self) -> RefMut<'_, T> {
        self.stream.scratch()
    }

    /// Answers the client with `reply` instead, when the phase function returns.
    pub fn replace(&mut self, reply: Reply) {
        self.stream.half(Direction::Response).set_reply(reply);
    }
}

/// The status of the response; 0 while there is none.
pub(crate) fn status() -> u16 {
    let value = HOST.header(Map::Response, ":status");
    value.and_then(|value| std::str::from_utf8(&value).ok()?.parse().ok()).unwrap_or(0)
}
