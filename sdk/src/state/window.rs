//! Rate limits by the generic cell rate algorithm (GCRA): a limit per window, smoothly, with a burst.

use std::time::Duration;

use super::{fault, shared};
use crate::error::Result;
use crate::extension::{self, GCRA};
use crate::host::{HOST, Host, HostError};

/// A rate limit, kept for each key.
#[derive(Clone, Debug)]
pub struct Window {
    limit: u64,
    nanos: u64,
    burst: u64,
}

/// What a rate limit says about one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether it may pass.
    pub allowed: bool,
    /// What could still pass at once.
    pub remaining: u64,
    /// How long until the key is as if it had never been used.
    pub reset: Duration,
    /// How long until a request like this one passes; zero when it did.
    pub retry_after: Duration,
}

impl Window {
    /// `limit` in each `window`, `burst` of them at once (0: `limit`).
    #[must_use]
    pub fn gcra(limit: u64, window: Duration, burst: u64) -> Self {
        Self { limit: limit.max(1), nanos: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX).max(1), burst }
    }

    /// Asks for `cost`, and takes it if it is there. Windows of the same limit and length share their keys.
    ///
    /// # Errors
    /// A fault, when the host's store fails or is full.
    pub fn take(&self, key: &str, cost: u64) -> Result<Decision> {
        let key = format!("{}/{}:{key}", self.limit, self.nanos);
        let numbers = [self.limit, self.nanos, self.burst, cost].map(u64::to_le_bytes).concat();
        let result = match extension::call(GCRA, &[&numbers, key.as_bytes()].concat()) {
            Ok(result) => decision(&result),
            Err(HostError::NotFound) => {
                let ttl = self.nanos.saturating_mul(self.burst.max(self.limit)) / self.limit / 1_000_000;
                let now = HOST.now();
                shared::update(&format!("gcra:{key}"), ttl.saturating_add(1000), |old| {
                    let (arrival, decision) = self.decide(old.and_then(shared::number), now, cost);
                    (arrival.to_le_bytes().to_vec(), decision)
                })
            }
            Err(error) => Err(error),
        };
        result.map_err(|error| fault("rate limit", error))
    }

    /// The algorithm: a key stores when, at the steady rate, its last request would have been due (its theoretical arrival).
    /// A request passes if that is not further ahead than the burst allows.
    pub(crate) fn decide(&self, arrival: Option<u64>, now: u64, cost: u64) -> (u64, Decision) {
        let interval = (self.nanos / self.limit).max(1);
        let burst = if self.burst == 0 { self.limit } else { self.burst };
        let tolerance = interval.saturating_mul(burst);
        let arrival = arrival.unwrap_or(now).max(now);
        let next = arrival.saturating_add(interval.saturating_mul(cost));
        let allowed = next - now <= tolerance;
        let arrival = if allowed { next } else { arrival };
        let retry_after = if allowed { 0 } else { (next - now).saturating_sub(tolerance) };
        let decision = Decision {
            allowed,
            remaining: tolerance.saturating_sub(arrival - now) / interval,
            reset: Duration::from_nanos(arrival - now),
            retry_after: Duration::from_nanos(retry_after),
        };
        (arrival, decision)
    }
}

fn decision(result: &[u8]) -> core::result::Result<Decision, HostError> {
    Ok(Decision {
        allowed: extension::number(result, 0)? == 1,
        remaining: extension::number(result, 1)?,
        reset: Duration::from_nanos(extension::number(result, 2)?),
        retry_after: Duration::from_nanos(extension::number(result, 3)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let window = Window::gcra(10, Duration::from_secs(1), 2);
        let mut arrival = None;
        let mut allowed = Vec::new();
        for now in [0, 0, 0, 50_000_000, 100_000_000, 100_000_000, 2_000_000_000] {
            let (next, decision) = window.decide(arrival, now, 1);
            arrival = Some(next);
            allowed.push(decision.allowed);
        }
        assert_eq!(allowed, [true, true, false, false, true, false, true]);
    }

    #[test]
    fn what_is_denied_costs_nothing_and_says_when_to_come_back() {
        let window = Window::gcra(1, Duration::from_secs(60), 0);
        let (arrival, first) = window.decide(None, 0, 1);
        assert_eq!((first.allowed, first.remaining, first.reset), (true, 0, Duration::from_secs(60)));
        let (later, second) = window.decide(Some(arrival), 20_000_000_000, 1);
        assert_eq!(later, arrival);
        assert_eq!((second.allowed, second.retry_after), (false, Duration::from_secs(40)));
    }
}
