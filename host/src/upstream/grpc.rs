//! gRPC callouts: one HTTP/2 request whose bodies are messages behind their lengths, and whose trailers say how it ended
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>). Messages are opaque; compression is not offered.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use percent_encoding::percent_decode;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::AbortHandle;

use super::body::BodyError;
use super::callouts::{self, Open};
use super::{Journey, RequestBody, Upstream};
use crate::filter::{CalloutRefused, GrpcCall, GrpcEvent, GrpcStream, Headers};

/// Bytes of messages that may wait for an upstream to take them, and their number.
const SEND_BYTES: usize = 1 << 20;
const SEND_MESSAGES: usize = 1024;
/// A message's prefix: one byte that says whether it is compressed, four of length.
const PREFIX: usize = 5;
/// Most of a `grpc-message` that is kept, bytes.
const MESSAGE_BYTES: usize = 1024;
/// The longest `grpc-timeout` has eight digits.
const TIMEOUT_DIGITS: u128 = 99_999_999;

/// Statuses that the gateway itself gives (the gRPC status codes).
mod code {
    pub(super) const OK: u32 = 0;
    pub(super) const UNKNOWN: u32 = 2;
    pub(super) const DEADLINE_EXCEEDED: u32 = 4;
    pub(super) const PERMISSION_DENIED: u32 = 7;
    pub(super) const RESOURCE_EXHAUSTED: u32 = 8;
    pub(super) const UNIMPLEMENTED: u32 = 12;
    pub(super) const INTERNAL: u32 = 13;
    pub(super) const UNAVAILABLE: u32 = 14;
    pub(super) const UNAUTHENTICATED: u32 = 16;
    /// The highest code there is.
    pub(super) const LAST: u32 = UNAUTHENTICATED;
}

/// How a call ended.
type Closed = (u32, String);

/// An open call.
pub(super) struct Stream {
    /// Nothing once closed.
    messages: Option<mpsc::Sender<Bytes>>,
    waiting: Rc<Cell<usize>>,
    task: AbortHandle,
}

