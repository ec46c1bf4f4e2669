//! One request on its way: what every phase needs.

use std::rc::Rc;
use std::time::Instant;

use http::HeaderValue;

use super::arrival::Arrival;
use super::generation::Share;
use super::record::Recording;
use super::routing::Routed;
use super::{Client, RouteChain, UNROUTED_TIMEOUT, WorkerGeneration, action};
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
    /// When the route's timeout passes, if it has one.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timeout = match self.route() {
            Some((route, _)) => route.timeout?,
            None => UNROUTED_TIMEOUT,
        };
        Some(self.recording.started + timeout)
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
