//! A bounded map that forgets: what has expired first, then what matters least among a sample.
//!
//! New keys are never refused for want of room, so a flood of them cannot deny service; what it can push out is what had the lowest
//! rank. Expired entries are swept away a few at a time by every insertion, so no call ever pays for all of them.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use indexmap::IndexMap;

use super::Full;

/// Most entries of a table.
pub const MAX_ENTRIES: usize = 131_072;
/// Most bytes of a table, keys and values together.
pub const MAX_BYTES: usize = 32 << 20;
/// Most bytes of a key.
pub const MAX_KEY_BYTES: usize = 4096;

/// Parts with a lock each. Keys spread by a keyed hash, so nobody outside can aim at one part.
const SHARDS: usize = 16;
const SHARD_ENTRIES: usize = MAX_ENTRIES / SHARDS;
const SHARD_BYTES: usize = MAX_BYTES / SHARDS;
/// Entries looked at to find the one that matters least.
const SAMPLE: usize = 8;
/// Entries looked at by an insertion, to drop those that have expired.
const SWEEP: usize = 2;

/// Entries by key. Times are nanoseconds of any one clock.
pub(super) struct Table<V> {
    hasher: RandomState,
    shards: [Mutex<Shard<V>>; SHARDS],
    evicted: AtomicU64,
}

/// One entry.
pub(super) struct Entry<V> {
    pub(super) value: V,
    /// When it is as if it were not there.
    pub(super) expires: u64,
    /// The lower, the sooner it makes room for another.
    pub(super) rank: u64,
    /// Bytes that the value holds beyond itself.
    pub(super) bytes: usize,
}

impl<V> Table<V> {
    /// Looks at the entry of `key` if it has not expired.
    pub(super) fn read<R>(&self, key: &[u8], now: u64, look: impl FnOnce(&mut Entry<V>) -> R) -> Option<R> {
        let mut shard = self.shard(key);
        shard.entries.get_mut(key).filter(|entry| entry.expires > now).map(look)
    }

    /// Replaces the entry of `key`, atomically: `change` is given the present one unless it has expired, and answers with
    /// the new one (`None`: all stays as it is) and a result.
    pub(super) fn update<R>(
        &self,
        key: &[u8],
        now: u64,
        change: impl FnOnce(Option<&Entry<V>>) -> (Option<Entry<V>>, R),
    ) -> Result<R, Full> {
        if key.len() > MAX_KEY_BYTES {
            return Err(Full);
        }
        let mut shard = self.shard(key);
        let known = shard.entries.get_mut(key);
        let (next, result) = change(known.as_deref().filter(|entry| entry.expires > now));
        let Some(next) = next else { return Ok(result) };
        let bytes = key.len().saturating_add(next.bytes);
        if bytes > SHARD_BYTES {
            return Err(Full);
        }
        if let Some(known) = known.filter(|known| known.bytes == next.bytes) {
            *known = next;
            return Ok(result);
        }
        shard.remove(key);
        let evicted = shard.make_room(bytes, now);
        shard.bytes += bytes;
        shard.entries.insert(key.into(), next);
        drop(shard);
        if evicted > 0 {
            self.evicted.fetch_add(evicted, Relaxed);
        }
        Ok(result)
    }

    /// Removes the entry of `key`.
    pub(super) fn remove(&self, key: &[u8]) {
        self.shard(key).remove(key);
    }

    /// Entries present, those that have expired but were not swept yet included.
    pub(super) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).entries.len()).sum()
    }

    /// Entries that had to make room before they expired.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard<V>> {
        let [first, ..] = self.hasher.hash_one(key).to_le_bytes();
        lock(&self.shards[usize::from(first) % SHARDS])
    }
}

impl<V> Default for Table<V> {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
            evicted: AtomicU64::new(0),
        }
    }
}

struct Shard<V> {
    entries: IndexMap<Box<[u8]>, Entry<V>>,
    bytes: usize,
    /// Where the sweep goes on.
    hand: usize,
    /// State of the generator that picks samples; never 0.
    random: usize,
}

impl<V> Shard<V> {
    /// Sweeps a little, then evicts until one more entry of `bytes` fits; gives how many unexpired ones had to go.
    fn make_room(&mut self, bytes: usize, now: u64) -> u64 {
        self.sweep(now);
        let mut evicted = 0;
        while self.entries.len() >= SHARD_ENTRIES || self.bytes.saturating_add(bytes) > SHARD_BYTES {
            let Some((rank, place)) = self.least(now) else { break };
            self.remove_at(place);
            evicted += u64::from(rank > 0);
        }
        evicted
    }

    /// Looks at the next few entries and drops the expired.
    fn sweep(&mut self, now: u64) {
        for _ in 0..SWEEP {
            match self.entries.get_index(self.hand) {
                // The last entry takes its place and is looked at next.
                Some((_, entry)) if entry.expires <= now => self.remove_at(self.hand),
                Some(_) => self.hand += 1,
                None => self.hand = 0,
            }
        }
    }

