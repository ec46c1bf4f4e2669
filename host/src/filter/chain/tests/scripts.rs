//! What tests are written in: scripted filters and messages in pieces.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use crate::filter::chain::{Frame, Input, InputError};
use crate::filter::{
    BodyAction, Callbacks, Direction, Fault, FaultKind, Field, Filter, FilterSource, Headers, HeadersAction,
    LocalReply, Name, OnError, Outcome, Phase, Stage, TrailersAction,
};

/// What a scripted callback answers; each callback takes the ones it knows.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Continue,
    StopIteration,
    StopAll,
    StopAllBuffer,
    Buffer,
    Watermark,
    NoBuffer,
    Stop,
    Fault,
}

type Effect = Rc<dyn Fn(&Stage, Direction)>;

/// What one callback, or one later event, does.
#[derive(Clone)]
pub(super) struct Step {
    answer: Answer,
    effects: Vec<Effect>,
}

pub(super) fn answer(answer: Answer) -> Step {
    Step { answer, effects: Vec::new() }
}
pub(super) fn go() -> Step {
    answer(Answer::Continue)
}
pub(super) fn fault() -> Step {
    answer(Answer::Fault)
}

impl Step {
    pub(super) fn does(mut self, effect: impl Fn(&Stage, Direction) + 'static) -> Self {
        self.effects.push(Rc::new(effect));
        self
    }
    /// Writes a field of the head; whether it could is noted in the property `written`.
    pub(super) fn header(self, name: &'static str, value: &'static str) -> Self {
        self.does(move |stage, direction| {
            let done = stage.edit_headers(direction, |head| head.set(header(name), HeaderValue::from_static(value)));
            stage.exchange().properties.set(b"written", Bytes::from(done.to_string()));
        })
    }
    /// Replaces the held body.
    pub(super) fn body(self, body: &'static str) -> Self {
        self.does(move |stage, direction| {
            let done = stage.set_body(direction, 0, usize::MAX, body.as_bytes());
            stage.exchange().properties.set(b"written", Bytes::from(done.to_string()));
        })
    }
    pub(super) fn append(self, body: &'static str) -> Self {
        self.does(move |stage, direction| {
            stage.set_body(direction, usize::MAX, 0, body.as_bytes());
        })
    }
    pub(super) fn trailer(self, name: &'static str, value: &'static str) -> Self {
        self.does(move |stage, direction| {
            let done = stage.edit_trailers(direction, |map| map.set(header(name), HeaderValue::from_static(value)));
            stage.exchange().properties.set(b"written", Bytes::from(done.to_string()));
        })
    }
    pub(super) fn give(self, body: &'static str) -> Self {
        self.does(move |stage, direction| {
            let done = stage.give_body(direction, Bytes::from_static(body.as_bytes()));
            stage.exchange().properties.set(b"written", Bytes::from(done.to_string()));
        })
    }
    pub(super) fn reply(self, status: u16) -> Self {
        self.does(move |stage, _| {
            let done = stage.reply(LocalReply::text(status, "no", format!("filter {}", stage.index())));
            stage.exchange().properties.set(b"written", Bytes::from(done.to_string()));
        })
    }
    pub(super) fn reset(self) -> Self {
        self.does(|stage, _| {
            let done = stage.reset("closed");
            stage.exchange().properties.set(b"written", Bytes::from(done.to_string()));
        })
    }
    pub(super) fn resume(self) -> Self {
        self.does(|stage, direction| stage.resume(direction))
    }
    pub(super) fn run(&self, stage: &Stage, direction: Direction) -> Answer {
        for effect in &self.effects {
            effect(stage, direction);
        }
        self.answer
    }
}

/// One filter's script: the callbacks that it names are those it implements; after its last step a callback continues.
#[derive(Clone)]
pub(super) struct Script {
    pub(super) name: &'static str,
    pub(super) callbacks: Callbacks,
    on_error: OnError,
    starts: bool,
    steps: Vec<(Phase, Step)>,
}

pub(super) fn filter(name: &'static str) -> Script {
    Script { name, callbacks: Callbacks::default(), on_error: OnError::Closed, starts: true, steps: Vec::new() }
}

