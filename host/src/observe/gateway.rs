//! The ledger of the gateway as a whole, and the place where all other ledgers are found.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use super::filter::FilterLedger;
use super::handshake::HandshakeFailure;
use super::reason::Reason;
use super::sharded::{Count, Sharded};
use super::tcp::TcpLedger;
use super::traffic::{RouteLedger, UpstreamLedger};

/// How the swap of a plugin ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SwapResult {
    /// The new version serves.
    Success,
    /// The new version was refused; the old one serves on.
    Failure,
    /// The new version was taken back after it had served.
    RolledBack,
}

/// What happens in the process, not in one route or filter.
pub struct GatewayLedger {
    routes: Ledgers<RouteLedger>,
    upstreams: Ledgers<UpstreamLedger>,
    filters: Ledgers<FilterLedger>,
    tcp: Ledgers<TcpLedger>,
    unrouted: Arc<RouteLedger>,
    connections: Sharded<Connections>,
    replies: [AtomicU64; Reason::ALL.len()],
    handshakes: [AtomicU64; HandshakeFailure::ALL.len()],
    swaps: [AtomicU64; 3],
    reloads_succeeded: AtomicU64,
    reloads_failed: AtomicU64,
    last_reload_succeeded: AtomicBool,
    /// Seconds since 1970.
    last_success: AtomicU64,
    generation: AtomicU64,
}

#[derive(Default)]
struct Connections {
    opened: Count,
    closed: Count,
}

impl GatewayLedger {
    /// The ledger of a route: that of an older generation with the same name, if it still lives, so that counts go on.
    #[must_use]
    pub fn route(&self, name: &str) -> Arc<RouteLedger> {
        self.routes.get(name.to_owned(), || RouteLedger::new(name))
    }

    /// The ledger for requests that no route matches.
    #[must_use]
    pub fn unrouted(&self) -> &Arc<RouteLedger> {
        &self.unrouted
    }

    /// The ledger of an upstream, found like that of a route.
    #[must_use]
    pub fn upstream(&self, name: &str) -> Arc<UpstreamLedger> {
        self.upstreams.get(name.to_owned(), || UpstreamLedger::new(name))
    }

    /// The ledger of a TCP listener, found like that of a route.
    #[must_use]
    pub fn tcp(&self, listener: &str) -> Arc<TcpLedger> {
        self.tcp.get(listener.to_owned(), || TcpLedger::new(listener))
    }

    /// The ledger of a filter entry, found like that of a route: another place or another version begins anew.
    #[must_use]
    pub fn filter(&self, name: &str, path: &str, digest: &str) -> Arc<FilterLedger> {
        let key = [path, name, digest].join("\0");
        self.filters.get(key, || FilterLedger::new(name, path, digest))
    }

    /// Every ledger of a filter entry that some generation still holds, by place.
    #[must_use]
    pub fn filters(&self) -> Vec<Arc<FilterLedger>> {
        self.filters.all()
    }

    /// A client connection was accepted. [`GatewayLedger::connection_closed`] must follow.
    pub fn connection_opened(&self) {
        let (connections, slot) = self.connections.local();
        connections.opened.add(1, slot);
    }

    /// A client connection is gone.
    pub fn connection_closed(&self) {
        let (connections, slot) = self.connections.local();
        connections.closed.add(1, slot);
    }

    /// The gateway answered, or reset, a request by itself.
    pub fn replied(&self, reason: Reason) {
        self.replies[reason as usize].fetch_add(1, Relaxed);
    }

    /// A client connection ended before its TLS was established.
    pub fn handshake_failed(&self, reason: HandshakeFailure) {
        self.handshakes[reason as usize].fetch_add(1, Relaxed);
    }

    /// A configuration is in force (the first one counts too). Its number is `generation`.
    pub fn reload_succeeded(&self, generation: u64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        self.generation.store(generation, Relaxed);
        self.last_success.store(now, Relaxed);
        self.last_reload_succeeded.store(true, Relaxed);
        self.reloads_succeeded.fetch_add(1, Relaxed);
    }

    /// A configuration was refused; the old one serves on.
    pub fn reload_failed(&self) {
        self.last_reload_succeeded.store(false, Relaxed);
        self.reloads_failed.fetch_add(1, Relaxed);
    }

