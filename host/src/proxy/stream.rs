//! Streams of HTTP/2 that become tunnels: the request for one, and a peer's side of it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderValue, Method, Request, header};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An extended CONNECT (RFC 8441 §4).
pub(super) struct Connect {
    pub(super) protocol: HeaderValue,
    pub(super) stream: OnUpgrade,
}

impl Connect {
    /// Makes a GET of an extended CONNECT.
    pub(super) fn take(request: &mut Request<Incoming>) -> Option<Box<Self>> {
        if request.method() != Method::CONNECT {
            return None;
        }
        let protocol = request.extensions_mut().remove::<Protocol>()?;
        let protocol = HeaderValue::from_bytes(protocol.as_ref()).ok()?;
        *request.method_mut() = Method::GET;
        // Keys are of HTTP/1.1 alone.
        request.headers_mut().remove(header::SEC_WEBSOCKET_KEY);
        Some(Box::new(Self { protocol, stream: hyper::upgrade::on(request) }))
    }
}

/// A peer's side of a tunnel. Of a stream of HTTP/2 the HTTP library reads resets as ends, and they are none.
pub(super) struct Stream {
    io: TokioIo<Upgraded>,
    ended: bool,
}

impl Stream {
    pub(super) fn new(upgraded: Upgraded) -> Self {
        Self { io: TokioIo::new(upgraded), ended: false }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.ended {
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
            if buf.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            // The task that writes the stream hears of a reset too, maybe after this one.
            this.ended = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        // Who has only ended its side still takes what is written.
        match Pin::new(&mut this.io).poll_flush(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
