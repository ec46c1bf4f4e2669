//! What was verified a moment ago, so that the expensive part of it is not done again for every request.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use sha2::{Digest, Sha256};

/// Most entries that are remembered, about 100 bytes each.
const MAX_ENTRIES: usize = 4096;

/// SHA-256 of what was verified.
pub(crate) type Fingerprint = [u8; 32];

/// Fingerprints of successful verifications, each for a short time. Failures are never remembered.
pub(crate) struct Recent {
    lifetime: Duration,
    until: RefCell<HashMap<Fingerprint, SystemTime>>,
}

impl Recent {
    /// Remembers each entry for `lifetime`.
    #[must_use]
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, until: RefCell::default() }
    }

    /// Whether this was verified a moment ago.
    #[must_use]
    pub(crate) fn contains(&self, entry: &Fingerprint, now: SystemTime) -> bool {
        self.until.borrow().get(entry).is_some_and(|until| now < *until)
    }

    /// Remembers a verification. When all places are taken, what has run out goes, and if nothing has, everything.
    pub(crate) fn insert(&self, entry: Fingerprint, now: SystemTime) {
        let mut until = self.until.borrow_mut();
        if until.len() >= MAX_ENTRIES {
            until.retain(|_, until| now < *until);
        }
        if until.len() >= MAX_ENTRIES {
            until.clear();
        }
        until.insert(entry, now + self.lifetime);
    }
}

/// The fingerprint of some texts. Their lengths are part of it, so that ("ab", "c") is not ("a", "bc").
#[must_use]
pub(crate) fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_remembered_for_its_lifetime() {
        let recent = Recent::new(Duration::from_secs(60));
        let (entry, now) = (fingerprint(&[b"a"]), SystemTime::UNIX_EPOCH);
        assert!(!recent.contains(&entry, now));
        recent.insert(entry, now);
        assert!(recent.contains(&entry, now + Duration::from_secs(59)));
        assert!(!recent.contains(&entry, now + Duration::from_secs(60)));
    }

    #[test]
    fn a_flood_of_entries_stays_bounded() {
        let recent = Recent::new(Duration::from_secs(60));
        for number in 0..3 * MAX_ENTRIES {
            recent.insert(fingerprint(&[&number.to_le_bytes()]), SystemTime::UNIX_EPOCH);
        }
        assert!(recent.until.borrow().len() <= MAX_ENTRIES);
    }

    #[test]
    fn a_fingerprint_keeps_its_parts_apart() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
    }
}
