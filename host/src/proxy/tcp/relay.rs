//! The bytes of one connection, both ways through its filters.
//!
//! A side is read only when everything that its bytes have become is written to the other one: memory is bounded by one read
//! and what filters hold, and a slow peer slows the other one down. The end of one flow is passed on as such (a half-close);
//! the connection is over when both have ended.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Ended, Peer, Side, TcpChain, TcpService};
use crate::observe::{TcpEnd, TcpLedger};

/// Bytes of one read.
const READ_BYTES: usize = 32 * 1024;
/// Reads of one side before the other one gets its turn.
const TURN: usize = 16;

/// One connection while its bytes flow.
pub(super) struct Relay<'a, C> {
    client: &'a mut C,
    upstream: &'a mut TcpStream,
    chain: &'a mut TcpChain,
    ledger: &'a TcpLedger,
    idle_timeout: Duration,
    downstream: Flow,
    upstream_flow: Flow,
    /// The client ended its side before the upstream did.
    client_first: bool,
    /// When a byte moved last.
    moved: Instant,
}

/// The flow from one side to the other.
#[derive(Default)]
struct Flow {
    /// Has left the chain and is to be written.
    out: BytesMut,
    /// The sender has said all it had to say.
    read_end: bool,
    /// All of it has left the chain.
    left_end: bool,
    /// The receiver knows.
    shut: bool,
    /// Why the receiver takes no more, when it does not.
    refused: Option<String>,
}

