//! What an instance's store carries for its hostcalls: who it is, whose callback runs, and what the callback leaves behind.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::{Memory, TypedFunc};

use super::FilterSpec;
use super::callouts::{Calls, Incoming};
use super::engine::Deadline;
use super::limits::{METRICS, MemoryLimit, QUEUES};
use super::log::{GuestLog, LogLevel, Speaker};
use super::roots::{Root, Roots};
use super::running::Running;
use crate::filter::tcp::TcpStage;
use crate::filter::{Fault, Stage};
use crate::state::State;

/// What a stream context serves.
pub(super) enum Subject {
    Request(Stage),
    Connection(TcpStage),
}

/// A stream context.
pub(super) struct Stream {
    pub(super) id: u32,
    /// Its parent.
    pub(super) root: Rc<Root>,
    pub(super) subject: Subject,
    /// A fault that the filter reported itself; its instance lives on.
    pub(super) reported: RefCell<Option<Fault>>,
}

impl Stream {
    /// Its stage, when it serves a request.
    pub(super) fn stage(&self) -> Option<&Stage> {
        match &self.subject {
            Subject::Request(stage) => Some(stage),
            Subject::Connection(_) => None,
        }
    }
    /// Its stage, when it serves a TCP connection.
    pub(super) fn tcp(&self) -> Option<&TcpStage> {
        match &self.subject {
            Subject::Request(_) => None,
            Subject::Connection(stage) => Some(stage),
        }
    }
    /// What logs call the request, or the connection.
    pub(super) fn name(&self) -> &str {
        match &self.subject {
            Subject::Request(stage) => &stage.exchange().facts.request_id,
            Subject::Connection(stage) => &stage.connection().facts.id,
        }
    }
    /// The id of the request that it serves, if it does.
    pub(super) fn request_id(&self) -> Option<&str> {
        Some(&self.stage()?.exchange().facts.request_id)
    }
    /// Wakes those who wait for what it serves.
    pub(super) fn wake(&self) {
        match &self.subject {
            Subject::Request(stage) => stage.exchange().wake(),
            Subject::Connection(stage) => stage.connection().wake(),
        }
    }
}

/// The context that hostcalls act on.
#[derive(Clone)]
pub(super) enum Effective {
    Root(Rc<Root>),
    Stream(Rc<Stream>),
}

impl Effective {
    /// Its id.
    pub(super) fn context(&self) -> u32 {
        match self {
            Self::Root(root) => root.id,
            Self::Stream(stream) => stream.id,
        }
    }
    /// Itself, or its parent.
    pub(super) fn root(&self) -> &Rc<Root> {
        match self {
            Self::Root(root) => root,
            Self::Stream(stream) => &stream.root,
        }
    }
    pub(super) fn stream(&self) -> Option<&Rc<Stream>> {
        match self {
            Self::Root(_) => None,
            Self::Stream(stream) => Some(stream),
        }
    }
}

/// Why the instance was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To serve, on a worker.
    Serve,
    /// To prove that it starts; it must not take anything from those that serve.
    Canary,
}

/// What a callback asks of the host, done when it has returned.
#[derive(Default)]
pub(super) struct Left {
    /// New tick periods of root contexts; `None` stops the timer. One each.
    pub(super) ticks: Vec<(Rc<Root>, Option<Duration>)>,
    /// Contexts that called `proxy_done`.
    pub(super) done: Vec<u32>,
    /// Root contexts that registered a queue: its events must be waited for.
    pub(super) listens: Vec<Rc<Root>>,
}

impl Left {
    pub(super) fn is_empty(&self) -> bool {
        self.ticks.is_empty() && self.done.is_empty() && self.listens.is_empty()
    }
    /// What a root context asked for last counts.
    pub(super) fn tick(&mut self, root: &Rc<Root>, period: Option<Duration>) {
        self.ticks.retain(|(asked, _)| !Rc::ptr_eq(asked, root));
        self.ticks.push((Rc::clone(root), period));
    }
}

/// Data of an instance's store.
pub(super) struct HostState {
    /// Set when the module has been instantiated.
    pub(super) memory: Option<Memory>,
    /// Set likewise; taken while it runs.
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    pub(super) roots: Rc<Roots>,
    pub(super) services: Arc<State>,
    pub(super) purpose: Purpose,
    /// The instance as events reach it; nothing for a canary.
    pub(super) running: Weak<Running>,
    pub(super) created: Instant,
    pub(super) memory_limit: MemoryLimit,
    pub(super) log: GuestLog,
    pub(super) metrics: Handles,
    pub(super) queues: Handles,
    /// Those of the queues that belong to other VMs, with the names of these.
    pub(super) queues_of_others: BTreeMap<u32, Box<str>>,
    /// Callouts whose answer is still to come.
    pub(super) calls: Calls,
    pub(super) streams: BTreeMap<u32, Rc<Stream>>,
    next_context: u32,
    /// Steps left to the callback that runs.
    pub(super) deadline: Deadline,
    pub(super) effective: Effective,
    /// The last callback ended while the guest acted for a stream.
    pub(super) acted_for_stream: bool,
    /// The stream is over; nothing can be done to it any more.
    pub(super) finishing: bool,
    /// The answer that is being delivered.
    pub(super) answer: Option<Incoming>,
    pub(super) left: Left,
    /// Serialised pairs, kept for the next time.
    pub(super) scratch: Vec<u8>,
}

