//! One handshake: within its time, or refused with a reason.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use rustls::{Error, InvalidMessage, PeerIncompatible, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Termination, identity};
use crate::config::Alpn;
use crate::filter::exchange::TlsFacts;
use crate::listener::io::{LINGER_BYTES, LINGER_TIMEOUT};
use crate::observe::HandshakeFailure;
use crate::proxy::Proxy;

/// Longest time for a handshake: a few round trips and a signature, with room for slow networks. Shorter when a whole request
/// head has less (`limits.header_timeout`).
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection with TLS.
pub(in crate::listener) struct Secured<S> {
    pub(in crate::listener) stream: TlsStream<S>,
    pub(in crate::listener) facts: TlsFacts,
    /// HTTP/2 was agreed on; HTTP/1.1 else.
    pub(in crate::listener) http2: bool,
}

/// A connection that TLS was not established on.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(in crate::listener) struct Refused {
    pub(in crate::listener) reason: HandshakeFailure,
    cause: String,
}

impl Refused {
    /// Counts it, and says so in the log.
    pub(in crate::listener) fn tell(&self, proxy: &Proxy, remote: SocketAddr) {
        proxy.handshake_failed(self.reason);
        tracing::debug!(error = %self, reason = self.reason.as_str(), %remote, "TLS handshake failed.");
    }
}

impl Termination {
    /// Establishes TLS on a connection. `head_timeout`: what a request's head may take.
    pub(in crate::listener) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        head_timeout: Duration,
    ) -> Result<Secured<S>, Refused> {
        let timeout = HANDSHAKE_TIMEOUT.min(head_timeout);
        let accepted = tokio::time::timeout(timeout, self.acceptor.accept(stream).into_fallible()).await;
        let refused = |reason, cause: &str| Refused { reason, cause: cause.to_owned() };
        match accepted {
            Ok(Ok(stream)) => self.secured(stream).map_err(|reason| refused(reason, "no protocol was agreed on")),
            Ok(Err((error, stream))) => {
                linger(stream).await;
                Err(refused(reason(&error), &error.to_string()))
            }
            Err(_) => Err(refused(HandshakeFailure::Timeout, "it takes too long")),
        }
    }

    /// Establishes TLS on a connection that does not carry requests for the proxy. Gives the stream, and whether the client has shown a
    /// certificate; one that is not trusted is refused.
    ///
    /// # Errors
    /// Why TLS is not established, for the log.
    pub async fn open(&self, stream: TcpStream, timeout: Duration) -> Result<(TlsStream<TcpStream>, bool), String> {
        let Secured { stream, facts, .. } =
            self.accept(stream, timeout).await.map_err(|refused| refused.to_string())?;
        Ok((stream, facts.peer.is_some()))
    }

    fn secured<S>(&self, stream: TlsStream<S>) -> Result<Secured<S>, HandshakeFailure> {
        let (_, session) = stream.get_ref();
        let http2 = session.alpn_protocol() == Some(b"h2");
        // A client that names no protocol means HTTP/1.1.
        if !http2 && !self.config.alpn.is_empty() && !self.config.alpn.contains(&Alpn::Http11) {
            return Err(HandshakeFailure::Protocol);
        }
        let name = session.server_name();
        let facts = TlsFacts {
            version: match session.protocol_version() {
                Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
                _ => "TLSv1.3",
            },
            server_name: name.map(Rc::from),
            local: self.selection.shown(name),
            peer: session.peer_certificates().and_then(<[_]>::first).map(|der| Rc::new(identity::facts(der))),
        };
        Ok(Secured { stream, facts, http2 })
    }
}

/// Closes in a way that lets the client read the alert: unread bytes would reset the connection.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let read = async {
        stream.shutdown().await?;
        let limit = u64::try_from(LINGER_BYTES).unwrap_or(u64::MAX);
        tokio::io::copy(&mut (&mut stream).take(limit), &mut tokio::io::sink()).await
    };
    match tokio::time::timeout(LINGER_TIMEOUT, read).await {
        // However it ends, the connection is over.
        Ok(Ok(_) | Err(_)) | Err(_) => {}
    }
}

fn reason(error: &io::Error) -> HandshakeFailure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match inner {
        None => HandshakeFailure::Closed,
        Some(Error::InvalidMessage(InvalidMessage::InvalidContentType)) => HandshakeFailure::NotTls,
        Some(Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::SupportedVersionsExtensionRequired
            // Unknown before TLS 1.2, and looked at before the version is.
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        )) => HandshakeFailure::Version,
        Some(Error::PeerIncompatible(_)) => HandshakeFailure::Incompatible,
        Some(Error::NoApplicationProtocol) => HandshakeFailure::Protocol,
        Some(Error::NoCertificatesPresented) => HandshakeFailure::CertificateMissing,
        Some(Error::InvalidCertificate(_)) => HandshakeFailure::CertificateRefused,
        Some(Error::AlertReceived(_)) => HandshakeFailure::Alert,
        Some(_) => HandshakeFailure::Malformed,
    }
}
