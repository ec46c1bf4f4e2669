//! A filter entry on one worker, as chains use it: its root context in the instance of its VM.

use std::rc::Rc;
use std::sync::Arc;

use super::FilterSpec;
use super::connections::ConnectionContext;
use super::contexts::StreamContext;
use super::host_state::Subject;
use super::vm::WorkerVm;
use crate::filter::tcp::{TcpCallbacks, TcpFilter, TcpSource, TcpStage};
use crate::filter::{Callbacks, Fault, Filter, FilterSource, OnError, Outcome, Phase, Stage};

/// A filter entry on one worker. Implements [`crate::filter::FilterSource`].
pub struct WorkerFilter {
    spec: Arc<FilterSpec>,
    vm: Rc<WorkerVm>,
    /// Which of the VM's entries it is.
    place: usize,
}

impl WorkerFilter {
    pub(super) fn new(spec: Arc<FilterSpec>, vm: Rc<WorkerVm>, place: usize) -> Rc<Self> {
        Rc::new(Self { spec, vm, place })
    }
    /// Its entry.
    #[must_use]
    pub fn spec(&self) -> &Arc<FilterSpec> {
        &self.spec
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
        let (running, stream) = self.vm.open(self.place, Subject::Request(stage))?;
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
        let (running, stream) = self.vm.open(self.place, Subject::Connection(stage))?;
        Ok(Box::new(ConnectionContext::new(running, stream)))
    }
    fn record(&self, phase: Phase, nanos: u64, outcome: Outcome) {
        self.spec.ledger.record(phase, nanos, outcome);
    }
}
