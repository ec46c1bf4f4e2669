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
use tokio::task::AbortHandle;

use crate::upstream::{BodyError, Held, Journey, RequestBody, Switch, Upstream};

/// Pieces of a body that wait for a copy's upstream, and their bytes.
const PIECES: usize = 64;
const WAITING_BYTES: usize = 1 << 20;
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
    // A connection that becomes something else has no copy.
    if request.extensions().get::<Switch>().is_some() {
        return request;
    }
    let due = |mirror: &&Mirror| mirror.share >= 1.0 || fastrand::f64() < mirror.share;
    mirrors.iter().filter(due).fold(request, |request, mirror| match mirror.upstream.may_copy() {
        Some(allowed) => one(request, &mirror.upstream, allowed),
        None => request,
    })
}

fn one(request: Request<RequestBody>, upstream: &Rc<Upstream>, allowed: Held) -> Request<RequestBody> {
    let (parts, body) = request.into_parts();
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = parts.method.clone();
    *copy.uri_mut() = parts.uri.clone();
    *copy.headers_mut() = parts.headers.clone();
    let (sender, pieces) = mpsc::channel(PIECES);
    let waiting = Rc::<Cell<usize>>::default();
    *copy.body_mut() = match &body {
        RequestBody::Empty => RequestBody::Empty,
        RequestBody::Full(bytes) => RequestBody::Full(bytes.clone()),
        body => {
            let (waiting, size) = (Rc::clone(&waiting), body.size_hint());
            RequestBody::Stream(Box::pin(Copied { pieces, waiting, ended: false, size }))
        }
    };
    let upstream = Rc::clone(upstream);
    let task = tokio::task::spawn_local(async move {
        let _allowed = allowed;
        if tokio::time::timeout(TIMEOUT, exchange(&upstream, copy)).await.is_err() {
            tracing::debug!(upstream = %upstream.name(), "A copy took too long and was given up.");
        }
    });
    let body = match body {
        body @ (RequestBody::Empty | RequestBody::Full(_)) => body,
        body => {
            let copy = Some((sender, task.abort_handle()));
            RequestBody::Stream(Box::pin(Original { body, copy, waiting }))
        }
    };
    Request::from_parts(parts, body)
}

async fn exchange(upstream: &Upstream, copy: Request<RequestBody>) {
    match upstream.send(copy, &Journey::default()).await {
        Ok(response) => drop(Limited::new(response.into_body(), ANSWER_BYTES).collect().await),
        Err(error) => tracing::debug!(%error, upstream = %upstream.name(), "A copy was not answered."),
    }
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
    copy: Option<(mpsc::Sender<Piece>, AbortHandle)>,
    /// Bytes that wait for the copy's upstream.
    waiting: Rc<Cell<usize>>,
}

impl Original {
    fn tell(&mut self, piece: Piece) {
        let Some((copy, _)) = &self.copy else { return };
        if let Piece::Data(data) = &piece {
            self.waiting.set(self.waiting.get().saturating_add(data.len()));
        }
        if self.waiting.get() > WAITING_BYTES || copy.try_send(piece).is_err() {
            self.give_up();
        }
    }
    /// Ends the copy, with all that it holds.
    fn give_up(&mut self) {
        if let Some((_, task)) = self.copy.take() {
            task.abort();
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
            Some(Err(_)) => this.give_up(),
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
    waiting: Rc<Cell<usize>>,
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
            Some(Piece::Data(data)) => {
                this.waiting.set(this.waiting.get().saturating_sub(data.len()));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
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
