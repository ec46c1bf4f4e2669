//! What clients saw: how often all went well, by kind, and what went wrong.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures that are told in full.
const TOLD: usize = 20;

/// See the module.
#[derive(Default)]
pub(crate) struct Tally {
    stopped: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    well: BTreeMap<&'static str, u64>,
    failures: Vec<String>,
    failed: u64,
}

impl Tally {
    /// Whether the load is to end.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
    /// Takes note of how something went.
    pub(crate) fn note(&self, kind: &'static str, how: Result<(), String>) {
        let mut seen = self.seen();
        // A kind is known from its first try on, so that one that never goes well is told of.
        let well = seen.well.entry(kind).or_default();
        match how {
            Ok(()) => *well += 1,
            Err(why) => {
                seen.failed += 1;
                if seen.failures.len() < TOLD {
                    seen.failures.push(format!("{kind}: {why}"));
                }
            }
        }
    }
    /// How it goes, in a line.
    pub(crate) fn line(&self) -> String {
        let seen = self.seen();
        format!("{} well, {} failed", seen.well.values().sum::<u64>(), seen.failed)
    }
    /// How it went, by kind.
    pub(crate) fn table(&self) -> String {
        self.seen().well.iter().map(|(kind, count)| format!("{count:>9} {kind}\n")).collect()
    }
    /// # Panics
    /// Something failed, or some kind never went well.
    pub(crate) fn check(&self) {
        let seen = self.seen();
        assert!(seen.failed == 0, "{} failed, the first ones: {:#?}", seen.failed, seen.failures);
        let never: Vec<_> = seen.well.iter().filter(|(_, count)| **count == 0).collect();
        assert!(never.is_empty() && !seen.well.is_empty(), "these never went well: {never:?}");
    }
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
