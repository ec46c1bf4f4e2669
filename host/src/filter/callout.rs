//! Callouts: the HTTP calls that filters make, without knowing a client.

use std::time::Duration;

use bytes::Bytes;

use super::Headers;

/// One call. Pseudo headers `:method`, `:path` and `:authority` are among `headers` (checked by the caller).
#[derive(Clone, Debug)]
pub struct Callout {
    /// Name of the upstream.
    pub upstream: String,
    /// Request head, pseudo headers included.
    pub headers: Headers,
    /// Request body.
    pub body: Bytes,
    /// Request trailers.
    pub trailers: Headers,
    /// No limit when `None`.
    pub timeout: Option<Duration>,
}

/// The answer, real or made by the gateway: a connect failure or reset is `:status` 503, a timeout 504, with a reason.
#[derive(Clone, Debug, Default)]
pub struct CalloutReply {
    /// Response head with `:status`.
    pub headers: Headers,
    /// Whole body, bounded by [`crate::config::Limits`].
    pub body: Bytes,
    /// Response trailers.
    pub trailers: Headers,
    /// Why the gateway made this answer itself; `None` for a real one.
    pub failure: Option<String>,
}

/// Why a call was not even started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalloutRefused {
    /// No upstream of that name, or not granted to the filter.
    UnknownUpstream,
    /// Too many calls of this filter are open.
    TooMany,
    /// The head is not one that can be sent.
    BadRequest(String),
}

/// Starts callouts on this worker.
pub trait Callouts {
    /// Starts a call. `done` runs later, on this worker, exactly once, never inside this function.
    ///
    /// # Errors
    /// The call is refused and `done` is dropped.
    fn start(&self, call: Callout, done: Box<dyn FnOnce(CalloutReply)>) -> Result<(), CalloutRefused>;
}
