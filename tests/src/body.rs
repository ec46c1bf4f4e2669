//! Message bodies for scripted clients and origins.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Frame;
use tokio::sync::mpsc;

/// Any body.
pub type Body = http_body_util::combinators::BoxBody<Bytes, io::Error>;

/// What a body is made of; an error cuts it off.
pub type Part = Result<Frame<Bytes>, io::Error>;

fn never(error: Infallible) -> io::Error {
    match error {}
}

/// No body.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(never).boxed()
}

/// One with a length.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(never).boxed()
}

/// One without a length, piece by piece.
pub fn chunks<B: Into<Bytes>>(pieces: impl IntoIterator<Item = B>) -> Body {
    Frames(pieces.into_iter().map(|piece| Ok(Frame::data(piece.into()))).collect()).boxed()
}

/// One without a length that ends with trailers.
pub fn with_trailers<B: Into<Bytes>>(pieces: impl IntoIterator<Item = B>, trailers: HeaderMap) -> Body {
    let data = pieces.into_iter().map(|piece| Ok(Frame::data(piece.into())));
    Frames(data.chain([Ok(Frame::trailers(trailers))]).collect()).boxed()
}

/// One without a length that breaks off after its pieces.
pub fn broken<B: Into<Bytes>>(pieces: impl IntoIterator<Item = B>) -> Body {
    let data = pieces.into_iter().map(|piece| Ok(Frame::data(piece.into())));
    Frames(data.chain([Err(io::Error::other("broken off on purpose"))]).collect()).boxed()
}

/// One that is fed as the test goes on; it ends when the sender is dropped.
#[must_use]
pub fn fed() -> (mpsc::Sender<Part>, Body) {
    let (sender, receiver) = mpsc::channel(1);
    (sender, Fed(receiver).boxed())
}

struct Frames(VecDeque<Part>);

impl hyper::body::Body for Frames {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Part>> {
        Poll::Ready(self.0.pop_front())
    }
}

struct Fed(mpsc::Receiver<Part>);

impl hyper::body::Body for Fed {
    type Data = Bytes;
    type Error = io::Error;
    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Part>> {
        self.0.poll_recv(cx)
    }
}
