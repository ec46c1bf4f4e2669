//! The chain of one TCP connection: tells its filters of what happens, and passes on what they let go.
//!
//! Bytes are **pushed**: whoever owns the chain reads a flow only when everything that had left the chain before is written, so
//! that a slow peer slows the other one down. A stage that holds is looked at by [`TcpChain::release`], after the connection
//! has woken its task.
//!
//! A new connection is told to the filters in order, each when the one before lets it go on; contexts are made then. Bytes
//! come later. A filter that pauses a flow is called again with all it holds when more arrives; beyond the limit the
//! connection is closed. Its end is told with the last bytes, or in a call without new ones.
//!
//! Once a filter has closed the connection nothing goes on, whatever its callback answers, in both directions (as in Envoy).
//!
//! A faulted filter is gone from the connection, in both directions; with [`OnError::Open`] what it held goes on as it is.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;

use super::{Peer, Side, TcpAction, TcpCallbacks, TcpConnection, TcpFacts, TcpFilter, TcpSource, TcpStage, TcpStop};
use crate::filter::{Fault, FaultKind, OnError, Outcome, Phase};

/// How the two connections ended, for the filters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closing {
    /// Who ended the client's.
    pub downstream: Peer,
    /// Who ended the upstream's; `None` when there was none.
    pub upstream: Option<Peer>,
}

/// The filters of one connection.
pub struct TcpChain {
    connection: Rc<TcpConnection>,
    sources: Rc<[Rc<dyn TcpSource>]>,
    members: Vec<Member>,
    /// Filters that have let the new connection go on, or hold it.
    opened: usize,
}

struct Member {
    callbacks: TcpCallbacks,
    /// Nothing before the first callback and after a fault.
    filter: Option<Box<dyn TcpFilter>>,
    /// It holds the new connection.
    holds_connection: bool,
    flows: [Flow; 2],
    /// It knows that the upstream's connection has ended.
    knows_upstream_end: bool,
}

/// One flow at one filter.
#[derive(Clone, Copy, Default)]
struct Flow {
    held: bool,
    /// No bytes follow those that are held, or have gone on.
    end: bool,
}

impl Member {
    fn flow(&mut self, side: Side) -> &mut Flow {
        let [downstream, upstream] = &mut self.flows;
        side.pick(downstream, upstream)
    }
}

