//! The filters of one chain: their contexts, the calls into them, and what a fault does. Not what their answers mean.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use crate::filter::exchange::{Exchange, Interrupt};
use crate::filter::{
    BodyAction, Callbacks, Fault, FaultKind, Filter, FilterSource, HeadersAction, LocalReply, OnError, Outcome, Phase,
    TrailersAction,
};

/// Every filter of a chain, in chain order.
pub(super) struct Members {
    pub(super) exchange: Rc<Exchange>,
    sources: Rc<[Rc<dyn FilterSource>]>,
    members: Vec<Member>,
    /// When the last callback of this turn ended: the next one begins then, which saves a clock read.
    clock: Cell<Option<Instant>>,
    /// The response's head has left the chain.
    pub(super) answered: Cell<bool>,
}

struct Member {
    callbacks: Callbacks,
    filter: RefCell<Option<Box<dyn Filter>>>,
    life: Cell<Life>,
    /// The request's head came to this filter.
    saw: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// No callback yet, so no context.
    New,
    Live,
    /// Faulted or finished: never called again.
    Gone,
}

/// Whether an answer keeps the stream waiting.
pub(super) trait Answer: Copy {
    fn pauses(self) -> bool;
}
impl Answer for HeadersAction {
    fn pauses(self) -> bool {
        self != Self::Continue
    }
}
impl Answer for BodyAction {
    fn pauses(self) -> bool {
        self != Self::Continue
    }
}
impl Answer for TrailersAction {
    fn pauses(self) -> bool {
        self != Self::Continue
    }
}

impl Members {
    pub(super) fn new(exchange: Rc<Exchange>, sources: Rc<[Rc<dyn FilterSource>]>) -> Self {
        let member = |source: &Rc<dyn FilterSource>| Member {
            callbacks: source.callbacks(),
            filter: RefCell::default(),
            life: Cell::new(Life::New),
            saw: Cell::new(false),
        };
        let members = sources.iter().map(member).collect();
        Self { exchange, sources, members, clock: Cell::default(), answered: Cell::default() }
    }
    pub(super) fn len(&self) -> usize {
        self.members.len()
    }
    /// The callbacks that can still be made on a filter: none once it is gone.
    pub(super) fn callbacks(&self, index: usize) -> Callbacks {
        let member = &self.members[index];
        if member.life.get() == Life::Gone { Callbacks::default() } else { member.callbacks }
    }
    /// The request's head is at this filter.
    pub(super) fn witness(&self, index: usize) {
        self.members[index].saw.set(true);
    }
    /// The filters that saw the request, from `from` (or the last of all) back to the first.
    pub(super) fn witnesses(&self, from: Option<usize>) -> Vec<usize> {
        let end = from.map_or(self.members.len(), |from| (from + 1).min(self.members.len()));
        (0..end).rev().filter(|&index| self.members[index].saw.get()).collect()
    }
    /// A poll begins: time spent outside the chain is nobody's.
    pub(super) fn begin_turn(&self) {
        self.clock.set(None);
    }
    /// What the proxy must act on now. After the response's head has left there is no other answer to give.
    pub(super) fn interrupt(&self) -> Option<Interrupt> {
        match self.exchange.interrupt.borrow().as_ref()? {
            Interrupt::Reply(_, reply) if self.answered.get() => Some(Interrupt::Reset(reply.details.clone())),
            interrupt => Some(interrupt.clone()),
        }
    }
    /// What a message that is no more gives to those who still poll it.
    pub(super) fn dropped(&self) -> Interrupt {
        self.interrupt().unwrap_or_else(|| Interrupt::Reset("gateway: the message was dropped".to_owned()))
    }

    /// Makes one callback, creating the context for the first, and records it. `None`: the filter is gone, and the
    /// exchange is interrupted if its `on_error` says so.
    pub(super) fn call<A: Answer>(
        &self,
        index: usize,
        phase: Phase,
        call: impl FnOnce(&mut dyn Filter) -> Result<A, Fault>,
    ) -> Option<A> {
        let began = self.clock.take().unwrap_or_else(Instant::now);
        let answer = self.start(index).and_then(|()| match self.members[index].filter.borrow_mut().as_mut() {
            Some(filter) => call(&mut **filter),
            None => Err(Fault { kind: FaultKind::Ended, detail: "the filter is gone".into() }),
        });
        let outcome = match &answer {
            Err(fault) => Outcome::Fault(fault.kind),
            Ok(_) if self.replied(index) => Outcome::Reply,
            Ok(answer) if answer.pauses() => Outcome::Pause,
            Ok(_) => Outcome::Continue,
        };
        self.clock.set(Some(self.record(index, phase, began, outcome)));
        answer.map_err(|fault| self.lose(index, &fault)).ok()
    }
    /// Whether a filter that holds the stream can no longer let it go, because it is gone or its instance has died.
    pub(super) fn lost(&self, index: usize) -> bool {
        let fault = self.members[index].filter.borrow().as_ref().and_then(|filter| filter.fault());
        if let Some(fault) = fault {
            self.lose(index, &fault);
        }
        self.members[index].life.get() == Life::Gone
    }
    /// Ends every live context, in chain order. A filter that has no callback but for the end gets its context here.
    pub(super) fn finish(&self) {
        let mut began = Instant::now();
        for (index, member) in self.members.iter().enumerate() {
            if let Err(fault) = if member.callbacks.finish && member.saw.get() { self.start(index) } else { Ok(()) } {
                began = self.record(index, Phase::Finish, began, Outcome::Fault(fault.kind));
            }
            member.life.set(Life::Gone);
            let Some(filter) = member.filter.take() else { continue };
            if filter.fault().is_none() {
                filter.finish();
                began = self.record(index, Phase::Finish, began, Outcome::Continue);
            }
        }
    }

    /// Creates the context of a filter that has none yet.
    fn start(&self, index: usize) -> Result<(), Fault> {
        let member = &self.members[index];
        if member.life.get() == Life::New {
            let filter = self.sources[index].start(self.exchange.stage(index))?;
            *member.filter.borrow_mut() = Some(filter);
            member.life.set(Life::Live);
        }
        Ok(())
    }
    fn replied(&self, index: usize) -> bool {
        matches!(&*self.exchange.interrupt.borrow(), Some(Interrupt::Reply(from, _)) if *from == index)
    }
    fn record(&self, index: usize, phase: Phase, began: Instant, outcome: Outcome) -> Instant {
        let now = Instant::now();
        let nanos = u64::try_from(now.duration_since(began).as_nanos()).unwrap_or(u64::MAX);
        self.sources[index].record(phase, nanos, outcome);
        now
    }
    /// The filter is gone from the stream. Its other direction may be waiting for it, so it is woken.
    fn lose(&self, index: usize, fault: &Fault) {
        let (member, source) = (&self.members[index], &self.sources[index]);
        member.life.set(Life::Gone);
        member.filter.take();
        let details = format!("{}: {}", source.name(), fault.kind.as_str());
        match source.on_error() {
            OnError::Open => self.exchange.wake(),
            OnError::Closed if self.answered.get() => self.exchange.fail(Interrupt::Reset(details)),
            OnError::Closed => {
                let reply = LocalReply { fault: true, ..LocalReply::text(503, "service unavailable\n", details) };
                self.exchange.fail(Interrupt::Reply(index, reply));
            }
        }
    }
}
