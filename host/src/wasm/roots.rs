//! Root contexts: the entries of the configuration that one instance serves, most often a single one.

use std::cell::{Cell, RefCell};
use std::iter;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::FilterSpec;
use super::engine::Deadline;
use super::queues::QueueEvents;
use crate::config::Ticks;
use crate::filter::Callouts;

/// Id of the first root context. The others count on from here, and then streams.
const FIRST: u32 = 1;

/// An entry of the configuration on a worker, and how its guests reach others.
pub(super) struct Place {
    pub(super) spec: Arc<FilterSpec>,
    pub(super) callouts: Rc<dyn Callouts>,
}

/// A root context: what one instance is for one entry.
pub(super) struct Root {
    pub(super) id: u32,
    pub(super) spec: Arc<FilterSpec>,
    pub(super) callouts: Rc<dyn Callouts>,
    /// Guest time of a callback for this context and for its streams.
    pub(super) deadline: Deadline,
    /// The guest knows of it, so events can be told to it.
    pub(super) lives: Cell<bool>,
    /// Whether its timer counts.
    pub(super) ticks: bool,
    pub(super) ticker: RefCell<Option<AbortHandle>>,
    pub(super) queue_events: Arc<QueueEvents>,
    pub(super) listener: RefCell<Option<AbortHandle>>,
}

impl Root {
    fn new(id: u32, place: &Place, first_worker: bool) -> Rc<Self> {
        let spec = Arc::clone(&place.spec);
        Rc::new(Self {
            id,
            deadline: Deadline::new(spec.deadline),
            ticks: first_worker || spec.ticks == Ticks::Worker,
            spec,
            callouts: Rc::clone(&place.callouts),
            lives: Cell::new(false),
            ticker: RefCell::default(),
            queue_events: Arc::default(),
            listener: RefCell::default(),
        })
    }
    /// Its timer and its queues tell nothing any more.
    pub(super) fn silence(&self) {
        abort(self.ticker.take());
        abort(self.listener.take());
    }
}

/// Ends a task, if there is one.
pub(super) fn abort(task: Option<AbortHandle>) {
    if let Some(task) = task {
        task.abort();
    }
}

/// The root contexts of one instance, in the order of the configuration.
pub(super) struct Roots {
    first: Rc<Root>,
    more: Vec<Rc<Root>>,
}

impl Roots {
    /// `first_worker`: timers that run once in the process run here.
    pub(super) fn new(first: &Place, more: &[Place], first_worker: bool) -> Rc<Self> {
        let more = (FIRST + 1..).zip(more).map(|(id, place)| Root::new(id, place, first_worker));
        Rc::new(Self { first: Root::new(FIRST, first, first_worker), more: more.collect() })
    }
    /// The one by which the whole instance is accounted for.
    pub(super) fn first(&self) -> &Rc<Root> {
        &self.first
    }
    pub(super) fn iter(&self) -> impl Iterator<Item = &Rc<Root>> {
        iter::once(&self.first).chain(&self.more)
    }
    /// The one of the entry at that place.
    pub(super) fn at(&self, place: usize) -> Option<&Rc<Root>> {
        match place {
            0 => Some(&self.first),
            further => self.more.get(further - 1),
        }
    }
    /// The one with that context id.
    pub(super) fn get(&self, id: u32) -> Option<&Rc<Root>> {
        self.at(usize::try_from(id.checked_sub(FIRST)?).ok()?)
    }
    /// The highest id that one of them has.
    pub(super) fn last_id(&self) -> u32 {
        self.more.last().unwrap_or(&self.first).id
    }
    /// Whether several entries share the instance.
    pub(super) fn are_several(&self) -> bool {
        !self.more.is_empty()
    }
}
