//! What work costs, for tests that judge how it grows: time of the processor, which other threads and programs take nothing of.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The least that any of several runs cost this thread.
pub(crate) fn least(runs: usize, mut work: impl FnMut()) -> Duration {
    let run = |_| {
        let started = now();
        work();
        now().saturating_sub(started)
    };
    (0..runs).map(run).min().unwrap_or_default()
}

fn now() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
}
