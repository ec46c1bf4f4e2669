//! What turns the host's events into the author's functions and their futures back into the host's actions.
//!
//! One event arrives at a time; it polls the futures that wait for it, and what they then wait for decides the action: nothing
//! (the phase is over) lets the message go on, the next piece of the body lets it flow, anything else holds it. There are no
//! wakers and no threads. The module's glue (`entry`) and the test harness both drive this.

mod body;
mod calls;
mod root;
mod stream;

use std::cell::RefCell;
use std::rc::Rc;

use crate::config;
use crate::end::End;
use crate::error::{Error, Fault};
use crate::filter::{Callbacks, Filter, Phase};
use crate::host::Direction;
use crate::request::Request;
use crate::response::Response;

pub(crate) use calls::{CallTicket, answered, current};
pub(crate) use root::{Job, Root};
pub(crate) use stream::Stream;

/// What a callback answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Continue,
    Pause,
}

/// A configured filter: the root context.
pub(crate) struct Engine<F> {
    root: Rc<Root>,
    filter: RefCell<Option<Rc<F>>>,
}

impl<F: Filter> Engine<F> {
    pub(crate) fn new(id: u32) -> Rc<Self> {
        Rc::new(Self { root: Root::new(id), filter: RefCell::new(None) })
    }

    pub(crate) const fn callbacks() -> Callbacks {
        F::__CALLBACKS
    }

    pub(crate) fn root(&self) -> &Rc<Root> {
        &self.root
    }

    /// Reads the configuration, makes the filter, and starts `start` and the timers.
    pub(crate) fn configure(&self, bytes: &[u8]) -> Result<(), Fault> {
        let config: F::Config = config::read(bytes).map_err(|error| Fault::new(error.to_string()))?;
        let filter = F::new(config).map(Rc::new).map_err(refusal)?;
        let mut jobs = vec![Job::once("start", filter.clone().__start())];
        for (index, (name, period)) in filter.__timers().into_iter().enumerate() {
            let filter = filter.clone();
            jobs.push(Job::every(name, period, Box::new(move || filter.clone().__timer(index))));
        }
        self.filter.replace(Some(filter));
        self.root.run(jobs).map_err(refusal)
    }

    /// A new stream context.
    pub(crate) fn stream(&self, id: u32) -> Rc<Stream> {
        Stream::new(id, self.root.clone(), F::__CALLBACKS)
    }

    /// `on_*_headers`: starts the phase. `end`: there is no body.
    pub(crate) fn headers(&self, stream: &Rc<Stream>, direction: Direction, end: bool) -> Action {
        let written = match direction {
            Direction::Request => F::__CALLBACKS.request,
            Direction::Response => F::__CALLBACKS.response,
        };
        if !written {
            return Action::Continue;
        }
        let filter = self.filter.borrow().clone();
        stream.start(direction, end, || match (filter, direction) {
            (None, _) => Phase::Done(Err(Error::Fault(Fault::new("the filter has no configuration")))),
            (Some(filter), Direction::Request) => filter.__request(Request::new(stream.clone())),
            (Some(filter), Direction::Response) => filter.__response(Response::new(stream.clone())),
        })
    }

    /// `on_log`: the stream is over.
    pub(crate) fn done(&self, stream: &Rc<Stream>) {
        let filter = self.filter.borrow().clone();
        if let Some(filter) = filter {
            filter.__done(&End::new(stream.clone()));
        }
    }
}

/// The words for a configuration that the filter itself refuses.
fn refusal(error: Error) -> Fault {
    match error {
        Error::Fault(fault) => fault.context("configuration"),
        Error::Reply(reply) => Fault::new(format!("configuration: answered with a reply of status {}", reply.status())),
    }
}
