//! A client's connection as bytes in cleartext, whether TLS is below or not.

use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use crate::cork::Corked;

/// What is read from and written to. TLS is boxed, so that connections without it stay small.
pub(super) type Socket = Either<Corked, Box<TlsStream<Corked>>>;
