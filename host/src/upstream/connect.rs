//! Opening connections: address → TCP → TLS → HTTP handshake.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tracing::debug;

use super::body::RequestBody;
use super::error::UpstreamError;
use super::executor::LocalExecutor;
use super::shared::Shared;
use super::tls::Tls;
use crate::config::{self, Place};
use crate::cork::Corked;
use crate::state::targets::Endpoint;

/// Most bytes that a response head, or one read of a body, may occupy.
const READ_BUFFER: usize = 256 * 1024;
/// How long to wait for room in the backlog of a Unix socket before it is asked for again.
const BACKLOG_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// How often a shared HTTP/2 connection is probed while it is in use, so that a dead peer is noticed.
const PING_INTERVAL: std::time::Duration = std::time::Duration::from_secs(20);

/// A byte stream to a target, with TLS or without.
type Transport = Either<Corked, Box<TlsStream<Corked>>>;

/// Who is connected to.
pub(super) struct Peer<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// For errors.
    pub(super) name: &'a str,
    pub(super) tls: &'a Tls,
}

/// Opens an HTTP/1 connection; its task runs until the sender is dropped or the peer closes.
pub(super) async fn http1(peer: &Peer<'_>) -> Result<http1::SendRequest<RequestBody>, UpstreamError> {
    let transport = transport(peer, config::UpstreamProtocol::Http1).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(READ_BUFFER)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(|error| failed(peer, error))?;
    let address = peer.endpoint.address;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, ?address, "Upstream connection ended.");
        }
    });
    Ok(sender)
}

/// Opens an HTTP/2 connection (prior knowledge on cleartext, ALPN on TLS).
pub(super) async fn http2(peer: &Peer<'_>) -> Result<Shared, UpstreamError> {
    let transport = transport(peer, config::UpstreamProtocol::Http2).await?;
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(|error| failed(peer, error))?;
    let (shared, connection) = Shared::new(sender, connection);
    let address = peer.endpoint.address;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, ?address, "Upstream connection ended.");
        }
    });
    Ok(shared)
}

/// Connects, and TLS where the target has it; then closes again.
pub(super) async fn reach(peer: &Peer<'_>, protocol: config::UpstreamProtocol) -> Result<(), UpstreamError> {
    transport(peer, protocol).await.map(drop)
}

fn failed(peer: &Peer<'_>, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> UpstreamError {
    UpstreamError::Connect { target: peer.name.to_owned(), error: error.into() }
}

/// Connects to a Unix socket. Where a network's connection would wait until the listener has room for it, this one is refused at once,
/// and asks again; whoever calls knows for how long.
async fn unix(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(BACKLOG_PAUSE).await,
            outcome => return outcome,
        }
    }
}

async fn transport(peer: &Peer<'_>, protocol: config::UpstreamProtocol) -> Result<Transport, UpstreamError> {
    let target = &peer.endpoint.target;
    let host = match &target.place {
        Place::Network { host, .. } => host,
        Place::Unix(path) => {
            let stream = unix(path).await.map_err(|error| failed(peer, error))?;
            return Ok(Transport::Left(Corked::of_unix(stream)));
        }
    };
    let (stream, _) = tcp(peer).await?;
    let stream = Corked::new(stream);
    if !target.tls {
        return Ok(Transport::Left(stream));
    }
    let config = match protocol {
        config::UpstreamProtocol::Http1 | config::UpstreamProtocol::Tcp => &peer.tls.http1,
        config::UpstreamProtocol::Http2 => &peer.tls.http2,
    };
    let server = match &peer.tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(host.clone()).map_err(|error| failed(peer, error))?,
    };
    let stream =
        TlsConnector::from(config.clone()).connect(server, stream).await.map_err(|error| failed(peer, error))?;
    if protocol == config::UpstreamProtocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(failed(peer, "the server does not offer HTTP/2"));
    }
    Ok(Transport::Right(Box::new(stream)))
}

/// Connects to the address.
pub(super) async fn tcp(peer: &Peer<'_>) -> Result<(TcpStream, SocketAddr), UpstreamError> {
    let address = peer.endpoint.address.ok_or_else(|| failed(peer, "no address of the network"))?;
    let stream = TcpStream::connect(address).await.map_err(|error| failed(peer, error))?;
    stream.set_nodelay(true).map_err(|error| failed(peer, error))?;
    Ok((stream, address))
}
