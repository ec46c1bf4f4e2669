//! One request and its response as filters see them, and what filters ask of the chain.
//!
//! An [`Exchange`] is shared by the chain (which moves messages along) and by the stream contexts of its filters, which
//! reach it through a [`Stage`]: the exchange as one filter may see and change it. A change that is not allowed now is
//! refused with `false`; nothing here can fail otherwise.

use std::cell::{Cell, Ref, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use http::{HeaderName, HeaderValue};

use super::properties::Properties;
use super::{Direction, Headers, LocalReply, Name};
use crate::address::Address;

/// Names of fields that are kept as decided by filters. Beyond, no trailer passes.
const DECIDED: usize = 64;

/// What is known of an exchange when it begins. Read by properties, logs and metrics.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The connection it came on.
    pub connection: Rc<ConnectionFacts>,
    /// `x-request-id`, taken over from a trusted hop or made here.
    pub request_id: Rc<str>,
    /// The name of the route whose filters run.
    pub route: Rc<str>,
    /// That route's upstream.
    pub upstream: Rc<str>,
    /// HTTP version of the request: `HTTP/1.1`, `HTTP/2`.
    pub protocol: &'static str,
    /// Wall clock at arrival.
    pub time: SystemTime,
    /// Monotonic clock at arrival.
    pub started: Instant,
    /// Most body bytes that a stage may hold.
    pub buffer_limit: usize,
}

/// What is known of a client connection.
#[derive(Clone, Debug)]
pub struct ConnectionFacts {
    /// Unique in this process.
    pub id: u64,
    /// The client.
    pub remote: Address,
    /// The listener's side.
    pub local: Address,
    /// When the connection is encrypted.
    pub tls: Option<TlsFacts>,
}

/// What is known of an encrypted client connection.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: &'static str,
    /// Server name the client asked for.
    pub server_name: Option<Rc<str>>,
    /// The certificate that the client was shown, when there is no doubt.
    pub local: Option<Arc<CertificateFacts>>,
    /// The certificate that the client showed; it has been verified.
    pub peer: Option<Rc<CertificateFacts>>,
}

/// What filters may know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Subject, as text (RFC 4514).
    pub subject: Option<String>,
    /// The first DNS name among the alternative names.
    pub dns: Option<String>,
    /// The first URI among the alternative names.
    pub uri: Option<String>,
    /// SHA-256 of the certificate, lower-case hex.
    pub sha256: String,
}

/// What becomes known while an exchange goes on.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Address of the target that was tried last.
    pub upstream_address: Option<SocketAddr>,
    /// From the request's last byte sent to the response's head.
    pub backend_latency: Option<Duration>,
    /// Bytes of request body received from the client.
    pub request_size: u64,
    /// Bytes of response body sent to the client.
    pub response_size: u64,
    /// `response.code_details`: `via_upstream`, or who replied instead and why.
    pub details: Option<String>,
    /// The status that the client was sent: another one than the head's when a reply replaced it past the filters.
    pub status: Option<u16>,
    /// When the exchange was over.
    pub duration: Option<Duration>,
    /// The target as it came, once a filter has changed it.
    pub original_path: Option<HeaderValue>,
    /// The target that the upstream was asked for, when it is not the one that came.
    pub upstream_path: Option<Box<[u8]>>,
    /// The route that took the place of the first one, and its upstream.
    pub rerouted: Option<(Rc<str>, Rc<str>)>,
}

/// One direction's message on its way through the chain.
#[derive(Default)]
pub(super) struct Message {
    /// The head, once it has arrived. It stays readable to the end of the stream.
    pub(super) head: RefCell<Option<Headers>>,
    /// The stage that holds the head (or is being called with it) and may change it.
    pub(super) head_at: Cell<Option<usize>>,
    /// Trailers, once they have arrived or were made.
    pub(super) trailers: RefCell<Option<Headers>>,
    /// The stage that may change the trailers: the one called with them, or with the last of the body.
    pub(super) trailers_at: Cell<Option<usize>>,
    /// Some stage changed the body, so its length is not what the sender said.
    pub(super) edited: Cell<bool>,
    /// The head ends the message: neither body nor trailers follow.
    pub(super) bodiless: Cell<bool>,
    /// A body that a filter gave to a message without one, from its head callback.
    pub(super) given: RefCell<Option<Bytes>>,
    /// What each stage holds.
    pub(super) stages: RefCell<Vec<StageState>>,
}

impl Message {
    /// Starts the message over with this head.
    pub(super) fn begin(&self, head: Headers, bodiless: bool) {
        *self.head.borrow_mut() = Some(head);
        *self.trailers.borrow_mut() = None;
        self.edited.set(false);
        self.bodiless.set(bodiless);
        self.close();
    }
    /// Drops what is held and ends every right to change; heads and trailers stay readable.
    pub(super) fn close(&self) {
        self.head_at.set(None);
        self.trailers_at.set(None);
        *self.given.borrow_mut() = None;
        self.stages.borrow_mut().fill_with(StageState::default);
    }
}

