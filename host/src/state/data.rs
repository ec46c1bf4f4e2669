//! Shared data of the ABI: a key-value map per vm id with compare-and-swap (`proxy_get_shared_data`,
//! `proxy_set_shared_data`). It never forgets: a full map refuses.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use dashmap::{DashMap, Entry};

use super::scopes::Scopes;

/// Most keys of one vm id.
pub const MAX_KEYS: usize = 65_536;
/// Most bytes of a value.
pub const MAX_VALUE_BYTES: usize = 1 << 20;
/// Most bytes of one vm id, keys and values together.
pub const MAX_BYTES: usize = 16 << 20;

/// Why a value was not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The value has changed since it was read.
    #[error("the value has changed since it was read")]
    CasMismatch,
    /// The value or the whole map would be too large.
    #[error("shared data is full")]
    Full,
}

/// The shared data of every vm id.
#[derive(Default)]
pub struct SharedData {
    spaces: Scopes<Space>,
}

impl SharedData {
    /// The value of `key` and its compare-and-swap number, which is never 0.
    #[must_use]
    pub fn get(&self, vm_id: &str, key: &[u8]) -> Option<(Bytes, u32)> {
        self.spaces.with_known(vm_id, |space| space.values.get(key).map(|value| (value.bytes.clone(), value.cas)))?
    }

    /// Sets `key`, if `cas` is 0, is the number that [`SharedData::get`] last gave, or the key is missing (as in
    /// proxy-wasm-cpp-host). `bytes` should own just its own memory: a slice of something larger keeps all of it.
    ///
    /// # Errors
    /// See [`SetError`].
    pub fn set(&self, vm_id: &str, key: &[u8], bytes: impl Into<Bytes>, cas: u32) -> Result<(), SetError> {
        let bytes = bytes.into();
        if bytes.len() > MAX_VALUE_BYTES {
            return Err(SetError::Full);
        }
        self.spaces.with(vm_id, |space| space.set(key, bytes, cas))
    }
}

#[derive(Default)]
struct Space {
    values: DashMap<Box<[u8]>, Value>,
    keys: Budget,
    bytes: Budget,
}

struct Value {
    bytes: Bytes,
    cas: u32,
}

impl Space {
    fn set(&self, key: &[u8], bytes: Bytes, cas: u32) -> Result<(), SetError> {
        // The common case, a known key, must not pay for a copy of the key.
        if let Some(mut value) = self.values.get_mut(key) {
            return self.replace(&mut value, bytes, cas);
        }
        match self.values.entry(key.into()) {
            Entry::Occupied(mut entry) => self.replace(entry.get_mut(), bytes, cas),
            Entry::Vacant(entry) => {
                if !self.keys.take(1, MAX_KEYS) {
                    return Err(SetError::Full);
                }
                if !self.bytes.take(key.len().saturating_add(bytes.len()), MAX_BYTES) {
                    self.keys.give(1);
                    return Err(SetError::Full);
                }
                entry.insert(Value { bytes, cas: 1 });
                Ok(())
            }
        }
    }

    fn replace(&self, value: &mut Value, bytes: Bytes, cas: u32) -> Result<(), SetError> {
        if cas != 0 && cas != value.cas {
            return Err(SetError::CasMismatch);
        }
        let (old, new) = (value.bytes.len(), bytes.len());
        if !self.bytes.take(new.saturating_sub(old), MAX_BYTES) {
            return Err(SetError::Full);
        }
        self.bytes.give(old.saturating_sub(new));
        value.bytes = bytes;
        value.cas = value.cas.checked_add(1).unwrap_or(1);
        Ok(())
    }
}

/// How much of something is used up.
#[derive(Default)]
struct Budget(AtomicUsize);

impl Budget {
    /// Takes `amount` unless that would pass `limit`.
    fn take(&self, amount: usize, limit: usize) -> bool {
        let add = |used: usize| used.checked_add(amount).filter(|used| *used <= limit);
        self.0.fetch_update(Relaxed, Relaxed, add).is_ok()
    }
    /// Gives back what was taken.
    fn give(&self, amount: usize) {
        self.0.fetch_sub(amount, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_value_is_read_back_with_a_number_that_is_not_zero() {
        let data = SharedData::default();
        assert_eq!(data.get("vm", b"key"), None);
        data.set("vm", b"key", "value", 0).unwrap();
        let (value, cas) = data.get("vm", b"key").unwrap();
        assert_eq!(value, "value");
        assert_ne!(cas, 0);
    }

    #[test]
    fn a_stale_number_is_refused_and_zero_is_not() {
        let data = SharedData::default();
        data.set("vm", b"key", "one", 0).unwrap();
        let (_, cas) = data.get("vm", b"key").unwrap();
        data.set("vm", b"key", "two", cas).unwrap();
        assert_eq!(data.set("vm", b"key", "three", cas), Err(SetError::CasMismatch));
        data.set("vm", b"key", "four", 0).unwrap();
        assert_eq!(data.get("vm", b"key").unwrap().0, "four");
    }

    #[test]
    fn a_number_for_a_missing_key_is_accepted() {
        let data = SharedData::default();
        assert_eq!(data.set("vm", b"key", "value", 7), Ok(()));
    }

    #[test]
    fn vm_ids_do_not_see_each_other() {
        let data = SharedData::default();
        data.set("one", b"key", "value", 0).unwrap();
        assert_eq!(data.get("other", b"key"), None);
    }

    #[test]
    fn a_full_space_refuses_and_shrinking_makes_room() {
        let data = SharedData::default();
        assert_eq!(data.set("vm", b"key", vec![0; MAX_VALUE_BYTES + 1], 0), Err(SetError::Full));
        let value = Bytes::from(vec![0; MAX_VALUE_BYTES - 1]);
        for key in 0..16_u8 {
            data.set("vm", &[key], value.clone(), 0).unwrap();
        }
        assert_eq!(data.set("vm", b"one more", "", 0), Err(SetError::Full));
        data.set("vm", &[0], "", 0).unwrap();
        assert_eq!(data.set("vm", b"one more", "", 0), Ok(()));
        assert_eq!(data.set("other", b"key", "", 0), Ok(()));
    }

    #[test]
    fn keys_are_counted() {
        let data = SharedData::default();
        for key in 0..MAX_KEYS {
            data.set("vm", &key.to_le_bytes(), "", 0).unwrap();
        }
        assert_eq!(data.set("vm", b"one more", "", 0), Err(SetError::Full));
    }

    #[test]
    fn compare_and_swap_from_many_threads_loses_no_update() {
        const THREADS: u64 = 8;
        const ROUNDS: u64 = 500;
        let data = SharedData::default();
        let add_one = || loop {
            let (sum, cas) = match data.get("vm", b"sum") {
                Some((bytes, cas)) => (u64::from_le_bytes(bytes[..].try_into().unwrap()), cas),
                None => unreachable!("it was set before"),
            };
            if data.set("vm", b"sum", (sum + 1).to_le_bytes().to_vec(), cas).is_ok() {
                return;
            }
        };
        data.set("vm", b"sum", 0_u64.to_le_bytes().to_vec(), 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| (0..ROUNDS).for_each(|_| add_one()));
            }
        });
        let (sum, _) = data.get("vm", b"sum").unwrap();
        assert_eq!(u64::from_le_bytes(sum[..].try_into().unwrap()), THREADS * ROUNDS);
    }
}
