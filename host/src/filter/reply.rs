//! Local replies: responses made by a filter or by the gateway itself.

use bytes::Bytes;

use super::Headers;

/// A response that does not come from an upstream.
#[derive(Clone, Debug, Default)]
pub struct LocalReply {
    /// HTTP status, 200..=599 (a guest's status outside that range becomes 500 where it is recorded).
    pub status: u16,
    /// Headers that the filter gave, in its order; `content-type` and `content-length` are filled in when it gave none.
    pub headers: Headers,
    /// The whole body.
    pub body: Bytes,
    /// The gRPC status a gRPC client is answered with, when the filter named one (0..=16).
    pub grpc_status: Option<u32>,
    /// Who replied and why, as in `response.code_details`: `auth: missing credentials`, `gateway: no route`.
    pub details: String,
    /// Made because a filter that fails closed has faulted.
    pub fault: bool,
}

impl LocalReply {
    /// A reply with a plain-text body, as the gateway makes for its own errors.
    #[must_use]
    pub fn text(status: u16, body: &'static str, details: impl Into<String>) -> Self {
        Self {
            status,
            headers: Headers::default(),
            body: Bytes::from_static(body.as_bytes()),
            grpc_status: None,
            details: details.into(),
            fault: false,
        }
    }
}
