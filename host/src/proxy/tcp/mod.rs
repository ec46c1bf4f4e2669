//! One TCP connection, top to bottom: its filters are told of it → an upstream is connected → bytes go both ways through the
//! filters → the end, told once to filters, metrics and log.

mod gone;
mod relay;

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use self::relay::Relay;
use crate::filter::exchange::ConnectionFacts;
use crate::filter::tcp::{Closing, Peer, Side, TcpChain, TcpFacts, TcpSource, TcpStop};
use crate::observe::{TcpEnd, TcpLedger};
use crate::upstream::Upstream;

/// How long the last bytes may take when a filter closes a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// Most bytes read and thrown away while closing, so that the last ones sent are not lost to a reset.
const LINGER_BYTES: usize = 1024 * 1024;

/// What becomes of the connections of one TCP listener, on one worker.
pub struct TcpService {
    /// The listener's address, as configured.
    pub listener: Rc<str>,
    /// Where its bytes go.
    pub upstream: Rc<Upstream>,
    /// The filters that they pass.
    pub sources: Rc<[Rc<dyn TcpSource>]>,
    /// A connection on which no byte moves for that long is closed.
    pub idle_timeout: Duration,
    /// Most bytes of one flow that a filter may hold.
    pub buffer_limit: usize,
    /// Where its connections are counted.
    pub ledger: Arc<TcpLedger>,
}

/// How a connection ended.
#[derive(Debug)]
pub struct Ended {
    end: TcpEnd,
    detail: String,
    closing: Closing,
    /// All that was to be said has been said.
    orderly: bool,
}

impl Ended {
    /// Bytes were carried and may be missing, which must not look like the end of a stream.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        !self.orderly && self.closing.upstream.is_some()
    }
    fn new(end: TcpEnd, detail: impl Into<String>) -> Self {
        let peer = |gone| if end == gone { Peer::Remote } else { Peer::Local };
        let closing = Closing { downstream: peer(TcpEnd::ClientGone), upstream: Some(peer(TcpEnd::UpstreamGone)) };
        let orderly = matches!(end, TcpEnd::Complete | TcpEnd::Filter);
        Self { end, detail: detail.into(), closing, orderly }
    }
}

impl From<TcpStop> for Ended {
    fn from(stop: TcpStop) -> Self {
        match stop {
            TcpStop::Closed(detail) => Self::new(TcpEnd::Filter, detail),
            TcpStop::Fault(detail) => Self::new(TcpEnd::FilterFault, detail),
            TcpStop::TooLarge(detail) => Self::new(TcpEnd::BufferLimit, detail),
        }
    }
}

/// A client's byte stream, and the socket under it.
pub trait Client: AsyncRead + AsyncWrite + Unpin {
    /// The socket.
    fn socket(&self) -> &TcpStream;
}

impl Client for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Client for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// Serves one connection to its end. `draining` is ready when the gateway shuts down: a connection that has no upstream yet is
/// then closed. Dropping the future ends the connection, its filters are told.
pub async fn serve<C: Client>(
    client: &mut C,
    connection: ConnectionFacts,
    service: &TcpService,
    draining: impl Future<Output = ()>,
) -> Ended {
    let facts = TcpFacts {
        id: format!("tcp-{}", connection.id).into(),
        connection,
        listener: Rc::clone(&service.listener),
        upstream: Rc::from(&**service.upstream.name()),
        buffer_limit: service.buffer_limit,
    };
    let chain = TcpChain::new(facts, Rc::clone(&service.sources));
    let mut recording = Recording::new(chain, Arc::clone(&service.ledger));
    let upstream = {
        let opening = pin!(open(&mut recording.chain, client.socket(), service));
        tokio::select! {
            biased;
            upstream = opening => upstream,
            () = draining => Err(Ended::new(TcpEnd::Drain, "the gateway shuts down")),
        }
    };
    let mut upstream = match upstream {
        Ok(upstream) => upstream,
        Err(mut ended) => {
            ended.closing.upstream = None;
            return recording.end(ended);
        }
    };
    reset_at_close(&upstream, true);
    let mut relay = Relay::new(client, &mut upstream, &mut recording.chain, service);
    let ended = relay.run().await;
    let rests = relay.rests();
    if ended.orderly && ended.end != TcpEnd::Complete {
        let closing = close(client, &mut upstream, rests, &service.ledger);
        if tokio::time::timeout(CLOSE_TIMEOUT, closing).await.is_err() {
            tracing::debug!(connection = &*recording.chain.connection().facts.id, "The last bytes were not taken.");
        }
    }
    reset_at_close(&upstream, ended.is_broken());
    recording.end(ended)
}

