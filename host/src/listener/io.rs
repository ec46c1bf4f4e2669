//! A client's byte stream, as the HTTP library reads and writes it: gives back what was read to tell the protocol, follows
//! HTTP/1 bytes for what the library overlooks, notes when the peer stalls, and closes without cutting off the last answer.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::floods::{Endless, Flood, Frames};
use super::socket::Socket;
use super::strict::{Broken, Watcher};
use crate::proxy::Client;

/// First bytes of an HTTP/2 connection with prior knowledge (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Most bytes read and thrown away while closing, so that the last answer is not lost to a reset.
pub(super) const LINGER_BYTES: usize = 1024 * 1024;
/// Bytes of a write that are more than the answers to a few pings.
const ANSWER_BYTES: usize = 128;
/// How long closing may take.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// What a connection is doing, seen from its bytes. Shared with the timer that watches it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Since when a request's head has been arriving.
    pub(super) head_since: Cell<Option<Instant>>,
    /// Since when the client has not taken what is written.
    pub(super) blocked_since: Cell<Option<Instant>>,
    /// HTTP/2: there were too many frames that carry nothing.
    pub(super) flooded: Cell<bool>,
    /// HTTP/2: when the client was last sent more than the answer to a ping. Its library keeps what is answered until the client wants it.
    pub(super) sent: Cell<Option<Instant>>,
    /// HTTP/1: heads that have been read, while what was read ends with a request and another one may follow.
    pub(super) between: Cell<Option<u64>>,
}

/// A client's connection.
pub(super) struct ClientIo {
    stream: Socket,
    /// Read ahead to tell the protocol; empty when it has been read again.
    ahead: Ahead,
    watch: Watch,
    client: Rc<Client>,
    progress: Rc<Progress>,
    closing: Option<Closing>,
}

/// What the bytes that are read are looked at for.
enum Watch {
    Http1(Watcher),
    Http2(Frames),
    /// Nothing more is read of a client that floods.
    Flooded(Endless),
    /// What is no HTTP any more is nobody's business.
    Nothing,
}

/// Bytes read before the protocol was known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ahead {
    bytes: [u8; 24],
    start: u8,
    end: u8,
}

struct Closing {
    timer: Pin<Box<Sleep>>,
    left: usize,
    /// Everything is sent, the end included.
    shut: bool,
}

impl Ahead {
    fn as_slice(&self) -> &[u8] {
        self.bytes.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }
    /// Reads until it is clear whether the client speaks HTTP/2. `None`: it went away.
    pub(super) async fn read(stream: &mut Socket) -> io::Result<Option<(Self, bool)>> {
        let mut ahead = Self::default();
        loop {
            let filled = usize::from(ahead.end);
            match stream.read(&mut ahead.bytes[filled..]).await? {
                0 => return Ok(None),
                count => ahead.end += u8::try_from(count).unwrap_or(24),
            }
            let bytes = ahead.as_slice();
            if bytes == PREFACE {
                return Ok(Some((ahead, true)));
            }
            if !PREFACE.starts_with(bytes) {
                return Ok(Some((ahead, false)));
            }
        }
    }
}

