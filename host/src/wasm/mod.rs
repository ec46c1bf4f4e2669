//! `.wasm` → filters: the Proxy-Wasm 0.2.1 host. The only code that names wasmtime.

pub mod hostcalls;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::config::PauseMeaning;
use crate::filter::{Callouts, OnError};
use crate::observe::FilterLedger;
use crate::state::State;

/// The process's one wasmtime engine and its epoch ticker.
#[derive(Clone)]
pub struct Engine {}

/// A compiled module: one name, one digest.
pub struct Plugin {
    /// File stem, `_` written as `-`.
    pub name: Arc<str>,
    /// SHA-256 of the bytes, lower-case hex.
    pub digest: Arc<str>,
    /// JSON Schema of its configuration, from the custom section `sluicegate.schema`.
    pub schema: Option<Arc<str>>,
    /// How long it took to compile.
    pub compile_time: Duration,
    /// Things an operator should know (imports answered by trapping stubs …).
    pub warnings: Vec<String>,
}

/// Why a module is no plugin, or why a configured one does not start. One sentence for the operator, without a trailing full stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PluginError(pub String);

impl Engine {
    /// Starts the engine and its ticker thread.
    ///
    /// # Errors
    /// The platform cannot run it.
    pub fn new() -> Result<Self, PluginError> {
        Ok(Self {})
    }
    /// Validates, compiles and checks imports and exports. Takes 100 ms and more: never on a worker.
    ///
    /// # Errors
    /// Not a module, not a Proxy-Wasm plugin.
    pub fn load(&self, _name: &str, _bytes: &[u8]) -> Result<Plugin, PluginError> {
        Err(PluginError(String::new()))
    }
}

/// One filter entry of a generation, ready to be instantiated on any worker.
pub struct FilterSpec {
    /// The entry's name in logs and metrics: the plugin's name.
    pub name: Arc<str>,
    /// Where it stands: `routes[0].filters[2]`.
    pub path: Arc<str>,
    /// The module.
    pub plugin: Arc<Plugin>,
    /// Bytes for `proxy_on_configure`.
    pub config: Arc<str>,
    /// What a fault does.
    pub on_error: OnError,
    /// Guest time per callback.
    pub deadline: Duration,
    /// Ceiling of linear memory, bytes.
    pub memory: usize,
    /// Upstreams that callouts may name.
    pub upstreams: std::collections::BTreeSet<String>,
    /// What Pause means without a manifest.
    pub pause: PauseMeaning,
    /// Environment variables.
    pub env: std::collections::BTreeMap<String, String>,
    /// Where its calls are counted.
    pub ledger: Arc<FilterLedger>,
}

/// Starts a throw-away instance, runs `on_vm_start` and `on_configure`, ends it: proves that `spec` works before any worker
/// sees it. Never on a worker.
///
/// # Errors
/// What the guest said (its last error lines), or the trap.
pub fn canary(_spec: &FilterSpec, _state: &Arc<State>) -> Result<(), PluginError> {
    Ok(())
}

/// A filter entry on one worker: one instance, replaced by a fresh one when it dies. Implements [`crate::filter::FilterSource`].
pub struct WorkerFilter {}

impl WorkerFilter {
    /// Starts the instance on this worker (errors are kept: the filter then faults each stream until an instance starts).
    #[must_use]
    pub fn new(_spec: Arc<FilterSpec>, _state: Arc<State>, _callouts: Rc<dyn Callouts>) -> Rc<Self> {
        Rc::new(Self {})
    }
    /// No new streams will come: ticks stop; when the last stream has ended the root context gets `on_done` and `on_delete` and
    /// the instance is dropped. After `deadline` what still runs is ended with a fault.
    pub fn retire(self: &Rc<Self>, _deadline: Duration) {}
}
