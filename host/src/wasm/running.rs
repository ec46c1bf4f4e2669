//! An instance at work on one worker: shared by its streams and its events, one callback at a time, until it ends or dies.
//!
//! Nothing here is ever entered twice: an event that arrives while a callback runs waits in a queue and is delivered
//! when the callback has returned. A fault ends the instance for good: its streams are woken and find it in
//! [`Running::fault`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use wasmtime::Store;

use super::FilterSpec;
use super::callouts::{self, Incoming};
use super::exports::Exports;
use super::host_state::{Effective, HostState, Left, Purpose, ROOT_CONTEXT, Stream, Subject};
use super::instance::Instance;
use super::limits::{DONE_LIMIT, DONE_PENDING};
use super::{queues, timers};
use crate::config::Ticks;
use crate::filter::{Callouts, Fault, FaultKind};
use crate::state::State;

/// What reaches an instance from outside its streams' callbacks.
enum Event {
    Answer(u32, Incoming),
    Tick,
    Queue(Box<str>),
    Finish(Rc<Stream>),
}

/// See the module.
pub(super) struct Running {
    spec: Arc<FilterSpec>,
    /// Nothing once it has ended. Borrowed while a callback runs.
    instance: RefCell<Option<Instance>>,
    fault: RefCell<Option<Fault>>,
    events: RefCell<VecDeque<Event>>,
    delivering: Cell<bool>,
    /// Streams whose context exists.
    open: Cell<usize>,
    /// Contexts in `on_done`, or that answered false and wait for `proxy_done`; the root's has no stream.
    ending: RefCell<BTreeMap<u32, Option<Rc<Stream>>>>,
    retiring: Cell<bool>,
    /// Whether its timer counts.
    ticks: bool,
    memory: Cell<usize>,
    /// A stream has been served to its end.
    served: Cell<bool>,
    ticker: RefCell<Option<AbortHandle>>,
    listener: RefCell<Option<AbortHandle>>,
}

