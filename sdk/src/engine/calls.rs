//! Who is being polled, and who waits for which callout.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};

use bytes::Bytes;

use super::root::Root;
use crate::error::Fault;
use crate::host::{Buffer, CallParts, HOST, Host, HostError, Map};

/// Something with futures: a stream, or the root context.
pub(crate) trait Task {
    /// The context whose message, properties and resumes its hostcalls act on.
    fn context(&self) -> u32;
    /// Where its timers are.
    fn root(&self) -> &Root;
    /// Polls what waits, and acts on it. The effective context is this task's.
    fn wake(self: Rc<Self>);
}

/// An answer to a callout.
pub(crate) struct Answer {
    /// In the ABI's serialised form.
    pub(crate) headers: Bytes,
    pub(crate) body: Bytes,
}

struct Waiting {
    task: Weak<dyn Task>,
    answer: Option<Answer>,
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<dyn Task>>> = const { RefCell::new(None) };
    static CALLS: RefCell<BTreeMap<u32, Waiting>> = const { RefCell::new(BTreeMap::new()) };
}

/// Runs `poll` as this task.
pub(super) fn run_as<T>(task: Rc<dyn Task>, poll: impl FnOnce() -> T) -> T {
    let before = CURRENT.replace(Some(task));
    let result = poll();
    drop(CURRENT.replace(before));
    result
}

/// The task that is being polled.
pub(crate) fn current() -> Result<Rc<dyn Task>, Fault> {
    CURRENT.with_borrow(Clone::clone).ok_or_else(|| Fault::new("awaited outside of a filter"))
}

/// A callout that was accepted. Dropping it forgets the answer.
pub(crate) struct CallTicket(u32);

impl CallTicket {
    /// Starts a callout for the task that is being polled.
    pub(crate) fn start(call: &CallParts<'_>) -> Result<Self, Fault> {
        let task = Rc::downgrade(&current()?);
        let token = HOST.http_call(call).map_err(|error| {
            Fault::new(match error {
                HostError::BadArgument => {
                    format!("callout to `{}` refused: no such upstream, or not granted", call.upstream)
                }
                _ => format!("callout to `{}` could not be started", call.upstream),
            })
        })?;
        CALLS.with_borrow_mut(|calls| calls.insert(token, Waiting { task, answer: None }));
        Ok(Self(token))
    }

    /// The answer, once it is there.
    pub(crate) fn take(&self) -> Option<Answer> {
        CALLS.with_borrow_mut(|calls| calls.get_mut(&self.0)?.answer.take())
    }
}

impl Drop for CallTicket {
    fn drop(&mut self) {
        let waiting = CALLS.with_borrow_mut(|calls| calls.remove(&self.0));
        drop(waiting);
    }
}

/// `on_http_call_response`: keeps the answer and wakes who waits for it. `active` is the context that the host speaks for now.
pub(crate) fn answered(token: u32, active: u32, headers: usize, body: usize) {
    // Nobody waits any more: the stream is over, or its future went another way.
    let Some(task) = CALLS.with_borrow(|calls| calls.get(&token).and_then(|waiting| waiting.task.upgrade())) else {
        return;
    };
    let headers = if headers > 0 { HOST.headers(Map::Call) } else { Bytes::new() };
    let body = if body > 0 { HOST.buffer(Buffer::Call, 0, body).unwrap_or_default() } else { Bytes::new() };
    CALLS.with_borrow_mut(|calls| {
        if let Some(waiting) = calls.get_mut(&token) {
            waiting.answer = Some(Answer { headers, body });
        }
    });
    if task.context() != active {
        HOST.set_effective_context(task.context());
    }
    task.wake();
}
