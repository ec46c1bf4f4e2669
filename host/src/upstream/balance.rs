//! Which target gets a request.
//!
//! Targets that fail their health checks get none. Those that are left out for failing requests get none either, unless nobody else
//! is left: serving badly is then better than not at all. Targets of a lower priority number come first, all of them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::{HeaderMap, HeaderValue};

use super::error::UpstreamError;
use super::sticky::{Sticky, cookies};
use super::target::Target;
use super::turns::{self, Turn};
use crate::config::balance::{Balance, HashKey};
use crate::config::{self, Ejection};
use crate::state::targets::{Endpoints, TargetHealth};

/// The choice among the targets that an upstream has at one moment, on one worker.
pub(super) struct Balancer {
    upstream: Arc<str>,
    balance: Balance,
    ejection: Ejection,
    places: Box<[Place]>,
    /// The priorities in use, the first to be tried first.
    priorities: Box<[u32]>,
    /// Whether some get more than others.
    weighted: bool,
    next: Cell<usize>,
    /// Keeps sessions at their targets.
    sticky: Option<Sticky>,
    /// Some name has had no answer yet.
    pub(super) unanswered: bool,
    /// Why a name has no address, if one has none.
    pub(super) problem: Option<Arc<str>>,
}

/// What the choice depends on, for one target.
struct Place {
    turn: Turn,
    priority: u32,
    /// Its address, or what else it is known by, hashed.
    hash: u64,
    target: Rc<Target>,
}

