//! Bounds of one instance: what it may take, say and leave behind. Each has a name and a reason.

use std::time::Duration;

use wasmtime::ResourceLimiter;

/// Guest time for `_initialize`, `on_vm_start` and `on_configure` together each, whatever the filter's own deadline (a
/// Go runtime alone takes tens of milliseconds to start).
pub(super) const STARTUP_DEADLINE: Duration = Duration::from_secs(1);
/// A callback's time is counted in so many steps; see [`super::engine`].
pub(super) const DEADLINE_STEPS: u32 = 10;
/// Largest module that is compiled, bytes. Go modules reach 21 MB.
pub(super) const MODULE_BYTES: usize = 32 << 20;
/// Branches of one function, and targets of its tables of branches, each with the values that it hands on: the compiler's time
/// grows with their square. Those of Go and Rust have one or two thousand.
pub(super) const BRANCHES: u64 = 25_000;
/// Local variables of one function: Rust's have some hundreds.
pub(super) const FUNCTION_LOCALS: u64 = 10_000;
/// The two multiplied: the compiler keeps a set of variables for each branch.
pub(super) const BRANCHES_TIMES_LOCALS: u64 = 5_000_000;
/// Loops of one function, and loops inside each other: the compiler's time grows with their square, and with their cube.
pub(super) const LOOPS: u64 = 2_000;
pub(super) const NESTED_LOOPS: u64 = 200;
/// Local variables of all functions: a module declares any number in three bytes, and each costs the compiler time.
pub(super) const LOCALS: u64 = 8_000_000;
/// Elements of a table: Go modules have some ten thousand functions in it.
pub(super) const TABLE_ELEMENTS: usize = 100_000;
/// Bytes of one log line; the rest of it is cut.
pub(super) const LOG_LINE_BYTES: usize = 8 << 10;
/// Log lines of one callback; what follows is counted, not kept.
pub(super) const LOG_LINES: u32 = 100;
/// Bytes of standard output and standard error that one callback may have looked at; the rest is dropped unread.
pub(super) const OUTPUT_BYTES: usize = 1 << 20;
/// Longest name of a metric that is looked at, and longest key and value of shared data: longer ones are refused unread.
pub(super) const METRIC_NAME_BYTES: usize = 1024;
pub(super) const SHARED_BYTES: u32 = 4 << 20;
/// Error lines of a callback that are kept to explain its failure.
pub(super) const LAST_WORDS: usize = 4;
/// Bytes of serialised pairs (as in the C++ host).
pub(super) const PAIRS_BYTES: usize = 1 << 20;
/// Number of serialised pairs (as in the C++ host).
pub(super) const PAIRS: usize = 1024;
/// Fields that one map may have after a filter has added one.
pub(super) const MAP_FIELDS: usize = 1024;
/// Bytes of a map to which a filter adds a long value; those that are not long are bounded by their number.
pub(super) const MAP_BYTES: usize = 1 << 20;
/// What a long value is, bytes.
pub(super) const LONG_VALUE: usize = 1024;
/// Body of a local reply, bytes.
pub(super) const REPLY_BYTES: usize = 8 << 20;
/// A filter may make a body so many times larger than the stage's buffer limit.
pub(super) const BODY_GROWTH: usize = 4;
/// Bytes, names included, of the properties set on one stream.
pub(super) const PROPERTY_BYTES: usize = 64 << 10;
/// Properties set on one stream.
pub(super) const PROPERTIES: usize = 128;
/// Callouts of one instance that wait for their answers.
pub(super) const CALLOUTS: usize = 1000;
/// Metrics one instance may know.
pub(super) const METRICS: usize = 1000;
/// Shared queues one instance may know.
pub(super) const QUEUES: usize = 256;
/// Events of one queue delivered in a row before other work of the worker gets its turn.
pub(super) const QUEUE_BURST: usize = 64;
/// Shortest tick period.
pub(super) const TICK_FLOOR: Duration = Duration::from_millis(10);
/// How long a context whose `on_done` answered false may wait for `proxy_done`.
pub(super) const DONE_LIMIT: Duration = Duration::from_secs(5);
/// Contexts that wait for `proxy_done`; beyond, they are ended at once.
pub(super) const DONE_PENDING: usize = 1024;
/// Bytes that Envoy's foreign functions take: what they do is done on the worker.
pub(super) const FOREIGN_BYTES: usize = 1 << 20;
/// Bytes that `uncompress` makes of them.
pub(super) const UNCOMPRESSED_BYTES: usize = 8 << 20;
/// Bytes of one call of `random_get`.
pub(super) const RANDOM_BYTES: usize = 64 << 10;
/// Entries of an `fd_write` vector.
pub(super) const IO_VECTORS: u32 = 1024;
/// Streams that an entry has served to their end with one version, over all workers, from which on traps in callbacks of
/// streams are taken for the doing of requests; see [`super::breaker`].
pub(super) const PROVEN: u64 = 100;
/// With fewer, the same holds for that long after one was served.
pub(super) const LATELY: Duration = Duration::from_secs(60);
/// What the starts of instances in place of dead ones may take of a worker within [`STARTING_WINDOW`], before the rest of it is waited for.
pub(super) const STARTING_TIME: Duration = Duration::from_millis(250);
/// See [`STARTING_TIME`].
pub(super) const STARTING_WINDOW: Duration = Duration::from_secs(1);
/// Instances that die in a row while no stream is served to its end, before the next is put off; see
/// [`super::breaker`].
pub(super) const DEATHS: u32 = 10;
/// The same for instances that do not even start, which costs a worker more.
pub(super) const START_FAILURES: u32 = 3;
/// Deaths in a row after a pause before the next, longer one.
pub(super) const HELD_OFF_RETRIES: u32 = 3;
/// How long the next instance is put off at first; it doubles each time.
pub(super) const HELD_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest that it is put off.
pub(super) const HELD_OFF_LONGEST: Duration = Duration::from_secs(30);

/// Watches over linear memory and tables.
#[derive(Debug)]
pub(super) struct MemoryLimit {
    ceiling: usize,
    size: usize,
    /// The size that was asked for.
    denied: Option<usize>,
}

impl MemoryLimit {
    pub(super) fn new(ceiling: usize) -> Self {
        Self { ceiling, size: 0, denied: None }
    }
    /// Most bytes of linear memory.
    pub(super) fn ceiling(&self) -> usize {
        self.ceiling
    }
    /// Bytes of linear memory now.
    pub(super) fn size(&self) -> usize {
        self.size
    }
    /// The bytes that were asked for beyond the ceiling, since [`MemoryLimit::forgive`].
    pub(super) fn denied(&self) -> Option<usize> {
        self.denied
    }
    /// A new callback begins: a guest that lived with a refused growth is not blamed for it later.
    pub(super) fn forgive(&mut self) {
        self.denied = None;
    }
}

impl ResourceLimiter for MemoryLimit {
    fn memory_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > self.ceiling {
            self.denied = Some(desired);
            return Ok(false);
        }
        self.size = desired;
        Ok(true)
    }
    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