impl TcpChain {
    /// A chain for a connection that has just been accepted.
    #[must_use]
    pub fn new(facts: TcpFacts, sources: Rc<[Rc<dyn TcpSource>]>) -> Self {
        let member = |source: &Rc<dyn TcpSource>| Member {
            callbacks: source.callbacks(),
            filter: None,
            holds_connection: false,
            flows: [Flow::default(); 2],
            knows_upstream_end: false,
        };
        let members = sources.iter().map(member).collect();
        Self { connection: TcpConnection::new(facts, sources.len()), sources, members, opened: 0 }
    }
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Rc<TcpConnection> {
        &self.connection
    }
    /// Tells the filters of the new connection. Ready when all let it go on, or when one closes it.
    ///
    /// # Errors
    /// It is to be closed.
    pub fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), TcpStop>> {
        self.connection.register(cx.waker());
        loop {
            if let Some(stop) = self.connection.stop() {
                return Poll::Ready(Err(stop));
            }
            if let Some(last) = self.opened.checked_sub(1)
                && self.members[last].holds_connection
            {
                if !self.take_resumed(last, Side::Downstream) && !self.lost(last) {
                    return Poll::Pending;
                }
                self.members[last].holds_connection = false;
                continue;
            }
            if self.opened == self.members.len() {
                return Poll::Ready(Ok(()));
            }
            let index = self.opened;
            self.opened += 1;
            self.open(index);
        }
    }
    /// Creates the context of a filter and tells it of the connection.
    fn open(&mut self, index: usize) {
        let began = Instant::now();
        match self.sources[index].start(TcpStage::new(&self.connection, index)) {
            Ok(filter) => self.members[index].filter = Some(filter),
            Err(fault) => {
                self.record(index, Phase::NewConnection, began, Outcome::Fault(fault.kind));
                return self.lose(index, &fault);
            }
        }
        if self.members[index].callbacks.new_connection {
            let answer = self.call(index, Phase::NewConnection, |filter| filter.on_new_connection());
            self.members[index].holds_connection = answer == Some(TcpAction::Pause);
        }
    }
    /// Bytes have come from `side`, perhaps its last: what the chain lets go of them is appended to `out`. `true` when that
    /// is the end of the flow.
    pub fn push(&mut self, side: Side, bytes: &[u8], end: bool, out: &mut BytesMut) -> bool {
        self.run(side, 0, Chunk::Borrowed(bytes), end, out)
    }
    /// Passes on what stages have held and now let go. `true` when that is the end of the flow.
    pub fn release(&mut self, side: Side, out: &mut BytesMut) -> bool {
        // What is further on its way goes first.
        for place in (0..self.members.len()).rev() {
            let index = self.index(side, place);
            if !self.members[index].flow(side).held || !(self.take_resumed(index, side) || self.lost(index)) {
                continue;
            }
            let (bytes, end) = self.let_go(index, side);
            if self.connection.is_stopped() {
                return false;
            }
            if self.run(side, place + 1, Chunk::Owned(bytes), end, out) {
                return true;
            }
        }
        false
    }
    /// The connection is over: every filter is told how its connections ended, then done, log and delete, in chain order.
    /// Later calls do nothing.
    pub fn finish(&mut self, closing: Closing) {
        for side in Side::BOTH {
            self.connection.held(side).borrow_mut().fill_with(Default::default);
        }
        for index in 0..self.members.len() {
            if let Some(peer) = closing.upstream {
                self.tell_upstream_end(index, peer);
            }
            if self.members[index].callbacks.close(Side::Downstream) {
                let close = |filter: &mut dyn TcpFilter| filter.on_close(Side::Downstream, closing.downstream);
                self.call(index, Phase::DownstreamClose, close);
            }
            let began = Instant::now();
            let filter = self.members[index].filter.take();
            if let Some(filter) = filter.filter(|filter| filter.fault().is_none()) {
                filter.finish();
                self.record(index, Phase::Finish, began, Outcome::Continue);
            }
        }
    }

    /// The filter at a place on the way of a flow.
    fn index(&self, side: Side, place: usize) -> usize {
        side.pick(place, self.members.len().saturating_sub(place + 1))
    }
    /// Takes a chunk through the stages from `place` on.
    fn run(&mut self, side: Side, place: usize, mut chunk: Chunk<'_>, mut end: bool, out: &mut BytesMut) -> bool {
        for place in place..self.members.len() {
            if chunk.as_slice().is_empty() && !end {
                return false;
            }
            let index = self.index(side, place);
            let member = &mut self.members[index];
            if member.filter.is_some() && member.callbacks.data(side) {
                let Some((bytes, ends)) = self.feed(index, side, chunk, end) else { return false };
                (chunk, end) = (Chunk::Owned(bytes), ends);
            } else if end {
                self.members[index].flow(side).end = true;
                self.end_passed(index, side);
            }
            if self.connection.is_stopped() {
                return false;
            }
        }
        match chunk {
            // Nobody else has them, so that nothing is copied.
            Chunk::Owned(bytes) if out.is_empty() => *out = bytes,
            chunk => out.extend_from_slice(chunk.as_slice()),
        }
        end
    }
    /// Calls a filter with further bytes; what it lets go on, and whether that is the end.
    fn feed(&mut self, index: usize, side: Side, chunk: Chunk<'_>, end: bool) -> Option<(BytesMut, bool)> {
        let size = {
            let held = &mut self.connection.held(side).borrow_mut()[index];
            (held.open, held.resumed) = (true, false);
            match chunk {
                Chunk::Owned(bytes) if held.buffer.is_empty() => held.buffer = bytes,
                chunk => held.buffer.extend_from_slice(chunk.as_slice()),
            }
            held.buffer.len()
        };
        self.members[index].flow(side).end |= end;
        let end = self.members[index].flow(side).end;
        let phase = side.pick(Phase::DownstreamData, Phase::UpstreamData);
        let answer = self.call(index, phase, |filter| filter.on_data(side, size, end));
        let paused = answer == Some(TcpAction::Pause);
        self.members[index].flow(side).held = paused;
        if end {
            self.end_passed(index, side);
        }
        if !paused {
            return Some(self.let_go(index, side));
        }
        let held = self.connection.held(side).borrow()[index].buffer.len();
        if held > self.connection.facts.buffer_limit {
            let name = self.sources[index].name();
            self.connection.stop_with(TcpStop::TooLarge(format!("{name}: holds more than the buffer's limit")));
        }
        None
    }
    /// Takes what a filter holds of a flow.
    fn let_go(&mut self, index: usize, side: Side) -> (BytesMut, bool) {
        self.members[index].flow(side).held = false;
        let held = &mut self.connection.held(side).borrow_mut()[index];
        held.open = false;
        (std::mem::take(&mut held.buffer), self.members[index].flow(side).end)
    }
    fn take_resumed(&self, index: usize, side: Side) -> bool {
        std::mem::take(&mut self.connection.held(side).borrow_mut()[index].resumed)
    }
    /// The last of a flow has come to a filter; that of the upstream is the end of its connection.
    fn end_passed(&mut self, index: usize, side: Side) {
        if side == Side::Upstream {
            self.tell_upstream_end(index, Peer::Remote);
        }
    }
    fn tell_upstream_end(&mut self, index: usize, peer: Peer) {
        let known = std::mem::replace(&mut self.members[index].knows_upstream_end, true);
        if !known && self.members[index].callbacks.close(Side::Upstream) {
            self.call(index, Phase::UpstreamClose, |filter| filter.on_close(Side::Upstream, peer));
        }
    }
    /// Makes one callback and records it. `None`: the filter is not there, or no more.
    fn call<A: Answer>(
        &mut self,
        index: usize,
        phase: Phase,
        call: impl FnOnce(&mut dyn TcpFilter) -> Result<A, Fault>,
    ) -> Option<A> {
        let filter = self.members[index].filter.as_deref_mut()?;
        let began = Instant::now();
        let was_stopped = self.connection.is_stopped();
        let answer = call(filter);
        let outcome = match &answer {
            Err(fault) => Outcome::Fault(fault.kind),
            Ok(_) if !was_stopped && self.connection.is_stopped() => Outcome::Reply,
            Ok(answer) if answer.pauses() => Outcome::Pause,
            Ok(_) => Outcome::Continue,
        };
        self.record(index, phase, began, outcome);
        answer.map_err(|fault| self.lose(index, &fault)).ok()
    }
    fn record(&self, index: usize, phase: Phase, began: Instant, outcome: Outcome) {
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.sources[index].record(phase, nanos, outcome);
    }
    /// Whether a filter that holds something can no longer let it go, because it is gone or its instance has died.
    fn lost(&mut self, index: usize) -> bool {
        if let Some(fault) = self.members[index].filter.as_ref().and_then(|filter| filter.fault()) {
            self.lose(index, &fault);
        }
        self.members[index].filter.is_none()
    }
    /// The filter is gone from the connection.
    fn lose(&mut self, index: usize, fault: &Fault) {
        self.members[index].filter.take();
        let source = &self.sources[index];
        match source.on_error() {
            OnError::Open => {
                tracing::warn!(
                    filter = source.name(),
                    connection = &*self.connection.facts.id,
                    kind = fault.kind.as_str(),
                    "A connection goes on without a filter that faulted."
                );
                self.connection.wake();
            }
            OnError::Closed => {
                // Ended after a swap: the operator asked for it, so the reason says more than the kind.
                let why = match fault.kind {
                    FaultKind::Ended => &*fault.detail,
                    FaultKind::Neighbour => "trap of another connection",
                    kind => kind.as_str(),
                };
                self.connection.stop_with(TcpStop::Fault(format!("{}: {why}", source.name())));
            }
        }
    }
}

impl Drop for TcpChain {
    /// Dropped without an end: the gateway would wait no longer.
    fn drop(&mut self) {
        let upstream = self.connection.upstream_address.get().map(|_| Peer::Local);
        self.finish(Closing { downstream: Peer::Local, upstream });
    }
}

/// Bytes on their way through the chain.
enum Chunk<'a> {
    Borrowed(&'a [u8]),
    Owned(BytesMut),
}

impl Chunk<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// Whether an answer keeps the connection waiting.
trait Answer {
    fn pauses(&self) -> bool;
}
impl Answer for TcpAction {
    fn pauses(&self) -> bool {
        *self == Self::Pause
    }
}
impl Answer for () {
    fn pauses(&self) -> bool {
        false
    }
}
