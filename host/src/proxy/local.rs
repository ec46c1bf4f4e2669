//! Responses that do not come from an upstream: local replies of filters and of the gateway, as heads and bytes.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::error::ProxyError;
use super::request_id::{RequestId, X_REQUEST_ID};
use crate::filter::{Headers, LocalReply, Name, egress};

const GRPC_STATUS: http::HeaderName = http::HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: http::HeaderName = http::HeaderName::from_static("grpc-message");

/// Seconds after which a client may try again when memory is short: most bodies are gone by then, and others may be asked.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Whether a request is a gRPC call.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = value.strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// The gateway's own answer to what went wrong.
pub(super) fn error_reply(error: &ProxyError, id: &RequestId) -> LocalReply {
    let mut reply = LocalReply::text(error.status().as_u16(), error.public_text(), error.details());
    if matches!(error, ProxyError::MemoryLimit) {
        reply.headers.set(Name::Header(header::RETRY_AFTER), RETRY_AFTER);
    }
    identified(reply, id)
}

/// What is left to say when an answer's head cannot be sent.
pub(super) fn internal_error() -> egress::ResponseHead {
    egress::ResponseHead { status: StatusCode::INTERNAL_SERVER_ERROR, headers: HeaderMap::new() }
}

/// A reply with the request's identifier, by which the log can be asked for the reason.
pub(super) fn identified(mut reply: LocalReply, id: &RequestId) -> LocalReply {
    reply.headers.set(Name::Header(X_REQUEST_ID), id.value());
    reply
}

/// A reply as a head, `:status` first, and a body. A gRPC call gets a trailers-only answer: 200, the status in
/// `grpc-status`, the text in `grpc-message`, no body.
pub(super) fn message(reply: LocalReply, grpc: bool) -> (Headers, Bytes) {
    let mut head = Headers::with_capacity(reply.headers.len() + 3);
    if grpc {
        let status = reply.grpc_status.unwrap_or_else(|| grpc_status(reply.status));
        head.append(Name::Status, HeaderValue::from(200));
        head.append(Name::Header(header::CONTENT_TYPE), HeaderValue::from_static("application/grpc"));
        head.append(Name::Header(GRPC_STATUS), HeaderValue::from(status));
        if let Some(message) = grpc_message(&reply.body) {
            head.append(Name::Header(GRPC_MESSAGE), message);
        }
        let ours = |name: &Name| {
            [header::CONTENT_TYPE, header::CONTENT_LENGTH].iter().any(|ours| *name == Name::Header(ours.clone()))
        };
        for field in reply.headers.into_iter().filter(|field| !field.name.is_pseudo() && !ours(&field.name)) {
            head.append(field.name, field.value);
        }
        return (head, Bytes::new());
    }
    head.append(Name::Status, HeaderValue::from(reply.status));
    for field in reply.headers.into_iter().filter(|field| !field.name.is_pseudo()) {
        head.append(field.name, field.value);
    }
    let content_type = Name::Header(header::CONTENT_TYPE);
    if !reply.body.is_empty() && head.get(&content_type).is_none() {
        head.append(content_type, HeaderValue::from_static("text/plain"));
    }
    if has_length(reply.status) {
        head.set(Name::Header(header::CONTENT_LENGTH), HeaderValue::from(reply.body.len()));
        (head, reply.body)
    } else {
        head.remove(&Name::Header(header::CONTENT_LENGTH));
        (head, Bytes::new())
    }
}

/// Responses of some statuses have neither a body nor a length (RFC 9110 §8.6).
fn has_length(status: u16) -> bool {
    !matches!(status, 204 | 304)
}

/// What a gRPC client makes of an HTTP status (gRPC, "HTTP to gRPC Status Code Mapping").
fn grpc_status(status: u16) -> u32 {
    match StatusCode::from_u16(status) {
        Ok(StatusCode::OK) => 0,
        Ok(StatusCode::BAD_REQUEST) => 13,
        Ok(StatusCode::UNAUTHORIZED) => 16,
        Ok(StatusCode::FORBIDDEN) => 7,
        Ok(StatusCode::NOT_FOUND) => 12,
        Ok(StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) => 14,
        Ok(StatusCode::GATEWAY_TIMEOUT) => 14,
        _ => 2,
    }
}

/// The text, percent-encoded as gRPC wants it; `None` when there is none.
fn grpc_message(body: &[u8]) -> Option<HeaderValue> {
    let text = body.trim_ascii();
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        match byte {
            b'%' | 0..=0x1f | 0x7f.. => encoded.push_str(&format!("%{byte:02X}")),
            _ => encoded.push(char::from(*byte)),
        }
    }
    if encoded.is_empty() { None } else { HeaderValue::from_str(&encoded).ok() }
}
