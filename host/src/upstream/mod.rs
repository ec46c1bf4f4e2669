//! Where requests go: named groups of targets, their balancing and their connections, per worker. Knows no filters and
//! no client; a request comes here complete.

mod balance;
mod body;
pub mod callouts;
mod checks;
mod connect;
mod error;
mod executor;
mod grpc;
mod pool;
mod shared;
mod sticky;
mod switch;
mod target;
#[cfg(test)]
mod tests;
mod tls;
pub mod turns;
mod upload;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tokio::net::TcpStream;

use balance::Balancer;
pub use body::{BodyError, RequestBody, ResponseBody};
pub use callouts::WorkerCallouts;
pub use error::UpstreamError;
pub use executor::LocalExecutor;
pub use switch::Switch;
pub use target::repeat;
use target::{Target, Unsent};
pub use tls::{Finding, Tls, TlsError};
pub use upload::{ClientBody, Upload, UploadFault};

use crate::config::{self, UpstreamProtocol};
use crate::state::targets::{Health, Targets};

/// The upstreams of a generation, on one worker.
#[derive(Default)]
pub struct Upstreams {
    by_name: BTreeMap<String, Rc<Upstream>>,
}

impl Upstreams {
    /// Makes the upstreams of a configuration. Those of `previous` whose configuration did not change are taken over with
    /// their connections.
    #[must_use]
    pub fn new(
        configured: &BTreeMap<String, config::Upstream>,
        previous: Option<&Self>,
        tls: &UpstreamsTls,
        health: &Health,
    ) -> Rc<Self> {
        let by_name = configured.iter().map(|(name, config)| {
            let kept =
                previous.and_then(|previous| previous.get(name)).filter(|old| old.is_made_of(config, tls.of(name)));
            (name.clone(), kept.cloned().unwrap_or_else(|| Upstream::new(config.clone(), tls.of(name), health)))
        });
        Rc::new(Self { by_name: by_name.collect() })
    }
    /// The upstream of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Rc<Upstream>> {
        self.by_name.get(name)
    }
}

/// The TLS of a generation's upstreams.
pub struct UpstreamsTls {
    /// What is usual.
    pub usual: Arc<Tls>,
    /// By the names of the upstreams that have their own.
    pub own: BTreeMap<String, Arc<Tls>>,
}

impl UpstreamsTls {
    fn of(&self, upstream: &str) -> &Arc<Tls> {
        self.own.get(upstream).unwrap_or(&self.usual)
    }
}

/// A named group of targets, on one worker.
pub struct Upstream {
    config: config::Upstream,
    tls: Arc<Tls>,
    targets: Box<[Target]>,
    balancer: Balancer,
    /// Requests that wait for their response's head.
    waiting: Rc<Cell<u32>>,
    /// Those among them that have been sent before.
    retrying: Rc<Cell<u32>>,
    /// Copies of requests that are not over.
    copies: Rc<Cell<u32>>,
}

/// Retries that an upstream may have at a time on one worker, however few its requests are.
const RETRIES_MIN: u32 = 3;
/// Beyond these, one request in so many may be a retry: an upstream in trouble must not get a multiple of its load.
const RETRY_SHARE: u32 = 5;

/// Copies of requests that an upstream may have under way on one worker: each takes a connection and what its body holds.
const COPIES: u32 = 100;

/// Counts something while it lasts.
pub struct Held(Rc<Cell<u32>>);

