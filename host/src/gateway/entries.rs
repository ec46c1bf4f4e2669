//! The filters of one worker: what a generation's entries are here, with those that it shares with the one before kept.

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
use crate::wasm::{FilterSpec, WorkerFilter};

/// Filters by the identity of their specs: there may be thousands, and a worker does not search while requests wait.
#[derive(Default)]
pub(super) struct Entries(HashMap<*const FilterSpec, Entry>);

/// A filter entry on this worker.
struct Entry {
    /// Held, so that its address stays its own.
    spec: Arc<FilterSpec>,
    filter: Rc<WorkerFilter>,
    callouts: Rc<CurrentCallouts>,
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
        let mut old = std::mem::take(&mut self.0);
        for spec in generation.specs() {
            let now = WorkerCallouts::new(Rc::clone(upstreams), limits.callouts, limits.callout_bytes);
            let entry = match old.remove(&Arc::as_ptr(spec)) {
                Some(known) => {
                    known.callouts.set(now);
                    known
                }
                None => making.entry(spec, now),
            };
            self.0.insert(Arc::as_ptr(spec), entry);
        }
        Self(old)
    }

    /// Every spec of the generation has an entry.
    pub(super) fn filter(&self, spec: &Arc<FilterSpec>) -> Option<Rc<WorkerFilter>> {
        self.0.get(&Arc::as_ptr(spec)).map(|entry| Rc::clone(&entry.filter))
    }

    /// Lets all of them end with their streams, within a time.
    pub(super) fn retire(self, timeout: Duration) {
        for entry in self.0.into_values() {
            entry.filter.retire(timeout);
            drop(entry.spec);
        }
    }
}

impl Making<'_> {
    fn entry(&self, spec: &Arc<FilterSpec>, callouts: WorkerCallouts) -> Entry {
        let callouts = CurrentCallouts::new(callouts);
        let alarms = self.alarms.clone();
        // Where several alarms wait, another one says nothing new.
        let alarm = Rc::new(move |spec: &Arc<FilterSpec>| drop(alarms.try_send(Arc::clone(spec))));
        let filter = WorkerFilter::new(
            Arc::clone(spec),
            Arc::clone(self.state),
            Rc::clone(&callouts) as Rc<dyn Callouts>,
            alarm,
            self.first,
        );
        Entry { spec: Arc::clone(spec), filter, callouts }
    }
}
