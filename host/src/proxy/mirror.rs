//! Copies of requests for other upstreams, whose answers nobody waits for. A copy never holds up its original: where it does not keep
//! up, it is given up.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use tokio::sync::mpsc;

use crate::upstream::{BodyError, RequestBody, Upstream};

/// Pieces of a body that wait for a copy's upstream.
const PIECES: usize = 64;
/// Limit of a copy's whole exchange.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of an answer that are read before its connection is closed instead of reused.
const ANSWER_BYTES: usize = 1 << 20;

/// Where copies go.
pub struct Mirror {
    /// The upstream.
    pub upstream: Rc<Upstream>,
    /// The share of the requests that are copied, 0 to 1.
    pub share: f64,
}

/// Sends the copies of a request that are due.
pub(super) fn copy(request: Request<RequestBody>, mirrors: &[Mirror]) -> Request<RequestBody> {
    let due =
        |mirror: &&Mirror| (mirror.share >= 1.0 || fastrand::f64() < mirror.share) && !mirror.upstream.is_crowded();
    mirrors.iter().filter(due).fold(request, |request, mirror| one(request, &mirror.upstream))
}

fn one(request: Request<RequestBody>, upstream: &Rc<Upstream>) -> Request<RequestBody> {
    let (parts, body) = request.into_parts();
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = parts.method.clone();
    *copy.uri_mut() = parts.uri.clone();
    *copy.headers_mut() = parts.headers.clone();
    let body = match body {
        RequestBody::Empty => RequestBody::Empty,
        RequestBody::Full(bytes) => {
            *copy.body_mut() = RequestBody::Full(bytes.clone());
            RequestBody::Full(bytes)
        }
        body => {
            let (sender, pieces) = mpsc::channel(PIECES);
            *copy.body_mut() = RequestBody::Stream(Box::pin(Copied { pieces, ended: false, size: body.size_hint() }));
            RequestBody::Stream(Box::pin(Original { body, copy: Some(sender) }))
        }
    };
    let upstream = Rc::clone(upstream);
    tokio::task::spawn_local(async move {
        let address = Cell::new(None);
        let exchange = async {
            match upstream.send(copy, &address).await {
                Ok(response) => drop(Limited::new(response.into_body(), ANSWER_BYTES).collect().await),
                Err(error) => tracing::debug!(%error, upstream = %upstream.name(), "A copy was not answered."),
            }
        };
        if tokio::time::timeout(TIMEOUT, exchange).await.is_err() {
            tracing::debug!(upstream = %upstream.name(), "A copy took too long and was given up.");
        }
    });
    Request::from_parts(parts, body)
}

/// A piece of a body for its copy; `End` tells a whole body from one that broke off.
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
}

/// A body that hands on what is read of it.
struct Original {
    body: RequestBody,
    /// Nothing any more once the copy does not keep up.
    copy: Option<mpsc::Sender<Piece>>,
}

impl Original {
    fn tell(&mut self, piece: Piece) {
        if self.copy.as_ref().is_some_and(|copy| copy.try_send(piece).is_err()) {
            self.copy = None;
        }
    }
}

impl Body for Original {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.tell(Piece::Data(data.clone()));
                } else if let Some(trailers) = frame.trailers_ref() {
                    this.tell(Piece::Trailers(trailers.clone()));
                }
                if this.body.is_end_stream() {
                    this.tell(Piece::End);
                }
            }
            Some(Err(_)) => this.copy = None,
            None => this.tell(Piece::End),
        }
        Poll::Ready(frame)
    }
    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a copy's upstream reads.
struct Copied {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
    size: SizeHint,
}

impl Body for Copied {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match ready!(this.pieces.poll_recv(cx)) {
            Some(Piece::Data(data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
            Some(Piece::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(Piece::End) => {
                this.ended = true;
                Poll::Ready(None)
            }
            // The original broke off, or left the copy behind: half a body must not look whole.
            None => Poll::Ready(Some(Err("the copy was given up".into()))),
        }
    }
    fn is_end_stream(&self) -> bool {
        self.ended
    }
    fn size_hint(&self) -> SizeHint {
        self.size
    }
}
