//! A client's connection, as the requests on it and the listener share it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use http::HeaderValue;

use super::upgrade::Tunnel;
use super::validate::BadRequest;
use crate::address::Address;
use crate::config::TrustedProxies;
use crate::filter::exchange::ConnectionFacts;

/// What is known of a connection, and what happens on it.
pub struct Client {
    /// For properties, logs and metrics.
    pub facts: Rc<ConnectionFacts>,
    /// The address of its listener, as configured.
    pub(super) listener: Address,
    /// Proxies whose word about who asks is believed.
    pub(super) trusted: TrustedProxies,
    /// The client's address, as `x-forwarded-for` has it.
    pub(super) forwarded_for: HeaderValue,
    /// Request heads that have been taken up.
    heads: Cell<u64>,
    /// The first head in which the raw bytes broke a rule that the HTTP library does not check, counted from 0.
    broken: Cell<Option<(u64, BadRequest)>>,
    in_flight: Cell<u32>,
    idle_since: Cell<Instant>,
    /// The request under way asks for another protocol.
    switching: Cell<bool>,
    /// What the connection becomes when the answer under way has been sent.
    tunnel: RefCell<Option<Tunnel>>,
}

impl Client {
    /// A new connection. `listener`: its listener's address, as configured; `trusted`: proxies whose word about who asks is believed.
    #[must_use]
    pub fn new(facts: ConnectionFacts, listener: Address, trusted: TrustedProxies) -> Rc<Self> {
        // Who comes through a Unix socket has no address, and is called as nginx calls it.
        let address = facts.remote.ip().map_or_else(|| facts.remote.to_string(), |ip| ip.to_canonical().to_string());
        let forwarded_for = HeaderValue::try_from(address).unwrap_or_else(|_| HeaderValue::from_static("unknown"));
        Rc::new(Self {
            facts: Rc::new(facts),
            listener,
            trusted,
            forwarded_for,
            heads: Cell::new(0),
            broken: Cell::new(None),
            in_flight: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            switching: Cell::new(false),
            tunnel: RefCell::default(),
        })
    }
    /// The head of that number, counted from 0, breaks a rule: its request will be refused.
    pub fn set_broken(&self, head: u64, rule: BadRequest) {
        if self.broken.get().is_none() {
            self.broken.set(Some((head, rule)));
        }
    }
    /// Whether the head of that number, counted from 0, has been taken up.
    #[must_use]
    pub fn has_taken_up(&self, head: u64) -> bool {
        self.heads.get() > head
    }
    /// Whether as many heads have been taken up, and all their requests are over.
    #[must_use]
    pub fn has_answered(&self, heads: u64) -> bool {
        self.heads.get() == heads && self.in_flight.get() == 0 && !self.has_tunnel()
    }
    /// Counts a request's head; gives the rule that it broke, if one was noticed in the raw bytes.
    pub(super) fn take_up(&self) -> Option<BadRequest> {
        let head = self.heads.replace(self.heads.get() + 1);
        self.switching.set(false);
        self.broken.get().filter(|(broken, _)| head >= *broken).map(|(_, rule)| rule)
    }
    /// Whether so many request heads have been taken up.
    #[must_use]
    pub fn is_spent(&self, most: Option<u64>) -> bool {
        most.is_some_and(|most| self.heads.get() >= most)
    }
    pub(super) fn enter(&self) {
        self.in_flight.set(self.in_flight.get() + 1);
    }
    pub(super) fn leave(&self, now: Instant) {
        self.in_flight.set(self.in_flight.get().saturating_sub(1));
        self.idle_since.set(now);
    }
    /// Since when no request has been running; `None` while one is.
    #[must_use]
    pub fn idle_since(&self) -> Option<Instant> {
        (self.in_flight.get() == 0).then(|| self.idle_since.get())
    }
    pub(super) fn asks_to_switch(&self) {
        self.switching.set(true);
    }
    /// Whether the answer under way may be that the connection is something else from now on.
    #[must_use]
    pub fn may_switch(&self) -> bool {
        self.switching.get() && self.in_flight.get() > 0
    }
    pub(super) fn begin_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.borrow_mut() = Some(tunnel);
    }
    /// Whether the connection becomes something else when the answer under way has been sent.
    #[must_use]
    pub fn has_tunnel(&self) -> bool {
        self.tunnel.borrow().is_some()
    }
    /// What the connection has become, when its HTTP is over.
    pub fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.borrow_mut().take()
    }
    /// Whether no request has been taken up yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.heads.get() == 0
    }
}
