//! What outlives a request: shared data, queues, counters, windows, key-values. In memory, bounded.

/// All state services of the process.
#[derive(Default)]
pub struct State {}
