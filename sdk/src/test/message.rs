//! Messages as tests write and read them.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::Json;

/// Name and value of each header.
pub(super) type Fields = Vec<(String, Vec<u8>)>;

/// A request that an upstream got.
#[derive(Clone, Debug)]
pub struct Received {
    /// The upstream's name, for a callout; empty for the upstream of the route.
    pub upstream: String,
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// All headers with pseudo headers, in order; what is not UTF-8 is replaced.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// A callout, as its upstream gets it.
pub type Call = Received;

impl Received {
    pub(super) fn new(upstream: &str, fields: &Fields, body: Bytes) -> Self {
        let headers: Vec<_> =
            fields.iter().map(|(name, value)| (name.clone(), String::from_utf8_lossy(value).into_owned())).collect();
        let pseudo = |name: &str| first(&headers, name).unwrap_or_default().to_owned();
        Self { upstream: upstream.to_owned(), method: pseudo(":method"), path: pseudo(":path"), headers, body }
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// It is not JSON: the test fails here.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        json(&self.body)
    }
}

/// An upstream's response: to the request of the test, or to a callout.
#[derive(Clone, Debug)]
pub struct TestReply {
    pub(super) status: u16,
    pub(super) fields: Fields,
    pub(super) body: Bytes,
    pub(super) trailers: bool,
    pub(super) pieces: usize,
    pub(super) delay: Duration,
}

/// The response to a callout.
pub type CallReply = TestReply;

impl TestReply {
    /// A response without a body.
    #[must_use]
    pub const fn new(status: u16) -> Self {
        Self { status, fields: Vec::new(), body: Bytes::new(), trailers: false, pieces: 0, delay: Duration::ZERO }
    }

    /// A response with JSON.
    #[must_use]
    #[allow(clippy::needless_pass_by_value, reason = "it is mostly called with json!(…)")]
    pub fn json(status: u16, body: Json) -> Self {
        Self::new(status).header("content-type", "application/json").body(body.to_string())
    }

    /// A callout that gets no response at all.
    #[must_use]
    pub const fn lost() -> Self {
        Self::new(0)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.fields.push((name.to_ascii_lowercase(), value.as_ref().to_vec()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the body in this many pieces, and its end after them.
    #[must_use]
    pub const fn chunked(mut self, pieces: usize) -> Self {
        self.pieces = pieces;
        self
    }

    /// Sends trailers after the body.
    #[must_use]
    pub const fn trailers(mut self) -> Self {
        self.trailers = true;
        self
    }

    /// Lets the response to a callout come later (in the harness's time).
    #[must_use]
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The headers with `:status`, as a host gives them.
    pub(super) fn all_fields(&self) -> Fields {
        let mut fields = vec![(":status".to_owned(), self.status.to_string().into_bytes())];
        fields.extend(self.fields.iter().cloned());
        with_length(&mut fields, &self.body);
        fields
    }

    pub(super) fn message(&self) -> Message {
        Message { fields: self.all_fields(), chunks: pieces(&self.body, self.pieces), trailers: self.trailers }
    }
}

/// A message on its way through the filter.
pub(super) struct Message {
    pub(super) fields: Fields,
    /// Its body as it arrives.
    pub(super) chunks: Vec<Bytes>,
    pub(super) trailers: bool,
}

/// Cuts a body into pieces; 0 is one piece that is known to be the last, more are followed by an end without bytes.
pub(super) fn pieces(body: &Bytes, pieces: usize) -> Vec<Bytes> {
    if body.is_empty() {
        return Vec::new();
    }
    if pieces == 0 {
        return vec![body.clone()];
    }
    let size = body.len().div_ceil(pieces);
    let mut chunks: Vec<Bytes> =
        (0..body.len()).step_by(size).map(|at| body.slice(at..(at + size).min(body.len()))).collect();
    chunks.push(Bytes::new());
    chunks
}

/// Adds `content-length`, unless there is one or there is no body.
pub(super) fn with_length(fields: &mut Fields, body: &Bytes) {
    if !body.is_empty() && !fields.iter().any(|(name, _)| name == "content-length") {
        fields.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
}

pub(super) fn first<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

#[allow(clippy::panic, reason = "a test fails by panicking")]
pub(super) fn json<T: DeserializeOwned>(body: &[u8]) -> T {
    match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(error) => panic!("the body is not the expected JSON ({error}): {}", String::from_utf8_lossy(body)),
    }
}

/// JSON to send.
#[allow(clippy::panic, reason = "a test fails by panicking")]
pub(super) fn to_json(value: &impl Serialize) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(body) => body,
        Err(error) => panic!("the body cannot be written as JSON: {error}"),
    }
}
