//! A filter entry on one worker: one instance, replaced by a fresh one when it dies.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::FilterSpec;
use super::breaker::Breaker;
use super::connections::ConnectionContext;
use super::contexts::StreamContext;
use super::host_state::{Stream, Subject};
use super::running::Running;
use crate::filter::tcp::{TcpCallbacks, TcpFilter, TcpSource, TcpStage};
use crate::filter::{Callbacks, Callouts, Fault, Filter, FilterSource, OnError, Outcome, Phase, Stage};
use crate::state::State;

/// Told of a filter whose instances only die.
pub type Alarm = Rc<dyn Fn(&Arc<FilterSpec>)>;

/// A filter entry on one worker: one instance, replaced by a fresh one when it dies. Implements
/// [`crate::filter::FilterSource`].
pub struct WorkerFilter {
    spec: Arc<FilterSpec>,
    services: Arc<State>,
    callouts: Rc<dyn Callouts>,
    running: RefCell<Option<Rc<Running>>>,
    breaker: RefCell<Breaker>,
    /// Told when instances only die.
    alarm: Alarm,
    /// How long streams may go on after [`WorkerFilter::retire`].
    retired: Cell<Option<Duration>>,
    /// Whether it is that of the first worker.
    first: bool,
}

impl WorkerFilter {
    /// Starts the instance on this worker (errors are kept: the filter then faults each stream until an instance
    /// starts). Timers and queue events of guests need a [`tokio::runtime::LocalRuntime`] around the worker. `alarm` is told
    /// when instances only die and no further one is made for a while. `first`: this is the worker that does what is done once.
    #[must_use]
    pub fn new(
        spec: Arc<FilterSpec>,
        state: Arc<State>,
        callouts: Rc<dyn Callouts>,
        alarm: Alarm,
        first: bool,
    ) -> Rc<Self> {
        let filter = Self {
            spec,
            services: state,
            callouts,
            running: RefCell::default(),
            breaker: RefCell::default(),
            alarm,
            retired: Cell::default(),
            first,
        };
        if let Err(fault) = filter.running() {
            tracing::debug!(filter = &*filter.spec.name, %fault, "A filter does not start yet.");
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
        let last = self.running.borrow().clone();
        match last.as_ref().map(|running| (running, running.fault())) {
            Some((running, None)) => return Ok(Rc::clone(running)),
            Some((running, Some(fault))) => {
                self.running.take();
                self.died(&fault, running.has_served());
            }
            None => {}
        }
        if let Some(fault) = self.breaker.borrow_mut().holding_off() {
            return Err(fault);
        }
        match Running::start(&self.spec, &self.services, &self.callouts, self.first) {
            Ok(running) => {
                *self.running.borrow_mut() = Some(Rc::clone(&running));
                Ok(running)
            }
            Err(fault) => {
                tracing::error!(
                    filter = &*self.spec.name,
                    path = &*self.spec.path,
                    detail = &*fault.detail,
                    "Filter does not start."
                );
                self.died(&fault, false);
                Err(fault)
            }
        }
    }
    /// Creates a stream context.
    fn open(&self, subject: Subject) -> Result<(Rc<Running>, Rc<Stream>), Fault> {
        let running = self.running()?;
        let stream = running.open(subject)?;
        if let Some(deadline) = self.retired.get() {
            // A stream of before the swap, whose way has only now come to this filter.
            running.retire(deadline);
        }
        Ok((running, stream))
    }
    fn died(&self, fault: &Fault, served: bool) {
        let held_off = self.breaker.borrow_mut().died(fault, served, &self.spec.ledger);
        if let Some(period) = held_off {
            tracing::error!(
                filter = &*self.spec.name,
                path = &*self.spec.path,
                seconds = period.as_secs_f64(),
                detail = &*fault.detail,
                "Filter held off: its instances die without serving anything; on_error decides what happens to requests."
            );
            (self.alarm)(&self.spec);
        }
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
        let (running, stream) = self.open(Subject::Request(stage))?;
        let pause = self.spec.plugin.pause.unwrap_or(self.spec.pause);
        Ok(Box::new(StreamContext::new(running, stream, pause)))
    }
    fn record(&self, phase: Phase, nanos: u64, outcome: Outcome) {
        self.spec.ledger.record(phase, nanos, outcome);
    }
}

impl TcpSource for WorkerFilter {
    fn name(&self) -> &str {
        &self.spec.name
    }
    fn callbacks(&self) -> TcpCallbacks {
        self.spec.plugin.tcp
    }
    fn on_error(&self) -> OnError {
        self.spec.on_error
    }
    fn start(&self, stage: TcpStage) -> Result<Box<dyn TcpFilter>, Fault> {
        let (running, stream) = self.open(Subject::Connection(stage))?;
        Ok(Box::new(ConnectionContext::new(running, stream)))
    }
    fn record(&self, phase: Phase, nanos: u64, outcome: Outcome) {
        self.spec.ledger.record(phase, nanos, outcome);
    }
}
