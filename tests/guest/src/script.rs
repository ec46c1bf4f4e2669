//! The words of a script, as they stand in the filter's configuration. Performs nothing.

use serde::Deserialize;

/// Steps for each callback.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Script {
    /// Logs every callback.
    pub(crate) trace: bool,
    /// Period of the tick, milliseconds; 0 for none.
    pub(crate) tick_ms: u64,
    /// A shared queue to register at configuration.
    pub(crate) queue: Option<String>,
    pub(crate) configure: Vec<Step>,
    pub(crate) tick: Vec<Step>,
    pub(crate) queue_ready: Vec<Step>,
    pub(crate) root_done: Vec<Step>,
    pub(crate) context_create: Vec<Step>,
    pub(crate) request_headers: Vec<Step>,
    pub(crate) request_body: Vec<Step>,
    pub(crate) request_trailers: Vec<Step>,
    pub(crate) response_headers: Vec<Step>,
    pub(crate) response_body: Vec<Step>,
    pub(crate) response_trailers: Vec<Step>,
    pub(crate) call_response: Vec<Step>,
    /// A unary gRPC call has been answered, or has failed.
    pub(crate) grpc_response: Vec<Step>,
    pub(crate) grpc_initial: Vec<Step>,
    pub(crate) grpc_message: Vec<Step>,
    pub(crate) grpc_trailing: Vec<Step>,
    pub(crate) grpc_close: Vec<Step>,
    pub(crate) done: Vec<Step>,
    pub(crate) log: Vec<Step>,
    pub(crate) delete: Vec<Step>,
}

/// A header map.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Map {
    Request,
    RequestTrailers,
    Response,
    ResponseTrailers,
    Call,
    GrpcInitial,
    GrpcTrailing,
}

/// A body.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Body {
    Request,
    Response,
    Call,
    Grpc,
}

/// A direction of the stream.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    Request,
    Response,
}

/// Where bytes come from: a text, or something that the host knows.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Value {
    Text(String),
    Source(Source),
}

/// What the host knows.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    Header(Map, String),
    /// All fields of a map, as `name=value;…`.
    Headers(Map),
    Body(Body),
    Property(Vec<String>),
    /// A property of eight bytes, as a decimal number.
    Number(Vec<String>),
    Shared(String),
    Dequeue(String),
    Metric(String),
    /// A foreign function and its argument.
    Foreign(String, String),
    /// How a gRPC call ended: its code and message.
    GrpcStatus,
    /// Streams that this instance has served, this one included.
    Streams,
    /// The host's clock, whole seconds.
    Seconds,
    /// A variable of the environment.
    Env(String),
    /// That many times `x`.
    Repeat(usize),
    /// Several, one after the other.
    Concat(Vec<Value>),
}

/// A local reply.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reply {
    pub(crate) status: u32,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Value>,
}

/// A callout.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    pub(crate) upstream: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default)]
    pub(crate) body: String,
    pub(crate) timeout_ms: u64,
}

/// A gRPC call: a unary one with a message, else a stream.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GrpcCall {
    pub(crate) upstream: String,
    pub(crate) method: String,
    #[serde(default)]
    pub(crate) metadata: Vec<(String, String)>,
    pub(crate) message: Option<String>,
    #[serde(default)]
    pub(crate) timeout_ms: u64,
}

/// One thing to do.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Log(Value),
    Set(Map, String, Value),
    Add(Map, String, Value),
    Remove(Map, String),
    /// Replaces `length` bytes from `start` on.
    SetBody(Body, usize, usize, Value),
    /// The action that the callback returns.
    Pause,
    Resume(Way),
    Reset(Way),
    Reply(Reply),
    Call(Call),
    Grpc(GrpcCall),
    /// Sends on the gRPC stream opened last; whether that is all.
    GrpcSend(String, bool),
    /// Half-closes it.
    GrpcClose,
    /// Cancels the gRPC stream opened last.
    GrpcCancel,
    SetProperty(Vec<String>, Value),
    Share(String, Value),
    /// Adds one to a shared decimal number, with compare and swap.
    CountShared(String),
    Enqueue(String, Value),
    /// Adds to a counter.
    Count(String, i64),
    Gauge(String, u64),
    Trap,
    Panic(String),
    Loop,
    /// Allocates without end.
    Allocate,
    Recurse,
    /// The callback answers false.
    Fail,
    /// `proxy_done`
    Done,
    /// Only when the request's `x-do` was this word.
    When(String, Vec<Self>),
    /// Only with the end of the stream.
    AtEnd(Vec<Self>),
    /// Only before the end of the stream.
    BeforeEnd(Vec<Self>),
}
