//! What all workers know of an upstream's targets: which fail their health checks, which are left out for failing requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::config::{self, Ejection};

/// A target is left out for at most so many times its first time.
const LONGEST: u32 = 10;

/// The targets of every upstream in use, for the whole process.
#[derive(Default)]
pub struct Health(Mutex<Known>);

/// By name: what the targets were made from, and what is known of them while they are in use.
type Known = BTreeMap<Arc<str>, (config::Upstream, Weak<Targets>)>;

/// What is known of the targets of one upstream.
pub struct Targets {
    pub(crate) all: Box<[TargetHealth]>,
    /// Requests under way, over all workers, and over all configurations that the upstream has had since the oldest of them.
    pub(crate) in_flight: Arc<AtomicUsize>,
    /// One worker does the health checks.
    checked: AtomicBool,
}

/// What is known of one target.
#[derive(Default)]
pub struct TargetHealth {
    /// It fails its health checks.
    failing: AtomicBool,
    /// Failed requests in a row.
    failures: AtomicU32,
    /// Left out until then, in milliseconds of [`now`]; 0 when it is not.
    ejected_until: AtomicU64,
    /// How often it was left out without being well in between.
    ejections: AtomicU32,
}

/// One target, for people and metrics.
pub struct TargetReport {
    /// The upstream's name.
    pub upstream: Arc<str>,
    /// `host:port`
    pub target: String,
    /// It fails its health checks.
    pub failing: bool,
    /// It is left out for failing requests.
    pub ejected: bool,
}

impl Health {
    /// What is known of the targets of an upstream. Targets that it had before a change of the configuration keep what is known.
    pub(crate) fn of(&self, upstream: &config::Upstream) -> Arc<Targets> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (_, targets)| targets.strong_count() > 0);
        let before = known.get(&upstream.name).and_then(|(config, targets)| Some((config, targets.upgrade()?)));
        if let Some((config, targets)) = &before
            && *config == upstream
        {
            return Arc::clone(targets);
        }
        let kept = |target: &config::Target| {
            let (config, targets) = before.as_ref()?;
            let place = config.targets.iter().position(|old| old.is_at(target))?;
            // Checks of another kind have to say anew what is well.
            Some(targets.all.get(place)?.copy(config.health == upstream.health))
        };
        let all = upstream.targets.iter().map(|target| kept(target).unwrap_or_default()).collect();
        let in_flight = before.as_ref().map(|(_, targets)| Arc::clone(&targets.in_flight)).unwrap_or_default();
        let targets = Arc::new(Targets { all, in_flight, checked: AtomicBool::new(false) });
        known.insert(Arc::clone(&upstream.name), (upstream.clone(), Arc::downgrade(&targets)));
        targets
    }
    /// Every target in use.
    #[must_use]
    pub fn report(&self) -> Vec<TargetReport> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let targets = known.values().filter_map(|(config, targets)| Some((config, targets.upgrade()?)));
        let each = targets.flat_map(|(config, targets)| {
            let one = |(target, health): (&config::Target, &TargetHealth)| TargetReport {
                upstream: Arc::clone(&config.name),
                target: target.to_string(),
                failing: health.is_failing(),
                ejected: health.is_ejected(),
            };
            config.targets.iter().zip(&targets.all).map(one).collect::<Vec<_>>()
        });
        each.collect()
    }
}

impl Targets {
    /// The duty of doing the health checks, for one at a time.
    pub(crate) fn take_checks(self: &Arc<Self>) -> Option<Duty> {
        (!self.checked.swap(true, Ordering::AcqRel)).then(|| Duty(Arc::clone(self)))
    }
    /// A request to the target at `place` has failed; true when the target is left out from now on.
    pub(crate) fn failed(&self, place: usize, ejection: &Ejection) -> bool {
        let Some(target) = self.all.get(place) else { return false };
        let failures = target.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < ejection.failures || target.is_ejected() {
            return false;
        }
        let out = self.all.iter().filter(|target| target.is_ejected()).count();
        if (out + 1) * 100 > self.all.len() * usize::try_from(ejection.most).unwrap_or(100) {
            return false;
        }
        let times = target.ejections.fetch_add(1, Ordering::Relaxed).saturating_add(1).min(LONGEST);
        let until = now().saturating_add(millis(ejection.time.saturating_mul(times)));
        target.ejected_until.store(until.max(1), Ordering::Relaxed);
        target.failures.store(0, Ordering::Relaxed);
        true
    }
}

/// The duty of doing an upstream's health checks: whoever drops it leaves it to the others.
pub(crate) struct Duty(Arc<Targets>);

impl Drop for Duty {
    fn drop(&mut self) {
        self.0.checked.store(false, Ordering::Release);
    }
}

impl TargetHealth {
    /// What is known of it, for its place in a new configuration.
    fn copy(&self, same_checks: bool) -> Self {
        Self {
            failing: AtomicBool::new(same_checks && self.is_failing()),
            failures: AtomicU32::new(self.failures.load(Ordering::Relaxed)),
            ejected_until: AtomicU64::new(self.ejected_until.load(Ordering::Relaxed)),
            ejections: AtomicU32::new(self.ejections.load(Ordering::Relaxed)),
        }
    }
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
    /// True when that is news.
    pub(crate) fn set_failing(&self, failing: bool) -> bool {
        self.failing.swap(failing, Ordering::Relaxed) != failing
    }
    pub(crate) fn is_ejected(&self) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        until != 0 && now() < until
    }
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_failing() && !self.is_ejected()
    }
    /// A request was answered well.
    pub(crate) fn succeeded(&self) {
        // Nearly always there is nothing to forget, and then nothing is written that other workers read.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.ejected_until.load(Ordering::Relaxed) != 0 && !self.is_ejected() {
            self.ejected_until.store(0, Ordering::Relaxed);
            self.ejections.store(0, Ordering::Relaxed);
        }
    }
}

/// Milliseconds since this was first asked.
fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    millis(START.get_or_init(Instant::now).elapsed())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
