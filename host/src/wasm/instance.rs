//! One instance of a module: made, started, and called one callback at a time, each under its deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use wasmtime::Store;

use super::engine::{Deadline, watch_deadlines};
use super::epochs;
use super::exports::{self, Exports};
use super::fault::{self, Exit};
use super::host_state::{Effective, HostState, Left, ROOT_CONTEXT};
use super::limits::STARTUP_DEADLINE;
use crate::filter::{Fault, FaultKind};

/// A started instance.
pub(super) struct Instance {
    store: Store<HostState>,
    exports: Exports,
    deadline: Deadline,
}

impl Instance {
    /// Makes an instance and starts it: `_initialize` (or `_start`) and `main`, then for the root context
    /// `on_context_create`, `on_vm_start` and `on_configure`.
    ///
    /// # Errors
    /// What the guest said or died of; the instance is gone.
    pub(super) fn start(host: HostState) -> Result<Self, Fault> {
        Self::try_start(host).map_err(|failed| Fault { kind: FaultKind::Start, ..failed.fault })
    }
    /// As [`Self::start`].
    ///
    /// # Errors
    /// What went wrong, and at which step.
    pub(super) fn try_start(host: HostState) -> Result<Self, NotStarted> {
        let spec = host.spec.clone();
        let code = &spec.plugin.code;
        let mut store = Store::new(code.module().engine(), host);
        store.limiter(|host| &mut host.memory_limit);
        watch_deadlines(&mut store);
        let startup = Deadline::new(STARTUP_DEADLINE.max(spec.deadline));
        let instance = guard(&mut store, startup, Effective::Root, "instantiation", |store| code.instantiate(store))
            .map_err(|fault| NotStarted::of(Step::Instantiation, fault, store.data()))?;
        let (memory, allocate) = exports::memory(&instance, &mut store);
        let host = store.data_mut();
        (host.memory, host.allocate) = (memory, allocate);
        let exports = Exports::new(&instance, &mut store);
        let mut started = Self { store, exports, deadline: startup };
        started.step(Step::Initialise, |started| started.initialise(&instance))?;
        started.step(Step::VmStart, Self::start_vm)?;
        started.step(Step::Configure, Self::configure)?;
        started.deadline = Deadline::new(spec.deadline);
        Ok(started)
    }
    fn initialise(&mut self, instance: &wasmtime::Instance) -> Result<(), Fault> {
        let mut has = |name: &str| instance.get_func(&mut self.store, name).is_some();
        let main = if has("main") { "main" } else { "__main_void" };
        let names: &[&str] = if has("_initialize") { &["_initialize", main] } else { &["_start"] };
        for name in names {
            let store = &mut self.store;
            let entry = exports::find::<(), ()>(instance, store, name);
            let main = exports::find::<(u32, u32), u32>(instance, store, name);
            let main_void = exports::find::<(), u32>(instance, store, name);
            self.call(Effective::Root, name, |_, store| {
                let outcome = if let Some(entry) = entry {
                    entry.call(store, ())
                } else if let Some(main) = main {
                    main.call(store, (0, 0)).map(drop)
                } else if let Some(main) = main_void {
                    main.call(store, ()).map(drop)
                } else {
                    Ok(())
                };
                // A C `_start` may end by exiting; the module is meant to be called on.
                outcome.or_else(|error| if error.downcast_ref() == Some(&Exit(0)) { Ok(()) } else { Err(error) })
            })?;
        }
        Ok(())
    }
    /// One step of the start.
    fn step(&mut self, step: Step, run: impl FnOnce(&mut Self) -> Result<(), Fault>) -> Result<(), NotStarted> {
        run(self).map_err(|fault| NotStarted::of(step, fault, self.store.data()))
    }
    fn start_vm(&mut self) -> Result<(), Fault> {
        self.call(Effective::Root, "proxy_on_context_create", |exports, store| {
            store.data_mut().root_created = true;
            exports.context_create.as_ref().map_or(Ok(()), |create| create.call(store, (ROOT_CONTEXT, 0)))
        })?;
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let spec = Arc::clone(&self.store.data().spec);
        let started = self.call(Effective::Root, "proxy_on_vm_start", |exports, store| {
            exports.vm_start.as_ref().map_or(Ok(1), |start| start.call(store, (ROOT_CONTEXT, length(&spec.vm.config))))
        })?;
        self.accepted(started, "proxy_on_vm_start")
    }
    fn configure(&mut self) -> Result<(), Fault> {
        let size = u32::try_from(self.store.data().spec.config.len()).unwrap_or(u32::MAX);
        let configured = self.call(Effective::Root, "proxy_on_configure", |exports, store| {
            exports.configure.as_ref().map_or(Ok(1), |configure| configure.call(store, (ROOT_CONTEXT, size)))
        })?;
        self.accepted(configured, "proxy_on_configure")
    }
    fn accepted(&self, answer: u32, callback: &str) -> Result<(), Fault> {
        if answer != 0 {
            return Ok(());
        }
        let said = self.store.data().log.last_words();
        let detail = said.unwrap_or_else(|| format!("{callback} answered false and said nothing"));
        Err(Fault { kind: FaultKind::Start, detail: Rc::from(detail) })
    }
    /// Makes one callback.
    ///
    /// # Errors
    /// The instance is to be dropped.
    pub(super) fn call<R>(
        &mut self,
        context: Effective,
        callback: &str,
        run: impl FnOnce(&Exports, &mut Store<HostState>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let exports = &self.exports;
        guard(&mut self.store, self.deadline, context, callback, |store| run(exports, store))
    }
    pub(super) fn host(&mut self) -> &mut HostState {
        self.store.data_mut()
    }
    /// What the last callback asks of the host, if anything.
    pub(super) fn take_left(&mut self) -> Option<Left> {
        let left = &mut self.store.data_mut().left;
        let nothing = left.tick.is_none() && left.done.is_empty() && !left.listens;
        (!nothing).then(|| std::mem::take(left))
    }
}

/// A step of the start of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Memory, tables, the module's own start function.
    Instantiation,
    /// `_initialize` and `main`.
    Initialise,
    /// `proxy_on_context_create` and `proxy_on_vm_start`.
    VmStart,
    /// `proxy_on_configure`
    Configure,
}

