//! An instance at work on one worker: shared by its streams and its events, one callback at a time, until it ends or dies.
//!
//! Nothing here is ever entered twice: an event that arrives while a callback runs waits in a queue and is delivered
//! when the callback has returned. A fault ends the instance for good, for all of its root contexts: its streams are woken and
//! find it in [`Running::fault`].

mod ending;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use wasmtime::Store;

use super::breaker::Death;
use super::callouts::{self, Incoming};
use super::exports::Exports;
use super::host_state::{Effective, HostState, Left, Purpose, Stream, Subject};
use super::instance::{Instance, NotStarted};
use super::roots::{Root, Roots, abort};
use super::{queues, timers};
use crate::filter::{Fault, FaultKind};
use crate::observe::FilterLedger;
use crate::state::State;

/// What reaches an instance from outside its streams' callbacks. Root contexts by their ids.
enum Event {
    Answer(u32, Incoming),
    Tick(u32),
    Queue(u32, Box<str>),
    Finish(Rc<Stream>),
}

/// See the module.
pub(super) struct Running {
    roots: Rc<Roots>,
    /// Nothing once it has ended. Borrowed while a callback runs.
    instance: RefCell<Option<Instance>>,
    /// Why it ended.
    death: RefCell<Option<Death>>,
    events: RefCell<VecDeque<Event>>,
    delivering: Cell<bool>,
    /// Streams whose context exists.
    open: Cell<usize>,
    /// Contexts in `on_done`, or that answered false and wait for `proxy_done`.
    ending: RefCell<BTreeMap<u32, Effective>>,
    retiring: Cell<bool>,
    /// The root contexts have been asked whether they are done.
    closing: Cell<bool>,
    memory: Cell<usize>,
}