impl Balancer {
    /// `targets`: those that `endpoints` stand for, in their order. `next`: whose turn it is.
    pub(super) fn new(
        upstream: &config::Upstream,
        endpoints: &Endpoints,
        targets: impl Iterator<Item = Rc<Target>>,
        next: usize,
    ) -> Self {
        let places = endpoints.all.iter().zip(targets).map(|(endpoint, target)| Place {
            turn: Turn::new(endpoint.weight),
            priority: endpoint.target.priority,
            hash: hash(&endpoint.identity()),
            target,
        });
        let priorities: BTreeSet<u32> = endpoints.all.iter().map(|endpoint| endpoint.target.priority).collect();
        Self {
            upstream: Arc::clone(&upstream.name),
            balance: upstream.balance.clone(),
            ejection: upstream.ejection.clone(),
            places: places.collect(),
            priorities: priorities.into_iter().collect(),
            weighted: endpoints.all.iter().any(|endpoint| endpoint.weight != 1),
            next: Cell::new(next),
            sticky: match &upstream.balance {
                Balance::Cookie(cookie) => Some(Sticky::new(cookie, &upstream.name, &endpoints.all)),
                _ => None,
            },
            unanswered: endpoints.unanswered,
            problem: endpoints.problem.clone(),
        }
    }
    /// Every target.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Rc<Target>> {
        self.places.iter().map(|place| &place.target)
    }
    /// Whether there is nobody to choose from yet, but may be soon.
    pub(super) fn is_waiting(&self) -> bool {
        self.unanswered && self.places.is_empty()
    }
    /// Whose turn it is.
    pub(super) fn next(&self) -> usize {
        self.next.get()
    }
    /// What a request has of the key, hashed.
    pub(super) fn key(&self, headers: &HeaderMap, client: Option<IpAddr>) -> Option<u64> {
        let Balance::Hash(key) = &self.balance else { return None };
        match key {
            HashKey::Header(name) => headers.get(name).map(|value| hash(value.as_bytes())),
            HashKey::Cookie(name) => cookies(headers, name).next().map(|value| hash(value.as_bytes())),
            HashKey::Ip => client.map(|client| hash(&client)),
        }
    }
    /// Whether sessions are kept at their targets.
    pub(super) fn is_sticky(&self) -> bool {
        self.sticky.is_some()
    }
    /// The target that a request's session belongs to.
    pub(super) fn home(&self, headers: &HeaderMap) -> Option<&Rc<Target>> {
        let place = self.sticky.as_ref()?.home(headers)?;
        self.places.get(place).map(|place| &place.target)
    }
    /// The field that makes a session belong to that target.
    pub(super) fn session(&self, home: &Rc<Target>, secure: bool) -> Option<HeaderValue> {
        let place = self.targets().position(|target| Rc::ptr_eq(target, home))?;
        self.sticky.as_ref()?.field(place, secure).cloned()
    }
    /// The target whose turn it is, among those that were not tried; `None` when there is nobody left to ask.
    pub(super) fn choose(&self, key: Option<u64>, tried: &[Rc<Target>]) -> Option<&Rc<Target>> {
        self.choose_among(key, tried, |_| true)
    }
    /// Another address of the same name.
    pub(super) fn choose_sibling(&self, of: &Target, key: Option<u64>, tried: &[Rc<Target>]) -> Option<&Rc<Target>> {
        self.choose_among(key, tried, |target| target.is_sibling(of))
    }
    fn choose_among(
        &self,
        key: Option<u64>,
        tried: &[Rc<Target>],
        fits: impl Fn(&Target) -> bool,
    ) -> Option<&Rc<Target>> {
        let usable = |target: &Target| target.health().is_usable() && fits(target);
        let not_failing = |target: &Target| !target.health().is_failing() && fits(target);
        let best = self.priorities.iter().find_map(|priority| self.among(*priority, key, tried, &usable));
        let place = best
            .or_else(|| self.priorities.iter().find_map(|priority| self.among(*priority, key, tried, &not_failing)));
        place.and_then(|place| self.places.get(place)).map(|place| &place.target)
    }
    fn among(
        &self,
        priority: u32,
        key: Option<u64>,
        tried: &[Rc<Target>],
        fit: &impl Fn(&Target) -> bool,
    ) -> Option<usize> {
        let fits = |place: &usize| {
            let place = &self.places[*place];
            place.priority == priority
                && place.turn.weight > 0
                && !tried.iter().any(|tried| Rc::ptr_eq(tried, &place.target))
                && fit(&place.target)
        };
        let candidates = || (0..self.places.len()).filter(|place| fits(place));
        if let Some(key) = key {
            return candidates().max_by(|one, other| self.score(*one, key).total_cmp(&self.score(*other, key)));
        }
        if self.balance == Balance::LeastRequest {
            let count = candidates().count();
            let pick = || candidates().nth(if count < 2 { 0 } else { fastrand::usize(..count) });
            let (one, other) = (pick()?, pick()?);
            return Some(if self.load(other) < self.load(one) { other } else { one });
        }
        if !self.weighted {
            return self.in_turn(candidates);
        }
        turns::next(candidates().map(|place| (place, &self.places[place].turn)))
    }
    fn in_turn<I: Iterator<Item = usize>>(&self, candidates: impl Fn() -> I) -> Option<usize> {
        let count = candidates().count();
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        candidates().nth(next.checked_rem(count)?)
    }
    /// Requests under way, against the weight.
    fn load(&self, place: usize) -> f64 {
        let Place { target, turn: Turn { weight, .. }, .. } = &self.places[place];
        f64::from(target.active.get()) / f64::from(*weight)
    }
    /// Rendezvous hashing: each key ranks all targets, in proportion to their weights, so that a target that comes or goes moves
    /// nobody else's keys.
    fn score(&self, place: usize, key: u64) -> f64 {
        let Place { hash: name, turn: Turn { weight, .. }, .. } = &self.places[place];
        let upper = u32::try_from(hash(&(key, *name)) >> 32).unwrap_or(u32::MAX);
        let uniform = (f64::from(upper) + 0.5) / (f64::from(u32::MAX) + 1.0);
        -f64::from(*weight) / uniform.ln()
    }
    /// No connection to the target was made.
    pub(super) fn note_failed_connect(&self, target: &Target, error: &UpstreamError) {
        let upstream = &*self.upstream;
        if target.has_siblings() && target.health().has_failed() {
            // Told before: a name with an address that nobody reaches is nothing that every request should tell of.
            tracing::debug!(%error, upstream, "Target failed, another one is tried if there is one.");
        } else {
            tracing::warn!(%error, upstream, "Target failed, another one is tried if there is one.");
        }
        if error.is_targets() {
            self.note_failure(target, error);
        }
    }
    /// A request to the target has failed.
    pub(super) fn note_failure(&self, target: &Target, last: &dyn fmt::Display) {
        let ejected =
            || self.targets().map(|target| target.health()).filter(|health: &&TargetHealth| health.is_ejected());
        if target.health().failed(&self.ejection, self.places.len(), || ejected().count()) {
            let (upstream, target) = (&*self.upstream, target.name());
            tracing::warn!(upstream, target, %last, "Target left out for a while: it fails too many requests in a row.");
        }
    }
}

fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
