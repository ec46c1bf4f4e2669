//! The root context: `start`, the timers of `#[every]`, and everybody's `sleep`, all on the host's one tick.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::calls::{Task, run_as};
use crate::error::{Error, Fault, Result};
use crate::filter::{Phase, PhaseFuture};
use crate::host::{HOST, Host};
use crate::log;

/// No tick is asked for.
const NEVER: u64 = u64::MAX;
/// Nanoseconds in the unit of the ABI's tick.
const TICK: u64 = 1_000_000;

/// A function of the author that belongs to no stream.
pub(crate) struct Job {
    name: &'static str,
    /// Nanoseconds between two starts; none: it runs once.
    period: Option<u64>,
    /// When it is to start next.
    due: u64,
    start: Option<Box<dyn Fn() -> Phase>>,
    running: Option<PhaseFuture>,
    /// A result that was there at once.
    result: Option<Result>,
}

impl Job {
    pub(crate) fn once(name: &'static str, phase: Phase) -> Self {
        let mut job = Self { name, period: None, due: NEVER, start: None, running: None, result: None };
        job.begin(phase);
        job
    }

    pub(crate) fn every(name: &'static str, period: Duration, start: Box<dyn Fn() -> Phase>) -> Self {
        let period = u64::try_from(period.as_nanos()).unwrap_or(NEVER).max(TICK);
        Self { name, period: Some(period), due: NEVER, start: Some(start), running: None, result: None }
    }

    fn begin(&mut self, phase: Phase) {
        match phase {
            Phase::Done(result) => self.result = Some(result),
            Phase::Later(future) => self.running = Some(future),
        }
    }
}

/// The root context.
pub(crate) struct Root {
    id: u32,
    jobs: RefCell<Vec<Job>>,
    /// Who sleeps until when.
    sleepers: RefCell<BTreeMap<(u64, u64), Weak<dyn Task>>>,
    sleeps: Cell<u64>,
    /// When the tick that was asked for comes.
    armed: Cell<u64>,
    /// The host ticks at all.
    ticking: Cell<bool>,
}

impl Root {
    pub(crate) fn new(id: u32) -> Rc<Self> {
        Rc::new(Self {
            id,
            jobs: RefCell::default(),
            sleepers: RefCell::default(),
            sleeps: Cell::new(0),
            armed: Cell::new(NEVER),
            ticking: Cell::new(false),
        })
    }

    /// Replaces the jobs; those that are not timers start now. An error of theirs that is there at once is returned.
    pub(crate) fn run(self: &Rc<Self>, mut jobs: Vec<Job>) -> Result {
        let now = HOST.now();
        for job in &mut jobs {
            job.due = job.period.map_or(NEVER, |period| now.saturating_add(period));
        }
        self.jobs.replace(jobs);
        let results = self.poll_jobs();
        self.arm(self.id);
        results.into_iter().find_map(|(_, result)| result.err()).map_or(Ok(()), Err)
    }

    /// Wakes `task` at `due` (nanoseconds since 1970).
    pub(crate) fn sleep(&self, due: u64, task: &Rc<dyn Task>) {
        let number = self.sleeps.get();
        self.sleeps.set(number + 1);
        self.sleepers.borrow_mut().insert((due, number), Rc::downgrade(task));
        if due < self.armed.get() {
            self.arm(task.context());
        }
    }

    /// `on_tick`
    pub(crate) fn tick(self: &Rc<Self>) {
        let now = HOST.now();
        let mut awake = self.sleepers.borrow_mut();
        let later = awake.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut *awake, later);
        drop(awake);
        for task in due.into_values().filter_map(|task| task.upgrade()) {
            HOST.set_effective_context(task.context());
            task.wake();
        }
        HOST.set_effective_context(self.id);
        self.start_due(now);
        self.clone().wake();
        // The host's tick repeats: its period is rarely what is wanted next.
        self.armed.set(NEVER);
        self.arm(self.id);
    }

    /// Starts the timers whose time has come. One that still runs is left to finish, and starts again a period later.
    fn start_due(&self, now: u64) {
        let count = self.jobs.borrow().len();
        for index in 0..count {
            let phase = {
                let mut jobs = self.jobs.borrow_mut();
                let Some(job) = jobs.get_mut(index).filter(|job| job.due <= now) else { continue };
                job.due = now.saturating_add(job.period.unwrap_or(NEVER));
                if job.running.is_some() {
                    continue;
                }
                // Taken out while the author's code runs.
                job.start.take()
            };
            let Some(start) = phase else { continue };
            let phase = start();
            if let Some(job) = self.jobs.borrow_mut().get_mut(index) {
                job.start = Some(start);
                job.begin(phase);
            }
        }
    }

    /// Polls every running job; returns what ended.
    fn poll_jobs(self: &Rc<Self>) -> Vec<(&'static str, Result)> {
        let mut ended = Vec::new();
        let count = self.jobs.borrow().len();
        for index in 0..count {
            let (name, future, result) = {
                let mut jobs = self.jobs.borrow_mut();
                let Some(job) = jobs.get_mut(index) else { continue };
                (job.name, job.running.take(), job.result.take())
            };
            ended.extend(result.map(|result| (name, result)));
            let Some(mut future) = future else { continue };
            let poll = run_as(self.clone(), || future.as_mut().poll(&mut Context::from_waker(Waker::noop())));
            match poll {
                Poll::Ready(result) => ended.push((name, result)),
                Poll::Pending => {
                    if let Some(job) = self.jobs.borrow_mut().get_mut(index) {
                        job.running = Some(future);
                    }
                }
            }
        }
        ended
    }

    /// Asks for a tick when the next timer is due. `context` is the context that the host speaks for now.
    fn arm(&self, context: u32) {
        let sleeper = self.sleepers.borrow().keys().next().map_or(NEVER, |(due, _)| *due);
        let job = self.jobs.borrow().iter().map(|job| job.due).min().unwrap_or(NEVER);
        let due = sleeper.min(job);
        if due == self.armed.get() && (due != NEVER || !self.ticking.get()) {
            return;
        }
        let period = match due {
            NEVER => 0,
            due => due.saturating_sub(HOST.now()).div_ceil(TICK).max(1),
        };
        // A tick belongs to the root context.
        if context != self.id {
            HOST.set_effective_context(self.id);
        }
        HOST.set_tick(u32::try_from(period).unwrap_or(u32::MAX));
        self.ticking.set(period > 0);
        if context != self.id {
            HOST.set_effective_context(context);
        }
        self.armed.set(due);
    }
}

impl Task for Root {
    fn context(&self) -> u32 {
        self.id
    }

    fn root(&self) -> &Root {
        self
    }

    fn wake(self: Rc<Self>) {
        for (name, result) in self.poll_jobs() {
            match result {
                Ok(()) => {}
                Err(Error::Fault(fault)) => log::error(&fault.context(name).to_string()),
                Err(Error::Reply(_)) => {
                    log::error(&Fault::new("there is nobody to reply to").context(name).to_string())
                }
            }
        }
    }
}
