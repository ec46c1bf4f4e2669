//! What the SDK's `Window`, `Counter` and `Kv` stand on: rate limits, counters and small values, by scope (a plugin's name).
//!
//! In memory and bounded per scope (see [`MAX_ENTRIES`], [`MAX_BYTES`]): a scope that is full forgets what has expired, then what was
//! used least. A backend that a fleet shares fits behind the same functions.

use std::time::{Duration, Instant};

use bytes::Bytes;

pub use super::table::{MAX_BYTES, MAX_ENTRIES, MAX_KEY_BYTES};

use super::Full;
use super::gcra::{self, Gcra, Rate};
use super::scopes::Scopes;
use super::table::{Entry, Table};

/// Most bytes of a value.
pub const MAX_VALUE_BYTES: usize = 256 << 10;

/// The entries of every scope.
pub struct Store {
    scopes: Scopes<Scope>,
    /// Where the clock of this store began; it never goes back.
    epoch: Instant,
}

/// Entries of one scope. A key means something else in each table.
#[derive(Default)]
struct Scope {
    /// Theoretical arrival times, see [`gcra`].
    windows: Table<u64>,
    counters: Table<i64>,
    values: Table<Bytes>,
}

/// How full a table of a scope is, for metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// The scope.
    pub scope: Box<str>,
    /// `window`, `counter` or `value`.
    pub table: &'static str,
    /// Entries it holds.
    pub entries: usize,
    /// Entries that made room for others before their time.
    pub evicted: u64,
}

impl Store {
    /// Takes `cost` from a key that may have `limit` per `window_ns`, `burst` of them at once (0: `limit`). Exact under
    /// concurrency.
    ///
    /// # Errors
    /// The key is longer than [`MAX_KEY_BYTES`].
    pub fn gcra(
        &self,
        scope: &str,
        key: &[u8],
        limit: u64,
        window_ns: u64,
        burst: u64,
        cost: u64,
    ) -> Result<Gcra, Full> {
        let now = self.now();
        let rate = Rate::new(limit, window_ns, burst);
        self.scopes.with(scope, |scope| {
            scope.windows.update(key, now, |known| {
                let before = known.map_or(0, |entry| entry.value);
                let (answer, tat) = gcra::decide(before, now, rate, cost);
                // A key that used more of its limit outranks others: a flood of fresh keys cannot wash a limit away.
                let entry = Entry { value: tat, expires: tat, rank: tat, bytes: 0 };
                ((tat != before && tat > now).then_some(entry), answer)
            })
        })
    }

    /// Adds `delta` (saturating) and gives the sum. A missing counter begins at 0 and lives for `ttl` from its first
    /// addition; later additions do not prolong it. Adding 0 only reads.
    ///
    /// # Errors
    /// The key is longer than [`MAX_KEY_BYTES`].
    pub fn counter(&self, scope: &str, key: &[u8], delta: i64, ttl: Option<Duration>) -> Result<i64, Full> {
        let now = self.now();
        self.scopes.with(scope, |scope| {
            scope.counters.update(key, now, |known| {
                let sum = known.map_or(0, |entry| entry.value).saturating_add(delta);
                let expires = known.map_or_else(|| expiry(now, ttl), |entry| entry.expires);
                ((delta != 0).then_some(Entry { value: sum, expires, rank: now, bytes: 0 }), sum)
            })
        })
    }

    /// The value of `key`, unless it is missing or its time has run out.
    #[must_use]
    pub fn kv_get(&self, scope: &str, key: &[u8]) -> Option<Bytes> {
        let now = self.now();
        let look = |entry: &mut Entry<Bytes>| {
            entry.rank = now;
            entry.value.clone()
        };
        self.scopes.with_known(scope, |scope| scope.values.read(key, now, look))?
    }

    /// Sets `key` for `ttl`, or until it has to make room. `value` should own just its own memory: a slice of something larger keeps
    /// all of it.
    ///
    /// # Errors
    /// The key is longer than [`MAX_KEY_BYTES`] or the value than [`MAX_VALUE_BYTES`].
    pub fn kv_set(&self, scope: &str, key: &[u8], value: Bytes, ttl: Option<Duration>) -> Result<(), Full> {
        if value.len() > MAX_VALUE_BYTES {
            return Err(Full);
        }
        let now = self.now();
        let entry = Entry { bytes: value.len(), value, expires: expiry(now, ttl), rank: now };
        self.scopes.with(scope, |scope| scope.values.update(key, now, |_| (Some(entry), ())))
    }

    /// Removes `key`.
    pub fn kv_delete(&self, scope: &str, key: &[u8]) {
        self.scopes.with_known(scope, |scope| scope.values.remove(key));
    }