impl HostState {
    pub(super) fn new(roots: Rc<Roots>, services: Arc<State>, purpose: Purpose, running: Weak<Running>) -> Self {
        let first = roots.first();
        Self {
            memory: None,
            allocate: None,
            memory_limit: MemoryLimit::new(first.spec.memory),
            deadline: first.deadline,
            effective: Effective::Root(Rc::clone(first)),
            acted_for_stream: false,
            next_context: roots.last_id(),
            roots,
            services,
            purpose,
            running,
            created: Instant::now(),
            log: GuestLog::default(),
            metrics: Handles::new(METRICS),
            queues: Handles::new(QUEUES),
            queues_of_others: BTreeMap::new(),
            calls: Calls::default(),
            streams: BTreeMap::new(),
            finishing: false,
            answer: None,
            left: Left::default(),
            scratch: Vec::new(),
        }
    }
    /// The entry for which hostcalls act, and by which they are granted or refused.
    pub(super) fn spec(&self) -> &FilterSpec {
        &self.effective.root().spec
    }
    /// What shared data and queues are filed under: all uses of one plugin share them, unless the configuration says otherwise.
    pub(super) fn vm_id(&self) -> &str {
        &self.spec().vm.id
    }
    /// The stage of the request that hostcalls act on.
    pub(super) fn stage(&self) -> Option<&Stage> {
        self.effective.stream()?.stage()
    }
    /// The stage of the TCP connection that hostcalls act on.
    pub(super) fn tcp(&self) -> Option<&TcpStage> {
        self.effective.stream()?.tcp()
    }
    /// As [`HostState::tcp`], while the connection can still be resumed or closed.
    pub(super) fn live_tcp(&self) -> Option<&TcpStage> {
        self.tcp().filter(|_| !self.finishing)
    }
    /// As [`HostState::stage`], while the stream can still be replied to, resumed or reset.
    pub(super) fn live_stage(&self) -> Option<&Stage> {
        self.stage().filter(|_| !self.finishing)
    }
    /// The context of that id, if it lives.
    pub(super) fn context(&self, id: u32) -> Option<Effective> {
        match self.roots.get(id) {
            Some(root) => root.lives.get().then(|| Effective::Root(Rc::clone(root))),
            None => self.streams.get(&id).cloned().map(Effective::Stream),
        }
    }
    /// A new stream context, with an id that this instance has not had before.
    pub(super) fn open_stream(&mut self, root: &Rc<Root>, subject: Subject) -> Option<Rc<Stream>> {
        self.next_context = self.next_context.checked_add(1)?;
        let root = Rc::clone(root);
        let stream = Rc::new(Stream { id: self.next_context, root, subject, reported: RefCell::default() });
        self.streams.insert(stream.id, Rc::clone(&stream));
        Some(stream)
    }
    /// A callback begins.
    pub(super) fn begin(&mut self, context: Effective, deadline: Deadline) {
        self.effective = context;
        self.deadline = deadline;
        self.finishing = false;
        self.memory_limit.forgive();
        self.log.begin();
    }
    /// The callback has returned.
    pub(super) fn end(&mut self) {
        self.log.end(speaker(&self.effective));
        self.acted_for_stream = self.effective.stream().is_some();
        self.effective = Effective::Root(Rc::clone(self.roots.first()));
    }
    /// A line from the guest.
    pub(super) fn log(&mut self, level: LogLevel, text: &[u8]) {
        self.log.line(level, text, speaker(&self.effective));
    }
    /// Output of the guest.
    pub(super) fn write_output(&mut self, error: bool, bytes: &[u8]) {
        self.log.write(error, bytes, speaker(&self.effective));
    }
    /// A filter changes what has gone on already, or has not come yet. Said once per plugin: it would do so for every
    /// request.
    pub(super) fn late_write(&self, what: &str) {
        if self.spec().plugin.first_late_write() {
            tracing::warn!(
                filter = &*self.spec().name,
                "A filter changes {what} when it does not hold it; this is ignored, and said only once."
            );
        }
    }
}

fn speaker(effective: &Effective) -> Speaker<'_> {
    Speaker { filter: &effective.root().spec.name, request: effective.stream().map(|stream| stream.name()) }
}

/// Ids as one instance knows them, for things that the process numbers: a guest can only name what it was given.
#[derive(Debug)]
pub(super) struct Handles {
    real: Vec<u32>,
    most: usize,
}

impl Handles {
    fn new(most: usize) -> Self {
        Self { real: Vec::new(), most }
    }
    /// The instance's id of a real one, the same every time; `None` when it knows too many.
    pub(super) fn hand_out(&mut self, real: u32) -> Option<u32> {
        let index = match self.real.iter().position(|known| *known == real) {
            Some(index) => index,
            None if self.real.len() < self.most => {
                self.real.push(real);
                self.real.len() - 1
            }
            None => return None,
        };
        u32::try_from(index + 1).ok()
    }
    /// The real id.
    pub(super) fn real(&self, id: u32) -> Option<u32> {
        self.real.get(usize::try_from(id).ok()?.checked_sub(1)?).copied()
    }
}
