//! Counters that all workers share.

use std::time::Duration;

use super::{fault, millis, shared};
use crate::error::Result;
use crate::extension::{self, COUNTER};
use crate::host::HostError;

/// A family of counters, one for each key.
#[derive(Clone, Debug)]
pub struct Counter {
    name: &'static str,
    ttl: Duration,
}

impl Counter {
    /// Counters called `name`; keys of other names are other counters.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self { name, ttl: Duration::ZERO }
    }

    /// Makes each counter end this long after its first use.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Adds `delta` and gives the sum; 0 reads it.
    ///
    /// # Errors
    /// A fault, when the host's store fails or is full.
    pub fn add(&self, key: &str, delta: i64) -> Result<i64> {
        let key = format!("{}:{key}", self.name);
        let ttl = millis(self.ttl);
        let arguments = [&delta.to_le_bytes()[..], &ttl.to_le_bytes(), key.as_bytes()].concat();
        let sum = match extension::call(COUNTER, &arguments) {
            Ok(result) => extension::number(&result, 0).map(u64::cast_signed),
            Err(HostError::NotFound) => shared::update(&format!("counter:{key}"), ttl, |old| {
                let old = old.and_then(shared::number).map_or(0, u64::cast_signed);
                let sum = old.saturating_add(delta);
                (sum.to_le_bytes().to_vec(), sum)
            }),
            Err(error) => Err(error),
        };
        sum.map_err(|error| fault(&format!("counter `{}`", self.name), error))
    }
}
