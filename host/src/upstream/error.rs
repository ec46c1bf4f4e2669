//! Why a request to an upstream got no response.

use std::io;

use rustix::io::Errno;

/// Why a request got no response. The text is for the log; clients see [`crate::proxy::ProxyError`]'s.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// No target has an address: their names do not resolve.
    #[error("{target}: no address: {error}")]
    Resolve {
        /// The upstream's name.
        target: String,
        /// What the resolver said.
        error: String,
    },
    /// No connection could be made.
    #[error("{target}: cannot connect: {error}")]
    Connect {
        /// Host and port.
        target: String,
        /// What the system, TLS or the HTTP handshake said.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No connection was made in time.
    #[error("{target}: no connection within the connect timeout")]
    ConnectTimeout {
        /// Host and port.
        target: String,
    },
    /// The connection ended before the response's head.
    #[error("{target}: connection closed before a response: {error}")]
    Closed {
        /// Host and port.
        target: String,
        /// What hyper said.
        error: hyper::Error,
    },
    /// What came back is no HTTP response.
    #[error("{target}: invalid response: {error}")]
    Invalid {
        /// Host and port.
        target: String,
        /// What hyper said.
        error: hyper::Error,
    },
    /// The request's own body failed while it was sent: the client went away or broke the protocol.
    #[error("{target}: the request body failed: {error}")]
    RequestBody {
        /// Host and port.
        target: String,
        /// What hyper said.
        error: hyper::Error,
    },
    /// No target can take it: all fail their health checks, or have been tried.
    #[error("{upstream}: no target is well")]
    NoTarget {
        /// The upstream's name.
        upstream: String,
    },
    /// The upstream has as many requests under way as it may have.
    #[error("{upstream}: as many requests under way as it may have")]
    TooMany {
        /// The upstream's name.
        upstream: String,
    },
    /// All connections that the target may have are in use, and more requests wait for one than may, or have waited for too long.
    #[error("{target}: all of its connections are in use")]
    Full {
        /// Host and port.
        target: String,
    },
    /// A connection was to be switched to another protocol, and the upstream cannot.
    #[error("{target}: cannot switch protocols: {why}")]
    NotSwitched {
        /// Host and port.
        target: String,
        /// What it lacks.
        why: &'static str,
    },
    /// The route's limit of one try passed.
    #[error("{upstream}: no response within the limit of one try")]
    TryTimeout {
        /// The upstream's name.
        upstream: String,
    },
    /// The request cannot be written in the upstream's protocol.
    #[error("the request cannot be sent: {0}")]
    BadRequest(#[from] http::Error),
}

impl UpstreamError {
    /// Whether no connection was made, so that another target may be tried whatever the request.
    #[must_use]
    pub fn is_connect(&self) -> bool {
        match self {
            Self::Resolve { .. } | Self::Connect { .. } | Self::ConnectTimeout { .. } => true,
            Self::Closed { .. }
            | Self::Invalid { .. }
            | Self::RequestBody { .. }
            | Self::NotSwitched { .. }
            | Self::TryTimeout { .. }
            | Self::NoTarget { .. }
            | Self::TooMany { .. }
            | Self::Full { .. }
            | Self::BadRequest(_) => false,
        }
    }
    /// Whether another target may take it, though nothing is wrong with this one.
    pub(super) fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
    /// Whether the target is to blame.
    pub(super) fn is_targets(&self) -> bool {
        (self.is_connect() && !self.is_ours() && !matches!(self, Self::Resolve { .. }))
            || matches!(self, Self::Closed { .. } | Self::Invalid { .. })
    }
    /// Whether this process has no file descriptors left, for which no target can be blamed.
    fn is_ours(&self) -> bool {
        let Self::Connect { error, .. } = self else { return false };
        let code = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        code.is_some_and(|code| [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error).contains(&code))
    }
    /// Whether a connection broke before the response's head.
    #[must_use]
    pub fn is_reset(&self) -> bool {
        matches!(self, Self::Closed { .. })
    }
    /// Sorts an error that hyper reported for a request on an open connection.
    pub(super) fn from_hyper(target: &str, error: hyper::Error) -> Self {
        let target = target.to_owned();
        if error.is_user() {
            Self::RequestBody { target, error }
        } else if error.is_parse() {
            Self::Invalid { target, error }
        } else {
            Self::Closed { target, error }
        }
    }
}
