//! Whether the process has as much memory as it may have. Told by one task that looks now and then; asked by every request.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::sync::watch;

/// What may be resident again, in hundredths of the limit, before requests are taken on: a process that hovers at its limit must not
/// refuse every other one.
const RELIEF: u64 = 95;

/// See the module.
pub struct Pressure {
    over: AtomicBool,
    /// For those who wait for a change.
    changes: watch::Sender<bool>,
    /// As seen last, bytes.
    resident: AtomicU64,
    /// In force, bytes; 0: none.
    limit: AtomicU64,
}

impl Pressure {
    /// Whether new requests are to be refused.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }
    /// Takes note of what is resident and what may be, bytes. `Some` when that changes whether requests are taken on: whether the limit is
    /// passed now.
    pub fn note(&self, resident: u64, limit: Option<u64>) -> Option<bool> {
        self.resident.store(resident, Relaxed);
        self.limit.store(limit.unwrap_or(0), Relaxed);
        let was = self.is_over();
        let over = limit.is_some_and(|limit| resident > if was { limit / 100 * RELIEF } else { limit });
        if over == was {
            return None;
        }
        self.over.store(over, Relaxed);
        self.changes.send_replace(over);
        Some(over)
    }
    /// Follows the changes of [`Pressure::is_over`].
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<bool> {
        self.changes.subscribe()
    }
    /// The limit in force, bytes.
    #[must_use]
    pub fn limit(&self) -> Option<u64> {
        Some(self.limit.load(Relaxed)).filter(|limit| *limit > 0)
    }
    /// Why requests are refused, if they are, for people.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        let (resident, limit) = (self.resident.load(Relaxed) >> 20, self.limit()? >> 20);
        self.is_over().then(|| format!("memory: {resident} MiB are resident, and the limit is {limit} MiB"))
    }
}

impl Default for Pressure {
    fn default() -> Self {
        let (changes, _) = watch::channel(false);
        Self { over: AtomicBool::new(false), changes, resident: AtomicU64::new(0), limit: AtomicU64::new(0) }
    }
}

/// Memory of this process that is resident, bytes; `None` where the system does not tell.
#[must_use]
pub fn resident() -> Option<u64> {
    let sizes = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = sizes.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_was_passed_has_to_be_kept_with_room_before_requests_are_taken_on() {
        let pressure = Pressure::default();
        let changes = pressure.changes();
        assert_eq!(pressure.note(1000, Some(1000)), None);
        assert_eq!(pressure.note(1001, Some(1000)), Some(true));
        assert!(pressure.is_over() && *changes.borrow() && pressure.reason().is_some());
        assert_eq!(pressure.note(960, Some(1000)), None);
        assert!(pressure.is_over());
        assert_eq!(pressure.note(950, Some(1000)), Some(false));
        assert_eq!(pressure.note(1000, Some(1000)), None);
        assert!(!pressure.is_over() && !*changes.borrow() && pressure.reason().is_none());
    }

    #[test]
    fn without_a_limit_nothing_is_refused() {
        let pressure = Pressure::default();
        assert_eq!(pressure.note(u64::MAX, None), None);
        assert_eq!(pressure.note(2, Some(1)), Some(true));
        assert_eq!(pressure.note(u64::MAX, None), Some(false));
        assert_eq!(pressure.limit(), None);
    }

    #[test]
    fn the_system_tells_what_is_resident() {
        assert!(resident().unwrap() > 1 << 20);
    }
}