impl Script {
    /// The next call of this callback does this.
    pub(super) fn on(mut self, phase: Phase, step: Step) -> Self {
        let callbacks = &mut self.callbacks;
        *match phase {
            Phase::RequestHeaders => &mut callbacks.request_headers,
            Phase::RequestBody => &mut callbacks.request_body,
            Phase::RequestTrailers => &mut callbacks.request_trailers,
            Phase::ResponseHeaders => &mut callbacks.response_headers,
            Phase::ResponseBody => &mut callbacks.response_body,
            Phase::ResponseTrailers => &mut callbacks.response_trailers,
            Phase::Finish => &mut callbacks.finish,
            phase => panic!("{phase:?} is no phase of a request"),
        } = true;
        self.steps.push((phase, step));
        self
    }
    /// Implements every callback.
    pub(super) fn all(mut self) -> Self {
        self.callbacks = Callbacks::ALL;
        self
    }
    pub(super) fn streams(mut self) -> Self {
        (self.callbacks.streams_request_body, self.callbacks.streams_response_body) = (true, true);
        self
    }
    pub(super) fn open(mut self) -> Self {
        self.on_error = OnError::Open;
        self
    }
    pub(super) fn cannot_start(mut self) -> Self {
        self.starts = false;
        self
    }
    pub(super) fn source(&self, log: &Log) -> Rc<Source> {
        Rc::new(Source { script: self.clone(), log: Rc::clone(log), dead: Rc::default() })
    }
}

/// What callbacks saw: the filter's name and a line each.
pub(super) type Log = Rc<RefCell<Vec<(&'static str, String)>>>;

pub(super) struct Source {
    script: Script,
    log: Log,
    /// The instance has died.
    pub(super) dead: Rc<Cell<bool>>,
}

impl FilterSource for Source {
    fn name(&self) -> &str {
        self.script.name
    }
    fn callbacks(&self) -> Callbacks {
        self.script.callbacks
    }
    fn on_error(&self) -> OnError {
        self.script.on_error
    }
    fn start(&self, stage: Stage) -> Result<Box<dyn Filter>, Fault> {
        if !self.script.starts {
            return Err(Fault { kind: FaultKind::Start, detail: "no instance".into() });
        }
        Ok(Box::new(Scripted {
            name: self.script.name,
            steps: self.script.steps.iter().cloned().collect(),
            stage,
            log: Rc::clone(&self.log),
            dead: Rc::clone(&self.dead),
        }))
    }
    fn record(&self, phase: Phase, _nanos: u64, outcome: Outcome) {
        self.log.borrow_mut().push(("ledger", format!("{} {phase:?} {outcome:?}", self.script.name)));
    }
}

struct Scripted {
    name: &'static str,
    steps: VecDeque<(Phase, Step)>,
    stage: Stage,
    log: Log,
    dead: Rc<Cell<bool>>,
}

impl Scripted {
    fn call(&mut self, phase: Phase, direction: Direction, line: &str) -> Result<Answer, Fault> {
        if self.dead.get() {
            return Err(Fault { kind: FaultKind::Trap, detail: "dead".into() });
        }
        self.log.borrow_mut().push((self.name, format!("{} {line}", direction.pick('>', '<'))));
        let next = self.steps.iter().position(|(of, _)| *of == phase);
        let Some((_, step)) = next.and_then(|index| self.steps.remove(index)) else { return Ok(Answer::Continue) };
        match step.run(&self.stage, direction) {
            Answer::Fault => Err(Fault { kind: FaultKind::Trap, detail: "unreachable".into() }),
            answer => Ok(answer),
        }
    }
}

impl Filter for Scripted {
    fn on_headers(&mut self, direction: Direction, end_of_stream: bool) -> Result<HeadersAction, Fault> {
        let phase = direction.pick(Phase::RequestHeaders, Phase::ResponseHeaders);
        let line = if end_of_stream { "head end" } else { "head" };
        Ok(match self.call(phase, direction, line)? {
            Answer::StopIteration => HeadersAction::StopIteration,
            Answer::StopAll => HeadersAction::StopAllAndWatermark,
            Answer::StopAllBuffer => HeadersAction::StopAllAndBuffer,
            _ => HeadersAction::Continue,
        })
    }
    fn on_body(&mut self, direction: Direction, size: usize, end_of_stream: bool) -> Result<BodyAction, Fault> {
        let phase = direction.pick(Phase::RequestBody, Phase::ResponseBody);
        let held = self.stage.with_body(direction, |held| String::from_utf8_lossy(held).into_owned());
        let held = held.unwrap_or_else(|| "nothing".to_owned());
        assert_eq!(held.len(), size, "the size that was told is the buffer's");
        let end = if end_of_stream { " end" } else { "" };
        Ok(match self.call(phase, direction, &format!("body {held:?}{end}"))? {
            Answer::Buffer => BodyAction::StopAndBuffer,
            Answer::Watermark => BodyAction::StopAndWatermark,
            Answer::NoBuffer => BodyAction::StopNoBuffer,
            _ => BodyAction::Continue,
        })
    }
    fn on_trailers(&mut self, direction: Direction) -> Result<TrailersAction, Fault> {
        let phase = direction.pick(Phase::RequestTrailers, Phase::ResponseTrailers);
        let fields = self.stage.exchange().trailers(direction).map(|map| fields(&map)).unwrap_or_default();
        Ok(match self.call(phase, direction, &format!("trailers{fields}"))? {
            Answer::Stop => TrailersAction::Stop,
            _ => TrailersAction::Continue,
        })
    }
    fn finish(self: Box<Self>) {
        self.log.borrow_mut().push((self.name, "finish".to_owned()));
    }
    fn fault(&self) -> Option<Fault> {
        self.dead.get().then(|| Fault { kind: FaultKind::Trap, detail: "dead".into() })
    }
}

pub(super) fn header(name: &'static str) -> Name {
    Name::Header(HeaderName::from_static(name))
}
/// All fields but pseudo headers and the length, each with a space before it.
pub(super) fn fields(headers: &Headers) -> String {
    let shown = headers.iter().filter(|field| !field.name.is_pseudo() && field.name.as_str() != "content-length");
    shown.map(|Field { name, value }| format!(" {}={}", name.as_str(), value.to_str().unwrap_or("?"))).collect()
}

/// A message in pieces.
#[derive(Clone, Default)]
pub(super) struct Pieces {
    frames: VecDeque<Arrival>,
    pub(super) length: Option<u64>,
    late_end: bool,
    gate: Rc<Gate>,
}

/// Where an input waits until the test lets it go on.
#[derive(Default)]
pub(super) struct Gate {
    waiting: RefCell<Option<Waker>>,
    open: Cell<bool>,
}

impl Gate {
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting.borrow().is_some()
    }
    pub(super) fn open(&self) {
        if let Some(waker) = self.waiting.take() {
            self.open.set(true);
            waker.wake();
        }
    }
}

