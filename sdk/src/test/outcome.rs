//! What became of a request.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::message::{Call, Received, first, json};

/// What the client got, what the upstream got, and what the filter did meanwhile.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) received: Option<Received>,
    pub(super) calls: Vec<Call>,
    pub(super) logs: Vec<String>,
    pub(super) printed: Vec<String>,
    pub(super) metrics: Vec<(String, i64)>,
    pub(super) consumer: Option<String>,
    pub(super) fault: Option<String>,
    pub(super) details: String,
    pub(super) route_cleared: bool,
}

impl Outcome {
    /// The status that the client got: 503 after a fault, 504 when the filter never let go.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// The first value of a header that the client got.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        first(&self.headers, name)
    }

    /// All headers that the client got, in order.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        &self.headers
    }

    /// The body that the client got.
    #[must_use]
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body that the client got, as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body that the client got, as JSON.
    ///
    /// # Panics
    /// It is not JSON: the test fails here.
    #[must_use]
    pub fn json<T: DeserializeOwned>(&self) -> T {
        json(&self.body)
    }

    /// Whether the request got through.
    #[must_use]
    pub const fn reached_upstream(&self) -> bool {
        self.received.is_some()
    }

    /// The request as the upstream got it.
    #[must_use]
    pub const fn upstream_request(&self) -> Option<&Received> {
        self.received.as_ref()
    }

    /// The callouts to an upstream during this exchange.
    #[must_use]
    pub fn calls(&self, upstream: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.upstream == upstream).collect()
    }

    /// The log lines of this exchange, each as `level: text`.
    #[must_use]
    pub fn logs(&self) -> &[String] {
        &self.logs
    }

    /// The lines printed during this exchange.
    #[must_use]
    pub fn printed(&self) -> &[String] {
        &self.printed
    }

    /// The value of a metric after this exchange: `name` sums over all labels (a histogram: over its values), `name{reason=expired}`
    /// is one of them; 0 when there is none.
    #[must_use]
    pub fn metric(&self, name: &str) -> i64 {
        self.metrics
            .iter()
            .filter(|(metric, _)| metric == name || metric.split('{').next() == Some(name))
            .map(|(_, value)| value)
            .sum()
    }

    /// Who the client was, if the filter said so.
    #[must_use]
    pub fn consumer(&self) -> Option<&str> {
        self.consumer.as_deref()
    }

    /// The fault that ended the exchange.
    #[must_use]
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether the filter had the route chosen again.
    #[must_use]
    pub const fn cleared_route_cache(&self) -> bool {
        self.route_cleared
    }

    /// The details of the filter's reply, for the access log.
    #[must_use]
    pub fn details(&self) -> &str {
        &self.details
    }
}
