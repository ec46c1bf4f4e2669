//! Events outside of any exchange: answers to callouts, and time.

use bytes::Bytes;

use super::harness::Harness;
use super::message::{CallReply, Fields};
use super::world::{Pending, ROOT, World};
use crate::engine;
use crate::filter::Filter;

impl<F: Filter> Harness<F> {
    /// Delivers everything that is due now, and what that leads to.
    pub(super) fn settle(&self) {
        loop {
            self.ask_upstreams();
            if let Some((token, reply)) = self.due_answer() {
                self.deliver(token, &reply);
            } else if self.due_tick() {
                self.as_root(|| self.engine.root().tick());
            } else {
                return;
            }
        }
    }

    /// Moves time to the next event before `until` and delivers it; false when there is none.
    pub(super) fn step(&self, until: u64) -> bool {
        let next = {
            let world = self.world.borrow();
            let answers = world.pending.iter().filter_map(|pending| pending.answer.as_ref().map(|(due, _)| *due));
            answers.chain(world.tick.map(|(_, due)| due)).min()
        };
        let Some(next) = next.filter(|next| *next <= until) else { return false };
        let mut world = self.world.borrow_mut();
        world.now = world.now.max(next);
        drop(world);
        self.settle();
        true
    }

    /// Lets time pass.
    pub(super) fn run_until(&self, until: u64) {
        self.settle();
        while self.step(until) {}
        self.world.borrow_mut().now = until;
    }

    /// Lets the upstreams of new callouts decide what they answer, and when.
    fn ask_upstreams(&self) {
        loop {
            let asked = {
                let world = self.world.borrow();
                let new = world.pending.iter().find(|pending| pending.answer.is_none());
                new.map(|new| (new.token, new.call.clone(), world.upstreams.get(&new.call.upstream).cloned()))
            };
            let Some((token, call, handler)) = asked else { return };
            // The test's own code runs here: nothing is borrowed.
            let reply = handler.map_or_else(|| CallReply::new(503), |handler| handler(&call));
            let mut world = self.world.borrow_mut();
            let now = world.now;
            if let Some(pending) = world.pending.iter_mut().find(|pending| pending.token == token) {
                pending.answer = Some(answer(now, pending, reply));
            }
        }
    }

    fn due_answer(&self) -> Option<(u32, CallReply)> {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        let due = |pending: &Pending| pending.answer.as_ref().is_some_and(|(due, _)| *due <= now);
        let at = world.pending.iter().position(due)?;
        let pending = world.pending.remove(at);
        pending.answer.map(|(_, reply)| (pending.token, reply))
    }

    fn due_tick(&self) -> bool {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        match &mut world.tick {
            Some((period, due)) if *due <= now => {
                *due = now + *period;
                true
            }
            _ => false,
        }
    }

    fn deliver(&self, token: u32, reply: &CallReply) {
        let fields: Fields = if reply.status == 0 { Vec::new() } else { reply.all_fields() };
        let (count, size) = (fields.len(), reply.body.len());
        self.world.borrow_mut().answer = Some((fields, reply.body.clone()));
        self.as_root(|| engine::answered(token, ROOT, count, size));
        self.world.borrow_mut().answer = None;
    }

    fn as_root(&self, event: impl FnOnce()) {
        self.world.borrow_mut().effective = ROOT;
        event();
    }
}

/// When an answer comes: after its delay, or 504 at the timeout.
fn answer(now: u64, pending: &Pending, reply: CallReply) -> (u64, CallReply) {
    let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if reply.delay > pending.timeout {
        let late = CallReply::new(504).body(Bytes::from_static(b"upstream request timeout"));
        (now.saturating_add(nanos(pending.timeout)), late)
    } else {
        (now.saturating_add(nanos(reply.delay)), reply)
    }
}

impl World {
    /// The value of a metric: `name` sums over its labels, `name{key=value}` is exact.
    pub(super) fn metric(&self, name: &str) -> i64 {
        let full = |labels: &[(String, String)], name: &str| {
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{name}{{{}}}", labels.join(","))
        };
        let matching =
            self.metrics.iter().filter(|metric| metric.name == name || full(&metric.labels, &metric.name) == name);
        matching.map(|metric| metric.value).sum()
    }
}
