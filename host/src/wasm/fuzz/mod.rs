//! Fuzz targets of the Proxy-Wasm host.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "It fails by panicking, as tests do.")]

mod hostcalls;
mod interpreter;
mod modules;
mod properties;

pub(crate) use hostcalls::hostcalls;
pub(crate) use modules::modules;
pub(crate) use properties::properties;

use super::limits::PAIRS;
use super::pairs::{decode, encode};

/// Any bytes as a serialised map: refused, or within the bounds, not longer than they were, and the same when written and read
/// again.
pub(crate) fn pairs(input: &[u8]) {
    let Ok(pairs) = decode(input) else { return };
    assert!(pairs.len() <= PAIRS, "{} pairs", pairs.len());
    let mut written = Vec::new();
    encode(pairs.iter().copied(), &mut written);
    assert!(written.len() <= input.len(), "{} bytes became {}", input.len(), written.len());
    assert_eq!(decode(&written).as_ref(), Ok(&pairs));
}
