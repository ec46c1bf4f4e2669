//! One connection as its filters see it: what each stage holds of both flows, and what filters ask for.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use bytes::BytesMut;

use super::Side;
use crate::filter::exchange::ConnectionFacts;
use crate::filter::properties::Properties;

/// What is known of a connection when it begins.
#[derive(Clone, Debug)]
pub struct TcpFacts {
    /// Its two ends.
    pub connection: ConnectionFacts,
    /// What logs call it: `tcp-17`.
    pub id: Rc<str>,
    /// The configured address of its listener.
    pub listener: Rc<str>,
    /// The name of its upstream.
    pub upstream: Rc<str>,
    /// Most bytes of one flow that a stage may hold.
    pub buffer_limit: usize,
}

/// Why a connection is to be closed, besides its peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpStop {
    /// A filter closes it: what has left the chain is still sent.
    Closed(String),
    /// A filter faulted, and its `on_error` says so.
    Fault(String),
    /// A filter holds, or made, too much.
    TooLarge(String),
}

/// What one stage holds of one flow.
#[derive(Default)]
pub(super) struct Held {
    pub(super) buffer: BytesMut,
    /// The filter asked to go on; taken by the chain.
    pub(super) resumed: bool,
    /// A data callback has been made and its bytes have not gone on: buffer calls act on `buffer`.
    pub(super) open: bool,
}

/// One connection, shared by its chain and the stream contexts of its filters.
pub struct TcpConnection {
    /// Known from the start.
    pub facts: TcpFacts,
    /// The target, once it is connected.
    pub upstream_address: Cell<Option<SocketAddr>>,
    held: [RefCell<Vec<Held>>; 2],
    stop: RefCell<Option<TcpStop>>,
    /// `proxy_set_property`: path (parts joined by NUL) and value.
    /// What filters have set.
    pub properties: Properties,
    /// The task that serves it, when it waits.
    waker: RefCell<Option<Waker>>,
}

impl TcpConnection {
    pub(super) fn new(facts: TcpFacts, stages: usize) -> Rc<Self> {
        let held = || RefCell::new((0..stages).map(|_| Held::default()).collect());
        Rc::new(Self {
            facts,
            upstream_address: Cell::new(None),
            held: [held(), held()],
            stop: RefCell::default(),
            properties: Properties::default(),
            waker: RefCell::default(),
        })
    }
    pub(super) fn held(&self, side: Side) -> &RefCell<Vec<Held>> {
        let [downstream, upstream] = &self.held;
        side.pick(downstream, upstream)
    }
    /// Wakes the task that serves the connection.
    pub fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
    /// Registers the task to be woken by the next event.
    pub fn register(&self, waker: &Waker) {
        let mut known = self.waker.borrow_mut();
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
    }
    /// Why it is to be closed, if it is. The first reason wins.
    #[must_use]
    pub fn stop(&self) -> Option<TcpStop> {
        self.stop.borrow().clone()
    }
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.borrow().is_some()
    }
    pub(super) fn stop_with(&self, stop: TcpStop) {
        self.stop.borrow_mut().get_or_insert(stop);
        self.wake();
    }
}

/// A [`TcpConnection`] as the filter at one place of the chain may see and change it.
#[derive(Clone)]
pub struct TcpStage {
    connection: Rc<TcpConnection>,
    index: usize,
}

impl TcpStage {
    pub(super) fn new(connection: &Rc<TcpConnection>, index: usize) -> Self {
        Self { connection: Rc::clone(connection), index }
    }
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Rc<TcpConnection> {
        &self.connection
    }
    /// Place in the chain, 0 is the first filter.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
    /// Reads what this stage holds of a flow; `None` when nothing of it is at this stage.
    pub fn with_data<R>(&self, side: Side, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let stages = self.connection.held(side).borrow();
        let held = stages.get(self.index).filter(|held| held.open)?;
        Some(read(&held.buffer))
    }
    /// Replaces `length` held bytes from `start` by `data` (both clamp to what is held: start beyond the end appends).
    /// `false` when nothing of the flow is at this stage.
    pub fn set_data(&self, side: Side, start: usize, length: usize, data: &[u8]) -> bool {
        let mut stages = self.connection.held(side).borrow_mut();
        let Some(held) = stages.get_mut(self.index).filter(|held| held.open) else { return false };
        let start = start.min(held.buffer.len());
        let end = start.saturating_add(length).min(held.buffer.len());
        let tail = held.buffer.split_off(end);
        held.buffer.truncate(start);
        held.buffer.extend_from_slice(data);
        held.buffer.extend_from_slice(&tail);
        true
    }
    /// Lets what this stage holds from `side` go on; from the client, also a new connection.
    pub fn resume(&self, side: Side) {
        if let Some(held) = self.connection.held(side).borrow_mut().get_mut(self.index) {
            held.resumed = true;
        }
        self.connection.wake();
    }
    /// Closes the connection.
    pub fn stop(&self, stop: TcpStop) {
        self.connection.stop_with(stop);
    }
}
