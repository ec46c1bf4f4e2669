//! One target of an upstream on one worker: sends a request over a pooled or a new connection.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, Uri, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use tokio::net::TcpStream;

use super::body::{RequestBody, ResponseBody};
use super::connect::{self, Peer};
use super::error::UpstreamError;
use super::pool::{Lease, Pool, Slot};
use super::shared::Shared;
use super::switch::Switch;
use super::tls::Tls;
use crate::config::{self, Place, UpstreamProtocol};
use crate::state::targets::{Endpoint, TargetHealth};

/// One place to send requests, with its connections.
pub(super) struct Target {
    endpoint: Endpoint,
    /// Whether its name has further addresses now.
    has_siblings: Cell<bool>,
    /// `host:port`, and the address where that is a name; for errors.
    name: String,
    protocol: UpstreamProtocol,
    connect_timeout: Duration,
    tls: Arc<Tls>,
    pool: Rc<Pool>,
    /// Requests under way on this worker.
    pub(super) active: Rc<Cell<u32>>,
}

/// A request that did not go through, with the request when it can be sent once more.
pub(super) struct Unsent {
    pub(super) error: UpstreamError,
    pub(super) request: Option<Request<RequestBody>>,
}

impl Unsent {
    /// The request is gone.
    fn lost(error: UpstreamError) -> Self {
        Self { error, request: None }
    }
}

