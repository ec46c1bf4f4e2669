//! Shared queues of the ABI: first in, first out, by (vm id, name), with one owner that is told of every item
//! (`proxy_register_shared_queue`, `proxy_resolve_shared_queue`, `proxy_enqueue_shared_queue`, `proxy_dequeue_shared_queue`).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use dashmap::DashMap;

use super::scopes::Scopes;

/// Most queues of one vm id.
pub const MAX_QUEUES: usize = 16;
/// Most items of one queue.
pub const MAX_ITEMS: usize = 65_536;
/// Most bytes of one queue.
pub const MAX_BYTES: usize = 4 << 20;

/// Why a queue call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// No queue has that id.
    #[error("no queue has this id")]
    Unknown,
    /// The queue holds as much as it may.
    #[error("the queue is full")]
    Full,
}

/// Tells the owner of a queue that there is an item. Called on the thread that enqueues, with no lock held; it must hand
/// over to the owner's worker and return.
type Owner = Arc<dyn Fn() + Send + Sync>;

/// Every queue of the process.
#[derive(Default)]
pub struct Queues {
    names: Scopes<Mutex<HashMap<Box<str>, u32>>>,
    queues: DashMap<u32, Arc<Queue>>,
    last: AtomicU32,
}

impl Queues {
    /// The id of the queue of that name, made when there is none. `owner` is told of every item from now on; who was told
    /// before is not. 0, which is no queue's id, when the vm id has [`MAX_QUEUES`].
    pub fn register(&self, vm_id: &str, name: &str, owner: Box<dyn Fn() + Send + Sync>) -> u32 {
        let owner = Owner::from(owner);
        let id = self.names.with(vm_id, |names| {
            let mut names = lock(names);
            if let Some(id) = names.get(name) {
                return *id;
            }
            if names.len() >= MAX_QUEUES {
                return 0;
            }
            let id = self.last.fetch_add(1, Relaxed).wrapping_add(1);
            self.queues.insert(id, Arc::new(Queue::new(Arc::clone(&owner))));
            names.insert(name.into(), id);
            id
        });
        if let Some(queue) = self.queue(id) {
            *lock(&queue.owner) = owner;
        }
        id
    }

    /// The id of a queue that has been registered.
    #[must_use]
    pub fn resolve(&self, vm_id: &str, name: &str) -> Option<u32> {
        self.names.with_known(vm_id, |names| lock(names).get(name).copied())?
    }

    /// Adds an item and tells the owner.
    ///
    /// # Errors
    /// See [`QueueError`].
    pub fn enqueue(&self, id: u32, item: Bytes) -> Result<(), QueueError> {
        let queue = self.queue(id).ok_or(QueueError::Unknown)?;
        lock(&queue.items).push(item)?;
        // Cloned so that nothing is locked while the owner is told: it may register or enqueue itself.
        let owner = Arc::clone(&*lock(&queue.owner));
        owner();
        Ok(())
    }

    /// Takes the oldest item; `None` when there is none.
    ///
    /// # Errors
    /// [`QueueError::Unknown`]
    pub fn dequeue(&self, id: u32) -> Result<Option<Bytes>, QueueError> {
        let queue = self.queue(id).ok_or(QueueError::Unknown)?;
        Ok(lock(&queue.items).pop())
    }

    fn queue(&self, id: u32) -> Option<Arc<Queue>> {
        self.queues.get(&id).map(|queue| Arc::clone(&queue))
    }
}

struct Queue {
    items: Mutex<Items>,
    owner: Mutex<Owner>,
}

#[derive(Default)]
struct Items {
    items: VecDeque<Bytes>,
    bytes: usize,
}

impl Queue {
    fn new(owner: Owner) -> Self {
        Self { items: Mutex::default(), owner: Mutex::new(owner) }
    }
}

impl Items {
    fn push(&mut self, item: Bytes) -> Result<(), QueueError> {
        let bytes = self.bytes.saturating_add(item.len());
        if self.items.len() >= MAX_ITEMS || bytes > MAX_BYTES {
            return Err(QueueError::Full);
        }
        self.bytes = bytes;
        self.items.push_back(item);
        Ok(())
    }

    fn pop(&mut self) -> Option<Bytes> {
        let item = self.items.pop_front()?;
        self.bytes -= item.len();
        Some(item)
    }
}