    /// How full every table is.
    #[must_use]
    pub fn usage(&self) -> Vec<Usage> {
        let mut usage = Vec::new();
        for (name, scope) in self.scopes.all() {
            let tables = [
                ("window", scope.windows.len(), scope.windows.evicted()),
                ("counter", scope.counters.len(), scope.counters.evicted()),
                ("value", scope.values.len(), scope.values.evicted()),
            ];
            usage.extend(tables.map(|(table, entries, evicted)| Usage {
                scope: name.clone(),
                table,
                entries,
                evicted,
            }));
        }
        usage
    }

    /// Nanoseconds since this store was made.
    fn now(&self) -> u64 {
        nanoseconds(self.epoch.elapsed())
    }
}

impl Default for Store {
    fn default() -> Self {
        Self { scopes: Scopes::default(), epoch: Instant::now() }
    }
}

fn expiry(now: u64, ttl: Option<Duration>) -> u64 {
    ttl.map_or(u64::MAX, |ttl| now.saturating_add(nanoseconds(ttl)))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    use super::*;

    const HOUR: u64 = 3600 * 1_000_000_000;

    #[test]
    fn exactly_the_limit_passes_however_many_threads_ask() {
        let store = Store::default();
        let allowed = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        if store.gcra("limit", b"client", 1000, 1000 * HOUR, 0, 1).unwrap().allowed {
                            allowed.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(allowed.load(Relaxed), 1000);
    }

    #[test]
    fn keys_and_scopes_have_limits_of_their_own() {
        let store = Store::default();
        let allowed = |scope, key: &[u8]| store.gcra(scope, key, 1, HOUR, 0, 1).unwrap().allowed;
        assert!(allowed("one", b"a"));
        assert!(!allowed("one", b"a"));
        assert!(allowed("one", b"b"));
        assert!(allowed("two", b"a"));
    }

    #[test]
    fn a_flood_of_keys_does_not_reset_a_limit_that_is_in_use() {
        let store = Store::default();
        for _ in 0..10 {
            store.gcra("limit", b"greedy", 10, HOUR, 0, 1).unwrap();
        }
        for key in 0..(2 * MAX_ENTRIES as u64) {
            assert!(store.gcra("limit", &key.to_be_bytes(), 10, HOUR, 0, 1).unwrap().allowed);
        }
        assert!(!store.gcra("limit", b"greedy", 10, HOUR, 0, 1).unwrap().allowed);
        let usage = store.usage();
        assert!(usage[0].entries <= MAX_ENTRIES && usage[0].evicted > 0, "{usage:?}");
    }

    #[test]
    fn refused_and_free_requests_leave_no_entry() {
        let store = Store::default();
        store.gcra("limit", b"never", 0, HOUR, 0, 1).unwrap();
        store.gcra("limit", b"asked", 5, HOUR, 0, 0).unwrap();
        assert_eq!(store.usage()[0].entries, 0);
    }

    #[test]
    fn counters_from_many_threads_add_up() {
        let store = Store::default();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|_| assert!(store.counter("plugin", b"hits", 1, None).is_ok())));
            }
        });
        assert_eq!(store.counter("plugin", b"hits", 0, None), Ok(8000));
    }

    #[test]
    fn a_counter_saturates() {
        let store = Store::default();
        store.counter("plugin", b"n", i64::MAX, None).unwrap();
        assert_eq!(store.counter("plugin", b"n", 1, None), Ok(i64::MAX));
        store.counter("plugin", b"m", i64::MIN, None).unwrap();
        assert_eq!(store.counter("plugin", b"m", -1, None), Ok(i64::MIN));
    }

    #[test]
    fn a_time_to_live_ends_counters_and_values() {
        let store = Store::default();
        store.counter("plugin", b"n", 5, Some(Duration::ZERO)).unwrap();
        assert_eq!(store.counter("plugin", b"n", 1, Some(Duration::MAX)), Ok(1));
        assert_eq!(store.counter("plugin", b"n", 1, Some(Duration::ZERO)), Ok(2));
        assert_eq!(store.counter("plugin", b"n", 0, None), Ok(2));
        store.kv_set("plugin", b"k", Bytes::from("v"), Some(Duration::ZERO)).unwrap();
        assert_eq!(store.kv_get("plugin", b"k"), None);
    }

    #[test]
    fn values_are_set_read_and_deleted() {
        let store = Store::default();
        assert_eq!(store.kv_get("plugin", b"k"), None);
        store.kv_set("plugin", b"k", Bytes::from("v"), None).unwrap();
        store.kv_set("plugin", b"empty", Bytes::new(), Some(Duration::from_secs(60))).unwrap();
        assert_eq!(store.kv_get("plugin", b"k"), Some(Bytes::from("v")));
        assert_eq!(store.kv_get("plugin", b"empty"), Some(Bytes::new()));
        assert_eq!(store.kv_get("other", b"k"), None);
        store.kv_delete("plugin", b"k");
        assert_eq!(store.kv_get("plugin", b"k"), None);
        assert_eq!(store.kv_set("plugin", b"k", Bytes::from(vec![0; MAX_VALUE_BYTES + 1]), None), Err(Full));
    }
}
