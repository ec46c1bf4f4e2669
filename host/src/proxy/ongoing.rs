//! One request on its way: what every phase needs.

use std::rc::Rc;
use std::time::{Duration, Instant};

use http::HeaderValue;

use super::arrival::Arrival;
use super::generation::Share;
use super::record::Recording;
use super::routing::Routed;
use super::{Client, ProxyError, RouteChain, UNROUTED_TIMEOUT, WorkerGeneration, action};
use crate::config::Route;
use crate::filter::exchange::ConnectionFacts;
use crate::upstream::Journey;

/// See the module.
pub(super) struct Ongoing {
    pub(super) client: Rc<Client>,
    /// What filters are told of the connection: with the address of who asks.
    pub(super) connection: Rc<ConnectionFacts>,
    /// The client speaks TLS.
    pub(super) secure: bool,
    /// What happens to it on its way to an upstream.
    pub(super) journey: Journey,
    /// The host that a trusted proxy was asked for.
    pub(super) public_host: Option<HeaderValue>,
    pub(super) generation: Rc<WorkerGeneration>,
    pub(super) arrival: Arrival,
    pub(super) routed: Routed,
    pub(super) recording: Box<Recording>,
}

impl Ongoing {
    /// The route, as configured and as it is served.
    pub(super) fn route(&self) -> Option<(&Route, &RouteChain)> {
        let index = self.routed.route?;
        Some((self.generation.config.routes.get(index)?, self.generation.routes.get(index)?))
    }
    /// The upstream that gets it, if one does.
    pub(super) fn share(&self) -> Option<&Share> {
        let route = self.generation.routes.get(self.routed.route?)?;
        route.shares.get(self.routed.share?)
    }
    /// The cookie that the client is given by the upstream's balancing.
    pub(super) fn session(&self) -> Option<HeaderValue> {
        self.share()?.upstream.session(&self.journey, self.secure)
    }
    /// How long the route lets it take, if that has a limit.
    fn timeout(&self) -> Option<Duration> {
        self.route().map_or(Some(UNROUTED_TIMEOUT), |(route, _)| route.timeout)
    }
    /// When the route's timeout passes, if it has one, or that of its gRPC client, if that is sooner.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timeouts = [self.timeout(), self.arrival.grpc_timeout];
        let least = timeouts.into_iter().flatten().min()?;
        self.recording.started.checked_add(least)
    }
    /// What is told when that has passed. Only where the target was waited for, it has failed the request: not where the client has not
    /// sent its body yet, and not where it gave the target no more time.
    pub(super) fn late(&self) -> ProxyError {
        let asked = self.arrival.grpc_timeout;
        if asked.is_some_and(|asked| self.timeout().is_none_or(|timeout| asked <= timeout)) {
            return ProxyError::Deadline;
        }
        if self.arrival.upload.as_ref().is_some_and(|upload| upload.is_awaited()) {
            // In a call of gRPC both sides may take turns, so that nobody knows who was waited for.
            return if self.arrival.grpc { ProxyError::Timeout } else { ProxyError::BodyTimeout };
        }
        if let Some(share) = self.share() {
            share.upstream.timed_out(&self.journey);
        }
        ProxyError::Timeout
    }
    /// Bounds the request's body as its route says.
    pub(super) fn bound_upload(&self) {
        let Some(upload) = &self.arrival.upload else { return };
        let (limits, route) = (&self.generation.config.limits, self.route().map(|(route, _)| route));
        let most = route.and_then(|route| route.body_bytes).or(limits.body_bytes);
        let patience = route.and_then(|route| route.body_timeout).unwrap_or(limits.body_timeout);
        // A route's timeout that comes first needs no second timer beside it.
        let comes_first = self.timeout().is_none_or(|timeout| patience < timeout);
        upload.bound(most, (comes_first && !patience.is_zero()).then_some(patience));
    }
    /// What a redirection repeats.
    pub(super) fn asked<'a>(
        &'a self,
        authority: &'a HeaderValue,
        path: &'a str,
        query: Option<&'a str>,
    ) -> action::Asked<'a> {
        // What a trusted proxy was asked for, unless a filter has put another in the place of what this gateway was asked for.
        let public = self.public_host.as_ref().filter(|_| *authority == self.routed.authority);
        let authority = public.unwrap_or(authority);
        action::Asked { secure: self.secure, authority: authority.to_str().unwrap_or_default(), path, query }
    }
}
