//! Outcomes of exchanges → the ledgers of their routes and upstreams.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::observe::{GatewayLedger, RouteLedger, UpstreamLedger};
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

impl Recorder for LedgerRecorder {
    fn record(&self, outcome: &Outcome) {
        let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let status = outcome.status.map(|status| status.as_u16());
        let end = |ledger: &RouteLedger| {
            ledger.begin();
            ledger.end(&outcome.method, status, nanos(outcome.duration));
        };
        match &outcome.route {
            Some(route) => {
                let mut routes = self.routes.borrow_mut();
                end(routes.entry(Rc::clone(route)).or_insert_with(|| self.gateway.route(route)));
            }
            None => end(self.gateway.unrouted()),
        }
        if let (Some(upstream), Some(latency)) = (&outcome.upstream, outcome.upstream_latency) {
            let mut upstreams = self.upstreams.borrow_mut();
            let ledger = upstreams.entry(Rc::clone(upstream)).or_insert_with(|| self.gateway.upstream(upstream));
            ledger.answered(status.unwrap_or(0), nanos(latency));
        }
    }
}