/// A panic elsewhere does not make a queue unusable: every change under these locks is complete or not begun.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn counting(calls: &Arc<AtomicUsize>) -> Box<dyn Fn() + Send + Sync> {
        let calls = Arc::clone(calls);
        Box::new(move || {
            calls.fetch_add(1, Relaxed);
        })
    }

    #[test]
    fn items_come_out_in_order_and_then_none() {
        let queues = Queues::default();
        let id = queues.register("vm", "jobs", Box::new(|| ()));
        assert_ne!(id, 0);
        queues.enqueue(id, Bytes::from("one")).unwrap();
        queues.enqueue(id, Bytes::from("two")).unwrap();
        assert_eq!(queues.dequeue(id), Ok(Some(Bytes::from("one"))));
        assert_eq!(queues.dequeue(id), Ok(Some(Bytes::from("two"))));
        assert_eq!(queues.dequeue(id), Ok(None));
    }

    #[test]
    fn the_last_registrant_is_told_once_per_item() {
        let queues = Queues::default();
        let (first, last) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let id = queues.register("vm", "jobs", counting(&first));
        assert_eq!(queues.register("vm", "jobs", counting(&last)), id);
        queues.enqueue(id, Bytes::new()).unwrap();
        queues.enqueue(id, Bytes::new()).unwrap();
        assert_eq!((first.load(Relaxed), last.load(Relaxed)), (0, 2));
    }

    #[test]
    fn queues_are_found_by_vm_id_and_name() {
        let queues = Queues::default();
        let id = queues.register("vm", "jobs", Box::new(|| ()));
        assert_ne!(queues.register("vm", "other", Box::new(|| ())), id);
        assert_ne!(queues.register("other", "jobs", Box::new(|| ())), id);
        assert_eq!(queues.resolve("vm", "jobs"), Some(id));
        assert_eq!(queues.resolve("vm", "none"), None);
        assert_eq!(queues.resolve("none", "jobs"), None);
    }

    #[test]
    fn an_unknown_queue_is_an_error() {
        let queues = Queues::default();
        assert_eq!(queues.enqueue(0, Bytes::new()), Err(QueueError::Unknown));
        assert_eq!(queues.dequeue(9), Err(QueueError::Unknown));
    }

    #[test]
    fn a_full_queue_refuses_until_an_item_is_taken() {
        let queues = Queues::default();
        let id = queues.register("vm", "jobs", Box::new(|| ()));
        for _ in 0..4 {
            queues.enqueue(id, Bytes::from(vec![0; MAX_BYTES / 4])).unwrap();
        }
        assert_eq!(queues.enqueue(id, Bytes::from("x")), Err(QueueError::Full));
        queues.dequeue(id).unwrap();
        assert_eq!(queues.enqueue(id, Bytes::from("x")), Ok(()));
    }

    #[test]
    fn the_number_of_queues_is_bounded() {
        let queues = Queues::default();
        for name in 0..MAX_QUEUES {
            assert_ne!(queues.register("vm", &name.to_string(), Box::new(|| ())), 0);
        }
        let id = queues.register("vm", "one more", Box::new(|| ()));
        assert_eq!(id, 0);
        assert_eq!(queues.enqueue(id, Bytes::new()), Err(QueueError::Unknown));
    }

    #[test]
    fn an_owner_may_use_the_queues() {
        let queues = Arc::new(Queues::default());
        let inner = Arc::clone(&queues);
        let id = queues.register(
            "vm",
            "jobs",
            Box::new(move || {
                inner.register("vm", "jobs", Box::new(|| ()));
            }),
        );
        queues.enqueue(id, Bytes::from("item")).unwrap();
        assert_eq!(queues.dequeue(id), Ok(Some(Bytes::from("item"))));
    }

    #[test]
    fn every_item_is_taken_once_by_many_threads() {
        let queues = Queues::default();
        let id = queues.register("vm", "jobs", Box::new(|| ()));
        let taken = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| queues.enqueue(id, Bytes::from("x")).unwrap()));
                scope.spawn(|| {
                    while taken.load(Relaxed) < 4000 {
                        if queues.dequeue(id).unwrap().is_some() {
                            taken.fetch_add(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(taken.load(Relaxed), 4000);
    }
}
