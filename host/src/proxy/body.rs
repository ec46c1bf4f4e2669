//! A response's body on its way to the client: counts it and ends the exchange with it.

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::chain_body::see_end;
use super::patience::Patience;
use super::record::{End, Recording};
use crate::filter::chain::{self, Chain, ChainError, Framing};
use crate::filter::exchange::Interrupt;
use crate::filter::{Direction, egress};
use crate::observe::Reason;
use crate::upstream::{BodyError, ResponseBody};

/// A response's body.
pub struct ProxyBody {
    source: Source,
    recording: Option<Box<Recording>>,
    patience: Patience,
    /// Made when the body has to wait for the first time.
    timer: Option<Pin<Box<Sleep>>>,
}

/// Where the bytes come from.
enum Source {
    /// One piece, or nothing.
    Full(Bytes),
    /// The upstream, untouched.
    Upstream(ResponseBody),
    /// What leaves the chain; the length that is still to come, when it is known.
    Chain(Rc<Chain>, Option<u64>),
    /// The end has been reached.
    Ended,
}

/// Why the chain gives no more of a body.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Broken {
    reason: Reason,
    text: String,
}

impl Broken {
    fn new(error: ChainError) -> Self {
        let (reason, text) = match error {
            ChainError::Interrupted(Interrupt::Reply(_, reply)) => {
                (if reply.fault { Reason::FilterFault } else { Reason::FilterReset }, reply.details)
            }
            ChainError::Interrupted(Interrupt::Reset(text)) => (Reason::FilterReset, text),
            ChainError::Input(error) => (Reason::UpstreamReset, error.0),
            ChainError::TooLarge => (Reason::ResponseTooLarge, "the body is too large to be held".to_owned()),
            ChainError::LengthChanged => {
                (Reason::LengthChanged, "the body's length changed after its head was sent".to_owned())
            }
        };
        Self { reason, text }
    }
}

impl ProxyBody {
    /// A body in one piece.
    pub(super) fn full(bytes: Bytes, recording: Box<Recording>) -> Self {
        Self::new(Source::Full(bytes), recording, Patience::Endless)
    }
    /// Nothing, of an exchange that goes on without HTTP.
    pub(super) fn none() -> Self {
        Self { source: Source::Ended, recording: None, patience: Patience::Endless, timer: None }
    }
    /// The upstream's body as it is.
    pub(super) fn upstream(body: ResponseBody, recording: Box<Recording>, patience: Patience) -> Self {
        Self::new(Source::Upstream(body), recording, patience)
    }
    /// What the chain gives.
    pub(super) fn chain(chain: Rc<Chain>, framing: Framing, recording: Box<Recording>, patience: Patience) -> Self {
        let source = match framing {
            Framing::None => Source::Full(Bytes::new()),
            Framing::Length(length) => Source::Chain(chain, Some(length)),
            Framing::Streamed => Source::Chain(chain, None),
        };
        Self::new(source, recording, patience)
    }
    fn new(source: Source, recording: Box<Recording>, patience: Patience) -> Self {
        Self { source, recording: Some(recording), patience, timer: None }
    }
    /// The exchange is over; whatever feeds the body is dropped.
    fn finish(&mut self, end: End) {
        self.source = Source::Ended;
        if let Some(mut recording) = self.recording.take() {
            recording.finish(end);
        }
    }
    fn broken_off(&mut self, reason: Reason, error: &dyn fmt::Display) {
        if let Some(recording) = &mut self.recording {
            recording.broken_off(reason, error);
        }
    }
    fn count(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref()
            && let Some(recording) = &mut self.recording
        {
            recording.outcome.response_bytes = recording.outcome.response_bytes.saturating_add(data.len() as u64);
        }
    }
    fn poll_timeout(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.is_none() {
            let Some(end) = self.patience.end() else { return Poll::Pending };
            self.timer = Some(Box::pin(tokio::time::sleep_until(end)));
        }
        self.timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx))
    }
    /// A piece has come.
    fn wait_anew(&mut self) {
        if let (Patience::Between(_), Some(timer), Some(end)) = (self.patience, &mut self.timer, self.patience.end()) {
            timer.as_mut().reset(end);
        }
    }
    fn time_out(&mut self) -> BodyError {
        let (reason, text) = match self.patience {
            Patience::Between(_) => (Reason::UpstreamTimeout, "no event for too long"),
            Patience::Endless | Patience::Until(_) => (Reason::RouteTimeout, "route timeout"),
        };
        self.broken_off(reason, &text);
        self.finish(End::Timeout);
        text.into()
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Upstream(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Chain(chain, left) => {
                let frame = match ready!(chain.poll_frame(Direction::Response, cx)) {
                    Some(Ok(chain::Frame::Data(data))) => {
                        *left = left.map(|left| left.saturating_sub(data.len() as u64));
                        if *left == Some(0) {
                            see_end(chain, Direction::Response, cx);
                        }
                        Some(Ok(Frame::data(data)))
                    }
                    Some(Ok(chain::Frame::Trailers(trailers))) => {
                        Some(Ok(Frame::trailers(egress::trailers(&trailers))))
                    }
                    Some(Err(error)) => Some(Err(Broken::new(error).into())),
                    None => None,
                };
                Poll::Ready(frame)
            }
            Self::Ended => Poll::Ready(None),
        }
    }
    fn is_end(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_empty(),
            Self::Upstream(body) => body.is_end_stream(),
            Self::Chain(_, left) => *left == Some(0),
            Self::Ended => true,
        }
    }
}

impl Body for ProxyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match this.source.poll(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                this.count(&frame);
                this.wait_anew();
                if this.source.is_end() {
                    this.finish(End::Complete);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                let broken = error.downcast_ref::<Broken>().map_or(Reason::UpstreamReset, |broken| broken.reason);
                this.broken_off(broken, &error);
                this.finish(End::Broken);
                Poll::Ready(Some(Err(error)))
            }
            Poll::Ready(None) => {
                this.finish(End::Complete);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.poll_timeout(cx));
                Poll::Ready(Some(Err(this.time_out())))
            }
        }
    }
    fn is_end_stream(&self) -> bool {
        self.source.is_end()
    }
    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Upstream(body) => body.size_hint(),
            Source::Chain(_, Some(left)) => SizeHint::with_exact(*left),
            Source::Chain(_, None) => SizeHint::default(),
            Source::Ended => SizeHint::with_exact(0),
        }
    }
}

impl Drop for ProxyBody {
    fn drop(&mut self) {
        let end = if self.source.is_end() { End::Complete } else { End::ClientGone };
        self.finish(end);
    }
}

impl fmt::Debug for ProxyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyBody")
    }
}
