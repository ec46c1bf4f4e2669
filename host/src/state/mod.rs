//! What outlives a request: shared data, queues, guests' metrics, windows, counters, key-values, the health of targets,
//! whether memory is short.
//!
//! In memory, bounded, shared by all workers. Nothing here knows wasm or HTTP, and no function blocks for longer than a
//! map look-up. Durable or shared-by-a-fleet state is not kept here; it will come as a second backend of [`Store`].

pub mod data;
pub mod gcra;
pub mod metrics;
pub mod pressure;
pub mod queue;
mod scopes;
pub mod store;
mod table;
pub mod targets;

pub use data::{SetError, SharedData};
pub use gcra::Gcra;
pub use metrics::{MetricError, MetricKind, Metrics};
use pressure::Pressure;
pub use queue::{QueueError, Queues};
pub use store::Store;
use targets::Health;

/// The memory is spent, or a key or value is larger than the store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store has no room for this entry")]
pub struct Full;

/// All state services of the process.
#[derive(Default)]
pub struct State {
    /// `proxy_get_shared_data`, `proxy_set_shared_data`.
    pub data: SharedData,
    /// `proxy_register_shared_queue` and its kin.
    pub queues: Queues,
    /// Metrics that guests define.
    pub metrics: Metrics,
    /// What the SDK's `Window`, `Counter` and `Kv` stand on.
    pub store: Store,
    /// How the targets of upstreams are.
    pub targets: Health,
    /// Whether memory is short.
    pub pressure: Pressure,
}
