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
use super::queues::QueueEvents;
use super::running::Running;
use crate::filter::tcp::TcpStage;
use crate::filter::{Callouts, Fault, Stage};
use crate::state::State;

/// Id of the root context. Streams count on from here.
pub(super) const ROOT_CONTEXT: u32 = 1;

/// What a stream context serves.
pub(super) enum Subject {
    Request(Stage),
    Connection(TcpStage),
}

/// A stream context.
pub(super) struct Stream {
    pub(super) id: u32,
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
    Root,
    Stream(Rc<Stream>),
}

impl Effective {
    pub(super) fn context(&self) -> u32 {
        match self {
            Self::Root => ROOT_CONTEXT,
            Self::Stream(stream) => stream.id,
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
#[derive(Debug, Default)]
pub(super) struct Left {
    /// A new tick period; `Some(None)` stops the timer.
    pub(super) tick: Option<Option<Duration>>,
    /// Contexts that called `proxy_done`.
    pub(super) done: Vec<u32>,
    /// A queue was registered: its events must be waited for.
    pub(super) listens: bool,
}

/// Data of an instance's store.
pub(super) struct HostState {
    /// Set when the module has been instantiated.
    pub(super) memory: Option<Memory>,
    /// Set likewise; taken while it runs.
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    pub(super) spec: Arc<FilterSpec>,
    pub(super) services: Arc<State>,
    pub(super) callouts: Rc<dyn Callouts>,
    pub(super) purpose: Purpose,
    /// The instance as events reach it; nothing for a canary.
    pub(super) running: Weak<Running>,
    pub(super) created: Instant,
    /// The root context exists, so events can be told to it.
    pub(super) root_created: bool,
    pub(super) memory_limit: MemoryLimit,
    pub(super) log: GuestLog,
    pub(super) metrics: Handles,
    pub(super) queues: Handles,
    pub(super) queue_events: Arc<QueueEvents>,
    /// Callouts whose answer is still to come.
    pub(super) calls: Calls,
    pub(super) streams: BTreeMap<u32, Rc<Stream>>,
    next_context: u32,
    /// Steps left to the callback that runs.
    pub(super) deadline: Deadline,
    pub(super) effective: Effective,
    /// The stream is over; nothing can be done to it any more.
    pub(super) finishing: bool,
    /// The answer that is being delivered.
    pub(super) answer: Option<Incoming>,
    pub(super) left: Left,
    /// Serialised pairs, kept for the next time.
    pub(super) scratch: Vec<u8>,
}

impl HostState {
    pub(super) fn new(
        spec: Arc<FilterSpec>,
        services: Arc<State>,
        callouts: Rc<dyn Callouts>,
        purpose: Purpose,
        running: Weak<Running>,
    ) -> Self {
        Self {
            memory: None,
            allocate: None,
            memory_limit: MemoryLimit::new(spec.memory),
            deadline: Deadline::new(spec.deadline),
            spec,
            services,
            callouts,
            purpose,
            running,
            created: Instant::now(),
            root_created: false,
            log: GuestLog::default(),
            metrics: Handles::new(METRICS),
            queues: Handles::new(QUEUES),
            queue_events: Arc::default(),
            calls: Calls::default(),
            streams: BTreeMap::new(),
            next_context: ROOT_CONTEXT,
            effective: Effective::Root,
            finishing: false,
            answer: None,
            left: Left::default(),
            scratch: Vec::new(),
        }
    }
    /// What shared data and queues are filed under: all uses of one plugin share them, unless the configuration says otherwise.
    pub(super) fn vm_id(&self) -> &str {
        &self.spec.vm.id
    }
    /// The stage of the request that hostcalls act on.
    pub(super) fn stage(&self) -> Option<&Stage> {
        match &self.effective {
            Effective::Root => None,
            Effective::Stream(stream) => stream.stage(),
        }
    }
    /// The stage of the TCP connection that hostcalls act on.
    pub(super) fn tcp(&self) -> Option<&TcpStage> {
        match &self.effective {
            Effective::Root => None,
            Effective::Stream(stream) => stream.tcp(),
        }
    }
    /// As [`HostState::tcp`], while the connection can still be resumed or closed.
    pub(super) fn live_tcp(&self) -> Option<&TcpStage> {
        self.tcp().filter(|_| !self.finishing)
    }
    /// As [`HostState::stage`], while the stream can still be replied to, resumed or reset.
    pub(super) fn live_stage(&self) -> Option<&Stage> {
        self.stage().filter(|_| !self.finishing)
    }
    /// The stream of that context id.
    pub(super) fn stream(&self, context: u32) -> Option<Rc<Stream>> {
        self.streams.get(&context).cloned()
    }
    /// A new stream context, with an id that this instance has not had before.
    pub(super) fn open_stream(&mut self, subject: Subject) -> Option<Rc<Stream>> {
        self.next_context = self.next_context.checked_add(1)?;
        let stream = Rc::new(Stream { id: self.next_context, subject, reported: RefCell::default() });
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
        let speaker = speaker(&self.spec, &self.effective);
        self.log.end(speaker);
        self.effective = Effective::Root;
    }
    /// A line from the guest.
    pub(super) fn log(&mut self, level: LogLevel, text: &[u8]) {
        self.log.line(level, text, speaker(&self.spec, &self.effective));
    }
    /// Output of the guest.
    pub(super) fn write_output(&mut self, error: bool, bytes: &[u8]) {
        self.log.write(error, bytes, speaker(&self.spec, &self.effective));
    }
    /// A filter changes what has gone on already, or has not come yet. Said once per plugin: it would do so for every
    /// request.
    pub(super) fn late_write(&self, what: &str) {
        if self.spec.plugin.first_late_write() {
            tracing::warn!(
                filter = &*self.spec.name,
                "A filter changes {what} when it does not hold it; this is ignored, and said only once."
            );
        }
    }
}

fn speaker<'a>(spec: &'a FilterSpec, effective: &'a Effective) -> Speaker<'a> {
    let request = match effective {
        Effective::Root => None,
        Effective::Stream(stream) => Some(stream.name()),
    };
    Speaker { filter: &spec.name, request }
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