impl Held {
    fn new(count: &Rc<Cell<u32>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl Upstream {
    /// Must run on the worker that will use it.
    fn new(config: config::Upstream, tls: &Arc<Tls>, health: &Health) -> Rc<Self> {
        let target = |target: &config::Target| {
            Target::new(target.clone(), config.protocol, config.connect_timeout, Arc::clone(tls))
        };
        let targets = config.targets.iter().map(target).collect();
        let balancer = Balancer::new(&config, health.of(&config));
        let tls = Arc::clone(tls);
        let upstream = Rc::new(Self {
            config,
            tls,
            targets,
            balancer,
            waiting: Rc::default(),
            retrying: Rc::default(),
            copies: Rc::default(),
        });
        if let Some(check) = &upstream.config.health {
            checks::start(&upstream, check);
        }
        upstream
    }
    /// Whether one made of this would be the same.
    fn is_made_of(&self, config: &config::Upstream, tls: &Arc<Tls>) -> bool {
        self.config == *config && Arc::ptr_eq(&self.tls, tls)
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

    /// Leave to send a copy of a request, as long as not too many are under way; held until it is over.
    #[must_use]
    pub fn may_copy(&self) -> Option<Held> {
        (self.copies.get() < COPIES).then(|| Held::new(&self.copies))
    }

    /// Leave to send a request once more, as long as not too many are; held until its try is over.
    #[must_use]
    pub fn may_retry(&self) -> Option<Held> {
        let most = RETRIES_MIN.max(self.waiting.get() / RETRY_SHARE);
        (self.retrying.get() < most).then(|| Held::new(&self.retrying))
    }

    /// Sends a request to the target whose turn it is and waits for the response's head. The request is in origin form and has
    /// a `host`; its version does not matter. When no connection can be made, the other targets are tried.
    ///
    /// What happens is noted in `journey`. Dropping the future cancels the request: its HTTP/1 connection is
    /// closed, its HTTP/2 stream reset.
    ///
    /// # Errors
    /// See [`UpstreamError`].
    pub async fn send(
        &self,
        mut request: Request<RequestBody>,
        journey: &Journey,
    ) -> Result<Response<ResponseBody>, UpstreamError> {
        let _waiting = Held::new(&self.waiting);
        let admitted = self.admit()?;
        let key = self.balancer.key(request.headers(), journey.client);
        let home = self.balancer.home(request.headers());
        let mut failure = None;
        loop {
            let at_home = home.filter(|home| self.balancer.is_at_home(*home, &journey.tried.borrow()));
            let mut place = at_home.or_else(|| self.balancer.choose(key, &journey.tried.borrow()));
            if place.is_none() && failure.is_none() {
                // The tries before this one have asked all of them; this one may have more luck.
                journey.tried.borrow_mut().clear();
                place = self.balancer.choose(key, &[]);
            }
            let Some((place, target)) = place.and_then(|place| Some((place, self.targets.get(place)?))) else {
                return Err(failure.unwrap_or_else(|| UpstreamError::NoTarget { upstream: self.name().to_string() }));
            };
            let active = self.balancer.active(place).map(Held::new);
            journey.tried.borrow_mut().push(place);
            journey.under_way.set(Some(place));
            let sent = target.send(request).await;
            journey.under_way.set(None);
            journey.address.set(target.address());
            match sent {
                Ok(response) => {
                    self.answered(place, response.status());
                    journey.new_home.set(Some(place).filter(|_| self.balancer.sticky.is_some() && home != Some(place)));
                    let in_use = InUse { _active: active, _admitted: admitted };
                    // Without a body the exchange is over, unless the connection becomes a tunnel.
                    let over = response.body().is_end_stream() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
                    return Ok(if over { response } else { response.map(|body| body.holding(in_use)) });
                }
                Err(Unsent { error, request: Some(unsent) }) if error.is_connect() => {
                    tracing::warn!(%error, upstream = %self.name(), "Target failed, another one is tried.");
                    if error.is_targets() {
                        self.note_failure(place, &error);
                    }
                    request = unsent;
                    failure = Some(error);
                }
                Err(Unsent { error, .. }) => {
                    if error.is_targets() {
                        self.note_failure(place, &error);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The `set-cookie` by which the client's further requests come to the same target, when it has to be told. `secure`: the client
    /// speaks TLS.
    #[must_use]
    pub fn session(&self, journey: &Journey, secure: bool) -> Option<&HeaderValue> {
        self.balancer.sticky.as_ref()?.field(journey.new_home.get()?, secure)
    }

    /// A request's time is up: the target that it waits for has failed it.
    pub fn timed_out(&self, journey: &Journey) {
        if let Some(place) = journey.under_way.take() {
            self.note_failure(place, &"no answer in time");
        }
    }

    /// Counts a request against the limit, if there is one.
    fn admit(&self) -> Result<Option<Admitted>, UpstreamError> {
        let Some(most) = self.config.max_requests else { return Ok(None) };
        let admitted = Admitted::new(&self.balancer.health);
        match admitted.place <= most {
            true => Ok(Some(admitted)),
            false => Err(UpstreamError::TooMany { upstream: self.name().to_string() }),
        }
    }

    /// Opens a connection for bytes to the target whose turn it is, or to another one when that does not take it. What balancing
    /// by a key looks at, connections do not have.
    ///
    /// # Errors
    /// No target takes it: what the last one said.
    pub async fn connect_tcp(&self) -> Result<(TcpStream, SocketAddr), UpstreamError> {
        let mut tried = Vec::new();
        let mut failure = None;
        loop {
            let place = self.balancer.choose(None, &tried);
            let Some((place, target)) = place.and_then(|place| Some((place, self.targets.get(place)?))) else {
                return Err(failure.unwrap_or_else(|| UpstreamError::NoTarget { upstream: self.name().to_string() }));
            };
            match target.connect_tcp().await {
                Ok(connected) => {
                    if let Some(target) = self.balancer.health.all.get(place) {
                        target.succeeded();
                    }
                    return Ok(connected);
                }
                Err(error) => {
                    tracing::warn!(%error, upstream = %self.name(), "Target failed, another one is tried.");
                    self.note_failure(place, &error);
                    tried.push(place);
                    failure = Some(error);
                }
            }
        }
    }

    fn answered(&self, place: usize, status: StatusCode) {
        let targets = &self.balancer.health;
        if self.config.ejection.statuses && status.is_server_error() {
            self.note_failure(place, &status);
        } else if let Some(target) = targets.all.get(place) {
            target.succeeded();
        }
    }

    fn note_failure(&self, place: usize, last: &dyn std::fmt::Display) {
        if self.balancer.health.failed(place, &self.config.ejection) {
            let target = self.targets.get(place).map(Target::name);
            let upstream = self.name();
            tracing::warn!(%upstream, target, %last, "Target left out for a while: it fails too many requests in a row.");
        }
    }
}

/// A request on its way: who asks, and what has happened to it. Lasts over all of its tries.
#[derive(Default)]
pub struct Journey {
    /// Who asks, when it is a client.
    client: Option<IpAddr>,
    /// The address of the target that was tried last.
    pub address: Cell<Option<SocketAddr>>,
    /// How often it was sent.
    pub tries: Cell<u32>,
    /// The targets that have been tried.
    tried: RefCell<Vec<usize>>,
    /// The target whose answer is waited for.
    under_way: Cell<Option<usize>>,
    /// The target that its session belongs to from now on.
    new_home: Cell<Option<usize>>,
}

impl Journey {
    /// One of a client's request.
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        Self { client: Some(client), ..Self::default() }
    }
}

/// What a request holds until its response has ended.
pub struct InUse {
    _active: Option<Held>,
    _admitted: Option<Admitted>,
}

/// A request that counts against an upstream's limit.
struct Admitted {
    targets: Arc<Targets>,
    /// How many there were with it.
    place: usize,
}

impl Admitted {
    fn new(targets: &Arc<Targets>) -> Self {
        let place = targets.in_flight.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Self { targets: Arc::clone(targets), place }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.targets.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
