//! How contexts end: streams, and when the instance retires its root contexts, each of which may ask for time; and how the
//! instance ends.

use std::rc::Rc;
use std::time::Duration;

use super::{Event, Running};
use crate::filter::{Fault, FaultKind};
use crate::wasm::breaker::Death;
use crate::wasm::host_state::{Effective, Stream};
use crate::wasm::limits::{DONE_LIMIT, DONE_PENDING};
use crate::wasm::roots::Root;
use crate::wasm::timers;

impl Running {
    /// Whether its root contexts say goodbye: a stream that comes now is for another instance.
    pub(in crate::wasm) fn is_closing(&self) -> bool {
        self.closing.get()
    }
    /// Ends a stream as soon as the instance is idle, from where no guest code may run (a drop).
    pub(in crate::wasm) fn finish_later(&self, stream: Rc<Stream>) {
        if self.death.borrow().is_none() {
            self.events.borrow_mut().push_back(Event::Finish(stream));
        }
    }
    /// Ends a stream: `on_done`, then unless that defers it `on_log` and `on_delete`.
    pub(in crate::wasm) fn finish(self: &Rc<Self>, stream: &Rc<Stream>) {
        if stream.root.spec.plugin.callbacks.finish {
            self.done(Effective::Stream(Rc::clone(stream)));
        } else {
            self.close_stream(stream);
        }
    }
    /// Asks a context that is to end whether it is done.
    fn done(self: &Rc<Self>, context: Effective) {
        let id = context.context();
        self.ending.borrow_mut().insert(id, context.clone());
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
    pub(super) fn complete(self: &Rc<Self>, context: u32) {
        let ending = self.ending.borrow_mut().remove(&context);
        match ending {
            Some(Effective::Stream(stream)) => self.close_stream(&stream),
            Some(Effective::Root(root)) => self.close_root(&root),
            None => {}
        }
    }
    /// The last callbacks of a stream.
    fn close_stream(self: &Rc<Self>, stream: &Rc<Stream>) {
        let (context, id) = (Effective::Stream(Rc::clone(stream)), stream.id);
        let logged = if stream.root.spec.plugin.callbacks.finish {
            self.call(context.clone(), "proxy_on_log", |exports, store| {
                store.data_mut().finishing = true;
                exports.log.as_ref().map_or(Ok(()), |log| log.call(store, id))
            })
        } else {
            Ok(())
        };
        let deleted = logged.and_then(|()| self.delete(context));
        self.open.set(self.open.get().saturating_sub(1));
        if deleted.is_ok() {
            stream.root.spec.ledger.stream_served();
            self.end_when_idle();
        }
    }
    /// The last callback of a root context. With the last of them the instance ends.
    fn close_root(self: &Rc<Self>, root: &Rc<Root>) {
        let deleted = self.delete(Effective::Root(Rc::clone(root)));
        root.lives.set(false);
        if deleted.is_ok() && !self.roots.iter().any(|root| root.lives.get()) {
            self.end(None);
        }
    }
    fn delete(self: &Rc<Self>, context: Effective) -> Result<(), Fault> {
        let id = context.context();
        self.call(context, "proxy_on_delete", |exports, store| {
            store.data_mut().finishing = true;
            exports.delete.as_ref().map_or(Ok(()), |delete| delete.call(&mut *store, id))?;
            store.data_mut().streams.remove(&id);
            Ok(())
        })
    }
    /// No new streams will come; see [`crate::wasm::WorkerVm::retire`].
    pub(in crate::wasm) fn retire(self: &Rc<Self>, deadline: Duration) {
        if self.retiring.replace(true) {
            return;
        }
        self.roots.iter().for_each(|root| root.silence());
        self.deliver();
        if self.open.get() > 0 {
            timers::later(self, deadline, |running| {
                let detail = Rc::from("still in use at the end of its drain");
                let fault = Fault { kind: FaultKind::Ended, detail };
                running.end(Some(Death { fault, in_stream: false }));
            });
        }
        self.end_when_idle();
    }
    fn end_when_idle(self: &Rc<Self>) {
        let idle = self.open.get() == 0 && self.instance.borrow().is_some();
        if self.retiring.get() && idle && !self.closing.replace(true) {
            for root in self.roots.iter() {
                self.done(Effective::Root(Rc::clone(root)));
            }
        }
    }
    /// Drops the instance; `death` is what its streams find.
    pub(super) fn end(&self, death: Option<Death>) {
        let Some(mut instance) = self.instance.borrow_mut().take() else { return };
        for root in self.roots.iter() {
            root.silence();
            root.spec.ledger.root_ended();
        }
        self.ending.borrow_mut().clear();
        let death = death.unwrap_or_else(|| Death { fault: self.dead(), in_stream: false });
        *self.death.borrow_mut() = Some(death);
        let streams = std::mem::take(&mut instance.host().streams);
        drop(instance);
        self.account(0);
        self.ledger().instance_ended();
        for stream in streams.into_values() {
            stream.wake();
        }
    }
}
