//! Counts that cost a worker next to nothing: each recording thread has a copy of its own, summed when somebody looks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Copies of a sharded value. The first threads that record (the workers, on any machine of up to that many cores less
/// one) have a copy each; further ones share the last.
const SHARDS: usize = 128;

/// `T` once per recording thread, made when that thread first records.
pub(super) struct Sharded<T> {
    shards: [OnceLock<Box<T>>; SHARDS],
}

impl<T: Default> Sharded<T> {
    /// This thread's copy, and the right to raise its counts.
    pub(super) fn local(&self) -> (&T, Slot) {
        let slot = SLOT.with(|slot| *slot);
        (self.shards[slot.index].get_or_init(Box::default), slot)
    }

    /// Every copy that exists.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().filter_map(OnceLock::get).map(Box::as_ref)
    }

    /// The sum of one count over every copy.
    pub(super) fn sum(&self, count: impl Fn(&T) -> &Count) -> u64 {
        self.iter().map(|copy| count(copy).get()).fold(0, u64::wrapping_add)
    }
}

impl<T> Default for Sharded<T> {
    fn default() -> Self {
        Self { shards: [const { OnceLock::new() }; SHARDS] }
    }
}

/// Which copy a thread records in.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    index: usize,
    /// No other thread writes to this copy, now or ever.
    alone: bool,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Numbers are not given back when a thread ends: workers live as long as the process.
    static SLOT: Slot = {
        let index = THREADS.fetch_add(1, Relaxed).min(SHARDS - 1);
        Slot { index, alone: index < SHARDS - 1 }
    };
}

/// A number that grows. Readers see it a moment late at worst.
#[derive(Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// Adds `number`. `slot` is that of the copy this count is in.
    pub(super) fn add(&self, number: u64, slot: Slot) {
        if slot.alone {
            // A sole writer needs no atomic addition, which would cost ten times as much.
            self.0.store(self.0.load(Relaxed).wrapping_add(number), Relaxed);
        } else {
            self.0.fetch_add(number, Relaxed);
        }
    }

    /// Makes it at least `number`.
    pub(super) fn raise(&self, number: u64) {
        if number > self.0.load(Relaxed) {
            self.0.fetch_max(number, Relaxed);
        }
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_threads_than_copies_lose_nothing() {
        let counts = Sharded::<Count>::default();
        std::thread::scope(|scope| {
            for _ in 0..SHARDS + 20 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let (count, slot) = counts.local();
                        count.add(1, slot);
                    }
                });
            }
        });
        assert_eq!(counts.sum(|count| count), (SHARDS as u64 + 20) * 200);
    }
}
