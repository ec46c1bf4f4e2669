//! Metrics, the per-filter ledger and logs.

use crate::filter::{Outcome, Phase};

/// Calls, time and outcomes of one filter, over all workers. Lock-free.
#[derive(Default)]
pub struct FilterLedger {}

impl FilterLedger {
    /// Records one callback.
    pub fn record(&self, _phase: Phase, _nanos: u64, _outcome: Outcome) {}
}
