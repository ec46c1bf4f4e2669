//! The seam between the proxy and its filters: what a filter may see and do, and the chain that runs them.
//!
//! Nothing here knows hyper or wasmtime. The proxy drives a [`Chain`]; the chain calls [`Filter`]s; a filter works on
//! its stage of an [`Exchange`]. Everything lives on one worker thread, so sharing is by `Rc` and nothing is locked.
//! The exact behaviour, event by event, is described in [`chain`].

pub mod callout;
pub mod chain;
pub mod egress;
pub mod exchange;
pub mod headers;
pub mod properties;
pub mod reply;
pub mod tcp;

use std::fmt;
use std::rc::Rc;

pub use callout::{Callout, CalloutRefused, CalloutReply, Callouts, GrpcCall, GrpcEvent, GrpcStream};
pub use chain::Chain;
pub use exchange::{Exchange, Stage};
pub use headers::{Field, Headers, Name};
pub use reply::LocalReply;

/// Which half of an exchange a callback or a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Client to upstream; filters run 1..n.
    Request,
    /// Upstream to client; filters run n..1.
    Response,
}

impl Direction {
    /// The one of two things that belongs to this direction.
    #[must_use]
    pub fn pick<T>(self, request: T, response: T) -> T {
        match self {
            Self::Request => request,
            Self::Response => response,
        }
    }
}

/// What a filter answers to its headers callback (`proxy_on_*_headers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersAction {
    /// The head goes to the next stage.
    Continue,
    /// The head is held; body callbacks go on, and one that continues releases it.
    StopIteration,
    /// Nothing more is called on this filter until it is resumed; the body is read up to the buffer limit, then 413.
    StopAllAndBuffer,
    /// Nothing more is called on this filter until it is resumed; nothing is read past the buffers.
    StopAllAndWatermark,
}

/// What a filter answers to a body callback (`proxy_on_*_body`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyAction {
    /// What is held, this chunk included, goes on as one piece.
    Continue,
    /// It stays and more is read, up to the limit: then 413 (request) or 502 (response).
    StopAndBuffer,
    /// It stays; beyond the limit nothing is read until resumed.
    StopAndWatermark,
    /// The chunk is dropped: the filter took it.
    StopNoBuffer,
}

/// What a filter answers to its trailers callback (`proxy_on_*_trailers`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailersAction {
    /// Held body, then the trailers, go on.
    Continue,
    /// Both stay until the filter is resumed.
    Stop,
}

/// The callbacks that a filter implements; the others are never called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callbacks {
    /// `proxy_on_request_headers`
    pub request_headers: bool,
    /// `proxy_on_request_body`
    pub request_body: bool,
    /// `proxy_on_request_trailers`
    pub request_trailers: bool,
    /// `proxy_on_response_headers`
    pub response_headers: bool,
    /// `proxy_on_response_body`
    pub response_body: bool,
    /// `proxy_on_response_trailers`
    pub response_trailers: bool,
    /// `proxy_on_done`, `proxy_on_log` or `proxy_on_delete` carry meaning of the filter's own.
    pub finish: bool,
    /// The filter edits request bodies as they stream: the head leaves at once, without a length.
    pub streams_request_body: bool,
    /// The same for response bodies.
    pub streams_response_body: bool,
}

impl Callbacks {
    /// Every callback, as a module without a finer list is taken to implement.
    pub const ALL: Self = Self {
        request_headers: true,
        request_body: true,
        request_trailers: true,
        response_headers: true,
        response_body: true,
        response_trailers: true,
        finish: true,
        streams_request_body: false,
        streams_response_body: false,
    };
    /// The words for those that are implemented, as manifests write them.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        [
            (self.request_headers, "request_headers"),
            (self.request_body, "request_body"),
            (self.request_trailers, "request_trailers"),
            (self.response_headers, "response_headers"),
            (self.response_body, "response_body"),
            (self.response_trailers, "response_trailers"),
            (self.finish, "finish"),
        ]
        .into_iter()
        .filter_map(|(implemented, name)| implemented.then_some(name))
    }
    /// Whether the headers callback of `direction` is implemented.
    #[must_use]
    pub fn headers(&self, direction: Direction) -> bool {
        direction.pick(self.request_headers, self.response_headers)
    }
    /// Whether the body callback of `direction` is implemented.
    #[must_use]
    pub fn body(&self, direction: Direction) -> bool {
        direction.pick(self.request_body, self.response_body)
    }
    /// Whether the trailers callback of `direction` is implemented.
    #[must_use]
    pub fn trailers(&self, direction: Direction) -> bool {
        direction.pick(self.request_trailers, self.response_trailers)
    }
    /// Whether bodies of `direction` are edited as they stream.
    #[must_use]
    pub fn streams(&self, direction: Direction) -> bool {
        direction.pick(self.streams_request_body, self.streams_response_body)
    }
}

