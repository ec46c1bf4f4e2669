//! What all workers know of an upstream's targets: which addresses its names have, which targets fail their health checks, which are
//! left out for failing requests.

mod health;
mod names;
mod shares;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::watch;

pub use health::TargetHealth;
pub(crate) use names::Answer;
use names::{Name, Outcome};
pub use names::{NameReport, RESULTS};
use shares::shares;

use crate::config::{self, Place};

/// The targets of every upstream in use, for the whole process.
#[derive(Default)]
pub struct Health(Mutex<Known>);

/// By name: what is known of an upstream's targets, while they are in use.
type Known = BTreeMap<Arc<str>, Weak<Targets>>;

/// What is known of the targets of one upstream.
pub struct Targets {
    config: config::Upstream,
    /// One for each target of the configuration.
    names: Mutex<Vec<Name>>,
    now: watch::Sender<Arc<Endpoints>>,
    /// Requests under way, over all workers, and over all configurations that the upstream has had since the oldest of them.
    pub(crate) in_flight: Arc<AtomicUsize>,
    /// One worker does the health checks.
    checked: AtomicBool,
    /// One worker resolves the names.
    resolved: AtomicBool,
}

/// Where requests can go, at one moment.
#[derive(Default)]
pub(crate) struct Endpoints {
    pub(crate) all: Vec<Endpoint>,
    /// Some name has had no answer yet, neither good nor bad.
    pub(crate) unanswered: bool,
    /// Why a name has no address, if one has none.
    pub(crate) problem: Option<Arc<str>>,
}

/// One address, or one Unix socket: a target of its own.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// What the configuration says of it.
    pub(crate) target: config::Target,
    /// None for a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// Its share of the target's weight, against those of the upstream's other endpoints.
    pub(crate) weight: u32,
    /// The target's name has further addresses.
    pub(crate) has_siblings: bool,
    /// The same for as long as the endpoint is there.
    pub(crate) health: Arc<TargetHealth>,
}

/// One target, for people and metrics.
pub struct TargetReport {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// `host:port`, or `unix:/path`
    pub target: String,
    /// The address that it stands for; the path of a Unix socket.
    pub address: String,
    /// It has health checks.
    pub checked: bool,
    /// It fails them.
    pub failing: bool,
    /// It is left out for failing requests.
    pub ejected: bool,
}

impl Health {
    /// What is known of the targets of an upstream. Targets that it had before a change of the configuration keep what is known.
    pub(crate) fn of(&self, upstream: &config::Upstream) -> Arc<Targets> {
        let mut known = lock(&self.0);
        known.retain(|_, targets| targets.strong_count() > 0);
        let before = known.get(&upstream.name).and_then(Weak::upgrade);
        if let Some(targets) = before.as_ref().filter(|targets| targets.config == *upstream) {
            return Arc::clone(targets);
        }
        let targets = Arc::new(Targets::new(upstream.clone(), before.as_deref()));
        known.insert(Arc::clone(&upstream.name), Arc::downgrade(&targets));
        targets
    }
    /// Every target in use.
    #[must_use]
    pub fn report(&self) -> Vec<TargetReport> {
        self.alive().iter().flat_map(|targets| targets.report()).collect()
    }
    /// Every name that is resolved.
    #[must_use]
    pub fn names(&self) -> Vec<NameReport> {
        self.alive().iter().flat_map(|targets| targets.named()).collect()
    }
    fn alive(&self) -> Vec<Arc<Targets>> {
        lock(&self.0).values().filter_map(Weak::upgrade).collect()
    }
}

