//! Callouts: requests that a filter makes to an upstream of the gateway.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::{At, Config, ConfigError, Json, Schema};
use crate::engine::CallTicket;
use crate::error::{Error, Fault, Result};
use crate::headers::{HeaderIter, HeaderValue};
use crate::host::CallParts;
use crate::query;

/// How long a callout may take unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The name of an upstream, as a configuration field. The gateway checks it when it loads, and lets the filter call it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Upstream(String);

impl Upstream {
    /// An upstream that is not a field of the configuration; the filter needs it granted (`"upstreams"` in its entry).
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// A GET request; `path` with its query.
    pub fn get(&self, path: &str) -> CallBuilder {
        self.request("GET", path)
    }

    /// A POST request; `path` with its query.
    pub fn post(&self, path: &str) -> CallBuilder {
        self.request("POST", path)
    }

    /// A request; `path` with its query.
    pub fn request(&self, method: &str, path: &str) -> CallBuilder {
        let path = if path.is_empty() { "/" } else { path };
        let pseudo = [(":method", method), (":path", path), (":authority", &self.0), (":scheme", "http")];
        CallBuilder {
            upstream: self.0.clone(),
            headers: pseudo.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body: Bytes::new(),
            timeout: TIMEOUT,
            problem: None,
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Config for Upstream {
    const SCHEMA: Schema = Schema::String { format: "sluicegate-upstream", pattern: "", write_only: false };
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        match json.as_str() {
            Some("") => Err(at.error("expected the name of an upstream, found nothing")),
            Some(name) => Ok(Self(name.to_owned())),
            None => Err(at.expected("the name of an upstream", json)),
        }
    }
}

/// A callout that has not been sent. Awaiting it sends it and gives the response, whatever its status.
#[must_use = "a callout is sent when it is awaited"]
pub struct CallBuilder {
    upstream: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    timeout: Duration,
    problem: Option<Fault>,
}

impl CallBuilder {
    /// Adds a header. Bytes that are not UTF-8 become replacement characters.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.to_owned(), String::from_utf8_lossy(value.as_ref()).into_owned()));
        self
    }

    /// Sets the authority; it is the upstream's name otherwise.
    pub fn authority(mut self, authority: &str) -> Self {
        for (name, value) in &mut self.headers {
            if name == ":authority" {
                authority.clone_into(value);
            }
        }
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to JSON, and `content-type`.
    pub fn json(self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => Self { problem: Some(Fault::new(format!("body of a callout: {error}"))), ..self },
        }
    }

    /// Sets the body to a form, and `content-type`.
    pub fn form<K: AsRef<str>, V: AsRef<str>>(self, pairs: &[(K, V)]) -> Self {
        self.header("content-type", "application/x-www-form-urlencoded").body(query::form(pairs))
    }

    /// How long to wait for the whole response; 5 s otherwise.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    async fn send(self) -> Result<CallResponse> {
        if let Some(problem) = self.problem {
            return Err(problem.into());
        }
        let ticket = CallTicket::start(&CallParts {
            upstream: &self.upstream,
            headers: &self.headers,
            body: &self.body,
            timeout_ms: u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX),
        })?;
        let answer = poll_fn(|_| ticket.take().map_or(Poll::Pending, Poll::Ready)).await;
        let response = CallResponse { upstream: self.upstream, status: 0, headers: answer.headers, body: answer.body };
        match response.header(":status").and_then(|status| status.as_str()?.parse().ok()) {
            Some(status) => Ok(CallResponse { status, ..response }),
            None => Err(Error::Fault(Fault::new(format!("callout to `{}` got no response", response.upstream)))),
        }
    }
}

impl IntoFuture for CallBuilder {
    type Output = Result<CallResponse>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output>>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

/// The response to a callout. A host answers 503 itself when the upstream cannot be reached, and 504 when it takes too long.
#[derive(Debug)]
pub struct CallResponse {
    upstream: String,
    status: u16,
    headers: Bytes,
    body: Bytes,
}

impl CallResponse {
    /// The status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub const fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<HeaderValue> {
        self.headers().find(|(field, _)| field.as_bytes().eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value)
    }

    /// All headers, in order.
    #[must_use]
    pub fn headers(&self) -> HeaderIter {
        HeaderIter::new(self.headers.clone())
    }

    /// The body.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// A fault, when the status is not 2xx, or the body is not JSON, or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        if !self.is_success() {
            return Err(Error::Fault(Fault::new(format!("upstream `{}` answered {}", self.upstream, self.status))));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::Fault(Fault::new(format!("upstream `{}` sent bad JSON: {error}", self.upstream))))
    }
}
