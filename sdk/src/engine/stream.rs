//! One exchange: polls the phase of each direction and turns its state into the host's actions.

use std::any::{Any, TypeId};
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::Action;
use super::body::{Half, Mode, Want};
use super::calls::{Task, run_as};
use super::root::Root;
use crate::error::{Error, Result};
use crate::extension;
use crate::filter::{Callbacks, Phase};
use crate::host::{Direction, HOST, Host};
use crate::log;
use crate::reply::Reply;

/// A stream context.
pub(crate) struct Stream {
    id: u32,
    root: Rc<Root>,
    halves: [RefCell<Half>; 2],
    /// The author's own state, by type.
    scratch: RefCell<Vec<(TypeId, Box<dyn Any>)>>,
}

impl Stream {
    pub(super) fn new(id: u32, root: Rc<Root>, callbacks: Callbacks) -> Rc<Self> {
        Rc::new(Self {
            id,
            root,
            halves: [
                RefCell::new(Half::new(Direction::Request, callbacks.request_body)),
                RefCell::new(Half::new(Direction::Response, callbacks.response_body)),
            ],
            scratch: RefCell::default(),
        })
    }

    /// One direction; borrowed for a moment only, never while the author's code runs.
    pub(crate) fn half(&self, direction: Direction) -> RefMut<'_, Half> {
        self.halves[direction as usize].borrow_mut()
    }

    /// The author's state of type `T`, made by default at the first use.
    pub(crate) fn scratch<T: Default + 'static>(&self) -> RefMut<'_, T> {
        let mut scratch = self.scratch.borrow_mut();
        let id = TypeId::of::<T>();
        if !scratch.iter().any(|(other, _)| *other == id) {
            scratch.push((id, Box::new(T::default())));
        }
        RefMut::map(scratch, |scratch| {
            let found = scratch.iter_mut().find_map(|(other, value)| (*other == id).then(|| value.downcast_mut())?);
            // It was put there three lines above.
            #[allow(clippy::unwrap_used, reason = "the entry was made above")]
            found.unwrap()
        })
    }

    /// Starts a phase: the head has come.
    pub(super) fn start(self: &Rc<Self>, direction: Direction, end: bool, call: impl FnOnce() -> Phase) -> Action {
        self.half(direction).begin(end);
        let outcome = match call() {
            Phase::Done(result) => Some(result),
            Phase::Later(future) => {
                self.half(direction).future = Some(future);
                self.poll(direction)
            }
        };
        self.conclude(direction, outcome)
    }

    /// `on_*_body`: the host's buffer holds `size` bytes.
    pub(crate) fn body(self: &Rc<Self>, direction: Direction, size: usize, end: bool) -> Action {
        let mut half = self.half(direction);
        half.arrive(size, end);
        let action = match (half.mode, half.want) {
            (Mode::Running, Want::Chunk) => None,
            (Mode::Running, Want::Whole) if half.end => None,
            (Mode::Running, _) | (Mode::Stopped, _) => Some(Action::Pause),
            (Mode::Passing | Mode::Replacing, _) => Some(settle(&mut half)),
        };
        if let Some(action) = action {
            half.paused = action == Action::Pause;
            return action;
        }
        drop(half);
        let outcome = self.poll(direction);
        self.conclude(direction, outcome)
    }

    /// `on_*_trailers`: the body has ended.
    pub(crate) fn trailers(self: &Rc<Self>, direction: Direction) -> Action {
        let mut half = self.half(direction);
        half.end = true;
        let action = match (half.mode, half.want) {
            (Mode::Running, Want::Chunk | Want::Whole) => None,
            (Mode::Running, Want::Other) | (Mode::Stopped, _) => Some(Action::Pause),
            (Mode::Passing | Mode::Replacing, _) => Some(settle(&mut half)),
        };
        if let Some(action) = action {
            half.paused = action == Action::Pause;
            return action;
        }
        drop(half);
        let outcome = self.poll(direction);
        self.conclude(direction, outcome)
    }

    /// The exchange is over: what is still awaited will not be. (The futures hold the stream, the stream the futures.)
    pub(crate) fn end(&self) {
        for direction in [Direction::Request, Direction::Response] {
            let future = self.half(direction).future.take();
            drop(future);
        }
    }

    /// Polls a phase; none while it waits.
    fn poll(self: &Rc<Self>, direction: Direction) -> Option<Result> {
        let mut future = {
            let mut half = self.half(direction);
            half.want = Want::Other;
            half.future.take()?
        };
        let poll = run_as(self.clone(), || future.as_mut().poll(&mut Context::from_waker(Waker::noop())));
        match poll {
            Poll::Ready(result) => Some(result),
            Poll::Pending => {
                self.half(direction).future = Some(future);
                None
            }
        }
    }

    /// What a polled phase means for its message.
    fn conclude(&self, direction: Direction, outcome: Option<Result>) -> Action {
        let mut half = self.half(direction);
        let outcome = match (outcome, half.misuse.take(), half.reply.take()) {
            (None, misuse, reply) => {
                half.misuse = misuse;
                half.reply = reply;
                None
            }
            (Some(Ok(())), Some(misuse), _) => Some(Err(Error::Fault(misuse))),
            (Some(Ok(())), None, Some(reply)) => Some(Err(Error::Reply(reply))),
            (Some(outcome), ..) => Some(outcome),
        };
        let action = match outcome {
            Some(Ok(())) if half.finish() => Action::Continue,
            Some(Ok(())) => Action::Pause,
            Some(Err(error)) => {
                half.mode = Mode::Stopped;
                drop(half);
                stop(error);
                half = self.half(direction);
                Action::Pause
            }
            // The body flows: its head leaves, and what was written.
            None if half.want == Want::Chunk => {
                half.drop_length();
                half.flush();
                Action::Continue
            }
            None => {
                half.flush();
                Action::Pause
            }
        };
        match action {
            Action::Continue => half.release(),
            Action::Pause => half.paused = true,
        }
        action
    }
}

/// A piece of a body whose phase is over.
fn settle(half: &mut Half) -> Action {
    let done = match half.mode {
        Mode::Replacing => half.finish(),
        _ => {
            half.flush();
            true
        }
    };
    if done {
        half.release();
        Action::Continue
    } else {
        Action::Pause
    }
}

/// Ends a phase with an answer or a fault.
fn stop(error: Error) {
    match error {
        Error::Reply(reply) => HOST.reply(&reply),
        Error::Fault(fault) => {
            if extension::call(extension::FAULT, fault.message().as_bytes()).is_err() {
                log::error(fault.message());
                HOST.reply(&Reply::problem_for(500, "").details("filter_fault"));
            }
        }
    }
}

impl Task for Stream {
    fn context(&self) -> u32 {
        self.id
    }

    fn root(&self) -> &Root {
        &self.root
    }

    fn wake(self: Rc<Self>) {
        for direction in [Direction::Request, Direction::Response] {
            if self.half(direction).future.is_none() {
                continue;
            }
            let was_paused = self.half(direction).paused;
            let outcome = self.poll(direction);
            if self.conclude(direction, outcome) == Action::Continue && was_paused {
                HOST.resume(direction);
            }
        }
    }
}
