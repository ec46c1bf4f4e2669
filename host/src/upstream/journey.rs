//! What is kept of a request while it is on its way, and what it holds until it is over.

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::target::Target;
use crate::state::targets::Targets;

/// A request on its way: who asks, and what has happened to it. Lasts over all of its tries.
#[derive(Default)]
pub struct Journey {
    /// Who asks, when it is a client.
    pub(super) client: Option<IpAddr>,
    /// The address of the target that was tried last.
    pub address: Cell<Option<SocketAddr>>,
    /// How often it was sent.
    pub tries: Cell<u32>,
    /// The targets that have been tried.
    pub(super) tried: RefCell<Vec<Rc<Target>>>,
    /// The target whose answer is waited for.
    pub(super) under_way: Cell<Option<Rc<Target>>>,
    /// The target that its session belongs to from now on.
    pub(super) new_home: RefCell<Option<Rc<Target>>>,
}

impl Journey {
    /// One of a client's request.
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        Self { client: Some(client), ..Self::default() }
    }
    pub(super) fn has_tried(&self, target: &Rc<Target>) -> bool {
        self.tried.borrow().iter().any(|tried| Rc::ptr_eq(tried, target))
    }
}

/// Counts something while it lasts.
pub struct Held(Rc<Cell<u32>>);

impl Held {
    pub(super) fn new(count: &Rc<Cell<u32>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// What a request holds until its response has ended.
pub struct InUse {
    pub(super) _active: Held,
    pub(super) _admitted: Option<Admitted>,
}

/// A request that counts against an upstream's limit.
pub(super) struct Admitted {
    targets: Arc<Targets>,
    /// How many there were with it.
    pub(super) place: usize,
}

impl Admitted {
    pub(super) fn new(targets: &Arc<Targets>) -> Self {
        let place = targets.in_flight.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Self { targets: Arc::clone(targets), place }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.targets.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
