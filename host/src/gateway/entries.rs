//! The filters of one worker: what a generation's entries are here, with those that it shares with the one before kept.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::callouts::CurrentCallouts;
use super::generation::Generation;
use crate::filter::Callouts;
use crate::state::State;
use crate::upstream::{Upstreams, WorkerCallouts};
use crate::wasm::{FilterSpec, VmSpec, WorkerFilter, WorkerVm};

/// Filters and their VMs by the identity of their specs: there may be thousands, and a worker does not search while requests wait.
#[derive(Default)]
pub(super) struct Entries {
    vms: HashMap<*const VmSpec, Vm>,
    filters: HashMap<*const FilterSpec, Rc<WorkerFilter>>,
}

/// Filter entries that share an instance on this worker.
struct Vm {
    /// Held, so that its address, and those of its entries, stay their own.
    spec: Arc<VmSpec>,
    vm: Rc<WorkerVm>,
    filters: Vec<Rc<WorkerFilter>>,
    callouts: Vec<Rc<CurrentCallouts>>,
}

/// What filters that are new on a worker are made with.
pub(super) struct Making<'a> {
    pub(super) state: &'a Arc<State>,
    /// Where filters are reported whose instances only die.
    pub(super) alarms: &'a mpsc::Sender<Arc<FilterSpec>>,
    /// Whether timers that run once in the process run here.
    pub(super) first: bool,
}

impl Entries {
    /// Goes over to the entries of a generation: those that it shares with the one before keep their instances, and callouts go to its
    /// upstreams from now on. Those that are left over are given back, to be retired.
    pub(super) fn exchange(&mut self, generation: &Generation, upstreams: &Rc<Upstreams>, making: &Making<'_>) -> Self {
        let limits = &generation.config.limits;
        let mut old = std::mem::take(self);
        for spec in &generation.vms {
            let now = || WorkerCallouts::new(Rc::clone(upstreams), limits.callouts, limits.callout_bytes);
            let vm = match old.vms.remove(&Arc::as_ptr(spec)) {
                Some(known) => {
                    known.callouts.iter().for_each(|callouts| callouts.set(now()));
                    known
                }
                None => making.vm(spec, now),
            };
            self.filters.extend(vm.filters.iter().map(|filter| (Arc::as_ptr(filter.spec()), Rc::clone(filter))));
            self.vms.insert(Arc::as_ptr(spec), vm);
        }
        old
    }

    /// Every spec of the generation has a filter.
    pub(super) fn filter(&self, spec: &Arc<FilterSpec>) -> Option<Rc<WorkerFilter>> {
        self.filters.get(&Arc::as_ptr(spec)).cloned()
    }

    /// Lets all of them end with their streams, within a time.
    pub(super) fn retire(self, timeout: Duration) {
        for Vm { spec, vm, .. } in self.vms.into_values() {
            vm.retire(timeout);
            drop(spec);
        }
    }
}

impl Making<'_> {
    fn vm(&self, spec: &Arc<VmSpec>, callouts: impl Fn() -> WorkerCallouts) -> Vm {
        let made = RefCell::new(Vec::new());
        let callouts = |_: &Arc<FilterSpec>| {
            let callouts = CurrentCallouts::new(callouts());
            made.borrow_mut().push(Rc::clone(&callouts));
            callouts as Rc<dyn Callouts>
        };
        let alarms = self.alarms.clone();
        // Where several alarms wait, another one says nothing new.
        let alarm = Rc::new(move |spec: &Arc<FilterSpec>| drop(alarms.try_send(Arc::clone(spec))));
        let vm = WorkerVm::new(spec, Arc::clone(self.state), callouts, alarm, self.first);
        let filters = vm.filters().collect();
        Vm { spec: Arc::clone(spec), vm, filters, callouts: made.into_inner() }
    }
}
