//! `.wasm` → filters: the Proxy-Wasm 0.2.1 host. The only code that names wasmtime.
//!
//! | | |
//! |---|---|
//! | `engine`, `epochs`, `module`, `cache`, `manifest`, `exports` | bytes → a compiled `Plugin`, checked |
//! | `instance`, `host_state`, `limits`, `fault` | one instance: started, called, bounded, ended |
//! | `memory`, `pairs`, `log`, `hostcalls` | what a guest may ask for |
//! | `roots`, `running`, `timers`, `queues`, `callouts` | an instance at work for its entries, and the events that reach it |
//! | `vm`, `breaker` | the entries that share an instance, and what becomes of them when it dies |
//! | `contexts`, `connections`, `filter` | what the chain sees of it |
//! | `report` | what a file is, for people |
//!
//! An instance belongs to one worker and is called synchronously, one callback at a time. Whatever a guest does costs
//! at most its instance: a trap, a passed deadline or a broken ABI drops it, wakes its streams, and the next stream
//! gets a fresh one.

mod breaker;
mod cache;
mod callouts;
mod complexity;
mod connections;
mod contexts;
mod engine;
mod epochs;
mod exports;
mod fault;
mod filter;
mod functions;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod host_state;
mod hostcalls;
mod instance;
mod limits;
mod log;
mod manifest;
mod memory;
mod module;
mod pairs;
mod queues;
mod report;
mod roots;
mod running;
#[cfg(any(test, fuzzing))]
mod testing;
#[cfg(test)]
mod tests;
mod timers;
mod vm;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

pub use cache::CompileCache;
pub use engine::Engine;
pub use filter::WorkerFilter;
pub use module::Plugin;
pub use report::Report;
pub use vm::{Alarm, VmSpec, WorkerVm};

use instance::{NotStarted, Step};

use crate::config::{Capabilities, PauseMeaning, Ticks, Vm};
use crate::filter::{Callouts, FaultKind, OnError};
use crate::observe::FilterLedger;
use crate::state::State;

/// Why a module is no plugin, or why a configured one does not start. One sentence for the operator, without a trailing
/// full stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct PluginError(pub String);

/// One filter entry of a generation, ready to be instantiated on any worker.
#[derive(Clone)]
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
    pub upstreams: BTreeSet<String>,
    /// What Pause means without a manifest.
    pub pause: PauseMeaning,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// What it may ask of the host.
    pub capabilities: Capabilities,
    /// What it is told of its VM.
    pub vm: Vm,
    /// Whose ticks there are.
    pub ticks: Ticks,
    /// Where its calls are counted.
    pub ledger: Arc<FilterLedger>,
}

/// Why a VM does not start, and what of which entry is to blame.
pub struct StartFailure {
    /// That entry.
    pub entry: Arc<FilterSpec>,
    /// One sentence for the operator, without a trailing full stop.
    pub detail: String,
    /// What has to change.
    pub blame: Blame,
}

/// What of a filter entry keeps its plugin from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The plugin itself.
    Plugin,
    /// `memory`: it asked for so many bytes.
    Memory(usize),
    /// `vm_config`
    VmConfig,
    /// `config`: the plugin's words about it, line by line; none when it died of it.
    Config(Vec<String>),
}

impl From<NotStarted> for StartFailure {
    fn from(failed: NotStarted) -> Self {
        let NotStarted { spec, step, fault, said, refused_memory } = failed;
        let blame = match (refused_memory, step, fault.kind) {
            (Some(bytes), ..) => Blame::Memory(bytes),
            (None, Step::Configure, FaultKind::Start) => Blame::Config(said),
            (None, Step::Configure, _) => Blame::Config(Vec::new()),
            (None, Step::VmStart, _) => Blame::VmConfig,
            (None, Step::Instantiation | Step::Initialise, _) => Blame::Plugin,
        };
        Self { entry: spec, detail: fault.detail.to_string(), blame }
    }
}

/// Starts a throw-away instance, runs `on_vm_start` and `on_configure` of each entry, ends it: proves that `vm` works before any
/// worker sees it. Never on a worker.
///
/// It sees the state that others see, but takes no queue's events from them; its callouts go nowhere and are not answered.
///
/// # Errors
/// What the guest said (its last error lines), or the trap.
pub fn canary(vm: &VmSpec, state: &Arc<State>) -> Result<(), StartFailure> {
    let callouts: Rc<dyn Callouts> = Rc::new(callouts::Unanswered);
    let roots = vm.roots(|_| Rc::clone(&callouts));
    let host = host_state::HostState::new(roots, Arc::clone(state), host_state::Purpose::Canary, Weak::new());
    Ok(instance::Instance::start(host).map(drop)?)
}
