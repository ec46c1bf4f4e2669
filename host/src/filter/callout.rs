//! Callouts: the HTTP and gRPC calls that filters make, without knowing a client.

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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CalloutRefused {
    /// No upstream of that name, or not granted to the filter.
    #[error("there is no upstream of that name")]
    UnknownUpstream,
    /// Too many calls of this filter are open.
    #[error("too many calls are open")]
    TooMany,
    /// The head is not one that can be sent.
    #[error("{0}")]
    BadRequest(String),
    /// gRPC needs HTTP/2, and this upstream does not speak it.
    #[error("gRPC needs an upstream whose protocol is http2")]
    NotHttp2,
}

/// The head of one gRPC call, of whatever kind: a stream of messages each way.
#[derive(Clone, Debug)]
pub struct GrpcCall {
    /// Name of the upstream.
    pub upstream: String,
    /// The value of `:authority`; the upstream's name when `None`.
    pub authority: Option<String>,
    /// Full name of the service: `package.Service`.
    pub service: String,
    /// Name of the method.
    pub method: String,
    /// Request metadata.
    pub metadata: Headers,
    /// Sent as `grpc-timeout` and kept by the gateway; no limit when `None`.
    pub timeout: Option<Duration>,
}

/// What comes back from a gRPC call: metadata at most once each, messages between them, the status last.
#[derive(Clone, Debug)]
pub enum GrpcEvent {
    /// The response's head. A call that fails at once has none.
    InitialMetadata(Headers),
    /// One message, without its prefix.
    Message(Bytes),
    /// The response's trailers, the status among them.
    TrailingMetadata(Headers),
    /// The end, from the upstream or made by the gateway: a status code (0 to 16) and its message.
    Close(u32, String),
}

/// An open gRPC call. Dropping it resets the call; its events end at once.
pub trait GrpcStream {
    /// Sends one message. `false` when the upstream takes them too slowly: what waits has passed its bound.
    fn send(&self, message: &[u8]) -> bool;
    /// No more messages will be sent. Answers still come.
    fn close(&mut self);
}

/// Starts callouts on this worker.
pub trait Callouts {
    /// Starts a call. `done` runs later, on this worker, exactly once, never inside this function.
    ///
    /// # Errors
    /// The call is refused and `done` is dropped.
    fn start(&self, call: Callout, done: Box<dyn FnOnce(CalloutReply)>) -> Result<(), CalloutRefused>;
    /// Opens a gRPC call. `events` runs later, on this worker, never inside this function, and not after
    /// [`GrpcEvent::Close`].
    ///
    /// # Errors
    /// The call is refused and `events` is dropped.
    fn open_grpc(
        &self,
        call: GrpcCall,
        events: Box<dyn FnMut(GrpcEvent)>,
    ) -> Result<Box<dyn GrpcStream>, CalloutRefused>;
}
