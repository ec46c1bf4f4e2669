//! Events of shared queues: an item enqueued on any thread → `proxy_on_queue_ready` on the worker that registered the
//! queue last.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::host_state::{HostState, Purpose};
use super::hostcalls::Status;
use super::limits::QUEUE_BURST;
use super::roots::Root;
use super::running::Running;

/// Items that one root context has not been told of yet, by name of the queue. The queues bound their number.
#[derive(Debug, Default)]
pub(super) struct QueueEvents {
    waiting: Mutex<BTreeMap<Box<str>, u64>>,
    raised: Notify,
}

impl QueueEvents {
    fn raise(&self, queue: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.get_mut(queue) {
            Some(count) => *count += 1,
            None => {
                waiting.insert(queue.into(), 1);
            }
        }
        self.raised.notify_one();
    }
    /// One event, of any queue.
    fn take(&self) -> Option<Box<str>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut entry = waiting.first_entry()?;
        *entry.get_mut() -= 1;
        if *entry.get() == 0 { Some(entry.remove_entry().0) } else { Some(entry.key().clone()) }
    }
}

/// Registers a queue for the root context of the one that asks. A canary finds or makes the queue, but takes its events from nobody.
pub(super) fn register(host: &mut HostState, name: &str) -> Result<u32, Status> {
    let queues = &host.services.queues;
    let root = host.effective.root();
    let vm_id = &*root.spec.vm.id;
    let real = match host.purpose {
        Purpose::Serve => {
            let events = Arc::downgrade(&root.queue_events);
            let queue: Box<str> = name.into();
            let owner = move || {
                if let Some(events) = events.upgrade() {
                    events.raise(&queue);
                }
            };
            host.left.listens.push(Rc::clone(root));
            queues.register(vm_id, name, Box::new(owner))
        }
        Purpose::Canary => queues.resolve(vm_id, name).unwrap_or_else(|| queues.register(vm_id, name, Box::new(|| {}))),
    };
    host.queues.hand_out(real).ok_or(Status::InternalFailure)
}

/// Delivers the events of a root context to its running instance until that is gone or the handle aborts it.
pub(super) fn listen(running: &Rc<Running>, root: &Root) -> AbortHandle {
    let (running, root, events) = (Rc::downgrade(running), root.id, Arc::clone(&root.queue_events));
    let task = async move {
        loop {
            events.raised.notified().await;
            let mut delivered = 0;
            while let Some(queue) = events.take() {
                let Some(running) = running.upgrade() else { return };
                running.queue_ready(root, queue);
                drop(running);
                delivered += 1;
                if delivered % QUEUE_BURST == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    tokio::task::spawn_local(task).abort_handle()
}
