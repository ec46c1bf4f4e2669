//! Why the gateway answers a request itself: the one place where errors become statuses and texts.

use std::borrow::Cow;
use std::rc::Rc;

use http::StatusCode;

use super::validate::BadRequest;
use crate::observe::Reason;
use crate::upstream::{UploadFault, UpstreamError};

/// Why a request is answered by the gateway. What the client is told is [`ProxyError::public_text`]; `Display` is for the log.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The request is malformed.
    #[error("bad request: {0}")]
    BadRequest(#[from] BadRequest),
    /// A method that a gateway cannot serve (`CONNECT`).
    #[error("method not implemented")]
    NotImplemented,
    /// More fields than the limit.
    #[error("too many header fields")]
    TooManyHeaders,
    /// No route takes the request.
    #[error("no route")]
    NoRoute,
    /// The client's body broke off or broke the protocol.
    #[error("request body failed: {0}")]
    RequestBody(String),
    /// The client's body is longer than it may be.
    #[error("{0}")]
    BodyTooLarge(UploadFault),
    /// The client's body did not come in time.
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    /// The request's target is longer than the limit.
    #[error("request target too long")]
    UriTooLong,
    /// The client's own limit passed, of a gRPC call.
    #[error("grpc-timeout passed")]
    Deadline,
    /// A filter buffers the request's body, and it passed the limit.
    #[error("request body too large to be buffered")]
    RequestTooLarge,
    /// The same for the response's.
    #[error("response body too large to be buffered")]
    ResponseTooLarge,
    /// The upstream gave no response.
    #[error("{0}")]
    Upstream(#[from] UpstreamError),
    /// The upstream's response ended early, or is one that cannot be handed on.
    #[error("bad response: {0}")]
    BadResponse(String),
    /// No response within the route's timeout.
    #[error("route timeout")]
    Timeout,
    /// The process has more memory than it may have.
    #[error("over the memory limit")]
    MemoryLimit,
    /// What a filter left of the message cannot be sent.
    #[error("a filter made an invalid message: {0}")]
    FilterOutput(String),
    /// A filter had the route chosen again, and none takes what it made of the request.
    #[error("no route for what the filters made of the request")]
    NoOtherRoute,
    /// A filter had the route chosen again, and the request has not passed what guards the new one.
    #[error("the filters lead to the route \"{0}\", whose own filters the request has not passed")]
    Unpassed(Rc<str>),
}

impl From<UploadFault> for ProxyError {
    fn from(fault: UploadFault) -> Self {
        match fault {
            UploadFault::TooLarge(_) => Self::BodyTooLarge(fault),
            UploadFault::Stalled(_) => Self::BodyTimeout,
        }
    }
}

impl ProxyError {
    /// The status that the client gets.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) | Self::RequestBody(_) => StatusCode::BAD_REQUEST,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::NoRoute | Self::NoOtherRoute => StatusCode::NOT_FOUND,
            Self::RequestTooLarge | Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::UriTooLong => StatusCode::URI_TOO_LONG,
            Self::ResponseTooLarge | Self::BadResponse(_) => StatusCode::BAD_GATEWAY,
            Self::Timeout | Self::Deadline => StatusCode::GATEWAY_TIMEOUT,
            Self::MemoryLimit => StatusCode::SERVICE_UNAVAILABLE,
            Self::FilterOutput(_) | Self::Unpassed(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Upstream(error) => match error {
                UpstreamError::Resolve { .. }
                | UpstreamError::Connect { .. }
                | UpstreamError::NoTarget { .. }
                | UpstreamError::Full { .. }
                | UpstreamError::TooMany { .. } => StatusCode::SERVICE_UNAVAILABLE,
                UpstreamError::ConnectTimeout { .. } | UpstreamError::TryTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
                UpstreamError::Closed { .. } | UpstreamError::Invalid { .. } | UpstreamError::NotSwitched { .. } => {
                    StatusCode::BAD_GATEWAY
                }
                UpstreamError::RequestBody { .. } => StatusCode::BAD_REQUEST,
                UpstreamError::BadRequest(_) => StatusCode::INTERNAL_SERVER_ERROR,
            },
        }
    }
    /// What the client is told: nothing about what is behind the gateway.
    #[must_use]
    pub fn public_text(&self) -> &'static str {
        match self {
            Self::BadRequest(_) | Self::RequestBody(_) => "bad request\n",
            Self::NotImplemented => "not implemented\n",
            Self::TooManyHeaders => "request header fields too large\n",
            Self::NoRoute | Self::NoOtherRoute => "not found\n",
            Self::RequestTooLarge | Self::BodyTooLarge(_) => "request body too large\n",
            Self::BodyTimeout => "request timeout\n",
            Self::UriTooLong => "uri too long\n",
            Self::Deadline => "deadline exceeded\n",
            Self::ResponseTooLarge | Self::BadResponse(_) => "bad gateway\n",
            Self::Timeout => "upstream request timeout\n",
            Self::MemoryLimit => "overloaded\n",
            Self::FilterOutput(_) | Self::Unpassed(_) => "internal error\n",
            Self::Upstream(error) => match error {
                UpstreamError::Resolve { .. }
                | UpstreamError::Connect { .. }
                | UpstreamError::NoTarget { .. }
                | UpstreamError::Full { .. }
                | UpstreamError::TooMany { .. } => "upstream unavailable\n",
                UpstreamError::ConnectTimeout { .. } | UpstreamError::TryTimeout { .. } => "upstream request timeout\n",
                UpstreamError::Closed { .. } | UpstreamError::Invalid { .. } | UpstreamError::NotSwitched { .. } => {
                    "bad gateway\n"
                }
                UpstreamError::RequestBody { .. } => "bad request\n",
                UpstreamError::BadRequest(_) => "internal error\n",
            },
        }
    }
    /// The reason as it is counted.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::BadRequest(_) => Reason::BadRequest,
            Self::NotImplemented => Reason::Unsupported,
            Self::TooManyHeaders => Reason::HeadersTooLarge,
            Self::NoRoute | Self::NoOtherRoute => Reason::NoRoute,
            Self::RequestBody(_) => Reason::RequestAborted,
            Self::BodyTooLarge(_) => Reason::BodyTooLarge,
            Self::BodyTimeout => Reason::BodyTimeout,
            Self::UriTooLong => Reason::UriTooLong,
            Self::Deadline => Reason::ClientDeadline,
            Self::RequestTooLarge => Reason::RequestTooLarge,
            Self::ResponseTooLarge => Reason::ResponseTooLarge,
            Self::BadResponse(_) => Reason::UpstreamProtocol,
            Self::Timeout => Reason::RouteTimeout,
            Self::MemoryLimit => Reason::MemoryLimit,
            Self::FilterOutput(_) => Reason::FilterOutput,
            Self::Unpassed(_) => Reason::RerouteRefused,
            Self::Upstream(error) => match error {
                UpstreamError::Resolve { .. } | UpstreamError::Connect { .. } => Reason::UpstreamConnectFailed,
                UpstreamError::NoTarget { .. } => Reason::NoTarget,
                UpstreamError::TooMany { .. } | UpstreamError::Full { .. } => Reason::Overloaded,
                UpstreamError::ConnectTimeout { .. } => Reason::UpstreamConnectTimeout,
                UpstreamError::TryTimeout { .. } => Reason::UpstreamTimeout,
                UpstreamError::Closed { .. } => Reason::UpstreamReset,
                UpstreamError::Invalid { .. } | UpstreamError::NotSwitched { .. } => Reason::UpstreamProtocol,
                UpstreamError::RequestBody { .. } => Reason::RequestAborted,
                UpstreamError::BadRequest(_) => Reason::Internal,
            },
        }
    }
    /// The reason in `response.code_details` and in logs.
    #[must_use]
    pub fn details(&self) -> Cow<'static, str> {
        match self {
            Self::NoRoute => Cow::Borrowed("gateway: no route"),
            Self::Timeout => Cow::Borrowed("gateway: route timeout"),
            Self::MemoryLimit => Cow::Borrowed("gateway: memory limit"),
            Self::BadRequest(_)
            | Self::NotImplemented
            | Self::TooManyHeaders
            | Self::RequestBody(_)
            | Self::BodyTooLarge(_)
            | Self::BodyTimeout
            | Self::UriTooLong
            | Self::Deadline
            | Self::RequestTooLarge
            | Self::ResponseTooLarge
            | Self::Upstream(_)
            | Self::BadResponse(_)
            | Self::FilterOutput(_)
            | Self::NoOtherRoute
            | Self::Unpassed(_) => Cow::Owned(format!("gateway: {self}")),
        }
    }
    /// Whether the client's connection is closed after the answer: it cannot be trusted any more, or not be afforded.
    #[must_use]
    pub fn closes(&self) -> bool {
        match self {
            Self::BadRequest(_) | Self::NotImplemented | Self::TooManyHeaders | Self::RequestBody(_) => true,
            // A connection that stays open keeps its buffers.
            Self::MemoryLimit => true,
            // What comes late would be taken for a next request by nobody, but may not come at all.
            Self::BodyTimeout => true,
            Self::NoRoute
            | Self::BodyTooLarge(_)
            | Self::UriTooLong
            | Self::Deadline
            | Self::RequestTooLarge
            | Self::ResponseTooLarge
            | Self::Upstream(_)
            | Self::BadResponse(_)
            | Self::Timeout
            | Self::FilterOutput(_)
            | Self::NoOtherRoute
            | Self::Unpassed(_) => false,
        }
    }
}