impl Targets {
    fn new(config: config::Upstream, before: Option<&Self>) -> Self {
        let before_names = before.map(|before| lock(&before.names));
        let name = |target: &config::Target| {
            let before = before.zip(before_names.as_ref());
            let kept = before.and_then(|(before, names)| {
                let place = before.config.targets.iter().position(|old| old.is_at(target))?;
                Some(names.get(place)?.clone())
            });
            kept.unwrap_or_else(|| Name::of(target))
        };
        let names: Vec<Name> = config.targets.iter().map(name).collect();
        drop(before_names);
        let kept = before.map(|before| {
            let same_checks = before.config.health == config.health;
            // Checks of another kind have to say anew what is well.
            let copy = |old: &Endpoint| Endpoint { health: Arc::new(old.health.copy(same_checks)), ..old.clone() };
            before.now.borrow().all.iter().map(copy).collect::<Vec<_>>()
        });
        let endpoints = endpoints(&config, &names, &kept.unwrap_or_default());
        Self {
            config,
            names: Mutex::new(names),
            now: watch::Sender::new(Arc::new(endpoints)),
            in_flight: before.map(|before| Arc::clone(&before.in_flight)).unwrap_or_default(),
            checked: AtomicBool::new(false),
            resolved: AtomicBool::new(false),
        }
    }
    /// The upstream that they belong to.
    pub(crate) fn config(&self) -> &config::Upstream {
        &self.config
    }
    /// Where requests can go, and word of every change.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<Endpoints>> {
        self.now.subscribe()
    }
    /// What was found out about the name of the target at `place`; gives what is new about that.
    pub(crate) fn answered(&self, place: usize, answer: Result<Vec<SocketAddr>, Answer>) -> Outcome {
        let mut names = lock(&self.names);
        let Some(name) = names.get_mut(place) else { return Outcome::default() };
        let outcome = name.answered(answer);
        if outcome.is_news {
            let before = Arc::clone(&self.now.borrow());
            // Still locked, so that what is told last is what was found out last.
            self.now.send_replace(Arc::new(endpoints(&self.config, &names, &before.all)));
        }
        outcome
    }
    /// The duty of doing the health checks, for one at a time.
    pub(crate) fn take_checks(self: &Arc<Self>) -> Option<Duty> {
        (!self.checked.swap(true, Ordering::AcqRel)).then(|| Duty(Arc::clone(self)))
    }
    /// Whether nobody resolves the names yet; whoever is told so does it for as long as the targets are in use.
    pub(crate) fn take_names(&self) -> bool {
        !self.resolved.swap(true, Ordering::AcqRel)
    }
    fn report(&self) -> Vec<TargetReport> {
        let now = Arc::clone(&self.now.borrow());
        let one = |endpoint: &Endpoint| TargetReport {
            upstream: Arc::clone(&self.config.name),
            target: endpoint.target.to_string(),
            address: endpoint.place(),
            checked: self.config.health.is_some(),
            failing: endpoint.health.is_failing(),
            ejected: endpoint.health.is_ejected(),
        };
        now.all.iter().map(one).collect()
    }
    fn named(&self) -> Vec<NameReport> {
        let names = lock(&self.names);
        let named = self.config.targets.iter().zip(names.iter()).filter(|(target, _)| target.name().is_some());
        named.map(|(target, name)| name.report(&self.config.name, target.to_string())).collect()
    }
}

impl Endpoint {
    /// The address that it stands for; the path of a Unix socket.
    fn place(&self) -> String {
        match (&self.address, &self.target.place) {
            (None, Place::Unix(_)) | (None, Place::Network { .. }) => self.target.to_string(),
            (Some(address), _) => address.to_string(),
        }
    }
    /// What it is known by for as long as there is anything of it: an address is the same one whichever name it is found by.
    pub(crate) fn identity(&self) -> String {
        match (self.target.name(), self.address) {
            (Some(_), Some(address)) => address.to_string(),
            _ => self.target.to_string(),
        }
    }
    /// How it is called in logs.
    pub(crate) fn title(&self) -> String {
        match (self.target.name(), self.address) {
            (Some(_), Some(address)) => format!("{} ({address})", self.target),
            _ => self.target.to_string(),
        }
    }
}

/// Every address of every target. Those of `before` keep what is known of them.
fn endpoints(config: &config::Upstream, names: &[Name], before: &[Endpoint]) -> Endpoints {
    let counted: Vec<_> =
        config.targets.iter().zip(names).map(|(target, name)| (target.weight, name.count())).collect();
    let weights = shares(&counted);
    let mut all: Vec<Endpoint> = Vec::new();
    for ((target, name), weight) in config.targets.iter().zip(names).zip(weights) {
        let found: Vec<Option<SocketAddr>> = name.endpoints();
        for address in &found {
            let is_it = |old: &&Endpoint| old.target.is_at(target) && old.address == *address;
            // The same place twice is two targets.
            let is_free = |old: &&Endpoint| !all.iter().any(|taken| Arc::ptr_eq(&taken.health, &old.health));
            let kept = before.iter().filter(is_it).find(is_free).map(|old| Arc::clone(&old.health));
            let (target, has_siblings) = (target.clone(), found.len() > 1);
            all.push(Endpoint { target, address: *address, weight, has_siblings, health: kept.unwrap_or_default() });
        }
    }
    let problem = names.iter().find_map(|name| name.problem.clone().filter(|_| name.count() == 0));
    Endpoints { all, unanswered: names.iter().any(|name| !name.answered), problem }
}

/// The duty of doing an upstream's health checks: whoever drops it leaves it to the others.
pub(crate) struct Duty(Arc<Targets>);

impl Drop for Duty {
    fn drop(&mut self) {
        self.0.checked.store(false, Ordering::Release);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