impl Running {
    /// Starts an instance on this worker; `first` is the one whose ticks are those of the process.
    ///
    /// # Errors
    /// It does not start.
    pub(super) fn start(
        spec: &Arc<FilterSpec>,
        services: &Arc<State>,
        callouts: &Rc<dyn Callouts>,
        first: bool,
    ) -> Result<Rc<Self>, Fault> {
        let running = Rc::new(Self {
            spec: Arc::clone(spec),
            instance: RefCell::default(),
            fault: RefCell::default(),
            events: RefCell::default(),
            delivering: Cell::new(false),
            open: Cell::new(0),
            ending: RefCell::default(),
            retiring: Cell::new(false),
            ticks: first || spec.ticks == Ticks::Worker,
            memory: Cell::new(0),
            served: Cell::new(false),
            ticker: RefCell::default(),
            listener: RefCell::default(),
        });
        let host = HostState::new(
            Arc::clone(spec),
            Arc::clone(services),
            Rc::clone(callouts),
            Purpose::Serve,
            Rc::downgrade(&running),
        );
        let mut instance = Instance::start(host).inspect_err(|fault| spec.ledger.trap(fault, None))?;
        let left = instance.take_left();
        spec.ledger.instance_started();
        running.account(instance.host().memory_limit.size());
        *running.instance.borrow_mut() = Some(instance);
        running.settle(left);
        running.deliver();
        Ok(running)
    }
    /// Why it ended, if it did.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault.borrow().clone()
    }
    /// Whether it has served a stream to its end.
    pub(super) fn has_served(&self) -> bool {
        self.served.get()
    }
    /// Creates a stream context.
    ///
    /// # Errors
    /// The instance is gone.
    pub(super) fn open(self: &Rc<Self>, subject: Subject) -> Result<Rc<Stream>, Fault> {
        let stream = {
            let mut slot = self.instance.try_borrow_mut().map_err(|_| busy())?;
            let instance = slot.as_mut().ok_or_else(|| self.dead())?;
            instance.host().open_stream(subject)
        };
        let Some(stream) = stream else {
            let fault = Fault { kind: FaultKind::Ended, detail: Rc::from("the instance has no context ids left") };
            self.end(Some(fault.clone()));
            return Err(fault);
        };
        self.open.set(self.open.get() + 1);
        let id = stream.id;
        self.call(Effective::Stream(Rc::clone(&stream)), "proxy_on_context_create", |exports, store| {
            exports.context_create.as_ref().map_or(Ok(()), |create| create.call(store, (id, ROOT_CONTEXT)))
        })?;
        Ok(stream)
    }
    /// Makes one callback, then does what it left behind and delivers what arrived meanwhile.
    ///
    /// # Errors
    /// The instance is gone, now or before.
    pub(super) fn call<R>(
        self: &Rc<Self>,
        context: Effective,
        callback: &str,
        run: impl FnOnce(&Exports, &mut Store<HostState>) -> wasmtime::Result<R>,
    ) -> Result<R, Fault> {
        let stream = match &context {
            Effective::Stream(stream) => Some(Rc::clone(stream)),
            Effective::Root => None,
        };
        let (outcome, left) = {
            let mut slot = self.instance.try_borrow_mut().map_err(|_| busy())?;
            let instance = slot.as_mut().ok_or_else(|| self.dead())?;
            let outcome = instance.call(context, callback, run);
            self.account(instance.host().memory_limit.size());
            (outcome, instance.take_left())
        };
        match outcome {
            Ok(value) => {
                self.settle(left);
                self.deliver();
                Ok(value)
            }
            Err(fault) => {
                tracing::error!(
                    filter = &*self.spec.name,
                    path = &*self.spec.path,
                    kind = fault.kind.as_str(),
                    detail = &*fault.detail,
                    "Filter faulted."
                );
                let request = stream.as_ref().map(|stream| stream.name());
                self.spec.ledger.trap(&fault, request);
                self.end(Some(fault.clone()));
                Err(fault)
            }
        }
    }
    /// Tells the ledger how linear memory has grown.
    fn account(&self, memory: usize) {
        let before = self.memory.replace(memory);
        if before != memory {
            let bytes = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
            self.spec.ledger.memory(bytes(memory) - bytes(before));
        }
    }
    fn dead(&self) -> Fault {
        self.fault().unwrap_or_else(|| Fault { kind: FaultKind::Ended, detail: Rc::from("the instance has ended") })
    }
    /// Does what a callback asked for.
    fn settle(self: &Rc<Self>, left: Option<Left>) {
        let Some(left) = left else { return };
        if let Some(period) = left.tick {
            let ticker = period.filter(|_| self.ticks && !self.retiring.get()).map(|period| timers::tick(self, period));
            abort(self.ticker.replace(ticker));
        }
        if left.listens && self.listener.borrow().is_none() {
            let events = self.instance.borrow_mut().as_mut().map(|instance| Arc::clone(&instance.host().queue_events));
            let listener = events.map(|events| queues::listen(self, events));
            abort(self.listener.replace(listener));
        }
        for context in left.done {
            self.complete(context);
        }
    }
    /// Delivers an event, or keeps it while a callback runs.
    fn event(self: &Rc<Self>, event: Event) {
        if self.fault.borrow().is_some() {
            return;
        }
        self.events.borrow_mut().push_back(event);
        if self.instance.try_borrow_mut().is_ok_and(|instance| instance.is_some()) {
            self.deliver();
        }
    }
    fn deliver(self: &Rc<Self>) {
        if self.events.borrow().is_empty() || self.delivering.replace(true) {
            return;
        }
        loop {
            let event = self.events.borrow_mut().pop_front();
            match event {
                // A fault has ended the instance; what waits is for nobody.
                Some(_) if self.fault.borrow().is_some() => {}
                Some(Event::Finish(stream)) => self.finish(&stream),
                Some(event) => self.deliver_to_root(event),
                None => break,
            }
        }
        self.delivering.set(false);
    }
    fn deliver_to_root(self: &Rc<Self>, event: Event) {
        let outcome = match event {
            Event::Answer(token, incoming) => self.call(Effective::Root, incoming.callback(), |exports, store| {
                callouts::deliver(exports, store, token, incoming)
            }),
            Event::Tick => self.call(Effective::Root, "proxy_on_tick", |exports, store| {
                exports.tick.as_ref().map_or(Ok(()), |tick| tick.call(store, ROOT_CONTEXT))
            }),
            Event::Queue(name) => self.call(Effective::Root, "proxy_on_queue_ready", |exports, store| {
                let host = store.data_mut();
                let queue =
                    host.services.queues.resolve(host.vm_id(), &name).and_then(|real| host.queues.hand_out(real));
                match (&exports.queue_ready, queue) {
                    (Some(ready), Some(queue)) => ready.call(store, (ROOT_CONTEXT, queue)),
                    _ => Ok(()),
                }
            }),
            Event::Finish(_) => Ok(()),
        };
        // A fault has been logged and acted on where it happened.
        drop(outcome);
    }
    /// The answer to a callout, or a part of it.
    pub(super) fn answer(self: &Rc<Self>, token: u32, incoming: Incoming) {
        self.event(Event::Answer(token, incoming));
    }
    /// The timer has run out.
    pub(super) fn tick(self: &Rc<Self>) {
        self.event(Event::Tick);
    }
    /// An item is in the queue of that name.
    pub(super) fn queue_ready(self: &Rc<Self>, name: &str) {
        self.event(Event::Queue(name.into()));
    }
    /// Ends a stream as soon as the instance is idle, from where no guest code may run (a drop).
    pub(super) fn finish_later(&self, stream: Rc<Stream>) {
        if self.fault.borrow().is_none() {
            self.events.borrow_mut().push_back(Event::Finish(stream));
        }
    }
    /// Ends a stream: `on_done`, then unless that defers it `on_log` and `on_delete`.
    pub(super) fn finish(self: &Rc<Self>, stream: &Rc<Stream>) {
        let id = stream.id;
        if !self.spec.plugin.callbacks.finish {
            return self.close(Some(stream));
        }
        self.ending.borrow_mut().insert(id, Some(Rc::clone(stream)));
        self.done(Effective::Stream(Rc::clone(stream)));
    }
    /// Asks a context that is ending whether it is done.
    fn done(self: &Rc<Self>, context: Effective) {
        let id = context.context();
        let done = self.call(context, "proxy_on_done", |exports, store| {
            store.data_mut().finishing = true;
            exports.done.as_ref().map_or(Ok(1), |done| done.call(store, id))
        });
        match done {
            Err(_) => {}
            Ok(0) if self.ending.borrow().len() <= DONE_PENDING => {
                if self.ending.borrow().contains_key(&id) {
                    // Kept alive for that long: the generation that used it may be gone.
                    let keep = Rc::clone(self);
                    timers::later(self, DONE_LIMIT, move |_| keep.complete(id));
                }
            }
            Ok(_) => self.complete(id),
        }
    }
    /// A context that was ending is done.
    fn complete(self: &Rc<Self>, context: u32) {
        let ending = self.ending.borrow_mut().remove(&context);
        if let Some(stream) = ending {
            self.close(stream.as_ref());
        }
    }
    /// The last callbacks of a context; `None` is the root, and with it the instance.
    fn close(self: &Rc<Self>, stream: Option<&Rc<Stream>>) {
        let (context, id) =
            stream.map_or((Effective::Root, ROOT_CONTEXT), |stream| (Effective::Stream(Rc::clone(stream)), stream.id));
        let closed = if self.spec.plugin.callbacks.finish && stream.is_some() {
            self.call(context.clone(), "proxy_on_log", |exports, store| {
                store.data_mut().finishing = true;
                exports.log.as_ref().map_or(Ok(()), |log| log.call(store, id))
            })
        } else {
            Ok(())
        };
        let closed = closed.and_then(|()| {
            self.call(context, "proxy_on_delete", |exports, store| {
                store.data_mut().finishing = true;
                exports.delete.as_ref().map_or(Ok(()), |delete| delete.call(&mut *store, id))?;
                store.data_mut().streams.remove(&id);
                Ok(())
            })
        });
        self.open.set(self.open.get().saturating_sub(usize::from(stream.is_some())));
        match (closed, stream) {
            (Err(_), _) => {}
            (Ok(()), None) => self.end(None),
            (Ok(()), Some(_)) => {
                self.served.set(true);
                self.end_when_idle();
            }
        }
    }
    /// No new streams will come; see [`super::WorkerFilter::retire`].
    pub(super) fn retire(self: &Rc<Self>, deadline: Duration) {
        if self.retiring.replace(true) {
            return;
        }
        abort(self.ticker.take());
        abort(self.listener.take());
        self.deliver();
        if self.open.get() > 0 {
            timers::later(self, deadline, |running| {
                running.end(Some(Fault {
                    kind: FaultKind::Ended,
                    detail: Rc::from("still in use at the end of its drain"),
                }));
            });
        }
        self.end_when_idle();
    }
    fn end_when_idle(self: &Rc<Self>) {
        let idle = self.open.get() == 0 && self.instance.borrow().is_some();
        if self.retiring.get() && idle && !self.ending.borrow().contains_key(&ROOT_CONTEXT) {
            self.ending.borrow_mut().insert(ROOT_CONTEXT, None);
            self.done(Effective::Root);
        }
    }
    /// Drops the instance; `fault` is what its streams find.
    fn end(&self, fault: Option<Fault>) {
        let Some(mut instance) = self.instance.borrow_mut().take() else { return };
        abort(self.ticker.take());
        abort(self.listener.take());
        self.ending.borrow_mut().clear();
        let fault = fault.unwrap_or_else(|| self.dead());
        *self.fault.borrow_mut() = Some(fault);
        let streams = std::mem::take(&mut instance.host().streams);
        drop(instance);
        self.account(0);
        self.spec.ledger.instance_ended();
        for stream in streams.into_values() {
            stream.wake();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(None);
    }
}

fn abort(task: Option<AbortHandle>) {
    if let Some(task) = task {
        task.abort();
    }
}

fn busy() -> Fault {
    Fault { kind: FaultKind::Abi, detail: Rc::from("a callback was made inside another one of the same instance") }
}
