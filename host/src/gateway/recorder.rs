//! Outcomes of exchanges → the ledgers of their routes and upstreams.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::observe::{GatewayLedger, HandshakeFailure, Reason, RouteLedger, Sparing, UpstreamLedger};
use crate::proxy::{Outcome, Recorder};

/// Records what one worker served.
pub(super) struct LedgerRecorder {
    gateway: Arc<GatewayLedger>,
    /// By name, as far as the configuration in force has it or a request on its way.
    routes: RefCell<BTreeMap<Rc<str>, Arc<RouteLedger>>>,
    upstreams: RefCell<BTreeMap<Rc<str>, Arc<UpstreamLedger>>>,
    /// The configuration in force; none before the first.
    config: RefCell<Option<Arc<Config>>>,
    refusals: Sparing,
}

impl LedgerRecorder {
    pub(super) fn new(gateway: Arc<GatewayLedger>) -> Self {
        Self {
            gateway,
            routes: RefCell::default(),
            upstreams: RefCell::default(),
            config: RefCell::default(),
            refusals: Sparing::default(),
        }
    }

    /// Lets go of what a new configuration no longer names: when no worker holds a ledger any more, its series end. That of a route
    /// is held while requests are on their way.
    pub(super) fn keep_only(&self, config: &Arc<Config>) {
        let routes: HashSet<&str> = config.routes.iter().map(|route| &*route.name).collect();
        self.routes.borrow_mut().retain(|name, ledger| routes.contains(&**name) || ledger.active() > 0);
        self.upstreams.borrow_mut().retain(|name, _| config.upstreams.contains_key(&**name));
        *self.config.borrow_mut() = Some(Arc::clone(config));
    }

    /// The ledger of an upstream, if the configuration in force still names it.
    fn with_upstream(&self, upstream: &Rc<str>, count: impl FnOnce(&UpstreamLedger)) {
        let mut upstreams = self.upstreams.borrow_mut();
        if let Some(known) = upstreams.get(upstream) {
            return count(known);
        }
        let config = self.config.borrow();
        if config.as_ref().is_some_and(|config| config.upstreams.contains_key(&**upstream)) {
            count(upstreams.entry(Rc::clone(upstream)).or_insert(self.gateway.upstream(upstream)));
        }
    }
}

impl LedgerRecorder {
    /// The ledger of a route, or that of requests without one.
    fn with_route(&self, route: Option<&Rc<str>>, count: impl FnOnce(&RouteLedger)) {
        match route {
            Some(route) => {
                let mut routes = self.routes.borrow_mut();
                count(routes.entry(Rc::clone(route)).or_insert_with(|| self.gateway.route(route)));
            }
            None => count(self.gateway.unrouted()),
        }
    }
}

impl Recorder for LedgerRecorder {
    fn begin(&self, route: Option<&Rc<str>>) {
        self.with_route(route, RouteLedger::begin);
    }

    fn moved(&self, from: Option<&Rc<str>>, to: &Rc<str>) {
        self.with_route(from, RouteLedger::leave);
        self.with_route(Some(to), RouteLedger::begin);
    }

    fn opened(&self) {
        self.gateway.connection_opened();
    }

    fn closed(&self) {
        self.gateway.connection_closed();
    }

    fn handshake_failed(&self, reason: HandshakeFailure) {
        self.gateway.handshake_failed(reason);
    }

    fn gave_up(&self, reason: Reason) {
        self.gateway.replied(reason);
    }

    fn may_tell(&self) -> Option<u64> {
        self.refusals.line(Instant::now())
    }

    fn record(&self, outcome: &Outcome) {
        let status = outcome.status.map(|status| status.as_u16());
        self.with_route(outcome.route.as_ref(), |ledger| ledger.end(&outcome.method, status, nanos(outcome.duration)));
        if let Some(reason) = outcome.reason {
            self.gateway.replied(reason);
        }
        let Some(upstream) = &outcome.upstream else { return };
        self.with_upstream(upstream, |ledger| {
            if let Some(latency) = outcome.upstream_latency {
                ledger.answered(status.unwrap_or(0), nanos(latency));
            }
            if let Some(reason) = outcome.reason.filter(|reason| reason.is_about_upstreams()) {
                ledger.failed(reason);
            }
            ledger.retried(u64::from(outcome.tries.saturating_sub(1)));
        });
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