#[derive(Clone)]
enum Arrival {
    Data(String),
    Trailers,
    Broken,
    Gate,
}

/// Chunks are separated by `|`; `~` waits.
pub(super) fn body(chunks: &str) -> Pieces {
    let chunks = chunks.split('|').filter(|chunk| !chunk.is_empty());
    let frames = chunks.map(|chunk| if chunk == "~" { Arrival::Gate } else { Arrival::Data(chunk.to_owned()) });
    Pieces { frames: frames.collect(), ..Pieces::default() }
}

impl Pieces {
    /// A body that is there as a whole.
    pub(super) fn whole(content: &[u8]) -> Self {
        let content = String::from_utf8_lossy(content).into_owned();
        Self { frames: [Arrival::Data(content)].into(), ..Self::default() }.declared()
    }
    /// Declares the true length.
    pub(super) fn declared(mut self) -> Self {
        let size = |arrival: &Arrival| if let Arrival::Data(data) = arrival { data.len() } else { 0 };
        self.length = u64::try_from(self.frames.iter().map(size).sum::<usize>()).ok();
        self
    }
    pub(super) fn length(mut self, length: u64) -> Self {
        self.length = Some(length);
        self
    }
    /// That the last chunk was the last is known only afterwards.
    pub(super) fn late_end(mut self) -> Self {
        self.late_end = true;
        self
    }
    /// `t: 1` follows.
    pub(super) fn trailers(mut self) -> Self {
        self.frames.push_back(Arrival::Trailers);
        self
    }
    pub(super) fn broken(mut self) -> Self {
        self.frames.push_back(Arrival::Broken);
        self
    }
    pub(super) fn gate(&self) -> Rc<Gate> {
        Rc::clone(&self.gate)
    }
}

impl Input for Pieces {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>> {
        while matches!(self.frames.front(), Some(Arrival::Gate)) {
            if !self.gate.open.take() {
                *self.gate.waiting.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.frames.pop_front();
            self.late_end |= self.frames.is_empty();
        }
        let Some(arrival) = self.frames.pop_front() else {
            assert!(self.late_end, "an input is not polled after its end");
            self.late_end = false;
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match arrival {
            Arrival::Data(data) => Ok(Frame::Data(data.into())),
            Arrival::Trailers => {
                let field = Field { name: header("t"), value: HeaderValue::from_static("1") };
                Ok(Frame::Trailers(Headers::from_iter([field])))
            }
            Arrival::Broken => Err(InputError("reset by peer".to_owned())),
            Arrival::Gate => return Poll::Pending,
        }))
    }
    fn is_end(&self) -> bool {
        self.frames.is_empty() && !self.late_end
    }
}
