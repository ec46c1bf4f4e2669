//! One instance of a module: made, started, and called one callback at a time, each under its deadline.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use wasmtime::Store;

use super::FilterSpec;
use super::engine::{Deadline, watch_deadlines};
use super::epochs;
use super::exports::{self, Exports};
use super::fault::{self, Exit};
use super::host_state::{Effective, HostState, Left};
use super::limits::STARTUP_DEADLINE;
use super::roots::Root;
use crate::filter::{Fault, FaultKind};

/// A started instance.
pub(super) struct Instance {
    store: Store<HostState>,
    exports: Exports,
}

/// Why an instance does not start.
pub(super) struct NotStarted {
    /// The entry that is to blame.
    pub(super) spec: Arc<FilterSpec>,
    pub(super) step: Step,
    pub(super) fault: Fault,
    /// The guest's last error lines.
    pub(super) said: Vec<String>,
    /// Bytes of memory that it asked for in vain, if it did.
    pub(super) refused_memory: Option<usize>,
}

impl Instance {
    /// Makes an instance and starts it: `_initialize` (or `_start`) and `main`, then for each root context in turn
    /// `on_context_create`, `on_vm_start` and `on_configure`.
    ///
    /// # Errors
    /// What the guest said or died of; the instance is gone.
    pub(super) fn start(host: HostState) -> Result<Self, NotStarted> {
        let roots = Rc::clone(&host.roots);
        let first = Effective::Root(Rc::clone(roots.first()));
        let code = &roots.first().spec.plugin.code;
        let mut store = Store::new(code.module().engine(), host);
        store.limiter(|host| &mut host.memory_limit);
        watch_deadlines(&mut store);
        let startup = startup_deadline(&first);
        let instance = guard(&mut store, startup, first.clone(), "instantiation", |store| code.instantiate(store))
            .map_err(|fault| NotStarted::of(&first, Step::Instantiation, fault, store.data()))?;
        let (memory, allocate) = exports::memory(&instance, &mut store);
        let host = store.data_mut();
        (host.memory, host.allocate) = (memory, allocate);
        let exports = Exports::new(&instance, &mut store);
        let mut started = Self { store, exports };
        started.step(&first, Step::Initialise, |started| started.initialise(&instance, &first))?;
        for root in roots.iter() {
            let context = Effective::Root(Rc::clone(root));
            started.step(&context, Step::VmStart, |started| started.start_root(root, &context))?;
            started.step(&context, Step::Configure, |started| started.configure(root, &context))?;
        }
        Ok(started)
    }
    fn initialise(&mut self, instance: &wasmtime::Instance, root: &Effective) -> Result<(), Fault> {
        let mut has = |name: &str| instance.get_func(&mut self.store, name).is_some();
        let main = if has("main") { "main" } else { "__main_void" };
        let names: &[&str] = if has("_initialize") { &["_initialize", main] } else { &["_start"] };
        for name in names {
            let store = &mut self.store;
            let entry = exports::find::<(), ()>(instance, store, name);
            let main = exports::find::<(u32, u32), u32>(instance, store, name);
            let main_void = exports::find::<(), u32>(instance, store, name);
            self.call_starting(root, name, |_, store| {
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
    fn step(
        &mut self,
        context: &Effective,
        step: Step,
        run: impl FnOnce(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), NotStarted> {
        run(self).map_err(|fault| NotStarted::of(context, step, fault, self.store.data()))
    }
    fn start_root(&mut self, root: &Root, context: &Effective) -> Result<(), Fault> {
        let (id, spec) = (root.id, &root.spec);
        root.lives.set(true);
        self.call_starting(context, "proxy_on_context_create", |exports, store| {
            exports.context_create.as_ref().map_or(Ok(()), |create| create.call(store, (id, 0)))
        })?;
        let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX);
        let size = length(&spec.vm.config);
        let started = self.call_starting(context, "proxy_on_vm_start", |exports, store| {
            exports.vm_start.as_ref().map_or(Ok(1), |start| start.call(store, (id, size)))
        })?;
        self.accepted(started, "proxy_on_vm_start")
    }
    fn configure(&mut self, root: &Root, context: &Effective) -> Result<(), Fault> {
        let size = u32::try_from(root.spec.config.len()).unwrap_or(u32::MAX);
        let configured = self.call_starting(context, "proxy_on_configure", |exports, store| {
            exports.configure.as_ref().map_or(Ok(1), |configure| configure.call(store, (root.id, size)))
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
    /// Makes one callback while the instance starts, which may take longer.
    fn call_starting<R>(
        &mut self,
        context: &Effective,
        callback: &str,
        run: impl FnOnce(&Exports, &mut Store<HostState>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let (exports, deadline) = (&self.exports, startup_deadline(context));
        guard(&mut self.store, deadline, context.clone(), callback, |store| run(exports, store))
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
        let (exports, deadline) = (&self.exports, context.root().deadline);
        guard(&mut self.store, deadline, context, callback, |store| run(exports, store))
    }
    pub(super) fn host(&mut self) -> &mut HostState {
        self.store.data_mut()
    }
    /// What the last callback asks of the host, if anything.
    pub(super) fn take_left(&mut self) -> Option<Left> {
        let left = &mut self.store.data_mut().left;
        (!left.is_empty()).then(|| std::mem::take(left))
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

impl NotStarted {
    fn of(context: &Effective, step: Step, fault: Fault, host: &HostState) -> Self {
        let spec = Arc::clone(&context.root().spec);
        let said = host.log.last_lines().map(str::to_owned).collect();
        // A guest may notice that it gets no memory, and give up by itself.
        Self { spec, step, fault, said, refused_memory: host.memory_limit.denied() }
    }
}

fn startup_deadline(context: &Effective) -> Deadline {
    Deadline::new(STARTUP_DEADLINE.max(context.root().spec.deadline))
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