/// What one stage holds of one direction.
#[derive(Default)]
pub(super) struct StageState {
    /// Held body bytes, the current chunk included.
    pub(super) buffer: BytesMut,
    /// The filter asked to go on; taken by the chain.
    pub(super) resumed: bool,
    /// A body callback has been made and its bytes have not gone on: buffer calls act on `buffer`.
    pub(super) open: bool,
}

/// How a filter ended or cut short the exchange.
#[derive(Clone, Debug)]
pub enum Interrupt {
    /// A local reply recorded by the stage of this index, not yet acted on.
    Reply(usize, LocalReply),
    /// The stream is to be reset (`proxy_close_stream`, a fault after the head was sent).
    Reset(String),
}

/// One request and its response.
pub struct Exchange {
    /// Known from the start.
    pub facts: Facts,
    /// Known as it goes.
    pub progress: RefCell<Progress>,
    pub(super) request: Message,
    pub(super) response: Message,
    /// Recorded and not yet acted on.
    pub(super) interrupt: RefCell<Option<Interrupt>>,
    /// A reply was recorded at some time: later ones are ignored.
    replied: Cell<bool>,
    /// A reset was recorded at some time: whatever comes later is ignored.
    reset: Cell<bool>,
    /// A filter asks for the route to be chosen again.
    route_cleared: Cell<bool>,
    /// Fields of the request's head that filters have set or removed: no trailer may bring them back.
    decided: RefCell<Vec<HeaderName>>,
    /// What filters have set.
    pub properties: Properties,
    /// Tasks that wait for an event of this exchange.
    wakers: RefCell<Vec<Waker>>,
}

impl Exchange {
    /// A new exchange with `stages` filters.
    #[must_use]
    pub fn new(facts: Facts, stages: usize) -> Rc<Self> {
        let message = || Message {
            stages: RefCell::new((0..stages).map(|_| StageState::default()).collect()),
            ..Message::default()
        };
        Rc::new(Self {
            facts,
            progress: RefCell::default(),
            request: message(),
            response: message(),
            interrupt: RefCell::default(),
            replied: Cell::new(false),
            reset: Cell::new(false),
            route_cleared: Cell::new(false),
            decided: RefCell::default(),
            properties: Properties::default(),
            wakers: RefCell::default(),
        })
    }
    /// The exchange as the filter of that index may see and change it.
    #[must_use]
    pub fn stage(self: &Rc<Self>, index: usize) -> Stage {
        Stage { exchange: Rc::clone(self), index }
    }
    pub(super) fn message(&self, direction: Direction) -> &Message {
        direction.pick(&self.request, &self.response)
    }
    /// The head of a direction as it is now, readable from its arrival to the end of the stream.
    pub fn headers(&self, direction: Direction) -> Option<Ref<'_, Headers>> {
        Ref::filter_map(self.message(direction).head.borrow(), Option::as_ref).ok()
    }
    /// The trailers of a direction, once there are any.
    pub fn trailers(&self, direction: Direction) -> Option<Ref<'_, Headers>> {
        Ref::filter_map(self.message(direction).trailers.borrow(), Option::as_ref).ok()
    }
    /// Whether the request's route is to be chosen again, now that its head leaves the chain. Asked once.
    #[must_use]
    pub fn take_route_cleared(&self) -> bool {
        self.route_cleared.take()
    }
    /// The name of the route that the request takes, as far as it is known.
    pub fn route(&self) -> Rc<str> {
        let progress = self.progress.borrow();
        Rc::clone(progress.rerouted.as_ref().map_or(&self.facts.route, |(route, _)| route))
    }
    /// The name of its upstream.
    pub fn upstream(&self) -> Rc<str> {
        let progress = self.progress.borrow();
        Rc::clone(progress.rerouted.as_ref().map_or(&self.facts.upstream, |(_, upstream)| upstream))
    }
    /// Whether a filter has set or removed that field of the request's head.
    #[must_use]
    pub fn has_decided(&self, name: &HeaderName) -> bool {
        let decided = self.decided.borrow();
        decided.len() >= DECIDED || decided.contains(name)
    }
    /// The target is about to be changed.
    fn keep_path(&self) {
        let path = self.headers(Direction::Request).and_then(|head| head.get(&Name::Path).cloned());
        let original = &mut self.progress.borrow_mut().original_path;
        *original = original.take().or(path);
    }
    /// Wakes every task that waits for this exchange.
    pub fn wake(&self) {
        for waker in self.wakers.take() {
            waker.wake();
        }
    }
    /// Registers the current task to be woken by the next event.
    pub fn register(&self, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
    /// Records what a filter asks for; `false` when it is ignored. The first reply wins, for ever; a reset is still heard
    /// after a reply has been acted on.
    pub(super) fn interrupt(&self, interrupt: Interrupt) -> bool {
        let late = matches!(interrupt, Interrupt::Reply(..)) && self.replied.get();
        if late || self.reset.get() || self.interrupt.borrow().is_some() {
            return false;
        }
        self.fail(interrupt);
        true
    }
    /// Ends the exchange on the chain's own account, unless something is about to end it already.
    pub(super) fn fail(&self, interrupt: Interrupt) {
        match interrupt {
            Interrupt::Reply(..) => self.replied.set(true),
            Interrupt::Reset(_) => self.reset.set(true),
        }
        self.interrupt.borrow_mut().get_or_insert(interrupt);
        self.wake();
    }
}

