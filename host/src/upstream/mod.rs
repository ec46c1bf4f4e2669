//! Where requests go: named groups of targets, their balancing and their connections, per worker. Knows no filters and
//! no client; a request comes here complete.

mod body;
pub mod callouts;
mod connect;
mod error;
mod executor;
mod grpc;
mod pool;
mod target;
mod tls;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::Body;
use tokio::net::TcpStream;

pub use body::{BodyError, RequestBody, ResponseBody};
pub use callouts::WorkerCallouts;
pub use error::UpstreamError;
pub use executor::LocalExecutor;
use target::{Target, Unsent};
pub use tls::{Tls, TlsError};

use crate::config::{self, UpstreamProtocol};

/// The upstreams of a generation, on one worker.
#[derive(Default)]
pub struct Upstreams {
    by_name: BTreeMap<String, Rc<Upstream>>,
}

impl Upstreams {
    /// Makes the upstreams of a configuration. Those of `previous` whose configuration did not change are taken over with
    /// their connections.
    #[must_use]
    pub fn new(configured: &BTreeMap<String, config::Upstream>, previous: Option<&Self>, tls: &Tls) -> Rc<Self> {
        let by_name = configured.iter().map(|(name, config)| {
            let kept = previous.and_then(|previous| previous.get(name)).filter(|old| old.config == *config);
            (name.clone(), kept.cloned().unwrap_or_else(|| Rc::new(Upstream::new(config.clone(), tls))))
        });
        Rc::new(Self { by_name: by_name.collect() })
    }
    /// The upstream of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Rc<Upstream>> {
        self.by_name.get(name)
    }
}

/// A named group of targets, on one worker.
pub struct Upstream {
    config: config::Upstream,
    targets: Box<[Target]>,
    next: Cell<usize>,
}

impl Upstream {
    fn new(config: config::Upstream, tls: &Tls) -> Self {
        let target = |target: &config::Target| Target::new(target.clone(), config.connect_timeout, tls.clone());
        let targets = config.targets.iter().map(target).collect();
        Self { config, targets, next: Cell::new(0) }
    }
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.config.name
    }

    /// Whether it carries bytes alone.
    #[must_use]
    pub fn is_tcp(&self) -> bool {
        self.config.protocol == UpstreamProtocol::Tcp
    }

    /// Whether requests go out over HTTP/2.
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        self.config.protocol == UpstreamProtocol::Http2
    }

    /// Sends a request to the next target in turn and waits for the response's head. The request is in origin form and has
    /// a `host`; its version does not matter. When no connection can be made, the other targets are tried.
    ///
    /// `address` is set to the target that was tried last. Dropping the future cancels the request: its HTTP/1 connection is
    /// closed, its HTTP/2 stream reset.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        address: &Cell<Option<SocketAddr>>,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        self.adapt(&mut request)?;
        let first = self.next.get();
        self.next.set(first.wrapping_add(1));
        let mut tried = 1;
        loop {
            // `targets` is never empty: the configuration has at least one.
            let target = &self.targets[first.wrapping_add(tried) % self.targets.len()];
            let sent = match self.config.protocol {
                // No request comes to an upstream for TCP: the configuration and callouts see to that.
                UpstreamProtocol::Http1 | UpstreamProtocol::Tcp => target.send_http1(request).await,
                UpstreamProtocol::Http2 => Box::pin(target.send_http2(request)).await,
            };
            address.set(target.address());
            match sent {
                Ok(response) => return Ok(response),
                Err(Unsent { error, request: Some(unsent) }) if error.is_connect() && tried < self.targets.len() => {
                    tracing::warn!(%error, upstream = %self.config.name, "Target failed, the next one is tried.");
                    request = unsent;
                    tried += 1;
                }
                Err(Unsent { error, .. }) => return Err(error),
            }
        }
    }

    /// Opens a connection for bytes to the next target in turn, or to another one when that does not take it.
    ///
    /// # Errors
    /// No target takes it: what the last one said.
    pub async fn connect_tcp(&self) -> Result<(TcpStream, SocketAddr), UpstreamError> {
        let first = self.next.get();
        self.next.set(first.wrapping_add(1));
        let mut tried = 1;
        loop {
            // `targets` is never empty: the configuration has at least one.
            match self.targets[first.wrapping_add(tried) % self.targets.len()].connect_tcp().await {
                Err(error) if tried < self.targets.len() => {
                    tracing::warn!(%error, upstream = %self.config.name, "Target failed, the next one is tried.");
                    tried += 1;
                }
                connected => return connected,
            }
        }
    }

    /// Writes the request in the upstream's protocol: HTTP/2 has the authority in the target instead of `host`.
    fn adapt(&self, request: &mut Request<RequestBody>) -> Result<(), http::Error> {
        if self.config.protocol == UpstreamProtocol::Http1 {
            *request.version_mut() = Version::HTTP_11;
            // The HTTP library takes a GET for bodiless unless it is told.
            if matches!(*request.method(), Method::GET | Method::HEAD)
                && !request.body().is_end_stream()
                && request.body().size_hint().exact().is_none()
            {
                request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
            }
            return Ok(());
        }
        *request.version_mut() = Version::HTTP_2;
        let host = request.headers_mut().remove(header::HOST);
        let authority = Authority::try_from(host.as_ref().map(HeaderValue::as_bytes).unwrap_or_default())?;
        let tls = self.targets.first().is_some_and(Target::is_tls);
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let scheme = if tls { Scheme::HTTPS } else { Scheme::HTTP };
        *request.uri_mut() = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()?;
        Ok(())
    }
}