/// Why a filter can no longer serve its stream. The instance behind it is gone.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// For the log: the trap with its frames, the limit that was passed. Never shown to a client.
    pub detail: Rc<str>,
}

/// The classes of faults, as counted in metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The guest trapped (a panic, `unreachable`, a bad access, stack overflow).
    Trap,
    /// A callback ran past its deadline.
    Deadline,
    /// The guest passed its memory ceiling and died of it.
    Memory,
    /// The guest broke the ABI (an allocator that lies, an action that does not exist).
    Abi,
    /// No instance could be made.
    Start,
    /// The instance was ended by the host (drain deadline).
    Ended,
    /// The filter reported an error of its own and its host asked for `on_error` to decide (SDK `Error::Fault`).
    Reported,
    /// No instance is made for a while, because those before only died.
    HeldOff,
    /// The instance died in a callback for another stream.
    Neighbour,
    /// The instance died in a callback that was for no stream (a timer, a queue).
    Background,
}

impl FaultKind {
    /// The word used in metrics, logs and reasons.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trap => "trap",
            Self::Deadline => "deadline",
            Self::Memory => "memory",
            Self::Abi => "abi",
            Self::Start => "start",
            Self::Ended => "ended",
            Self::Reported => "reported",
            Self::HeldOff => "held off",
            Self::Neighbour => "trap of another request",
            Self::Background => "trap outside of requests",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.as_str(), self.detail)
    }
}

/// One filter serving one stream: a stream context of the ABI. Dropped without [`Filter::finish`] when its instance died.
///
/// Callbacks are synchronous and act on the [`Stage`] that the filter was made with.
pub trait Filter {
    /// The head of `direction` is at this filter. `end_of_stream`: no body and no trailers follow.
    ///
    /// # Errors
    /// The instance is gone; the chain applies the filter's `on_error`.
    fn on_headers(&mut self, direction: Direction, end_of_stream: bool) -> Result<HeadersAction, Fault>;
    /// A chunk was appended to the stage's buffer, which now holds `size` bytes.
    ///
    /// # Errors
    /// As [`Filter::on_headers`].
    fn on_body(&mut self, direction: Direction, size: usize, end_of_stream: bool) -> Result<BodyAction, Fault>;
    /// The trailers of `direction` are at this filter.
    ///
    /// # Errors
    /// As [`Filter::on_headers`].
    fn on_trailers(&mut self, direction: Direction) -> Result<TrailersAction, Fault>;
    /// The stream is over: `on_done` (may defer), `on_log`, `on_delete`, once each.
    fn finish(self: Box<Self>);
    /// Set when the instance died between callbacks (another stream's trap, a tick, a drain deadline).
    fn fault(&self) -> Option<Fault>;
}

/// Makes the [`Filter`] of one stream: one entry of a chain, configured, on one worker.
pub trait FilterSource {
    /// The entry's name, for logs, metrics and reasons.
    fn name(&self) -> &str;
    /// What it implements.
    fn callbacks(&self) -> Callbacks;
    /// What a fault of this filter does to the stream.
    fn on_error(&self) -> OnError;
    /// Creates the stream context.
    ///
    /// # Errors
    /// There is no instance and none could be made.
    fn start(&self, stage: Stage) -> Result<Box<dyn Filter>, Fault>;
    /// Records one callback in the ledger: called by the chain around every callback, always.
    fn record(&self, phase: Phase, nanos: u64, outcome: Outcome);
}

/// What happens to a stream when a filter faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnError {
    /// The stream is answered 503 (or reset when its head was sent).
    #[default]
    Closed,
    /// The filter is skipped; what it held goes on unchanged.
    Open,
}

/// The part of an exchange in which a callback was made, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// `on_request_headers`
    RequestHeaders,
    /// `on_request_body`
    RequestBody,
    /// `on_request_trailers`
    RequestTrailers,
    /// `on_response_headers`
    ResponseHeaders,
    /// `on_response_body`
    ResponseBody,
    /// `on_response_trailers`
    ResponseTrailers,
    /// done, log and delete together
    Finish,
    /// `on_new_connection`
    NewConnection,
    /// `on_downstream_data`
    DownstreamData,
    /// `on_upstream_data`
    UpstreamData,
    /// `on_downstream_connection_close`
    DownstreamClose,
    /// `on_upstream_connection_close`
    UpstreamClose,
}

/// How a callback ended, for the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Went on.
    Continue,
    /// Holds the stream.
    Pause,
    /// Recorded a local reply.
    Reply,
    /// Faulted.
    Fault(FaultKind),
}
