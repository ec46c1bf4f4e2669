//! Bodies to and from upstreams.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::pool::Lease;
use super::{ClientBody, InUse};

/// What bodies fail with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body on its way to an upstream.
pub enum RequestBody {
    /// None.
    Empty,
    /// All of it in one piece.
    Full(Bytes),
    /// As the client sends it, but for its trailers, which are cleaned.
    Client(ClientBody, fn(&mut HeaderMap)),
    /// Anything else, such as the output of a filter chain.
    Stream(Pin<Box<dyn Body<Data = Bytes, Error = BodyError>>>),
}

impl RequestBody {
    /// Whether there is certainly no body, so that a request can be sent once more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Client(body, clean) => {
                let frame = std::task::ready!(Pin::new(body).poll_frame(cx));
                let clean = |mut frame: Frame<Bytes>| {
                    if let Some(trailers) = frame.trailers_mut() {
                        clean(trailers);
                    }
                    frame
                };
                Poll::Ready(frame.map(|frame| frame.map(clean)))
            }
            Self::Stream(body) => body.as_mut().poll_frame(cx),
        }
    }
    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(bytes) => bytes.is_empty(),
            Self::Client(body, _) => body.is_end_stream(),
            Self::Stream(body) => body.is_end_stream(),
        }
    }
    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Client(body, _) => body.size_hint(),
            Self::Stream(body) => body.size_hint(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "Empty",
            Self::Full(_) => "Full",
            Self::Client(..) => "Client",
            Self::Stream(_) => "Stream",
        })
    }
}

/// A response's body. Its connection goes back to the pool when the body has ended, and is closed when the body is
/// dropped before.
pub struct ResponseBody {
    incoming: Incoming,
    lease: Option<Lease>,
    /// What counts the request until its response has ended.
    in_use: Option<InUse>,
}

impl ResponseBody {
    pub(super) fn new(incoming: Incoming, lease: Option<Lease>) -> Self {
        let mut body = Self { incoming, lease, in_use: None };
        body.release_at_end();
        body
    }
    /// Holds that until the end.
    pub(super) fn holding(self, in_use: InUse) -> Self {
        Self { in_use: Some(in_use), ..self }
    }
    /// What counts the request, for what outlives this body.
    pub fn take_in_use(&mut self) -> Option<InUse> {
        self.in_use.take()
    }
    fn release_at_end(&mut self) {
        if self.incoming.is_end_stream()
            && let Some(lease) = self.lease.take()
        {
            lease.release();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let frame = std::task::ready!(Pin::new(&mut this.incoming).poll_frame(cx));
        match &frame {
            Some(Ok(_)) => this.release_at_end(),
            Some(Err(_)) => this.lease = None,
            None => {
                if let Some(lease) = this.lease.take() {
                    lease.release();
                }
                this.in_use = None;
            }
        }
        Poll::Ready(frame)
    }
    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseBody")
    }
}
