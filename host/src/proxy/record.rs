//! How an exchange went, recorded once when it is over, whatever its end.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use http::{Method, StatusCode};

use super::client::Client;
use super::error::ProxyError;
use super::generation::{RouteChain, Share};
use super::request_id::RequestId;
use crate::filter::Chain;
use crate::observe::{HandshakeFailure, Reason};
use crate::upstream::Upload;

/// One exchange, for metrics and logs.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The route's name; `None` when no route took the request.
    pub route: Option<Rc<str>>,
    /// The upstream's name.
    pub upstream: Option<Rc<str>>,
    /// The request's method.
    pub method: Method,
    /// Status sent to the client; `None` when none was sent.
    pub status: Option<StatusCode>,
    /// From the request's arrival to the response's last byte.
    pub duration: Duration,
    /// Body bytes received from the client.
    pub request_bytes: u64,
    /// Body bytes sent to the client.
    pub response_bytes: u64,
    /// The target that was tried last.
    pub upstream_address: Option<SocketAddr>,
    /// How often the request was sent to the upstream.
    pub tries: u32,
    /// From the request's start towards the upstream to the response's head.
    pub upstream_latency: Option<Duration>,
    /// Who answered and why: `via_upstream`, `gateway: no route`, `auth: missing credentials`.
    pub details: Cow<'static, str>,
    /// Why the gateway answered by itself, if it did.
    pub reason: Option<Reason>,
    /// How it ended.
    pub end: End,
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The whole response was handed to the client's connection.
    Complete,
    /// The client went away first.
    ClientGone,
    /// The upstream or a filter broke the response off after its head was sent.
    Broken,
    /// The route's timeout passed after the response's head was sent, or that between two events.
    Timeout,
    /// A filter reset the stream.
    Reset,
}

impl End {
    /// The word used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::ClientGone => "client_gone",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
        }
    }
}

/// Where outcomes go.
pub trait Recorder {
    /// A request has been routed, or found to have no route. [`Recorder::record`] follows.
    fn begin(&self, route: Option<&Rc<str>>);
    /// A request that has begun is another route's from now on.
    fn moved(&self, from: Option<&Rc<str>>, to: &Rc<str>);
    /// A client's connection was accepted. [`Recorder::closed`] follows.
    fn opened(&self);
    /// A client's connection is gone.
    fn closed(&self);
    /// A client's connection ended before its TLS was established.
    fn handshake_failed(&self, reason: HandshakeFailure);
    /// A connection was ended before there was a whole request that could be recorded.
    fn gave_up(&self, reason: Reason);
    /// Whether one more refused request may be told to the log: if so, how many were not since the last one.
    fn may_tell(&self) -> Option<u64>;
    /// An exchange is over.
    fn record(&self, outcome: &Outcome);
}

/// An exchange under way. Ends it exactly once: by [`Recording::finish`], or when dropped because the client went away.
///
/// Boxed, because it goes through every phase of a request, from one future into the next.
pub(super) struct Recording {
    /// Filled in as things become known.
    pub(super) outcome: Outcome,
    pub(super) started: Instant,
    /// Names the request in answers of the gateway and in the log.
    pub(super) id: RequestId,
    /// The request's body as it is read; `None` when there is none.
    pub(super) upload: Option<Rc<Upload>>,
    chain: Option<Rc<Chain>>,
    client: Rc<Client>,
    recorder: Rc<dyn Recorder>,
    open: bool,
}

