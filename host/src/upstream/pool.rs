//! One target's connections on one worker: idle HTTP/1 connections, last in first out, or one shared HTTP/2 connection.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::{Rc, Weak};
use std::time::Duration;

use hyper::client::conn::http1;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::body::RequestBody;
use super::shared::Shared;

/// Idle connections kept per target and worker; beyond it the oldest is closed.
const MAX_IDLE: usize = 256;
/// How long an idle connection is kept. Shorter than most servers keep theirs, so that they seldom close first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a connection may take to finish a request whose response has ended, before it is closed instead of kept.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);

struct Idle {
    sender: http1::SendRequest<RequestBody>,
    since: Instant,
}

/// The connections of one target.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<VecDeque<Idle>>,
    sweeping: Cell<bool>,
    /// Held while the shared connection is being made, so that a burst makes one.
    pub(super) shared: Mutex<Option<Shared>>,
    /// When making it failed last, and why: whoever waited for it need not try again.
    pub(super) failed: RefCell<Option<(std::time::Instant, Rc<str>)>>,
}

impl Pool {
    /// The connection used last, if one is still usable.
    pub(super) fn take(&self) -> Option<http1::SendRequest<RequestBody>> {
        let mut idle = self.idle.borrow_mut();
        while let Some(entry) = idle.pop_back() {
            if entry.sender.is_ready() {
                return Some(entry.sender);
            }
        }
        None
    }
    /// Whether [`Pool::take`] would give one.
    pub(super) fn has_ready(&self) -> bool {
        self.idle.borrow().iter().any(|entry| entry.sender.is_ready())
    }
    fn put(self: &Rc<Self>, sender: http1::SendRequest<RequestBody>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MAX_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { sender, since: Instant::now() });
        drop(idle);
        if !self.sweeping.replace(true) {
            tokio::task::spawn_local(sweep(Rc::downgrade(self)));
        }
    }
    /// Closes what has been idle for too long; `false` when nothing is left.
    fn expire(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|entry| entry.since.elapsed() < IDLE_TIMEOUT && !entry.sender.is_closed());
        !idle.is_empty()
    }
}

/// Runs while the pool has idle connections.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(IDLE_TIMEOUT / 2).await;
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
    sender: http1::SendRequest<RequestBody>,
}

impl Lease {
    pub(super) fn new(pool: &Rc<Pool>, sender: http1::SendRequest<RequestBody>) -> Self {
        Self { pool: Rc::clone(pool), sender }
    }
    /// The exchange is over: back to the pool, as soon as the connection has finished its side.
    pub(super) fn release(self) {
        let Self { pool, mut sender } = self;
        if sender.is_ready() {
            pool.put(sender);
        } else if !sender.is_closed() {
            // An early response: the request is still being sent, or the connection's task has yet to run.
            tokio::task::spawn_local(async move {
                if let Ok(Ok(())) = tokio::time::timeout(SETTLE_TIMEOUT, sender.ready()).await {
                    pool.put(sender);
                }
            });
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lease")
    }
}