impl ClientIo {
    pub(super) fn new(stream: Socket, ahead: Ahead, http2: bool, client: Rc<Client>, progress: Rc<Progress>) -> Self {
        let watch = if http2 { Watch::Http2(Frames::new()) } else { Watch::Http1(Watcher::default()) };
        Self { stream, ahead, watch, client, progress, closing: None }
    }
    /// Waits for the first bytes of a further request, with nothing kept for it. False: none will come.
    pub(super) async fn rest(&mut self) -> bool {
        self.ahead = Ahead::default();
        match self.stream.read(&mut self.ahead.bytes).await {
            Ok(0) | Err(_) => false,
            Ok(count) => {
                self.ahead.end = u8::try_from(count).unwrap_or(24);
                true
            }
        }
    }
    /// The stream when what it carries is no HTTP any more.
    pub(super) fn into_tunnel(mut self) -> Self {
        self.watch = Watch::Nothing;
        self
    }
    /// Follows what was read, and gives how much of it is handed on.
    fn watch(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let all = bytes.len();
        let watcher = match &mut self.watch {
            Watch::Http1(watcher) => watcher,
            Watch::Http2(frames) => {
                let Err(Flood { good, endless }) = frames.feed(bytes) else { return Ok(all) };
                self.progress.flooded.set(true);
                self.watch = Watch::Flooded(endless);
                return Ok(good);
            }
            Watch::Flooded(_) | Watch::Nothing => return Ok(all),
        };
        let fed = watcher.feed(bytes);
        self.progress.between.set(watcher.between());
        if watcher.is_mid_head() {
            if self.progress.head_since.get().is_none() {
                self.progress.head_since.set(Some(Instant::now()));
            }
        } else {
            self.progress.head_since.set(None);
        }
        match fed {
            Ok(()) => Ok(all),
            // The request will be answered 400.
            Err(Broken::Head(head, rule)) => {
                self.client.set_broken(head, rule);
                Ok(all)
            }
            // Head and body came in one read: there is still time to answer.
            Err(Broken::Body(head, rule)) if !self.client.has_taken_up(head) => {
                self.client.set_broken(head, rule);
                Ok(all)
            }
            Err(Broken::Body(_, rule)) => Err(io::Error::new(io::ErrorKind::InvalidData, rule)),
        }
    }
    /// Notes that an answer is on its way.
    fn note(&self, result: &Poll<io::Result<usize>>) {
        if let (Watch::Http2(_), Poll::Ready(Ok(ANSWER_BYTES..))) = (&self.watch, result) {
            self.progress.sent.set(Some(Instant::now()));
        }
    }
    /// Notes whether the client takes what is written.
    fn written<T>(&self, result: Poll<T>) -> Poll<T> {
        match &result {
            Poll::Ready(_) if self.progress.blocked_since.get().is_some() => self.progress.blocked_since.set(None),
            Poll::Pending if self.progress.blocked_since.get().is_none() => {
                self.progress.blocked_since.set(Some(Instant::now()));
            }
            _ => {}
        }
        result
    }
    /// Sends the end, which TLS may have to wait for, then reads and throws away until the client closes: closing a socket
    /// with unread bytes resets the connection, and a reset can overtake the last answer.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Whatever still comes is no request.
        self.progress.between.set(None);
        let closing = self.closing.get_or_insert_with(|| Closing {
            timer: Box::pin(tokio::time::sleep(LINGER_TIMEOUT)),
            left: LINGER_BYTES,
            shut: false,
        });
        if !closing.shut {
            match Pin::new(&mut self.stream).poll_shutdown(cx) {
                Poll::Ready(result) => result?,
                Poll::Pending => return closing.timer.as_mut().poll(cx).map(Ok),
            }
            closing.shut = true;
        }
        let mut scratch = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() && closing.left > 0 => {
                    closing.left = closing.left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return closing.timer.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

impl AsyncRead for ClientIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Watch::Flooded(endless) = &mut this.watch {
            let more = endless.read(buf);
            return Poll::Ready(if more { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) });
        }
        let before = buf.filled().len();
        let ahead = this.ahead.as_slice();
        if ahead.is_empty() {
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        } else {
            let count = ahead.len().min(buf.remaining());
            buf.put_slice(&ahead[..count]);
            this.ahead.start += u8::try_from(count).unwrap_or(24);
        }
        let good = this.watch(&buf.filled()[before..])?;
        buf.set_filled(before + good);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.note(&result);
        this.written(result)
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_flush(cx);
        // What was written last waits here until the client takes it.
        this.written(result)
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if matches!(this.watch, Watch::Nothing) {
            // The other direction may go on; nothing of it is thrown away.
            return Pin::new(&mut this.stream).poll_shutdown(cx);
        }
        this.poll_close(cx)
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.note(&result);
        this.written(result)
    }
    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
