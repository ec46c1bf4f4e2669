//! Outcomes of exchanges → the ledgers of their routes and upstreams.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::observe::{GatewayLedger, HandshakeFailure, RouteLedger, UpstreamLedger};
use crate::proxy::{Outcome, Recorder};

/// Records what one worker served.
pub(super) struct LedgerRecorder {
    gateway: Arc<GatewayLedger>,
    /// By name. Names that a configuration no longer has stay until the worker ends: they are few.
    routes: RefCell<BTreeMap<Rc<str>, Arc<RouteLedger>>>,
    upstreams: RefCell<BTreeMap<Rc<str>, Arc<UpstreamLedger>>>,
}

impl LedgerRecorder {
    pub(super) fn new(gateway: Arc<GatewayLedger>) -> Self {
        Self { gateway, routes: RefCell::default(), upstreams: RefCell::default() }
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

    fn opened(&self) {
        self.gateway.connection_opened();
    }

    fn closed(&self) {
        self.gateway.connection_closed();
    }

    fn handshake_failed(&self, reason: HandshakeFailure) {
        self.gateway.handshake_failed(reason);
    }

    fn record(&self, outcome: &Outcome) {
        let status = outcome.status.map(|status| status.as_u16());
        self.with_route(outcome.route.as_ref(), |ledger| ledger.end(&outcome.method, status, nanos(outcome.duration)));
        if let Some(reason) = outcome.reason {
            self.gateway.replied(reason);
        }
        let Some(upstream) = &outcome.upstream else { return };
        let mut upstreams = self.upstreams.borrow_mut();
        let ledger = upstreams.entry(Rc::clone(upstream)).or_insert_with(|| self.gateway.upstream(upstream));
        if let Some(latency) = outcome.upstream_latency {
            ledger.answered(status.unwrap_or(0), nanos(latency));
        }
        if let Some(reason) = outcome.reason.filter(|reason| reason.is_about_upstreams()) {
            ledger.failed(reason);
        }
        ledger.retried(u64::from(outcome.tries.saturating_sub(1)));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
