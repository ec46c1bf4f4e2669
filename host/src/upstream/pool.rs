//! One target's connections on one worker: idle HTTP/1 connections, last in first out, or one shared HTTP/2 connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http1;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::body::RequestBody;
use super::shared::Shared;
use crate::config::PoolLimits;

/// How long a connection may take to finish a request whose response has ended, before it is closed instead of kept.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

/// An HTTP/1 connection.
pub(super) struct Connection {
    pub(super) sender: http1::SendRequest<RequestBody>,
    /// When it was made, if that matters.
    made: Option<Instant>,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Leave to use one HTTP/1 connection, where their number is limited.
pub(super) type Slot = Option<OwnedSemaphorePermit>;

/// The connections of one target.
pub(super) struct Pool {
    limits: PoolLimits,
    /// One for each connection that may be in use. A connection is made only when none is idle, so that there are no more of both.
    slots: Option<Arc<Semaphore>>,
    /// Requests that wait for a slot.
    pending: Cell<usize>,
    idle: RefCell<VecDeque<Idle>>,
    sweeping: Cell<bool>,
    /// Held while the shared connection is being made, so that a burst makes one.
    pub(super) shared: Mutex<Option<Shared>>,
    /// When making it failed last, and why: whoever waited for it need not try again.
    pub(super) failed: RefCell<Option<(std::time::Instant, Rc<str>)>>,
}

impl Pool {
    pub(super) fn new(limits: &PoolLimits) -> Self {
        Self {
            slots: limits.connections.map(|most| Arc::new(Semaphore::new(most))),
            limits: limits.clone(),
            pending: Cell::default(),
            idle: RefCell::default(),
            sweeping: Cell::default(),
            shared: Mutex::default(),
            failed: RefCell::default(),
        }
    }
    /// Leave to use a connection, waited for at most `timeout`. `Err`: too many wait already, or it came too late.
    pub(super) async fn slot(&self, timeout: Duration) -> Result<Slot, ()> {
        let Some(slots) = &self.slots else { return Ok(None) };
        if let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            return Ok(Some(slot));
        }
        if self.pending.get() >= self.limits.pending {
            return Err(());
        }
        let _waits = Pending::new(&self.pending);
        match tokio::time::timeout(timeout, Arc::clone(slots).acquire_owned()).await {
            Ok(Ok(slot)) => Ok(Some(slot)),
            // It is never closed.
            Ok(Err(_)) | Err(_) => Err(()),
        }
    }
    /// A connection that was made just now.
    pub(super) fn made(&self, sender: http1::SendRequest<RequestBody>) -> Connection {
        Connection { sender, made: self.limits.lifetime.map(|_| Instant::now()) }
    }
    /// Whether something made at that time gets no further request.
    pub(super) fn is_old(&self, made: Option<Instant>) -> bool {
        made.zip(self.limits.lifetime).is_some_and(|(made, lifetime)| made.elapsed() >= lifetime)
    }
    /// The connection used last, if one is still usable.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(entry) = idle.pop_back() {
            if self.is_usable(&entry.connection) {
                return Some(entry.connection);
            }
        }
        None
    }
    /// Whether [`Pool::take`] would give one.
    pub(super) fn has_ready(&self) -> bool {
        self.idle.borrow().iter().any(|entry| self.is_usable(&entry.connection))
    }
    fn is_usable(&self, connection: &Connection) -> bool {
        connection.sender.is_ready() && !self.is_old(connection.made)
    }
    fn put(self: &Rc<Self>, connection: Connection) {
        if self.limits.idle == 0 || self.is_old(connection.made) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= self.limits.idle {
            idle.pop_front();
        }
        idle.push_back(Idle { connection, since: Instant::now() });
        drop(idle);
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }
    /// Closes what has been idle for too long; `false` when nothing is left.
    fn expire(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|Idle { connection, since }| {
            since.elapsed() < self.limits.idle_timeout
                && !connection.sender.is_closed()
                && !self.is_old(connection.made)
        });
        !idle.is_empty()
    }
    /// How often to look for what is to be closed.
    fn interval(&self) -> Duration {
        self.limits.lifetime.unwrap_or(Duration::MAX).min(self.limits.idle_timeout) / 2
    }
}

/// A request that waits for a slot.
struct Pending<'a>(&'a Cell<usize>);

impl<'a> Pending<'a> {
    fn new(count: &'a Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Runs while the pool has idle connections.
async fn sweep(pool: Weak<Pool>) {
    loop {
        let Some(interval) = pool.upgrade().map(|pool| pool.interval()) else { return };
        tokio::time::sleep(interval).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.expire() {
            pool.sweeping.set(false);
            return;
        }
    }
}

/// A connection in use by one request. Dropping it closes the connection.
pub(super) struct Lease {
    pool: Rc<Pool>,
    connection: Connection,
    slot: Slot,
}

impl Lease {
    pub(super) fn new(pool: &Rc<Pool>, connection: Connection, slot: Slot) -> Self {
        Self { pool: Rc::clone(pool), connection, slot }
    }
    /// The exchange is over: back to the pool, as soon as the connection has finished its side.
    pub(super) fn release(self) {
        let Self { pool, mut connection, slot } = self;
        if connection.sender.is_ready() {
            pool.put(connection);
        } else if !connection.sender.is_closed() {
            // An early response: the request is still being sent, or the connection's task has yet to run.
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = tokio::time::timeout(SETTLE_TIMEOUT, connection.sender.ready()).await {
                    pool.put(connection);
                }
                // Whoever waits for it finds it in the pool.
                drop(slot);
            });
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}
