//! Which target gets a request.
//!
//! Targets that fail their health checks get none. Those that are left out for failing requests get none either, unless nobody else
//! is left: serving badly is then better than not at all. Targets of a lower priority number come first, all of them.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use http::HeaderMap;

use super::sticky::{Sticky, cookies};
use super::turns::{self, Turn};
use crate::config::balance::{Balance, HashKey};
use crate::config::{self, Target};
use crate::state::targets::{TargetHealth, Targets};

/// The choice among the targets of one upstream, on one worker.
pub(super) struct Balancer {
    balance: Balance,
    places: Box<[Place]>,
    /// The priorities in use, the first to be tried first.
    priorities: Box<[u32]>,
    /// Whether some get more than others.
    weighted: bool,
    next: Cell<usize>,
    /// Keeps sessions at their targets.
    pub(super) sticky: Option<Sticky>,
    pub(super) health: Arc<Targets>,
}

/// What the choice depends on, for one target.
struct Place {
    turn: Turn,
    priority: u32,
    /// Its name, hashed.
    name: u64,
    /// Requests under way on this worker.
    active: Rc<Cell<u32>>,
}

impl Balancer {
    pub(super) fn new(upstream: &config::Upstream, health: Arc<Targets>) -> Self {
        let place = |target: &Target| Place {
            turn: Turn::new(target.weight),
            priority: target.priority,
            name: hash(&target.to_string()),
            active: Rc::default(),
        };
        let priorities: BTreeSet<u32> = upstream.targets.iter().map(|target| target.priority).collect();
        Self {
            balance: upstream.balance.clone(),
            places: upstream.targets.iter().map(place).collect(),
            priorities: priorities.into_iter().collect(),
            weighted: upstream.targets.iter().any(|target| target.weight != 1),
            // Workers do not all begin with the same one.
            next: Cell::new(fastrand::usize(..)),
            sticky: match &upstream.balance {
                Balance::Cookie(cookie) => Some(Sticky::new(cookie, &upstream.name, &upstream.targets)),
                _ => None,
            },
            health,
        }
    }
    /// The requests under way of the target at `place`.
    pub(super) fn active(&self, place: usize) -> Option<&Rc<Cell<u32>>> {
        self.places.get(place).map(|place| &place.active)
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
    /// The place where a request's session belongs.
    pub(super) fn home(&self, headers: &HeaderMap) -> Option<usize> {
        self.sticky.as_ref()?.home(headers)
    }
    /// Whether the target at `place` can have a request of a session that belongs there, whatever its weight and priority.
    pub(super) fn is_at_home(&self, place: usize, tried: &[usize]) -> bool {
        !tried.contains(&place) && self.health.all.get(place).is_some_and(TargetHealth::is_usable)
    }
    /// The place of the target whose turn it is, among those that were not tried; `None` when there is nobody left to ask.
    pub(super) fn choose(&self, key: Option<u64>, tried: &[usize]) -> Option<usize> {
        let usable = |place: &usize| self.health.all.get(*place).is_some_and(TargetHealth::is_usable);
        let not_failing = |place: &usize| self.health.all.get(*place).is_some_and(|target| !target.is_failing());
        let best = self.priorities.iter().find_map(|priority| self.among(*priority, key, tried, usable));
        best.or_else(|| self.priorities.iter().find_map(|priority| self.among(*priority, key, tried, not_failing)))
    }
    fn among(&self, priority: u32, key: Option<u64>, tried: &[usize], fit: impl Fn(&usize) -> bool) -> Option<usize> {
        let fits = |place: &usize| {
            self.places[*place].priority == priority
                && self.places[*place].turn.weight > 0
                && !tried.contains(place)
                && fit(place)
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
        let Place { active, turn: Turn { weight, .. }, .. } = &self.places[place];
        f64::from(active.get()) / f64::from(*weight)
    }
    /// Rendezvous hashing: each key ranks all targets, in proportion to their weights, so that a target that comes or goes moves
    /// nobody else's keys.
    fn score(&self, place: usize, key: u64) -> f64 {
        let Place { name, turn: Turn { weight, .. }, .. } = &self.places[place];
        let upper = u32::try_from(hash(&(key, *name)) >> 32).unwrap_or(u32::MAX);
        let uniform = (f64::from(upper) + 0.5) / (f64::from(u32::MAX) + 1.0);
        -f64::from(*weight) / uniform.ln()
    }
}

fn hash<T: Hash + ?Sized>(value: &T) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