/// Why an instance does not start.
pub(super) struct NotStarted {
    pub(super) step: Step,
    pub(super) fault: Fault,
    /// The guest's last error lines.
    pub(super) said: Vec<String>,
    /// Bytes of memory that it asked for in vain, if it did.
    pub(super) refused_memory: Option<usize>,
}

impl NotStarted {
    fn of(step: Step, fault: Fault, host: &HostState) -> Self {
        let said = host.log.last_lines().map(str::to_owned).collect();
        // A guest may notice that it gets no memory, and give up by itself.
        Self { step, fault, said, refused_memory: host.memory_limit.denied() }
    }
}

/// Runs guest code: deadline before, tidying after, and whatever goes wrong, a panic of the host included, as a fault.
fn guard<R>(
    store: &mut Store<HostState>,
    deadline: Deadline,
    context: Effective,
    callback: &str,
    run: impl FnOnce(&mut Store<HostState>) -> wasmtime::Result<R>,
) -> Result<R, Fault> {
    let inside = epochs::enter();
    store.data_mut().begin(context, deadline);
    store.set_epoch_deadline(deadline.ticks);
    let outcome = catch_unwind(AssertUnwindSafe(|| run(store)));
    drop(inside);
    let result = match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(fault::classify(&error, callback, store.data())),
        Err(_) => Err(Fault {
            kind: FaultKind::Trap,
            detail: Rc::from(format!("{callback}: the host panicked in a hostcall")),
        }),
    };
    store.data_mut().end();
    result
}
