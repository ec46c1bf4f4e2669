//! State that outlives a request and is shared by all workers: counters, rate limits, small stored values.
//!
//! Sluicegate keeps it on the host's side (and in Redis when configured). In other hosts it is kept in the ABI's shared data,
//! with compare-and-swap; there it is per process, and entries do not go away before they are overwritten.

mod counter;
mod kv;
mod shared;
mod window;

pub use counter::Counter;
pub use kv::Kv;
pub use window::{Decision, Window};

use crate::error::{Error, Fault};
use crate::host::HostError;

/// What a refused state operation means to a filter.
fn fault(what: &str, error: HostError) -> Error {
    let reason = match error {
        HostError::BadArgument => "the host refused the key or value as too long",
        HostError::CasMismatch => "too many others changed it at the same time",
        HostError::NotFound | HostError::Failure => "the host's store failed or is full",
    };
    Error::Fault(Fault::new(format!("{what}: {reason}")))
}

/// A duration in milliseconds; what is too long counts as the longest.
fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