    /// A plugin's module was to be swapped.
    pub fn swapped(&self, result: SwapResult) {
        self.swaps[result as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn snapshot(&self) -> GatewaySnapshot {
        let load = |count: &AtomicU64| count.load(Relaxed);
        let closed = self.connections.sum(|connections| &connections.closed);
        let opened = self.connections.sum(|connections| &connections.opened);
        let mut routes = self.routes.all();
        routes.push(Arc::clone(&self.unrouted));
        GatewaySnapshot {
            routes,
            upstreams: self.upstreams.all(),
            tcp: self.tcp.all(),
            connections_opened: opened,
            connections: opened.saturating_sub(closed),
            replies: Reason::ALL.into_iter().map(|reason| (reason, load(&self.replies[reason as usize]))).collect(),
            handshakes: HandshakeFailure::ALL.map(|reason| (reason, load(&self.handshakes[reason as usize]))).to_vec(),
            swaps: [
                ("success", load(&self.swaps[0])),
                ("failure", load(&self.swaps[1])),
                ("rolled_back", load(&self.swaps[2])),
            ],
            reloads: [("success", load(&self.reloads_succeeded)), ("failure", load(&self.reloads_failed))],
            last_reload_succeeded: self.last_reload_succeeded.load(Relaxed),
            last_success: load(&self.last_success),
            generation: load(&self.generation),
        }
    }
}

impl Default for GatewayLedger {
    fn default() -> Self {
        Self {
            routes: Ledgers::default(),
            upstreams: Ledgers::default(),
            filters: Ledgers::default(),
            tcp: Ledgers::default(),
            // No route can have this name: names of routes do not begin with an underscore.
            unrouted: Arc::new(RouteLedger::new("_none")),
            connections: Sharded::default(),
            replies: [const { AtomicU64::new(0) }; Reason::ALL.len()],
            handshakes: [const { AtomicU64::new(0) }; HandshakeFailure::ALL.len()],
            swaps: Default::default(),
            reloads_succeeded: AtomicU64::new(0),
            reloads_failed: AtomicU64::new(0),
            last_reload_succeeded: AtomicBool::new(false),
            last_success: AtomicU64::new(0),
            generation: AtomicU64::new(0),
        }
    }
}

/// The gateway's ledger as it was at one moment.
pub(super) struct GatewaySnapshot {
    pub(super) routes: Vec<Arc<RouteLedger>>,
    pub(super) upstreams: Vec<Arc<UpstreamLedger>>,
    pub(super) tcp: Vec<Arc<TcpLedger>>,
    pub(super) connections_opened: u64,
    pub(super) connections: u64,
    pub(super) replies: Vec<(Reason, u64)>,
    pub(super) handshakes: Vec<(HandshakeFailure, u64)>,
    pub(super) swaps: [(&'static str, u64); 3],
    pub(super) reloads: [(&'static str, u64); 2],
    pub(super) last_reload_succeeded: bool,
    pub(super) last_success: u64,
    pub(super) generation: u64,
}

/// Ledgers by key, held by the generations that use them: with the last of those a ledger goes.
struct Ledgers<L>(Mutex<HashMap<String, Weak<L>>>);

impl<L> Ledgers<L> {
    fn get(&self, key: String, make: impl FnOnce() -> L) -> Arc<L> {
        let mut ledgers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = ledgers.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        // Making room at the moment when the map would grow keeps it within twice what lives.
        if ledgers.len() == ledgers.capacity() {
            ledgers.retain(|_, ledger| ledger.strong_count() > 0);
        }
        let ledger = Arc::new(make());
        ledgers.insert(key, Arc::downgrade(&ledger));
        ledger
    }

    /// Those that are alive, by key.
    fn all(&self) -> Vec<Arc<L>> {
        let ledgers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = ledgers.iter().filter_map(|(key, ledger)| Some((key, ledger.upgrade()?))).collect();
        all.sort_by_key(|(key, _)| *key);
        all.into_iter().map(|(_, ledger)| ledger).collect()
    }
}

impl<L> Default for Ledgers<L> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_shared_while_a_generation_holds_it_and_then_forgotten() {
        let gateway = GatewayLedger::default();
        let old = gateway.filter("auth", "filters[0]", "aa");
        let new = gateway.filter("auth", "filters[0]", "aa");
        assert!(Arc::ptr_eq(&old, &new));
        let other = gateway.filter("auth", "filters[0]", "bb");
        assert!(!Arc::ptr_eq(&old, &other));
        assert_eq!(gateway.filters().len(), 2);
        drop((old, new));
        let digests: Vec<_> = gateway.filters().iter().map(|filter| filter.digest().to_owned()).collect();
        assert_eq!(digests, ["bb"]);
    }

    #[test]
    fn ledgers_of_old_generations_do_not_pile_up() {
        let gateway = GatewayLedger::default();
        for n in 0..10_000 {
            drop(gateway.route(&n.to_string()));
        }
        assert!(gateway.routes.0.lock().unwrap().len() < 100);
    }

    #[test]
    fn a_failed_reload_keeps_the_generation_and_says_so() {
        let gateway = GatewayLedger::default();
        gateway.reload_succeeded(7);
        assert!(gateway.snapshot().last_reload_succeeded);
        gateway.reload_failed();
        let snapshot = gateway.snapshot();
        assert_eq!((snapshot.generation, snapshot.last_reload_succeeded), (7, false));
        assert_eq!(snapshot.reloads, [("success", 1), ("failure", 1)]);
        assert!(snapshot.last_success > 0);
    }
}
