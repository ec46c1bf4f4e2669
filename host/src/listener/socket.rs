//! Sockets of either kind, and a client's connection as bytes in cleartext, whether TLS is below or not.

use std::io;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::address::Address;
use crate::cork::Corked;

/// What is read from and written to. TLS is boxed, so that connections without it stay small.
pub(super) type Socket = Either<Corked, Box<TlsStream<Corked>>>;

/// A connection as the kernel gives it.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// The same, as it belongs to no runtime.
pub(super) type FreeStream = Either<std::net::TcpStream, StdUnixStream>;

/// A socket that connections come to, as it belongs to no runtime.
pub type Listening = Either<std::net::TcpListener, StdUnixListener>;

/// The same on a worker.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(super) fn new(socket: Listening) -> io::Result<Self> {
        Ok(match socket {
            Either::Left(socket) => {
                socket.set_nonblocking(true)?;
                Self::Tcp(TcpListener::from_std(socket)?)
            }
            Either::Right(socket) => {
                socket.set_nonblocking(true)?;
                Self::Unix(UnixListener::from_std(socket)?)
            }
        })
    }
    /// The next connection, and its client.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Address)> {
        match self {
            Self::Tcp(listener) => {
                listener.accept().await.map(|(stream, remote)| (Either::Left(stream), remote.into()))
            }
            Self::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (Either::Right(stream), Address::local_client()))
            }
        }
    }
}

/// Takes a connection out of its runtime.
pub(super) fn free(stream: Stream) -> io::Result<FreeStream> {
    match stream {
        Either::Left(stream) => stream.into_std().map(Either::Left),
        Either::Right(stream) => stream.into_std().map(Either::Right),
    }
}

/// Brings a connection into this thread's runtime.
pub(super) fn bring(stream: FreeStream) -> io::Result<Stream> {
    match stream {
        Either::Left(stream) => TcpStream::from_std(stream).map(Either::Left),
        Either::Right(stream) => UnixStream::from_std(stream).map(Either::Right),
    }
}

/// Holds small writes of a connection until the end of a turn.
pub(super) fn corked(stream: Stream) -> Corked {
    match stream {
        Either::Left(stream) => Corked::new(stream),
        Either::Right(stream) => Corked::of_unix(stream),
    }
}
