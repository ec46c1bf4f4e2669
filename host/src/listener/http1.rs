//! An HTTP/1 connection that can stop being one: when an answer has switched protocols, its stream is given back instead of closed.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Body;
use hyper::rt::{Read, Write};
use hyper::server::conn::http1::Connection;
use hyper::service::HttpService;

use crate::proxy::Client;

/// See the module.
pub(super) struct Http1<I, S: HttpService<hyper::body::Incoming>> {
    connection: Connection<I, S>,
    client: Rc<Client>,
    /// It is to end when the answer under way turns out not to switch protocols.
    ends_later: bool,
}

impl<I, S, B> Http1<I, S>
where
    I: Read + Write + Unpin,
    S: HttpService<hyper::body::Incoming, ResBody = B>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(super) fn new(connection: Connection<I, S>, client: &Rc<Client>) -> Self {
        Self { connection, client: Rc::clone(client), ends_later: false }
    }
    /// Ends it after the request that runs.
    pub(super) fn wind_down(self: Pin<&mut Self>)
    where
        S: Unpin,
    {
        let this = self.get_mut();
        // An answer that switches protocols must not say that the connection closes.
        this.ends_later = this.client.may_switch();
        if !this.ends_later {
            Pin::new(&mut this.connection).graceful_shutdown();
        }
    }
    /// The stream, and what was read from it but not used.
    pub(super) fn into_parts(self) -> (I, Bytes) {
        let parts = self.connection.into_parts();
        (parts.io, parts.read_buf)
    }
}

impl<I, S, B> Future for Http1<I, S>
where
    I: Read + Write + Unpin,
    S: HttpService<hyper::body::Incoming, ResBody = B> + Unpin,
    S::Future: Unpin,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Output = hyper::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let this = self.get_mut();
        let mut polled = this.connection.poll_without_shutdown(cx);
        if polled.is_pending() && this.ends_later && !this.client.may_switch() && !this.client.has_tunnel() {
            this.ends_later = false;
            Pin::new(&mut this.connection).graceful_shutdown();
            polled = this.connection.poll_without_shutdown(cx);
        }
        ready!(polled)?;
        if this.client.has_tunnel() {
            return Poll::Ready(Ok(()));
        }
        // HTTP is over, and nothing follows: the stream is flushed and closed.
        Pin::new(&mut this.connection).poll(cx)
    }
}

/// The place of the one request that a connection serves at a time, so that its future, which cannot move, is allocated once per
/// connection and not once per request.
pub(super) struct InFlight<F>(Rc<RefCell<Pin<Box<Option<F>>>>>);

impl<F> Default for InFlight<F> {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Box::pin(None))))
    }
}

impl<F: Future> InFlight<F> {
    /// A request begins; the one before it is over.
    pub(super) fn begin(&self, request: F) -> Running<F> {
        self.0.borrow_mut().as_mut().set(Some(request));
        Running(Rc::clone(&self.0))
    }
}

/// The request that is being served. Dropping it cancels what it waits for.
pub(super) struct Running<F>(Rc<RefCell<Pin<Box<Option<F>>>>>);

impl<F: Future> Future for Running<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.0.borrow_mut().as_mut().as_pin_mut() {
            Some(request) => request.poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Running<F> {
    fn drop(&mut self) {
        self.0.borrow_mut().as_mut().set(None);
    }
}
