//! A request's body on its way from the chain to the upstream.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, SizeHint};

use super::forward;
use crate::filter::chain::{ChainError, Frame};
use crate::filter::{Chain, Direction, egress};
use crate::upstream::BodyError;

/// The request's body as it leaves the chain, polled by the upstream's connection.
pub(super) struct ChainBody {
    pub(super) chain: Rc<Chain>,
    /// What is still to come, when it is known.
    pub(super) left: Option<u64>,
    /// Where the reason is left when the chain breaks the body off.
    pub(super) failure: Rc<RefCell<Option<ChainError>>>,
}

impl Body for ChainBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = match ready!(this.chain.poll_frame(Direction::Request, cx)) {
            Some(Ok(Frame::Data(data))) => {
                this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
                if this.left == Some(0) {
                    see_end(&this.chain, Direction::Request, cx);
                }
                Some(Ok(http_body::Frame::data(data)))
            }
            Some(Ok(Frame::Trailers(trailers))) => {
                let mut map = egress::trailers(&trailers);
                forward::clean_trailers(&mut map);
                forward::remove_if(&mut map, |name| this.chain.exchange().has_decided(name));
                Some(Ok(http_body::Frame::trailers(map)))
            }
            Some(Err(error)) => {
                *this.failure.borrow_mut() = Some(error);
                Some(Err("the filter chain broke the body off".into()))
            }
            None => None,
        };
        Poll::Ready(frame)
    }
    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }
    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// A body with a length is not polled beyond it, but filters are to see its end.
pub(super) fn see_end(chain: &Chain, direction: Direction, cx: &mut Context<'_>) {
    if !chain.is_end(direction)
        && let Poll::Ready(Some(Err(error))) = chain.poll_frame(direction, cx)
    {
        tracing::debug!(?error, "A filter failed at the end of a body.");
    }
}
