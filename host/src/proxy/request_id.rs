//! Request identifiers: random UUIDs (RFC 9562 version 4), unique enough to find a request in logs, not secret.

use std::cell::Cell;
use std::fmt;
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Names a request across hops.
pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest identifier taken over from a client, bytes.
const REQUEST_ID_BYTES: usize = 128;

/// The identifier of one request. The text of one that was made here is written when it is asked for.
#[derive(Clone, Debug)]
pub(super) enum RequestId {
    /// By the client.
    Given(HeaderValue),
    /// 128 bits.
    Made(u64, u64),
}

impl RequestId {
    /// As a field's value.
    pub(super) fn value(&self) -> HeaderValue {
        match self {
            Self::Given(value) => value.clone(),
            // Hexadecimal digits and hyphens are legal in a header.
            Self::Made(high, low) => HeaderValue::from_maybe_shared(Bytes::copy_from_slice(&uuid(*high, *low)))
                .unwrap_or_else(|_| HeaderValue::from_static("0")),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(value) => f.write_str(value.to_str().unwrap_or_default()),
            Self::Made(high, low) => f.write_str(std::str::from_utf8(&uuid(*high, *low)).unwrap_or_default()),
        }
    }
}

/// The client's identifier of the request, if it is fit to be used.
fn given(headers: &HeaderMap) -> Option<&HeaderValue> {
    let mut values = headers.get_all(X_REQUEST_ID).iter();
    let visible = |value: &&HeaderValue| {
        (1..=REQUEST_ID_BYTES).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    values.next().filter(visible).filter(|_| values.next().is_none())
}

/// Makes identifiers on one worker.
pub(super) struct RequestIds {
    state: Cell<u64>,
}

impl RequestIds {
    /// Seeded by the operating system.
    pub(super) fn new() -> Self {
        Self { state: Cell::new(RandomState::new().hash_one("request ids")) }
    }
    /// That of a request with this head: the client's, or a new one.
    pub(super) fn of(&self, headers: &HeaderMap) -> RequestId {
        match given(headers) {
            Some(value) => RequestId::Given(value.clone()),
            None => RequestId::Made(self.random(), self.random()),
        }
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
        let (ids, none) = (RequestIds::new(), HeaderMap::new());
        assert_ne!(ids.of(&none).value(), ids.of(&none).value());
        assert_ne!(ids.of(&none).value(), RequestIds::new().of(&none).value());
    }

    #[test]
    fn an_identifier_reads_the_same_in_a_field_and_in_the_log() {
        let client = HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_static("from-the-client"))]);
        for headers in [HeaderMap::new(), client] {
            let id = RequestIds::new().of(&headers);
            assert_eq!(id.value().to_str().unwrap(), id.to_string());
        }
    }
}