impl Running {
    /// Starts an instance on this worker.
    ///
    /// # Errors
    /// It does not start; which entry is to blame has been logged.
    pub(super) fn start(roots: &Rc<Roots>, services: &Arc<State>) -> Result<Rc<Self>, Fault> {
        let running = Rc::new(Self {
            roots: Rc::clone(roots),
            instance: RefCell::default(),
            death: RefCell::default(),
            events: RefCell::default(),
            delivering: Cell::new(false),
            open: Cell::new(0),
            ending: RefCell::default(),
            retiring: Cell::new(false),
            closing: Cell::new(false),
            memory: Cell::new(0),
        });
        let host = HostState::new(Rc::clone(roots), Arc::clone(services), Purpose::Serve, Rc::downgrade(&running));
        let mut instance = Instance::start(host).map_err(|failed| not_started(roots, failed))?;
        let left = instance.take_left();
        running.ledger().instance_started();
        roots.iter().for_each(|root| root.spec.ledger.root_started());
        running.account(instance.host().memory_limit.size());
        *running.instance.borrow_mut() = Some(instance);
        running.settle(left);
        running.deliver();
        Ok(running)
    }
    /// Why it ended, if it did.
    pub(super) fn death(&self) -> Option<Death> {
        self.death.borrow().clone()
    }
    /// The same as told to streams whose own callback it was not.
    pub(super) fn fault(&self) -> Option<Fault> {
        let Death { fault, in_stream } = self.death()?;
        let kind = match fault.kind {
            FaultKind::Trap | FaultKind::Deadline | FaultKind::Memory | FaultKind::Abi if in_stream => {
                FaultKind::Neighbour
            }
            FaultKind::Trap | FaultKind::Deadline | FaultKind::Memory | FaultKind::Abi => FaultKind::Background,
            kind => kind,
        };
        Some(Fault { kind, ..fault })
    }
    /// Creates a stream context of the root context at that place.
    ///
    /// # Errors
    /// The instance is gone.
    pub(super) fn open(self: &Rc<Self>, place: usize, subject: Subject) -> Result<Rc<Stream>, Fault> {
        let root = self.roots.at(place).ok_or_else(|| self.dead())?;
        let stream = {
            let mut slot = self.instance.try_borrow_mut().map_err(|_| busy())?;
            let instance = slot.as_mut().ok_or_else(|| self.dead())?;
            instance.host().open_stream(root, subject)
        };
        let Some(stream) = stream else {
            let fault = Fault { kind: FaultKind::Ended, detail: Rc::from("the instance has no context ids left") };
            self.end(Some(Death { fault: fault.clone(), in_stream: false }));
            return Err(fault);
        };
        self.open.set(self.open.get() + 1);
        let ids = (stream.id, root.id);
        self.call(Effective::Stream(Rc::clone(&stream)), "proxy_on_context_create", |exports, store| {
            exports.context_create.as_ref().map_or(Ok(()), |create| create.call(store, ids))
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
        let called = context.clone();
        let (outcome, left, in_stream) = {
            let mut slot = self.instance.try_borrow_mut().map_err(|_| busy())?;
            let instance = slot.as_mut().ok_or_else(|| self.dead())?;
            let outcome = instance.call(context, callback, run);
            let host = instance.host();
            self.account(host.memory_limit.size());
            let in_stream = called.stream().is_some() || host.acted_for_stream;
            (outcome, instance.take_left(), in_stream)
        };
        match outcome {
            Ok(value) => {
                self.settle(left);
                self.deliver();
                Ok(value)
            }
            Err(fault) => {
                let spec = &called.root().spec;
                tracing::error!(
                    filter = &*spec.name,
                    path = &*spec.path,
                    kind = fault.kind.as_str(),
                    detail = &*fault.detail,
                    request_id = called.stream().and_then(|stream| stream.request_id()),
                    "Filter faulted."
                );
                spec.ledger.trap(&fault, called.stream().map(|stream| stream.name()));
                self.end(Some(Death { fault: fault.clone(), in_stream }));
                Err(fault)
            }
        }
    }
    /// The ledger in which the instance itself is counted, once, however many entries share it.
    fn ledger(&self) -> &FilterLedger {
        &self.roots.first().spec.ledger
    }
    /// Tells the ledger how linear memory has grown.
    fn account(&self, memory: usize) {
        let before = self.memory.replace(memory);
        if before != memory {
            let bytes = |size: usize| i64::try_from(size).unwrap_or(i64::MAX);
            self.ledger().memory(bytes(memory) - bytes(before));
        }
    }
    fn dead(&self) -> Fault {
        self.fault().unwrap_or_else(|| Fault { kind: FaultKind::Ended, detail: Rc::from("the instance has ended") })
    }
    /// Does what a callback asked for.
    fn settle(self: &Rc<Self>, left: Option<Left>) {
        let Some(left) = left else { return };
        for (root, period) in left.ticks {
            let period = period.filter(|_| root.ticks && !self.retiring.get());
            abort(root.ticker.replace(period.map(|period| timers::tick(self, root.id, period))));
        }
        for root in left.listens {
            if root.listener.borrow().is_none() && !self.retiring.get() {
                let listener = queues::listen(self, &root);
                abort(root.listener.replace(Some(listener)));
            }
        }
        for context in left.done {
            self.complete(context);
        }
    }
    /// Delivers an event, or keeps it while a callback runs.
    fn event(self: &Rc<Self>, event: Event) {
        if self.death.borrow().is_some() {
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
                Some(_) if self.death.borrow().is_some() => {}
                Some(Event::Finish(stream)) => self.finish(&stream),
                Some(Event::Answer(token, incoming)) => self.deliver_answer(token, incoming),
                Some(Event::Tick(root)) => self.deliver_tick(root),
                Some(Event::Queue(root, name)) => self.deliver_queue(root, &name),
                None => break,
            }
        }
        self.delivering.set(false);
    }
    /// To the root context from whose call it comes; to nobody when that has ended, or the guest has cancelled the call.
    fn deliver_answer(self: &Rc<Self>, token: u32, incoming: Incoming) {
        let root = self.instance.borrow_mut().as_mut().and_then(|instance| instance.host().calls.root(token));
        self.tell(root, incoming.callback(), |root, exports, store| {
            callouts::deliver(exports, store, (root, token), incoming)
        });
    }
    fn deliver_tick(self: &Rc<Self>, root: u32) {
        self.tell(self.roots.get(root).cloned(), "proxy_on_tick", |root, exports, store| {
            exports.tick.as_ref().map_or(Ok(()), |tick| tick.call(store, root))
        });
    }
    fn deliver_queue(self: &Rc<Self>, root: u32, name: &str) {
        self.tell(self.roots.get(root).cloned(), "proxy_on_queue_ready", |root, exports, store| {
            let host = store.data_mut();
            let queue = host.services.queues.resolve(host.vm_id(), name).and_then(|real| host.queues.hand_out(real));
            match (&exports.queue_ready, queue) {
                (Some(ready), Some(queue)) => ready.call(store, (root, queue)),
                _ => Ok(()),
            }
        });
    }
    /// Makes a callback of a root context, which is named by its id, if it lives.
    fn tell(
        self: &Rc<Self>,
        root: Option<Rc<Root>>,
        callback: &str,
        run: impl FnOnce(u32, &Exports, &mut Store<HostState>) -> wasmtime::Result<()>,
    ) {
        let Some(root) = root.filter(|root| root.lives.get()) else { return };
        let id = root.id;
        let outcome = self.call(Effective::Root(root), callback, |exports, store| run(id, exports, store));
        // A fault has been logged and acted on where it happened.
        drop(outcome);
    }
    /// The answer to a callout, or a part of it.
    pub(super) fn answer(self: &Rc<Self>, token: u32, incoming: Incoming) {
        self.event(Event::Answer(token, incoming));
    }
    /// The timer of a root context has run out.
    pub(super) fn tick(self: &Rc<Self>, root: u32) {
        self.event(Event::Tick(root));
    }
    /// An item is in the queue of that name, which a root context listens to.
    pub(super) fn queue_ready(self: &Rc<Self>, root: u32, name: Box<str>) {
        self.event(Event::Queue(root, name));
    }
}

/// Says which entry is to blame, in its ledger, too.
fn not_started(roots: &Roots, failed: NotStarted) -> Fault {
    let NotStarted { spec, fault, .. } = failed;
    let fault = Fault { kind: FaultKind::Start, ..fault };
    tracing::error!(filter = &*spec.name, path = &*spec.path, detail = &*fault.detail, "Filter does not start.");
    spec.ledger.trap(&fault, None);
    if roots.are_several() {
        return Fault { detail: Rc::from(format!("{}: {}", spec.path, fault.detail)), ..fault };
    }
    fault
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end(None);
    }
}

fn busy() -> Fault {
    Fault { kind: FaultKind::Abi, detail: Rc::from("a callback was made inside another one of the same instance") }
}
