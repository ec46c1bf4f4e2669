//! The process's one wasmtime engine: what guests may be made of, where their memories come from, and the clock of
//! their deadlines.
//!
//! **Deadlines.** A clock advances the engine's epoch every millisecond ([`super::epochs`]). A callback is given its deadline in
//! [`DEADLINE_STEPS`] steps: each time a step has passed while guest code runs, one is used up, and the last ends the
//! callback. So a thread that the machine did not let run, or a slow hostcall, costs one step and not the guest's life;
//! a loop ends at its deadline, give or take a tick.
//!
//! **Memory.** Instances come from a pool with copy-on-write images (a fresh one takes microseconds), reserved as
//! address space only. Where it cannot be reserved (a limit on address space), instances are mapped on demand.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::{
    Config, Enabled, InstanceAllocationStrategy, PoolingAllocationConfig, Store, Strategy, UpdateDeadline,
    WasmBacktraceDetails, WasmFeatures,
};

use super::epochs;
use super::functions::CompiledFunctions;
use super::host_state::HostState;
use super::limits::{DEADLINE_STEPS, TABLE_ELEMENTS};
use super::module::{self, Plugin};
use super::{CompileCache, PluginError};

/// Sizes of the pool that are tried, in instances: workers × filter entries × 2 while swapping, at 4 GiB of address
/// space each.
const POOLS: [u32; 2] = [4096, 256];
/// Bytes of a memory that stay mapped when its slot is free, so that the next instance takes no page faults.
const KEEP_RESIDENT: usize = 1 << 20;
/// Free slots that stay warm: bounds what [`KEEP_RESIDENT`] holds.
const WARM_SLOTS: u32 = 16;
/// An instance's own record, bytes: grows with its functions (Go modules have tens of thousands).
const INSTANCE_BYTES: usize = 16 << 20;
/// Stack of a guest, bytes: well below that of a worker thread, which runs the host's part of a hostcall on top.
const STACK: usize = 512 << 10;

/// The process's one wasmtime engine.
#[derive(Clone)]
pub struct Engine {
    inner: wasmtime::Engine,
    cache: Option<CompileCache>,
}

impl Engine {
    /// Starts the engine, and the clock of deadlines if it does not run yet.
    ///
    /// # Errors
    /// The platform cannot run it.
    pub fn new() -> Result<Self, PluginError> {
        let inner =
            start().map_err(|error| PluginError(format!("the WebAssembly engine does not start: {error:#}")))?;
        epochs::follow(&inner)
            .map_err(|error| PluginError(format!("the clock of deadlines does not start: {error}")))?;
        Ok(Self { inner, cache: None })
    }
    /// The same engine, which looks there first for what it is to compile.
    #[must_use]
    pub fn with_cache(self, cache: Option<CompileCache>) -> Self {
        Self { cache, ..self }
    }
    /// Validates, compiles and checks imports and exports. Takes 100 ms and more unless it was kept: never on a worker.
    ///
    /// # Errors
    /// Not a module, not a Proxy-Wasm plugin.
    pub fn load(&self, name: &str, bytes: &[u8]) -> Result<Plugin, PluginError> {
        module::load(&self.inner, name, bytes, self.cache.as_ref())
    }
    /// Keeps what was compiled for the next time, where it was not taken from there. That takes milliseconds, so it is done when
    /// nobody waits any more.
    pub fn keep(&self, plugin: &Plugin) {
        if let Some(cache) = self.cache.as_ref().filter(|_| !plugin.kept) {
            cache.keep(&self.inner, &plugin.digest, plugin.code.module());
        }
    }
}

fn start() -> wasmtime::Result<wasmtime::Engine> {
    let mut config = config();
    config.enable_incremental_compilation(Arc::<CompiledFunctions>::default())?;
    for instances in POOLS {
        if let Ok(engine) = wasmtime::Engine::new(config.clone().allocation_strategy(pool(instances))) {
            return Ok(engine);
        }
    }
    tracing::info!("Instances are mapped on demand: there is no address space for a pool.");
    wasmtime::Engine::new(&config)
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        .max_wasm_stack(STACK)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .memory_init_cow(true)
        .concurrency_support(false)
        // What Proxy-Wasm guests have no use for is not there to be attacked.
        .wasm_features(
            WasmFeatures::THREADS
                | WasmFeatures::SHARED_EVERYTHING_THREADS
                | WasmFeatures::GC
                | WasmFeatures::FUNCTION_REFERENCES
                | WasmFeatures::MEMORY64
                | WasmFeatures::MULTI_MEMORY
                | WasmFeatures::TAIL_CALL
                | WasmFeatures::EXCEPTIONS
                | WasmFeatures::STACK_SWITCHING
                | WasmFeatures::CUSTOM_PAGE_SIZES
                | WasmFeatures::COMPONENT_MODEL,
            false,
        );
    config
}

fn pool(instances: u32) -> InstanceAllocationStrategy {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(instances)
        .total_memories(instances)
        .total_tables(instances)
        .table_elements(TABLE_ELEMENTS)
        .max_tables_per_module(4)
        .max_core_instance_size(INSTANCE_BYTES)
        .max_unused_warm_slots(WARM_SLOTS)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .pagemap_scan(Enabled::Auto);
    InstanceAllocationStrategy::Pooling(pool)
}

/// A deadline in steps of epochs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    pub(super) steps: u32,
    pub(super) ticks: u64,
}

impl Deadline {
    /// Rounds up to whole milliseconds, at least one.
    pub(super) fn new(time: Duration) -> Self {
        let ticks = u32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u32::MAX).max(1);
        let steps = ticks.min(DEADLINE_STEPS);
        Self { steps, ticks: u64::from(ticks / steps) }
    }
}

/// Makes a store count a callback's steps.
pub(super) fn watch_deadlines(store: &mut Store<HostState>) {
    store.epoch_deadline_callback(|mut context| {
        let deadline = &mut context.data_mut().deadline;
        deadline.steps = deadline.steps.saturating_sub(1);
        Ok(if deadline.steps == 0 { UpdateDeadline::Interrupt } else { UpdateDeadline::Continue(deadline.ticks) })
    });
}