    /// Rank and place of the entry that matters least among a random sample; an expired one ranks 0, others above. `None` when empty.
    fn least(&mut self, now: u64) -> Option<(u64, usize)> {
        let mut sample = || {
            // Xorshift: what is needed is spread, not secrecy. An order known to none but this table is behind it.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            let place = self.random.checked_rem(self.entries.len())?;
            let (_, entry) = self.entries.get_index(place)?;
            Some((if entry.expires <= now { 0 } else { entry.rank.max(1) }, place))
        };
        (0..SAMPLE).filter_map(|_| sample()).min()
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(place) = self.entries.get_index_of(key) {
            self.remove_at(place);
        }
    }

    fn remove_at(&mut self, place: usize) {
        if let Some((key, entry)) = self.entries.swap_remove_index(place) {
            self.bytes -= key.len() + entry.bytes;
        }
    }
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { entries: IndexMap::new(), bytes: 0, hand: 0, random: 1 }
    }
}

/// A panic elsewhere does not make a table unusable: its worst trace is a wrong sum of bytes.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(rank: u64, expires: u64, bytes: usize) -> Entry<u64> {
        Entry { value: rank, expires, rank, bytes }
    }

    fn put(table: &Table<u64>, key: &[u8], entry: Entry<u64>, now: u64) -> Result<(), Full> {
        table.update(key, now, |_| (Some(entry), ()))
    }

    fn get(table: &Table<u64>, key: &[u8], now: u64) -> Option<u64> {
        table.read(key, now, |entry| entry.value)
    }

    /// What the shards believe they hold is what they hold.
    fn assert_consistent(table: &Table<u64>) {
        for shard in &table.shards {
            let shard = lock(shard);
            assert_eq!(shard.bytes, shard.entries.iter().map(|(key, entry)| key.len() + entry.bytes).sum::<usize>());
            assert!(shard.bytes <= SHARD_BYTES && shard.entries.len() <= SHARD_ENTRIES);
        }
    }

    #[test]
    fn an_expired_entry_is_as_if_it_were_not_there() {
        let table = Table::default();
        put(&table, b"key", entry(1, 10, 0), 0).unwrap();
        assert_eq!(get(&table, b"key", 9), Some(1));
        assert_eq!(get(&table, b"key", 10), None);
        table.update(b"key", 10, |old| (None, assert!(old.is_none()))).unwrap();
    }

    #[test]
    fn a_flood_of_new_keys_stays_within_the_bound_and_spares_high_ranks() {
        let table = Table::default();
        for key in 0..64_u64 {
            put(&table, &key.to_be_bytes(), entry(u64::MAX, u64::MAX, 0), 0).unwrap();
        }
        for key in 1000..(1000 + 2 * MAX_ENTRIES as u64) {
            put(&table, &key.to_be_bytes(), entry(key, u64::MAX, 0), 0).unwrap();
        }
        assert!(table.len() <= MAX_ENTRIES);
        assert!((0..64_u64).all(|key| get(&table, &key.to_be_bytes(), 0).is_some()));
        assert!(table.evicted() > MAX_ENTRIES as u64 / 2);
        assert_consistent(&table);
    }

    #[test]
    fn expired_entries_are_swept_by_insertions_before_the_table_is_full() {
        let table = Table::default();
        for key in 0..10_000_u64 {
            put(&table, &key.to_be_bytes(), entry(0, 10, 0), 0).unwrap();
        }
        for key in 10_000..30_000_u64 {
            put(&table, &key.to_be_bytes(), entry(0, u64::MAX, 0), 10).unwrap();
        }
        assert!(table.len() < 22_000, "{}", table.len());
        assert_eq!(table.evicted(), 0);
        assert_consistent(&table);
    }

    #[test]
    fn bytes_are_bounded_and_large_values_push_out_others() {
        let table = Table::default();
        for key in 0..200_u64 {
            put(&table, &key.to_be_bytes(), entry(key, u64::MAX, SHARD_BYTES / 4), 0).unwrap();
        }
        assert!(table.len() <= 4 * SHARDS);
        assert!(table.evicted() > 0);
        assert_eq!(put(&table, b"key", entry(0, 1, SHARD_BYTES), 0), Err(Full));
        assert_eq!(put(&table, &[0; MAX_KEY_BYTES + 1], entry(0, 1, 0), 0), Err(Full));
        assert_consistent(&table);
    }

    #[test]
    fn a_value_that_grows_or_shrinks_or_goes_is_counted_right() {
        let table = Table::default();
        for bytes in [10, 10_000, 0, 10] {
            put(&table, b"key", entry(1, 1, bytes), 0).unwrap();
            assert_consistent(&table);
        }
        table.remove(b"key");
        table.remove(b"key");
        assert_eq!(table.len(), 0);
        assert_consistent(&table);
    }
}
