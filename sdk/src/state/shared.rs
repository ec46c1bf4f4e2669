//! The fallback on the ABI's shared data: values with an expiry, changed by compare-and-swap.
//!
//! A stored value is the time it expires (nanoseconds since 1970, 8 bytes; 0: never) and its bytes.

use crate::host::{HOST, Host, HostError};

/// How often a change is tried again when others got in between.
const ATTEMPTS: u32 = 32;

/// Reads a value that has not expired.
pub(super) fn get(key: &str) -> Option<Vec<u8>> {
    live(HOST.shared(key).0.as_deref(), HOST.now()).map(<[u8]>::to_vec)
}

/// Stores a value for `ttl_ms` (0: without end).
pub(super) fn set(key: &str, value: &[u8], ttl_ms: u64) -> Result<(), HostError> {
    HOST.set_shared(key, &entry(value, expiry(ttl_ms)), 0)
}

/// Removes a value. The ABI cannot, but what has expired is as good as gone.
pub(super) fn delete(key: &str) -> Result<(), HostError> {
    HOST.set_shared(key, &entry(&[], 1), 0)
}

/// Changes a value, whatever others do meanwhile. `change` gets the old one and returns the new one and a result.
pub(super) fn update<T>(
    key: &str,
    ttl_ms: u64,
    mut change: impl FnMut(Option<&[u8]>) -> (Vec<u8>, T),
) -> Result<T, HostError> {
    for _ in 0..ATTEMPTS {
        let (stored, version) = HOST.shared(key);
        let old = live(stored.as_deref(), HOST.now());
        // The life of a value begins with its first use.
        let expires = match (old, &stored) {
            (Some(_), Some(stored)) => number(stored).unwrap_or(0),
            _ => expiry(ttl_ms),
        };
        let (new, result) = change(old);
        match HOST.set_shared(key, &entry(&new, expires), version) {
            Ok(()) => return Ok(result),
            Err(HostError::CasMismatch) => {}
            Err(error) => return Err(error),
        }
    }
    Err(HostError::CasMismatch)
}

fn expiry(ttl_ms: u64) -> u64 {
    if ttl_ms == 0 { 0 } else { HOST.now().saturating_add(ttl_ms.saturating_mul(1_000_000)) }
}

fn entry(value: &[u8], expires: u64) -> Vec<u8> {
    let mut entry = Vec::with_capacity(8 + value.len());
    entry.extend_from_slice(&expires.to_le_bytes());
    entry.extend_from_slice(value);
    entry
}

fn live(stored: Option<&[u8]>, now: u64) -> Option<&[u8]> {
    let stored = stored?;
    match number(stored)? {
        expires if expires > 0 && expires <= now => None,
        _ => stored.get(8..),
    }
}

/// The number at the start of some bytes.
pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.get(..8)?.try_into().ok().map(u64::from_le_bytes)
}
