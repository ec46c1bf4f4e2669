//! A request as it arrived, as far as it matters after its head has been changed; and its body as chain input.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;

use super::local;
use super::stream::Connect;
use crate::filter::Headers;
use crate::filter::chain::{Frame, Input, InputError};
use crate::upstream::ResponseBody;

/// What stays of a request's head.
pub(super) struct Arrival {
    pub(super) version: Version,
    /// A gRPC call, which is answered in its own way.
    pub(super) grpc: bool,
    /// A `HEAD` request, whose answer has no body.
    pub(super) head_only: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects: bool,
    /// The body's length, when it was declared.
    pub(super) length: Option<u64>,
    /// Body bytes read so far; `None` when no body follows.
    pub(super) received: Option<Rc<Cell<u64>>>,
    /// The connection has served as many requests as it may, or the gateway is about to end.
    pub(super) last: bool,
    /// The protocol that its connection is to be switched to.
    pub(super) upgrade: Option<HeaderValue>,
    /// It came as an extended CONNECT. Boxed, as few do.
    pub(super) connect: Option<Box<Connect>>,
}

impl Arrival {
    pub(super) fn new(parts: &Parts, body: &Incoming) -> Self {
        let has_body = !body.is_end_stream();
        Self {
            version: parts.version,
            grpc: local::is_grpc(&parts.headers),
            head_only: parts.method == Method::HEAD,
            expects: has_body && parts.headers.contains_key(header::EXPECT),
            length: body.size_hint().exact().filter(|_| has_body),
            received: has_body.then(Rc::default),
            last: false,
            upgrade: None,
            connect: None,
        }
    }
    /// Body bytes that were not read; `None` when nobody knows how many.
    pub(super) fn left(&self) -> Option<u64> {
        match &self.received {
            Some(received) => Some(self.length?.saturating_sub(received.get())),
            None => Some(0),
        }
    }
    /// The status that the client is told. A success would tell the client of an extended CONNECT that its stream is a tunnel from there
    /// on: where it is none, the gateway has no other word for it.
    pub(super) fn told(&self, status: StatusCode) -> StatusCode {
        if self.connect.is_some() && status.is_success() { StatusCode::BAD_GATEWAY } else { status }
    }
    pub(super) fn protocol(&self) -> &'static str {
        match self.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2",
            _ => "HTTP/1.1",
        }
    }
}

/// A client's body as chain input; counts what is read.
pub(super) struct ClientInput {
    pub(super) body: Incoming,
    pub(super) received: Option<Rc<Cell<u64>>>,
}

impl Input for ClientInput {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>> {
        let frame = ready!(poll_input(&mut self.body, cx));
        if let (Some(Ok(Frame::Data(data))), Some(received)) = (&frame, &self.received) {
            received.set(received.get().saturating_add(data.len() as u64));
        }
        Poll::Ready(frame)
    }
    fn is_end(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// An upstream's body as chain input.
pub(super) struct UpstreamInput(pub(super) ResponseBody);

impl Input for UpstreamInput {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>> {
        poll_input(&mut self.0, cx)
    }
    fn is_end(&self) -> bool {
        self.0.is_end_stream()
    }
}

/// Bytes at hand as chain input.
pub(super) struct BytesInput(pub(super) bytes::Bytes);

impl Input for BytesInput {
    fn poll_frame(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>> {
        let bytes = std::mem::take(&mut self.0);
        Poll::Ready((!bytes.is_empty()).then_some(Ok(Frame::Data(bytes))))
    }
    fn is_end(&self) -> bool {
        self.0.is_empty()
    }
}

fn poll_input<B>(body: &mut B, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>>
where
    B: Body<Data = bytes::Bytes, Error = hyper::Error> + Unpin,
{
    loop {
        let frame = match ready!(Pin::new(&mut *body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(InputError(error.to_string())))),
            None => return Poll::Ready(None),
        };
        match frame.into_data() {
            Ok(data) if data.is_empty() => {}
            Ok(data) => return Poll::Ready(Some(Ok(Frame::Data(data)))),
            Err(frame) => {
                if let Ok(map) = frame.into_trailers() {
                    let mut trailers = Headers::with_capacity(map.len());
                    trailers.extend_from_map(map);
                    return Poll::Ready(Some(Ok(Frame::Trailers(trailers))));
                }
            }
        }
    }
}