impl Recording {
    pub(super) fn new(client: &Rc<Client>, recorder: &Rc<dyn Recorder>, method: Method, id: RequestId) -> Box<Self> {
        client.enter();
        Box::new(Self {
            outcome: Outcome {
                route: None,
                upstream: None,
                method,
                status: None,
                duration: Duration::ZERO,
                request_bytes: 0,
                response_bytes: 0,
                upstream_address: None,
                tries: 0,
                upstream_latency: None,
                details: Cow::Borrowed("via_upstream"),
                reason: None,
                end: End::ClientGone,
            },
            started: Instant::now(),
            id,
            upload: None,
            chain: None,
            client: Rc::clone(client),
            recorder: Rc::clone(recorder),
            open: true,
        })
    }
    /// The request has been routed, or no route takes it.
    pub(super) fn begin(&mut self, route: Option<&RouteChain>, share: Option<&Share>) {
        self.outcome.route = route.map(|route| Rc::clone(&route.name));
        self.outcome.upstream = share.map(|share| Rc::clone(&share.name));
        self.recorder.begin(self.outcome.route.as_ref());
    }
    /// The route has been chosen again.
    pub(super) fn moved(&mut self, route: &RouteChain, share: Option<&Share>) {
        self.recorder.moved(self.outcome.route.as_ref(), &route.name);
        self.outcome.route = Some(Rc::clone(&route.name));
        self.outcome.upstream = share.map(|share| Rc::clone(&share.name));
    }
    /// The gateway answers by itself. What an upstream did wrong is the operator's business, the rest the client's.
    pub(super) fn refused(&mut self, error: &ProxyError) {
        self.outcome.reason = Some(error.reason());
        let (route, upstream) = (self.outcome.route.as_deref(), self.outcome.upstream.as_deref());
        let (request_id, client, reason) = (&self.id, &self.client.facts.remote, error.reason().as_str());
        // Clients can cause as many of these as they like.
        if error.reason().is_about_requests() || error.reason() == Reason::MemoryLimit {
            match self.recorder.may_tell() {
                Some(left_out) => {
                    tracing::info!(%error, reason, %client, %request_id, route, left_out, "Request refused.");
                }
                None => tracing::debug!(%error, reason, %client, %request_id, route, "Request refused."),
            }
        } else {
            tracing::warn!(%error, reason, %request_id, route, upstream, "Request failed.");
        }
    }
    /// The response is broken off after its head was sent: nobody but the log can be told why.
    pub(super) fn broken_off(&mut self, reason: Reason, error: &dyn std::fmt::Display) {
        // A body that was not read to its end takes the response with it.
        let fault = self.upload.as_ref().and_then(|upload| upload.fault());
        let (reason, error): (_, &dyn std::fmt::Display) = match &fault {
            Some(fault) => (ProxyError::from(*fault).reason(), fault),
            None => (reason, error),
        };
        self.outcome.reason = Some(reason);
        self.outcome.details = format!("gateway: broken off: {error}").into();
        let (route, upstream) = (self.outcome.route.as_deref(), self.outcome.upstream.as_deref());
        let request_id = &self.id;
        tracing::warn!(%error, reason = reason.as_str(), %request_id, route, upstream, "Response broken off.");
        if let Some(chain) = &self.chain {
            chain.exchange().progress.borrow_mut().details = Some(self.outcome.details.clone().into_owned());
        }
    }
    /// The chain to finish with the exchange.
    pub(super) fn attach(&mut self, chain: &Rc<Chain>) {
        self.chain = Some(Rc::clone(chain));
    }
    /// The exchange is over. Later calls do nothing.
    pub(super) fn finish(&mut self, end: End) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        let now = Instant::now();
        self.client.leave(now);
        let outcome = &mut self.outcome;
        outcome.end = end;
        outcome.duration = now.saturating_duration_since(self.started);
        outcome.request_bytes = self.upload.as_ref().map_or(0, |upload| upload.received().get());
        if let Some(chain) = self.chain.take() {
            let mut progress = chain.exchange().progress.borrow_mut();
            progress.request_size = outcome.request_bytes;
            progress.response_size = outcome.response_bytes;
            progress.duration = Some(outcome.duration);
            progress.status = outcome.status.map(|status| status.as_u16());
            progress.details.get_or_insert_with(|| outcome.details.clone().into_owned());
            drop(progress);
            chain.finish();
        }
        self.recorder.record(&self.outcome);
    }
}

/// Counts a client's connection until dropped.
pub(crate) struct Counted(Rc<dyn Recorder>);

impl Counted {
    pub(super) fn new(recorder: &Rc<dyn Recorder>) -> Self {
        recorder.opened();
        Self(Rc::clone(recorder))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.closed();
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.finish(End::ClientGone);
    }
}
