//! Callouts of a filter that outlives the generation in which it began.

use std::cell::RefCell;
use std::rc::Rc;

use crate::filter::{Callout, CalloutRefused, CalloutReply, Callouts, GrpcCall, GrpcEvent, GrpcStream};
use crate::upstream::WorkerCallouts;

/// Callouts of one filter, over the upstreams of the generation in force: a filter may outlive the one that it began in.
pub(super) struct CurrentCallouts(RefCell<Rc<WorkerCallouts>>);

impl CurrentCallouts {
    pub(super) fn new(callouts: WorkerCallouts) -> Rc<Self> {
        Rc::new(Self(RefCell::new(Rc::new(callouts))))
    }

    pub(super) fn set(&self, callouts: WorkerCallouts) {
        *self.0.borrow_mut() = Rc::new(callouts);
    }
}

impl Callouts for CurrentCallouts {
    fn start(&self, call: Callout, done: Box<dyn FnOnce(CalloutReply)>) -> Result<(), CalloutRefused> {
        let current = Rc::clone(&self.0.borrow());
        current.start(call, done)
    }
    fn open_grpc(
        &self,
        call: GrpcCall,
        events: Box<dyn FnMut(GrpcEvent)>,
    ) -> Result<Box<dyn GrpcStream>, CalloutRefused> {
        let current = Rc::clone(&self.0.borrow());
        current.open_grpc(call, events)
    }
}
