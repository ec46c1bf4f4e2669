//! Request identifiers: random UUIDs (RFC 9562 version 4), unique enough to find a request in logs, not secret.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use http::HeaderValue;

/// Makes identifiers on one worker.
pub(super) struct RequestIds {
    state: Cell<u64>,
}

impl RequestIds {
    /// Seeded by the operating system.
    pub(super) fn new() -> Self {
        Self { state: Cell::new(RandomState::new().hash_one("request ids")) }
    }
    /// The next one.
    pub(super) fn next(&self) -> HeaderValue {
        let text = uuid(self.random(), self.random());
        // Hexadecimal digits and hyphens are legal in a header.
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&text)).unwrap_or_else(|_| HeaderValue::from_static("0"))
    }
    /// SplitMix64 (Steele, Lea, Flood 2014): every value once in 2^64.
    fn random(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// 128 bits as a version 4 UUID.
fn uuid(high: u64, low: u64) -> [u8; 36] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let high = (high & !0xF000) | 0x4000;
    let low = (low & !(0b11 << 62)) | (0b10 << 62);
    let bytes = [high.to_be_bytes(), low.to_be_bytes()];
    let mut text = [b'-'; 36];
    let mut at = 0;
    for byte in bytes.iter().flatten() {
        if matches!(at, 8 | 13 | 18 | 23) {
            at += 1;
        }
        text[at] = DIGITS[usize::from(byte >> 4)];
        text[at + 1] = DIGITS[usize::from(byte & 15)];
        at += 2;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_a_version_4_uuid() {
        assert_eq!(&uuid(0, 0), b"00000000-0000-4000-8000-000000000000");
        assert_eq!(&uuid(u64::MAX, u64::MAX), b"ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn identifiers_differ() {
        let ids = RequestIds::new();
        assert_ne!(ids.next(), ids.next());
        assert_ne!(ids.next(), RequestIds::new().next());
    }
}