impl GrpcStream for Stream {
    fn send(&self, message: &[u8]) -> bool {
        let Some(messages) = &self.messages else { return true };
        let Ok(length) = u32::try_from(message.len()) else { return false };
        let size = PREFIX + message.len();
        if self.waiting.get().saturating_add(size) > SEND_BYTES {
            return false;
        }
        let mut framed = BytesMut::with_capacity(size);
        framed.put_u8(0);
        framed.put_u32(length);
        framed.extend_from_slice(message);
        match messages.try_send(framed.freeze()) {
            Ok(()) => {
                self.waiting.set(self.waiting.get() + size);
                true
            }
            Err(TrySendError::Full(_)) => false,
            // A call that has ended takes no more; its end is being told.
            Err(TrySendError::Closed(_)) => true,
        }
    }
    fn close(&mut self) {
        self.messages = None;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Messages on their way to the upstream.
struct Outgoing {
    messages: mpsc::Receiver<Bytes>,
    waiting: Rc<Cell<usize>>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let message = ready!(this.messages.poll_recv(cx));
        Poll::Ready(message.map(|message| {
            this.waiting.set(this.waiting.get().saturating_sub(message.len()));
            Ok(Frame::data(message))
        }))
    }
}

/// Opens a call. `limit`: bytes of one message of the answer.
pub(super) fn open(
    upstream: Rc<Upstream>,
    call: GrpcCall,
    limit: usize,
    open: Open,
    mut events: Box<dyn FnMut(GrpcEvent)>,
) -> Result<Stream, CalloutRefused> {
    if !upstream.speaks_http2() {
        return Err(CalloutRefused::NotHttp2);
    }
    let timeout = call.timeout;
    let (sender, messages) = mpsc::channel(SEND_MESSAGES);
    let waiting = Rc::<Cell<usize>>::default();
    let outgoing = Outgoing { messages, waiting: Rc::clone(&waiting) };
    let request = request(call, outgoing).map_err(CalloutRefused::BadRequest)?;
    let task = tokio::task::spawn_local(async move {
        let (code, message) = run(&upstream, request, limit, timeout, &mut *events).await;
        drop(open);
        events(GrpcEvent::Close(code, message));
    });
    Ok(Stream { messages: Some(sender), waiting, task: task.abort_handle() })
}

fn request(call: GrpcCall, outgoing: Outgoing) -> Result<Request<RequestBody>, String> {
    let part = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if !part(&call.service) || !part(&call.method) {
        return Err(format!("{:?} and {:?} are not a service and a method", call.service, call.method));
    }
    let mut request = Request::new(RequestBody::Stream(Box::pin(outgoing)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() =
        Uri::try_from(format!("/{}/{}", call.service, call.method)).map_err(|error| error.to_string())?;
    let headers = request.headers_mut();
    callouts::fields(call.metadata, headers);
    // What the protocol itself says is ours to say.
    for name in ["grpc-timeout", "grpc-encoding", "grpc-accept-encoding"] {
        headers.remove(name);
    }
    let authority = call.authority.unwrap_or(call.upstream);
    headers.insert(header::HOST, HeaderValue::from_str(&authority).map_err(|error| error.to_string())?);
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if let Some(timeout) = call.timeout {
        let value = HeaderValue::try_from(grpc_timeout(timeout)).map_err(|error| error.to_string())?;
        headers.insert(HeaderName::from_static("grpc-timeout"), value);
    }
    Ok(request)
}

/// A timeout as the protocol writes it: up to eight digits and a unit.
fn grpc_timeout(timeout: Duration) -> String {
    match timeout.as_millis() {
        milliseconds @ ..=TIMEOUT_DIGITS => format!("{milliseconds}m"),
        _ => format!("{}S", u128::from(timeout.as_secs()).min(TIMEOUT_DIGITS)),
    }
}

async fn run(
    upstream: &Upstream,
    request: Request<RequestBody>,
    limit: usize,
    timeout: Option<Duration>,
    events: &mut dyn FnMut(GrpcEvent),
) -> Closed {
    let talk = talk(upstream, request, limit, events);
    match timeout {
        Some(timeout) => tokio::time::timeout(timeout, talk)
            .await
            .unwrap_or_else(|_| (code::DEADLINE_EXCEEDED, "the call's time is up".to_owned())),
        None => talk.await,
    }
}

/// Sends the request and tells what comes back, up to the status.
async fn talk(
    upstream: &Upstream,
    request: Request<RequestBody>,
    limit: usize,
    events: &mut dyn FnMut(GrpcEvent),
) -> Closed {
    let response = match upstream.send(request, &Journey::default()).await {
        Ok(response) => response,
        Err(error) => return (code::UNAVAILABLE, error.to_string()),
    };
    let (parts, mut body) = response.into_parts();
    if parts.status != StatusCode::OK {
        return (code_of_http(parts.status), format!("the upstream answered HTTP {}", parts.status.as_u16()));
    }
    // "Trailers-Only": the head is the end.
    if let Some(closed) = status(&parts.headers) {
        events(GrpcEvent::TrailingMetadata(headers(parts.headers)));
        return closed;
    }
    let content_type = parts.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if !content_type.starts_with(b"application/grpc") {
        return (code::UNKNOWN, "the upstream's answer is not gRPC".to_owned());
    }
    events(GrpcEvent::InitialMetadata(headers(parts.headers)));
    let mut incoming = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                incoming.extend_from_slice(&data);
                loop {
                    match next_message(&mut incoming, limit) {
                        Ok(Some(message)) => events(GrpcEvent::Message(message)),
                        Ok(None) => break,
                        Err(closed) => return closed,
                    }
                    // A stream that never pauses leaves the worker to others, too.
                    tokio::task::coop::consume_budget().await;
                }
                continue;
            }
            Ok(Err(frame)) => frame,
            Err(error) => return (code::UNAVAILABLE, error.to_string()),
        };
        if let Ok(trailers) = frame.into_trailers()
            && let Some(closed) = status(&trailers)
        {
            if !incoming.is_empty() {
                return (code::INTERNAL, "the upstream ended inside a message".to_owned());
            }
            events(GrpcEvent::TrailingMetadata(headers(trailers)));
            return closed;
        }
    }
    (code::UNKNOWN, "the upstream ended without a status".to_owned())
}

/// Takes the next whole message.
fn next_message(incoming: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, Closed> {
    let Some((prefix, rest)) = incoming.split_first_chunk::<PREFIX>() else { return Ok(None) };
    let [compressed, length @ ..] = *prefix;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if compressed != 0 {
        return Err((code::INTERNAL, "the upstream's message is compressed, which was not offered".to_owned()));
    }
    if length > limit {
        return Err((code::RESOURCE_EXHAUSTED, format!("the upstream's message is larger than {limit} bytes")));
    }
    if rest.len() < length {
        return Ok(None);
    }
    incoming.advance(PREFIX);
    Ok(Some(incoming.split_to(length).freeze()))
}

/// `grpc-status` and `grpc-message`, when there is a status.
fn status(fields: &HeaderMap) -> Option<Closed> {
    let value = fields.get("grpc-status")?.to_str().ok();
    let code = value.and_then(|value| value.parse().ok()).filter(|code| *code <= code::LAST);
    let message = fields.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
    let message = percent_decode(&message[..message.len().min(MESSAGE_BYTES)]).decode_utf8_lossy().into_owned();
    Some((code.unwrap_or(code::UNKNOWN), message))
}

/// The code for an answer that is not gRPC's (<https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md>).
fn code_of_http(status: StatusCode) -> u32 {
    match status.as_u16() {
        200 => code::OK,
        400 => code::INTERNAL,
        401 => code::UNAUTHENTICATED,
        403 => code::PERMISSION_DENIED,
        404 => code::UNIMPLEMENTED,
        429 | 502 | 503 | 504 => code::UNAVAILABLE,
        _ => code::UNKNOWN,
    }
}

fn headers(map: HeaderMap) -> Headers {
    let mut headers = Headers::with_capacity(map.len());
    headers.extend_from_map(map);
    headers
}
