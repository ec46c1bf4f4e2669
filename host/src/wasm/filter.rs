//! A filter entry on one worker: one instance, replaced by a fresh one when it dies.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::FilterSpec;
use super::contexts::StreamContext;
use super::limits::{START_BACKOFF, START_FAILURES};
use super::running::Running;
use crate::filter::{Callbacks, Callouts, Fault, Filter, FilterSource, OnError, Outcome, Phase, Stage};
use crate::state::State;

/// A filter entry on one worker: one instance, replaced by a fresh one when it dies. Implements
/// [`crate::filter::FilterSource`].
pub struct WorkerFilter {
    spec: Arc<FilterSpec>,
    services: Arc<State>,
    callouts: Rc<dyn Callouts>,
    running: RefCell<Option<Rc<Running>>>,
    failures: RefCell<Failures>,
    /// How long streams may go on after [`WorkerFilter::retire`].
    retired: Cell<Option<Duration>>,
}

/// Failed starts in a row.
#[derive(Default)]
struct Failures {
    count: u32,
    last: Option<(Instant, Fault)>,
}

impl WorkerFilter {
    /// Starts the instance on this worker (errors are kept: the filter then faults each stream until an instance
    /// starts). Timers and queue events of guests need a [`tokio::runtime::LocalRuntime`] around the worker.
    #[must_use]
    pub fn new(spec: Arc<FilterSpec>, state: Arc<State>, callouts: Rc<dyn Callouts>) -> Rc<Self> {
        let filter = Self {
            spec,
            services: state,
            callouts,
            running: RefCell::default(),
            failures: RefCell::default(),
            retired: Cell::default(),
        };
        if let Err(fault) = filter.running() {
            tracing::debug!(filter = filter.name(), %fault, "A filter does not start yet.");
        }
        Rc::new(filter)
    }
    /// No new streams will come: ticks stop; when the last stream has ended the root context gets `on_done` and
    /// `on_delete` and the instance is dropped. After `deadline` what still runs is ended with a fault.
    pub fn retire(self: &Rc<Self>, deadline: Duration) {
        self.retired.set(Some(deadline));
        let running = self.running.borrow().clone();
        if let Some(running) = running {
            running.retire(deadline);
        }
    }
    /// The instance, made afresh if there is none.
    fn running(&self) -> Result<Rc<Running>, Fault> {
        if let Some(running) = self.running.borrow().as_ref().filter(|running| running.fault().is_none()) {
            return Ok(Rc::clone(running));
        }
        if let Some(fault) = self.failures.borrow().holding_off() {
            return Err(fault);
        }
        match Running::start(&self.spec, &self.services, &self.callouts) {
            Ok(running) => {
                *self.failures.borrow_mut() = Failures::default();
                *self.running.borrow_mut() = Some(Rc::clone(&running));
                Ok(running)
            }
            Err(fault) => {
                tracing::error!(
                    filter = self.name(),
                    path = &*self.spec.path,
                    detail = &*fault.detail,
                    "Filter does not start."
                );
                self.failures.borrow_mut().add(fault.clone());
                Err(fault)
            }
        }
    }
}

impl Failures {
    fn add(&mut self, fault: Fault) {
        self.count = self.count.saturating_add(1);
        self.last = Some((Instant::now(), fault));
    }
    /// The last failure, while it is too early to try again.
    fn holding_off(&self) -> Option<Fault> {
        let (at, fault) = self.last.as_ref()?;
        (self.count >= START_FAILURES && at.elapsed() < START_BACKOFF).then(|| fault.clone())
    }
}

impl FilterSource for WorkerFilter {
    fn name(&self) -> &str {
        &self.spec.name
    }
    fn callbacks(&self) -> Callbacks {
        self.spec.plugin.callbacks
    }
    fn on_error(&self) -> OnError {
        self.spec.on_error
    }
    fn start(&self, stage: Stage) -> Result<Box<dyn Filter>, Fault> {
        let running = self.running()?;
        let stream = running.open(stage)?;
        if let Some(deadline) = self.retired.get() {
            // A stream of before the swap, whose way has only now come to this filter.
            running.retire(deadline);
        }
        let pause = self.spec.plugin.pause.unwrap_or(self.spec.pause);
        Ok(Box::new(StreamContext::new(running, stream, pause)))
    }
    fn record(&self, phase: Phase, nanos: u64, outcome: Outcome) {
        self.spec.ledger.record(phase, nanos, outcome);
    }
}
