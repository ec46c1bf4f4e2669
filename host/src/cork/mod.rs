//! Writes of one turn are sent together at its end.
//!
//! A worker that has many connections ready answers them one after the other. Each answer that is sent at once may wake its reader on another core, which costs
//! more than the sending itself, and finds that reader asleep again at the next one. Small writes are therefore held until every task that was ready has had its
//! turn, or until [`MOST_HELD`] connections wait; a worker with nothing else to do sends at once. Errors are told by the next call, as with a socket's own buffer.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::AbortHandle;
use tokio_util::either::Either;

/// Most bytes that a connection holds; longer writes go through.
const MOST_BYTES: usize = 16 * 1024;
/// Most connections whose writes are held: their readers shall have something to do meanwhile.
const MOST_HELD: usize = 8;

thread_local! {
    static TURN: RefCell<Vec<Arc<Shared>>> = const { RefCell::new(Vec::new()) };
    /// Wakes the task that ends this worker's turns. None: this thread has none, and nothing is held.
    static END: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// Sends what was held, each time all tasks that were ready have had their turn. One per worker; never ends.
pub async fn turns() {
    poll_fn(|cx| {
        END.with_borrow_mut(|end| {
            if !end.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *end = Some(cx.waker().clone());
            }
        });
        release_all();
        Poll::Pending
    })
    .await
}

fn release_all() {
    let mut turn = TURN.take();
    for held in turn.drain(..) {
        Shared::release(&held);
    }
    // Its room is used again.
    TURN.set(turn);
}

/// A connection whose small writes wait for the end of the turn.
pub struct Corked {
    shared: Arc<Shared>,
}

struct Shared(Mutex<Inner>);

struct Inner {
    stream: Either<TcpStream, UnixStream>,
    held: Vec<u8>,
    /// The peer does not take what is held. This task waits for it, and nobody else writes.
    rest: Option<AbortHandle>,
    error: Option<io::Error>,
    /// Who waits until everything is sent.
    writer: Option<Waker>,
}

impl Corked {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(stream: TcpStream) -> Self {
        Self::of(Either::Left(stream))
    }
    /// The same over a Unix socket.
    #[must_use]
    pub fn of_unix(stream: UnixStream) -> Self {
        Self::of(Either::Right(stream))
    }
    fn of(stream: Either<TcpStream, UnixStream>) -> Self {
        let inner = Inner { stream, held: Vec::new(), rest: None, error: None, writer: None };
        Self { shared: Arc::new(Shared(Mutex::new(inner))) }
    }

    /// Takes what is written, or sends it when it is too long to be held.
    fn hold(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>], total: usize) -> Poll<io::Result<usize>> {
        let mut inner = self.shared.lock();
        if inner.rest.is_some() || inner.held.len() + total > MOST_BYTES {
            drop(inner);
            ready!(self.poll_release(cx))?;
            inner = self.shared.lock();
        }
        inner.check()?;
        if total > MOST_BYTES || END.with_borrow(Option::is_none) {
            return Pin::new(&mut inner.stream).poll_write_vectored(cx, bufs);
        }
        let first = inner.held.is_empty();
        for buf in bufs {
            inner.held.extend_from_slice(buf);
        }
        drop(inner);
        if first {
            self.enqueue();
        }
        Poll::Ready(Ok(total))
    }

    /// Has it sent at the end of the turn, or now when enough is held.
    fn enqueue(&self) {
        let count = TURN.with_borrow_mut(|turn| {
            turn.push(Arc::clone(&self.shared));
            turn.len()
        });
        if count >= MOST_HELD {
            release_all();
        } else if count == 1 {
            END.with_borrow(|end| {
                if let Some(end) = end {
                    end.wake_by_ref();
                }
            });
        }
    }

    /// Sends what is held, and waits until the peer has taken it.
    fn poll_release(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        Shared::release(&self.shared);
        self.shared.lock().poll_sent(cx)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Sends what is held, as far as the peer takes it. What it does not take yet is left to a task: whoever wrote it believes
    /// that it is sent, and may only be reading now.
    fn release(this: &Arc<Self>) {
        let mut inner = this.lock();
        if inner.rest.is_some() || inner.send() {
            return;
        }
        let shared = Arc::downgrade(this);
        let rest = poll_fn(move |cx| shared.upgrade().map_or(Poll::Ready(()), |shared| shared.lock().poll_rest(cx)));
        inner.rest = Some(tokio::task::spawn_local(rest).abort_handle());
    }
}

impl Inner {
    /// What went wrong since the last call.
    fn check(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
    /// Waits for the rest of what was to be sent, if there is one.
    fn poll_sent(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        if self.rest.is_none() {
            return Poll::Ready(Ok(()));
        }
        self.writer = Some(cx.waker().clone());
        Poll::Pending
    }
    /// Sends what the peer takes now. False: it does not take all.
    fn send(&mut self) -> bool {
        if self.held.is_empty() {
            return true;
        }
        let sent = match &self.stream {
            Either::Left(stream) => stream.try_write(&self.held),
            Either::Right(stream) => stream.try_write(&self.held),
        };
        match sent {
            Ok(sent) if sent < self.held.len() => drop(self.held.drain(..sent)),
            Ok(_) => self.held = Vec::new(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self.fail(error),
        }
        self.held.is_empty()
    }
    /// Sends the rest as the peer takes it.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.held.is_empty() {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held)) {
                Ok(0) => self.fail(io::ErrorKind::WriteZero.into()),
                Ok(sent) => drop(self.held.drain(..sent)),
                Err(error) => self.fail(error),
            }
        }
        self.held = Vec::new();
        self.rest = None;
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        Poll::Ready(())
    }
    /// Nothing more can be sent; the next call is told.
    fn fail(&mut self, error: io::Error) {
        self.held = Vec::new();
        self.error = Some(error);
    }
}

impl Drop for Corked {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        match inner.rest.take() {
            Some(rest) => rest.abort(),
            // What is not taken now is lost, as it is with a socket that is closed.
            None => drop(inner.send()),
        }
        // Nothing is left to be sent at the end of the turn.
        inner.held = Vec::new();
    }
}

impl AsyncRead for Corked {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.shared.lock();
        inner.check()?;
        Pin::new(&mut inner.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Corked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.hold(cx, &[IoSlice::new(buf)], buf.len())
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.hold(cx, bufs, bufs.iter().map(|buf| buf.len()).sum())
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.lock().poll_sent(cx)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_release(cx))?;
        Pin::new(&mut self.shared.lock().stream).poll_shutdown(cx)
    }
}