impl Target {
    pub(super) fn new(endpoint: Endpoint, upstream: &config::Upstream, tls: Arc<Tls>) -> Self {
        let (name, has_siblings) = (endpoint.title(), Cell::new(endpoint.has_siblings));
        let (protocol, connect_timeout) = (upstream.protocol, upstream.connect_timeout);
        Self {
            endpoint,
            has_siblings,
            name,
            protocol,
            connect_timeout,
            tls,
            pool: Rc::new(Pool::new(&upstream.pool)),
            active: Rc::default(),
        }
    }
    /// Whether it stands for that endpoint.
    pub(super) fn is_of(&self, endpoint: &Endpoint) -> bool {
        Arc::ptr_eq(&self.endpoint.health, &endpoint.health)
    }
    /// Whether the other one is an address of the same name.
    pub(super) fn is_sibling(&self, other: &Self) -> bool {
        self.has_siblings() && self.endpoint.target.is_at(&other.endpoint.target)
    }
    /// Whether its name has further addresses.
    pub(super) fn has_siblings(&self) -> bool {
        self.has_siblings.get()
    }
    /// Addresses of its name have come or gone.
    pub(super) fn set_siblings(&self, has_siblings: bool) {
        self.has_siblings.set(has_siblings);
    }
    pub(super) fn health(&self) -> &TargetHealth {
        &self.endpoint.health
    }
    /// The address; none for a Unix socket.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.endpoint.address
    }
    /// `host:port`, or `unix:/path`; for a name with the address that this is.
    pub(super) fn name(&self) -> &str {
        &self.name
    }
    /// Limit for a new connection.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }
    /// What a request to it has as `host` when nobody says another one.
    pub(super) fn authority(&self) -> Cow<'static, str> {
        match self.endpoint.target.place {
            Place::Network { .. } => Cow::Owned(self.endpoint.target.to_string()),
            Place::Unix(_) => Cow::Borrowed("localhost"),
        }
    }

    /// Sends a request over a pooled or a new connection, in the target's protocol.
    pub(super) async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<ResponseBody>, Unsent> {
        self.adapt(&mut request).map_err(|error| Unsent::lost(error.into()))?;
        if let Some(switch) = request.extensions().get::<Switch>().cloned() {
            return Box::pin(self.switch(request, &switch)).await;
        }
        match self.protocol {
            // No request comes to an upstream for TCP but health checks: the configuration and callouts see to that.
            UpstreamProtocol::Http1 | UpstreamProtocol::Tcp => self.send_http1(request).await,
            UpstreamProtocol::Http2 => Box::pin(self.send_http2(request)).await,
        }
    }

    /// The same for a request whose connection is to change its protocol. A 101 says that it has, whatever the target speaks.
    async fn switch(
        &self,
        mut request: Request<RequestBody>,
        switch: &Switch,
    ) -> Result<Response<ResponseBody>, Unsent> {
        if self.protocol == UpstreamProtocol::Http2 {
            switch.ask_http2(&mut request);
            return Ok(switch.answered_http2(self.send_http2(request).await?));
        }
        switch.ask_http1(&mut request);
        let response = switch.answered_http1(self.send_http1(request).await?);
        response.ok_or_else(|| Unsent::lost(self.not_switched("the answer does not fit the key")))
    }

    fn not_switched(&self, why: &'static str) -> UpstreamError {
        UpstreamError::NotSwitched { target: self.name.clone(), why }
    }

    /// Whether the next request needs no new connection.
    pub(super) fn is_connected(&self) -> bool {
        match self.protocol {
            UpstreamProtocol::Http1 | UpstreamProtocol::Tcp => self.pool.has_ready(),
            UpstreamProtocol::Http2 => match self.pool.shared.try_lock() {
                Ok(shared) => shared.as_ref().is_some_and(|open| !open.sender.is_closed()),
                Err(_) => false,
            },
        }
    }

    /// Makes a connection for the next request.
    pub(super) async fn warm(&self) -> Result<(), UpstreamError> {
        match self.protocol {
            UpstreamProtocol::Http1 | UpstreamProtocol::Tcp => {
                let slot = self.slot().await?;
                if self.pool.has_ready() {
                    return Ok(());
                }
                let mut sender = self.connect(connect::http1(&self.peer())).await?;
                sender.ready().await.map_err(|error| UpstreamError::from_hyper(&self.name, error))?;
                Lease::new(&self.pool, self.pool.made(sender), slot).release();
            }
            UpstreamProtocol::Http2 => {
                let since = Instant::now();
                let mut shared = self.pool.shared.lock().await;
                if shared.as_ref().is_none_or(|open| open.sender.is_closed()) {
                    *shared = Some(self.connect_shared(since).await?);
                }
            }
        }
        Ok(())
    }

    /// Leave to use an HTTP/1 connection.
    async fn slot(&self) -> Result<Slot, UpstreamError> {
        self.pool.slot(self.connect_timeout).await.map_err(|()| UpstreamError::Full { target: self.name.clone() })
    }

    fn peer(&self) -> Peer<'_> {
        Peer { endpoint: &self.endpoint, name: &self.name, tls: &self.tls }
    }

    /// Connects, and TLS where the target has it; then closes again.
    pub(super) async fn reach(&self) -> Result<(), UpstreamError> {
        connect::reach(&self.peer(), self.protocol).await
    }

    /// Writes the request in the target's protocol: HTTP/2 has the authority in the target instead of `host`.
    fn adapt(&self, request: &mut Request<RequestBody>) -> Result<(), http::Error> {
        if self.protocol != UpstreamProtocol::Http2 {
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
        // A request that another target did not get has been written already.
        let authority = match request.headers_mut().remove(header::HOST) {
            Some(host) => Authority::try_from(host.as_bytes())?,
            None => match request.uri().authority() {
                Some(authority) => authority.clone(),
                None => Authority::try_from("")?,
            },
        };
        let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let scheme = if self.endpoint.target.tls { Scheme::HTTPS } else { Scheme::HTTP };
        *request.uri_mut() = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build()?;
        Ok(())
    }

    /// Sends over HTTP/1. A connection from the pool may have been closed by its peer in this very moment; the request is
    /// then sent again over the next one when nothing of it was written, or when it may be repeated (RFC 9110 §9.2.2).
    async fn send_http1(&self, mut request: Request<RequestBody>) -> Result<Response<ResponseBody>, Unsent> {
        let slot = match self.slot().await {
            Ok(slot) => slot,
            Err(error) => return Err(Unsent { error, request: Some(request) }),
        };
        while let Some(mut connection) = self.pool.take() {
            let spare = repeat(&request);
            let error = match connection.sender.try_send_request(request).await {
                Ok(response) => return Ok(self.answered(response, Some(Lease::new(&self.pool, connection, slot)))),
                Err(error) => error,
            };
            request = self.again(error, spare).map_err(Unsent::lost)?;
        }
        let mut connection = match Box::pin(self.connect(connect::http1(&self.peer()))).await {
            Ok(sender) => self.pool.made(sender),
            Err(error) => return Err(Unsent { error, request: Some(request) }),
        };
        match connection.sender.try_send_request(request).await {
            Ok(response) => Ok(self.answered(response, Some(Lease::new(&self.pool, connection, slot)))),
            Err(error) => Err(Unsent::lost(UpstreamError::from_hyper(&self.name, error.into_error()))),
        }
    }

    /// Sends over the target's one HTTP/2 connection, which is made when there is none.
    async fn send_http2(&self, mut request: Request<RequestBody>) -> Result<Response<ResponseBody>, Unsent> {
        loop {
            let since = Instant::now();
            let mut shared = self.pool.shared.lock().await;
            let open = shared.take_if(|open| !open.sender.is_closed() && !self.pool.is_old(Some(open.made)));
            let reused = open.is_some();
            let mut open = match open {
                Some(open) => open,
                None => match Box::pin(self.connect_shared(since)).await {
                    Ok(made) => made,
                    Err(error) => return Err(Unsent { error, request: Some(request) }),
                },
            };
            *shared = Some(open.clone());
            drop(shared);
            if *request.method() == Method::CONNECT && !open.takes_connect().await {
                return Err(Unsent::lost(self.not_switched("it does not offer an extended CONNECT")));
            }
            let spare = if reused { repeat(&request) } else { None };
            let error = match open.sender.try_send_request(request).await {
                Ok(response) => return Ok(self.answered(response, None)),
                Err(error) => error,
            };
            if !reused {
                return Err(Unsent::lost(UpstreamError::from_hyper(&self.name, error.into_error())));
            }
            request = self.again(error, spare).map_err(Unsent::lost)?;
        }
    }

    /// Opens a connection for bytes as they are.
    pub(super) async fn connect_tcp(&self) -> Result<(TcpStream, SocketAddr), UpstreamError> {
        self.connect(connect::tcp(&self.peer())).await
    }

    /// Makes the one HTTP/2 connection. Whoever has waited for it since before it failed last has waited enough.
    async fn connect_shared(&self, since: Instant) -> Result<Shared, UpstreamError> {
        if let Some((at, why)) = &*self.pool.failed.borrow()
            && *at >= since
        {
            return Err(UpstreamError::Connect { target: self.name.clone(), error: why.to_string().into() });
        }
        let made = self.connect(connect::http2(&self.peer())).await;
        made.inspect_err(|error| {
            *self.pool.failed.borrow_mut() = Some((Instant::now(), error.to_string().into()));
        })
    }

    async fn connect<S>(&self, connecting: impl Future<Output = Result<S, UpstreamError>>) -> Result<S, UpstreamError> {
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(made) => made,
            Err(_) => Err(UpstreamError::ConnectTimeout { target: self.name.clone() }),
        }
    }
    fn answered(&self, response: Response<Incoming>, lease: Option<Lease>) -> Response<ResponseBody> {
        response.map(|incoming| ResponseBody::new(incoming, lease))
    }
    /// The request to send once more after a failure on a connection from the pool, or the failure.
    fn again(
        &self,
        mut error: TrySendError<Request<RequestBody>>,
        spare: Option<Box<Request<RequestBody>>>,
    ) -> Result<Request<RequestBody>, UpstreamError> {
        // hyper hands the request back when nothing of it was written.
        let unwritten = error.take_message();
        let error = error.into_error();
        let closed = !error.is_parse() && !error.is_user();
        unwritten
            .or(spare.filter(|_| closed).map(|spare| *spare))
            .ok_or_else(|| UpstreamError::from_hyper(&self.name, error))
    }
}

/// A copy of a request that may be repeated: idempotent and without a body (RFC 9110 §9.2.2).
#[must_use]
pub fn repeat(request: &Request<RequestBody>) -> Option<Box<Request<RequestBody>>> {
    if !request.body().is_empty() || !request.method().is_idempotent() {
        return None;
    }
    let mut copy = Box::new(Request::new(RequestBody::Empty));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    if let Some(switch) = request.extensions().get::<Switch>() {
        copy.extensions_mut().insert(switch.clone());
    }
    Some(copy)
}