/// An [`Exchange`] as the filter at one place of the chain may see and change it.
#[derive(Clone)]
pub struct Stage {
    exchange: Rc<Exchange>,
    index: usize,
}

impl Stage {
    /// The exchange.
    #[must_use]
    pub fn exchange(&self) -> &Rc<Exchange> {
        &self.exchange
    }
    /// Place in the chain, 0 is the first filter.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }
    /// Changes a head, if this stage holds it; `false` when it does not (before arrival, after release).
    pub fn edit_headers(&self, direction: Direction, edit: impl FnOnce(&mut Headers)) -> bool {
        let message = self.exchange.message(direction);
        if message.head_at.get() != Some(self.index) {
            return false;
        }
        message.head.borrow_mut().as_mut().map(edit).is_some()
    }
    /// Changes or makes trailers: in the trailers callback, while they are held, and in the last body callback.
    pub fn edit_trailers(&self, direction: Direction, edit: impl FnOnce(&mut Headers)) -> bool {
        let message = self.exchange.message(direction);
        if message.trailers_at.get() != Some(self.index) {
            return false;
        }
        edit(message.trailers.borrow_mut().get_or_insert_default());
        true
    }
    /// Reads what this stage holds of a body; `None` when no body is at this stage.
    pub fn with_body<R>(&self, direction: Direction, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let stages = self.exchange.message(direction).stages.borrow();
        let state = stages.get(self.index).filter(|state| state.open)?;
        Some(read(&state.buffer))
    }
    /// Replaces `length` held bytes from `start` by `data` (both clamp to what is held: start beyond the end appends).
    /// `false` when no body is at this stage.
    pub fn set_body(&self, direction: Direction, start: usize, length: usize, data: &[u8]) -> bool {
        let message = self.exchange.message(direction);
        let mut stages = message.stages.borrow_mut();
        let Some(state) = stages.get_mut(self.index).filter(|state| state.open) else { return false };
        let start = start.min(state.buffer.len());
        let end = start.saturating_add(length).min(state.buffer.len());
        if start == 0 && end == state.buffer.len() {
            state.buffer.clear();
            state.buffer.extend_from_slice(data);
        } else {
            let tail = state.buffer.split_off(end);
            state.buffer.truncate(start);
            state.buffer.extend_from_slice(data);
            state.buffer.extend_from_slice(&tail);
        }
        message.edited.set(true);
        true
    }
    /// Gives a message without a body one, from its head callback or while its head is held; `false` when it is too late
    /// or the message has a body of its own.
    pub fn give_body(&self, direction: Direction, body: Bytes) -> bool {
        let message = self.exchange.message(direction);
        if message.head_at.get() != Some(self.index) || !message.bodiless.get() {
            return false;
        }
        *message.given.borrow_mut() = Some(body);
        true
    }
    /// Lets what this stage holds in `direction` go on (`proxy_continue_stream`).
    pub fn resume(&self, direction: Direction) {
        if let Some(state) = self.exchange.message(direction).stages.borrow_mut().get_mut(self.index) {
            state.resumed = true;
        }
        self.exchange.wake();
    }
    /// Records a local reply; `false` when an earlier reply or reset won and this one is ignored. A filter that replies
    /// waits for nothing more, so an ignored reply also lets go what the stage holds: nobody else would.
    pub fn reply(&self, reply: LocalReply) -> bool {
        let recorded = self.exchange.interrupt(Interrupt::Reply(self.index, reply));
        if !recorded {
            self.resume(Direction::Request);
            self.resume(Direction::Response);
        }
        recorded
    }
    /// Asks for the route to be chosen again when the request's head leaves the chain; ignored when it has left.
    pub fn clear_route(&self) {
        self.exchange.route_cleared.set(true);
    }
    /// Resets the stream (`proxy_close_stream`).
    pub fn reset(&self, reason: impl Into<String>) -> bool {
        self.exchange.interrupt(Interrupt::Reset(reason.into()))
    }
    /// A filter sets or removes a field of the request's head; what it decides holds for the trailers too, if any may come.
    pub fn decide(&self, name: &Name) {
        if *name == Name::Path {
            self.exchange.keep_path();
        }
        let Name::Header(name) = name else { return };
        let mut decided = self.exchange.decided.borrow_mut();
        if !self.exchange.request.bodiless.get() && decided.len() < DECIDED && !decided.contains(name) {
            decided.push(name.clone());
        }
    }
}
