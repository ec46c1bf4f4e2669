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
mod journey;
mod members;
mod names;
mod pool;
mod race;
mod resolver;
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
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use tokio::net::TcpStream;

use balance::Balancer;
pub use body::{BodyError, RequestBody, ResponseBody};
pub use callouts::WorkerCallouts;
pub use error::UpstreamError;
pub use executor::LocalExecutor;
use journey::Admitted;
pub use journey::{Held, InUse, Journey};
pub use switch::Switch;
pub use target::repeat;
use target::{Target, Unsent};
pub use tls::{Finding, Tls, TlsError};
pub use upload::{ClientBody, Upload, UploadFault};

use crate::config::{self, UpstreamProtocol};
use crate::state::targets::{Duty, Health, Targets};

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
    /// What all workers know of its targets.
    targets: Arc<Targets>,
    /// The choice among the targets that it has now.
    balancer: RefCell<Rc<Balancer>>,
    /// Held while it is this worker that checks them.
    checking: RefCell<Option<Duty>>,
    this: Weak<Self>,
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

impl Upstream {
    /// Must run on the worker that will use it.
    fn new(config: config::Upstream, tls: &Arc<Tls>, health: &Health) -> Rc<Self> {
        let targets = health.of(&config);
        let endpoints = Arc::clone(&targets.follow().borrow());
        let balancer = members::balancer(&config, tls, &endpoints, None);
        let upstream = Rc::new_cyclic(|this| Self {
            config,
            tls: Arc::clone(tls),
            targets: Arc::clone(&targets),
            balancer: RefCell::new(Rc::new(balancer)),
            checking: RefCell::default(),
            this: Weak::clone(this),
            waiting: Rc::default(),
            retrying: Rc::default(),
            copies: Rc::default(),
        });
        members::start(&upstream, &targets);
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
        let mut balancer = self.balancer();
        if balancer.is_waiting() {
            balancer = Box::pin(self.first_answers()).await;
        }
        let key = balancer.key(request.headers(), journey.client);
        let home = balancer.home(request.headers());
        let mut failure = None;
        loop {
            // Whatever its weight and priority.
            let at_home = home.filter(|home| home.health().is_usable() && !journey.has_tried(home));
            let mut chosen = at_home.or_else(|| balancer.choose(key, &journey.tried.borrow())).cloned();
            if chosen.is_none() && failure.is_none() {
                // The tries before this one have asked all of them; this one may have more luck.
                journey.tried.borrow_mut().clear();
                chosen = balancer.choose(key, &[]).cloned();
            }
            let Some(mut target) = chosen else { return Err(failure.unwrap_or_else(|| self.nobody(&balancer))) };
            journey.tried.borrow_mut().push(Rc::clone(&target));
            journey.under_way.set(Some(Rc::clone(&target)));
            // A session waits for its home rather than to move.
            if at_home.is_none() && target.has_siblings() && !target.is_connected() {
                let warm = |target: Rc<Target>| async move { target.warm().await };
                target = match Box::pin(race::first(&balancer, target, key, &journey.tried, warm)).await {
                    Ok((connected, ())) => connected,
                    Err(error) => {
                        journey.under_way.set(None);
                        failure = Some(error);
                        continue;
                    }
                };
                journey.under_way.set(Some(Rc::clone(&target)));
            }
            let active = Held::new(&target.active);
            let sent = target.send(request).await;
            journey.under_way.set(None);
            journey.address.set(target.address());
            match sent {
                Ok(response) => {
                    self.answered(&balancer, &target, response.status());
                    let is_new = balancer.is_sticky() && home.is_none_or(|home| !Rc::ptr_eq(home, &target));
                    journey.new_home.replace(is_new.then_some(target));
                    let in_use = InUse { _active: active, _admitted: admitted };
                    // Without a body the exchange is over, unless the connection becomes a tunnel.
                    let over = response.body().is_end_stream() && response.status() != StatusCode::SWITCHING_PROTOCOLS;
                    return Ok(if over { response } else { response.map(|body| body.holding(in_use)) });
                }
                Err(Unsent { error, request: Some(unsent) }) if error.is_connect() => {
                    balancer.note_failed_connect(&target, &error);
                    request = unsent;
                    failure = Some(error);
                }
                Err(Unsent { error, request: Some(unsent) }) if error.is_full() => {
                    request = unsent;
                    failure = Some(error);
                }
                Err(Unsent { error, .. }) => {
                    if error.is_targets() {
                        balancer.note_failure(&target, &error);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// The `set-cookie` by which the client's further requests come to the same target, when it has to be told. `secure`: the client
    /// speaks TLS.
    #[must_use]
    pub fn session(&self, journey: &Journey, secure: bool) -> Option<HeaderValue> {
        let home = journey.new_home.borrow();
        let home = home.as_ref()?;
        self.balancer().session(home, secure)
    }

    /// A request's time is up: the target that it waits for has failed it.
    pub fn timed_out(&self, journey: &Journey) {
        if let Some(target) = journey.under_way.take() {
            self.balancer().note_failure(&target, &"no answer in time");
        }
    }

    /// Counts a request against the limit, if there is one.
    fn admit(&self) -> Result<Option<Admitted>, UpstreamError> {
        let Some(most) = self.config.max_requests else { return Ok(None) };
        let admitted = Admitted::new(&self.targets);
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
        let mut balancer = self.balancer();
        if balancer.is_waiting() {
            balancer = self.first_answers().await;
        }
        let tried = RefCell::new(Vec::new());
        let mut failure = None;
        loop {
            let target = balancer.choose(None, &tried.borrow()).cloned();
            let Some(target) = target else { return Err(failure.unwrap_or_else(|| self.nobody(&balancer))) };
            tried.borrow_mut().push(Rc::clone(&target));
            let connect = |target: Rc<Target>| async move { target.connect_tcp().await };
            match race::first(&balancer, target, None, &tried, connect).await {
                Ok((target, connected)) => {
                    target.health().succeeded();
                    return Ok(connected);
                }
                Err(error) => failure = Some(error),
            }
        }
    }

    fn answered(&self, balancer: &Balancer, target: &Target, status: StatusCode) {
        if self.config.ejection.statuses && status.is_server_error() {
            balancer.note_failure(target, &status);
        } else {
            target.health().succeeded();
        }
    }
}
