//! What is known of one target's health.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::config::Ejection;

/// A target is left out for at most so many times its first time.
const LONGEST: u32 = 10;

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

impl TargetHealth {
    /// What is known of it, for its place in a new configuration.
    pub(super) fn copy(&self, same_checks: bool) -> Self {
        Self {
            failing: AtomicBool::new(same_checks && self.is_failing()),
            failures: AtomicU32::new(self.failures.load(Ordering::Relaxed)),
            ejected_until: AtomicU64::new(self.ejected_until.load(Ordering::Relaxed)),
            ejections: AtomicU32::new(self.ejections.load(Ordering::Relaxed)),
        }
    }
    /// A request to it has failed; true when it is left out from now on. `all`: how many targets its upstream has, `out`: how
    /// many of them are left out.
    pub(crate) fn failed(&self, ejection: &Ejection, all: usize, out: impl FnOnce() -> usize) -> bool {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < ejection.failures || self.is_ejected() {
            return false;
        }
        if (out() + 1) * 100 > all * usize::try_from(ejection.most).unwrap_or(100) {
            return false;
        }
        let times = self.ejections.fetch_add(1, Ordering::Relaxed).saturating_add(1).min(LONGEST);
        let until = now().saturating_add(millis(ejection.time.saturating_mul(times)));
        self.ejected_until.store(until.max(1), Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        true
    }
    /// Whether the last request to it has failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failures.load(Ordering::Relaxed) != 0 || self.ejected_until.load(Ordering::Relaxed) != 0
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