/// Whether closing a socket resets its connection, so that a stream that breaks off does not look like one that has come to its
/// end. Said beforehand: the future that serves a connection may be dropped at any time.
pub fn reset_at_close(stream: &TcpStream, resets: bool) {
    if let Err(error) = SockRef::from(stream).set_linger(resets.then_some(Duration::ZERO)) {
        tracing::debug!(%error, "A connection will be closed as it is.");
    }
}

/// Until all filters let the connection go on, and an upstream has taken it.
async fn open(chain: &mut TcpChain, client: &TcpStream, service: &TcpService) -> Result<TcpStream, Ended> {
    let opened = tokio::time::timeout(service.idle_timeout, async {
        tokio::select! {
            biased;
            opened = poll_fn(|cx| chain.poll_open(cx)) => opened.map_err(Ended::from),
            // Nobody reads while a filter holds the connection, so nobody else would notice.
            why = gone::wait(client) => Err(Ended::new(TcpEnd::ClientGone, why)),
        }
    })
    .await;
    opened.map_err(|_| Ended::new(TcpEnd::IdleTimeout, "a filter held the new connection for too long"))??;
    match service.upstream.connect_tcp().await {
        Ok((upstream, address)) => {
            chain.connection().upstream_address.set(Some(address));
            Ok(upstream)
        }
        Err(error) => Err(Ended::new(TcpEnd::UpstreamConnect, error.to_string())),
    }
}

/// What has left the chain is still sent, and the client gets the time to read it.
async fn close<C: AsyncRead + AsyncWrite + Unpin>(
    client: &mut C,
    upstream: &mut TcpStream,
    [to_upstream, to_client]: [BytesMut; 2],
    ledger: &TcpLedger,
) {
    let to_client = async {
        client.write_all(&to_client).await?;
        ledger.sent(to_client.len());
        client.shutdown().await?;
        // Closing a socket with unread bytes resets the connection, and a reset can overtake what was sent.
        let (mut left, mut scratch) = (LINGER_BYTES, [0; 4096]);
        while left > 0 {
            match client.read(&mut scratch).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        std::io::Result::Ok(())
    };
    let to_upstream = async {
        upstream.write_all(&to_upstream).await?;
        upstream.shutdown().await
    };
    if let (Err(error), _) | (_, Err(error)) = tokio::join!(to_client, to_upstream) {
        tracing::debug!(%error, "A peer went away while its connection was closed.");
    }
}

/// A connection under way. Ends it exactly once: by [`Recording::end`], or when dropped because the gateway waits no longer.
struct Recording {
    chain: TcpChain,
    ledger: Arc<TcpLedger>,
    open: bool,
}

impl Recording {
    fn new(chain: TcpChain, ledger: Arc<TcpLedger>) -> Self {
        ledger.opened();
        Self { chain, ledger, open: true }
    }
    fn end(mut self, ended: Ended) -> Ended {
        self.finish(&ended);
        ended
    }
    fn finish(&mut self, ended: &Ended) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        self.chain.finish(ended.closing);
        self.ledger.ended(ended.end);
        let facts = &self.chain.connection().facts;
        let (connection, listener, upstream) = (&*facts.id, &*facts.listener, &*facts.upstream);
        let (reason, detail) = (ended.end.as_str(), &*ended.detail);
        match ended.end {
            TcpEnd::Complete => tracing::debug!(connection, listener, upstream, reason, "TCP connection ended."),
            TcpEnd::UpstreamConnect | TcpEnd::BufferLimit | TcpEnd::FilterFault => {
                tracing::warn!(connection, listener, upstream, reason, detail, "TCP connection closed.");
            }
            _ => tracing::info!(connection, listener, upstream, reason, detail, "TCP connection closed."),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let mut ended = Ended::new(TcpEnd::Drain, "the gateway shuts down and waits no longer");
        if self.chain.connection().upstream_address.get().is_none() {
            ended.closing.upstream = None;
        }
        self.finish(&ended);
    }
}
