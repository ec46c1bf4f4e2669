//! Opening connections: name → address → TCP → TLS → HTTP handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;
use tracing::debug;

use super::body::RequestBody;
use super::error::UpstreamError;
use super::executor::LocalExecutor;
use super::shared::Shared;
use super::tls::Tls;
use crate::config;
use crate::cork::Corked;

/// Most bytes that a response head, or one read of a body, may occupy.
const READ_BUFFER: usize = 256 * 1024;
/// How often a shared HTTP/2 connection is probed while it is in use, so that a dead peer is noticed.
const PING_INTERVAL: std::time::Duration = std::time::Duration::from_secs(20);

/// A byte stream to a target, with TLS or without.
type Transport = Either<Corked, Box<TlsStream<Corked>>>;

/// Opens an HTTP/1 connection; its task runs until the sender is dropped or the peer closes.
pub(super) async fn http1(
    target: &config::Target,
    tls: &Tls,
) -> Result<(http1::SendRequest<RequestBody>, SocketAddr), UpstreamError> {
    let (transport, address) = transport(target, tls, config::UpstreamProtocol::Http1).await?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(READ_BUFFER)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(|error| failed(target, error))?;
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.with_upgrades().await {
            debug!(%error, %address, "Upstream connection ended.");
        }
    });
    Ok((sender, address))
}

/// Opens an HTTP/2 connection (prior knowledge on cleartext, ALPN on TLS).
pub(super) async fn http2(target: &config::Target, tls: &Tls) -> Result<(Shared, SocketAddr), UpstreamError> {
    let (transport, address) = transport(target, tls, config::UpstreamProtocol::Http2).await?;
    let (sender, connection) = http2::Builder::new(LocalExecutor)
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .handshake(TokioIo::new(transport))
        .await
        .map_err(|error| failed(target, error))?;
    let (shared, connection) = Shared::new(sender, connection);
    tokio::task::spawn_local(async move {
        if let Err(error) = connection.await {
            debug!(%error, %address, "Upstream connection ended.");
        }
    });
    Ok((shared, address))
}

/// Connects, and TLS where the target has it; then closes again.
pub(super) async fn reach(
    target: &config::Target,
    tls: &Tls,
    protocol: config::UpstreamProtocol,
) -> Result<(), UpstreamError> {
    transport(target, tls, protocol).await.map(drop)
}

fn failed(target: &config::Target, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> UpstreamError {
    UpstreamError::Connect { target: target.to_string(), error: error.into() }
}

async fn transport(
    target: &config::Target,
    tls: &Tls,
    protocol: config::UpstreamProtocol,
) -> Result<(Transport, SocketAddr), UpstreamError> {
    let (stream, address) = tcp(target).await?;
    let stream = Corked::new(stream);
    if !target.tls {
        return Ok((Transport::Left(stream), address));
    }
    let config = match protocol {
        config::UpstreamProtocol::Http1 | config::UpstreamProtocol::Tcp => &tls.http1,
        config::UpstreamProtocol::Http2 => &tls.http2,
    };
    let server = match &tls.server_name {
        Some(name) => name.clone(),
        None => ServerName::try_from(target.host.trim_matches(['[', ']']).to_owned())
            .map_err(|error| failed(target, error))?,
    };
    let stream =
        TlsConnector::from(config.clone()).connect(server, stream).await.map_err(|error| failed(target, error))?;
    if protocol == config::UpstreamProtocol::Http2 && stream.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(failed(target, "the server does not offer HTTP/2"));
    }
    Ok((Transport::Right(Box::new(stream)), address))
}

/// Connects to the first address of the name that accepts.
pub(super) async fn tcp(target: &config::Target) -> Result<(TcpStream, SocketAddr), UpstreamError> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in resolve(target).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true).map_err(|error| failed(target, error))?;
                return Ok((stream, address));
            }
            Err(error) => last = error,
        }
    }
    Err(failed(target, last))
}

/// Resolved anew for every connection, so that a changed name needs no restart.
async fn resolve(target: &config::Target) -> Result<Vec<SocketAddr>, UpstreamError> {
    let host = target.host.trim_matches(['[', ']']);
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, target.port)]);
    }
    let addresses = tokio::net::lookup_host((host, target.port)).await;
    addresses.map(Iterator::collect).map_err(|error| UpstreamError::Resolve { target: target.to_string(), error })
}