impl<'a, C: AsyncRead + AsyncWrite + Unpin> Relay<'a, C> {
    pub(super) fn new(
        client: &'a mut C,
        upstream: &'a mut TcpStream,
        chain: &'a mut TcpChain,
        service: &'a TcpService,
    ) -> Self {
        Self {
            client,
            upstream,
            chain,
            ledger: &service.ledger,
            idle_timeout: service.idle_timeout,
            downstream: Flow::default(),
            upstream_flow: Flow::default(),
            client_first: false,
            moved: Instant::now(),
        }
    }
    /// Relays until the connection is over.
    pub(super) async fn run(&mut self) -> Ended {
        let mut timer = pin!(tokio::time::sleep(self.idle_timeout));
        poll_fn(|cx| {
            if let Poll::Ready(ended) = self.poll(cx) {
                return Poll::Ready(ended);
            }
            // Moved bytes re-arm nothing; a timer that fires looks how long ago they did.
            while timer.as_mut().poll(cx).is_ready() {
                let until = self.moved + self.idle_timeout;
                if until <= Instant::now() {
                    return Poll::Ready(Ended::new(TcpEnd::IdleTimeout, "no byte moved for too long"));
                }
                timer.as_mut().reset(until);
            }
            Poll::Pending
        })
        .await
    }
    /// What has left the chain and was not written: to the upstream, to the client.
    pub(super) fn rests(self) -> [BytesMut; 2] {
        [self.downstream.out, self.upstream_flow.out]
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        self.chain.connection().register(cx.waker());
        for side in Side::BOTH {
            if let Poll::Ready(Err(ended)) = self.poll_flow(side, cx) {
                return Poll::Ready(ended);
            }
        }
        if let Some(stop) = self.chain.connection().stop() {
            return Poll::Ready(stop.into());
        }
        if !self.upstream_flow.shut {
            return Poll::Pending;
        }
        if let Some(error) = self.downstream.refused.take() {
            // The client has had all that the upstream had to say.
            return Poll::Ready(Ended { orderly: true, ..Ended::new(TcpEnd::UpstreamGone, error) });
        }
        if self.downstream.shut {
            let mut ended = Ended::new(TcpEnd::Complete, "");
            ended.closing.downstream = if self.client_first { Peer::Remote } else { Peer::Local };
            ended.closing.upstream = Some(if self.client_first { Peer::Local } else { Peer::Remote });
            return Poll::Ready(ended);
        }
        Poll::Pending
    }
    /// Moves the bytes from one side as far as they go now. Ready: all of them, and their end, have come to the other side.
    fn poll_flow(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        for _ in 0..TURN {
            ready!(self.poll_out(side, cx))?;
            let (chain, flow) = (&mut *self.chain, side.pick(&mut self.downstream, &mut self.upstream_flow));
            if flow.left_end {
                if !flow.shut {
                    ready!(self.poll_shut(side, cx))?;
                }
                return Poll::Ready(Ok(()));
            }
            flow.left_end = chain.release(side, &mut flow.out);
            if flow.left_end || !flow.out.is_empty() {
                continue;
            }
            // Nothing is read for a connection that is to be closed, nor after the end.
            if chain.connection().stop().is_some() || flow.read_end || flow.refused.is_some() {
                return Poll::Pending;
            }
            ready!(self.poll_in(side, cx))?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
    /// Writes what has left the chain.
    fn poll_out(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let flow = side.pick(&mut self.downstream, &mut self.upstream_flow);
        while !flow.out.is_empty() {
            let written = match side {
                Side::Downstream => Pin::new(&mut *self.upstream).poll_write(cx, &flow.out),
                Side::Upstream => Pin::new(&mut *self.client).poll_write(cx, &flow.out),
            };
            match ready!(written) {
                Ok(0) => return Poll::Ready(Err(gone(other(side), &io::ErrorKind::WriteZero.into()))),
                Ok(count) => {
                    flow.out.advance(count);
                    self.moved = Instant::now();
                    if side == Side::Upstream {
                        self.ledger.sent(count);
                    }
                }
                // An upstream that takes no more may have said why: what it sends is still read.
                Err(error) if side == Side::Downstream => {
                    flow.refused = Some(error.to_string());
                    break;
                }
                Err(error) => return Poll::Ready(Err(gone(Side::Downstream, &error))),
            }
        }
        // An idle connection keeps no buffer.
        flow.out = BytesMut::new();
        if flow.refused.is_some() {
            return Poll::Pending;
        }
        // Streams that buffer, as those with TLS do, write at last.
        let flushed = match side {
            Side::Downstream => Pin::new(&mut *self.upstream).poll_flush(cx),
            Side::Upstream => Pin::new(&mut *self.client).poll_flush(cx),
        };
        flushed.map_err(|error| gone(other(side), &error))
    }
    /// Tells the receiver that nothing more comes.
    fn poll_shut(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let shut = match side {
            Side::Downstream => Pin::new(&mut *self.upstream).poll_shutdown(cx),
            Side::Upstream => Pin::new(&mut *self.client).poll_shutdown(cx),
        };
        match ready!(shut) {
            // Both have closed already: there is nobody to be told.
            Err(error) if error.kind() != io::ErrorKind::NotConnected => {
                return Poll::Ready(Err(gone(other(side), &error)));
            }
            _ => side.pick(&mut self.downstream, &mut self.upstream_flow).shut = true,
        }
        self.moved = Instant::now();
        Poll::Ready(Ok(()))
    }
    /// Reads once and pushes it into the chain.
    fn poll_in(&mut self, side: Side, cx: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        let mut memory = [const { MaybeUninit::uninit() }; READ_BYTES];
        let mut bytes = ReadBuf::uninit(&mut memory);
        let read = match side {
            Side::Downstream => Pin::new(&mut *self.client).poll_read(cx, &mut bytes),
            Side::Upstream => Pin::new(&mut *self.upstream).poll_read(cx, &mut bytes),
        };
        if let Err(error) = ready!(read) {
            return Poll::Ready(Err(gone(side, &error)));
        }
        self.moved = Instant::now();
        let end = bytes.filled().is_empty();
        if side == Side::Downstream {
            self.ledger.received(bytes.filled().len());
            self.client_first |= end && !self.upstream_flow.read_end;
        }
        let flow = side.pick(&mut self.downstream, &mut self.upstream_flow);
        flow.read_end = end;
        flow.left_end = self.chain.push(side, bytes.filled(), end, &mut flow.out);
        Poll::Ready(Ok(()))
    }
}

fn other(side: Side) -> Side {
    side.pick(Side::Upstream, Side::Downstream)
}

/// A peer broke the connection off.
fn gone(side: Side, error: &io::Error) -> Ended {
    Ended::new(side.pick(TcpEnd::ClientGone, TcpEnd::UpstreamGone), error.to_string())
}
