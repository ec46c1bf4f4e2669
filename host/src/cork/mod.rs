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
use tokio_util::either::Either;

/// Most bytes that a connection holds; longer writes go through.
const MOST_BYTES: usize = 16 * 1024;
/// Most connections whose writes are held: their readers shall have something to do meanwhile.
const MOST_HELD: usize = 8;

thread_local! {
    static TURN: RefCell<Vec<Arc<dyn Release>>> = const { RefCell::new(Vec::new()) };
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
        held.release();
    }
    // Its room is used again.
    TURN.set(turn);
}

/// What holds something until the end of the turn.
trait Release {
    /// Sends it, as far as the peer takes it.
    fn release(&self);
}

/// A connection whose small writes wait for the end of the turn.
pub struct Corked {
    shared: Arc<Shared>,
}

struct Shared(Mutex<Inner>);

struct Inner {
    stream: Either<TcpStream, UnixStream>,
    held: Vec<u8>,
    /// The peer does not take what is held; whoever writes waits for it.
    blocked: bool,
    error: Option<io::Error>,
    /// Who wrote last.
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
        Self {
            shared: Arc::new(Shared(Mutex::new(Inner {
                stream,
                held: Vec::new(),
                blocked: false,
                error: None,
                writer: None,
            }))),
        }
    }

    /// Takes what is written, or sends it when it is too long to be held.
    fn hold(&self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>], total: usize) -> Poll<io::Result<usize>> {
        let mut inner = self.shared.lock();
        inner.check()?;
        if inner.blocked || inner.held.len() + total > MOST_BYTES {
            ready!(inner.poll_release(cx))?;
        }
        if total > MOST_BYTES || END.with_borrow(Option::is_none) {
            return Pin::new(&mut inner.stream).poll_write_vectored(cx, bufs);
        }
        let first = inner.held.is_empty();
        for buf in bufs {
            inner.held.extend_from_slice(buf);
        }
        if !inner.writer.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            inner.writer = Some(cx.waker().clone());
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
            turn.push(Arc::clone(&self.shared) as Arc<dyn Release>);
            turn.len()
        });
        if count >= MOST_HELD {
            release_all();
        } else if count == 1 {
            END.with_borrow(|end| {
                if let Some(end) = end {
                    end.wake_by_ref()
                }
            });
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Release for Shared {
    fn release(&self) {
        let mut inner = self.lock();
        if inner.held.is_empty() || inner.blocked {
            return;
        }
        let sent = match &inner.stream {
            Either::Left(stream) => stream.try_write(&inner.held),
            Either::Right(stream) => stream.try_write(&inner.held),
        };
        match sent {
            Ok(sent) if sent == inner.held.len() => {
                inner.held = Vec::new();
                return;
            }
            Ok(sent) => {
                inner.held.drain(..sent);
                inner.blocked = true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => inner.blocked = true,
            Err(error) => inner.error = Some(error),
        }
        // It looks again: sends the rest when the peer takes it, or learns of the error.
        if let Some(writer) = inner.writer.take() {
            writer.wake();
        }
    }
}

impl Inner {
    /// What went wrong since the last call.
    fn check(&mut self) -> io::Result<()> {
        self.error.take().map_or(Ok(()), Err)
    }
    /// Sends what is held, and waits until the peer has taken it.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held));
            match sent {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => drop(self.held.drain(..sent)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.held = Vec::new();
        self.blocked = false;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Corked {
    fn drop(&mut self) {
        self.shared.release();
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
        let mut inner = self.shared.lock();
        inner.check()?;
        if inner.blocked { inner.poll_release(cx) } else { Poll::Ready(Ok(())) }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.shared.lock();
        inner.check()?;
        ready!(inner.poll_release(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}
