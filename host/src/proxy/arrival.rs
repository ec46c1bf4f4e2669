//! A request as it arrived, as far as it matters after its head has been changed; and its body as chain input.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::request::Parts;
use http::{HeaderValue, Method, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;

use super::stream::Connect;
use super::{ProxyError, grpc, local};
use crate::filter::Headers;
use crate::filter::chain::{Frame, Input, InputError};
use crate::upstream::{ClientBody, ResponseBody, Upload};

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
    /// What becomes of the body; `None` when none follows.
    pub(super) upload: Option<Rc<Upload>>,
    /// How long a gRPC client waits.
    pub(super) grpc_timeout: Option<Duration>,
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
        let length = body.size_hint().exact().filter(|_| has_body);
        let grpc = local::is_grpc(&parts.headers);
        Self {
            version: parts.version,
            grpc,
            grpc_timeout: if grpc { grpc::timeout(&parts.headers) } else { None },
            head_only: parts.method == Method::HEAD,
            expects: has_body && parts.headers.contains_key(header::EXPECT),
            length,
            upload: has_body.then(|| Rc::new(Upload::new(length))),
            last: false,
            upgrade: None,
            connect: None,
        }
    }
    /// Body bytes that were not read; `None` when nobody knows how many.
    pub(super) fn left(&self) -> Option<u64> {
        match &self.upload {
            Some(upload) => Some(self.length?.saturating_sub(upload.received().get())),
            None => Some(0),
        }
    }
    /// Whether the body may be read.
    ///
    /// # Errors
    /// Its declared length is more than it may have.
    pub(super) fn check_length(&self) -> Result<(), ProxyError> {
        self.upload.as_ref().map_or(Ok(()), |upload| upload.check_length()).map_err(Into::into)
    }
    /// The response has begun.
    pub(super) fn answered(&self) {
        if let Some(upload) = &self.upload {
            upload.answered();
        }
    }
    /// What a request failed with, unless it was its own body.
    pub(super) fn cause(&self, error: ProxyError) -> ProxyError {
        let fault = self.upload.as_ref().and_then(|upload| upload.fault());
        fault.map_or(error, Into::into)
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

/// A client's body as chain input.
pub(super) enum ClientInput {
    None,
    Some(ClientBody),
}

impl ClientInput {
    pub(super) fn new(body: Incoming, arrival: &Arrival) -> Self {
        match &arrival.upload {
            Some(upload) => Self::Some(ClientBody::new(body, Rc::clone(upload))),
            None => Self::None,
        }
    }
}

impl Input for ClientInput {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>> {
        match self {
            Self::None => Poll::Ready(None),
            Self::Some(body) => poll_input(body, cx),
        }
    }
    fn is_end(&self) -> bool {
        match self {
            Self::None => true,
            Self::Some(body) => body.is_end_stream(),
        }
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
    B: Body<Data = bytes::Bytes, Error: std::fmt::Display> + Unpin,
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
