//! Generated exchanges against a plain model: whole messages, one filter after the other, no streaming. Whatever the chunks,
//! the pauses and the order of events, the same must come out.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::harness::{Flag, facts, request_head, response_head};
use super::scripts::{Gate, Pieces, body, fields};
use crate::filter::chain::{Chain, ChainError, Frame, Framing};
use crate::filter::exchange::Interrupt;
use crate::filter::{
    BodyAction, Callbacks, Direction, Fault, FaultKind, Filter, FilterSource, Headers, HeadersAction, LocalReply, Name,
    OnError, Outcome, Phase, Stage, TrailersAction,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Head {
    Silent,
    Go,
    /// Gives a message without a body one.
    Give,
    StopIteration,
    StopAll,
    StopAllBuffer,
}
#[derive(Clone, Copy, Debug, PartialEq)]
enum Body {
    Silent,
    Pass,
    Upper,
    Prefix,
    /// Appends at the end.
    Mark,
    /// Holds all, reverses it at the end.
    Whole,
    /// Holds all, is resumed after the end with the body reversed.
    WholeLater,
    /// Takes every chunk, gives all back reversed at the end.
    Take,
    /// Makes trailers at the end.
    Trailers,
}
#[derive(Clone, Copy, Debug, PartialEq)]
enum Tail {
    Silent,
    Edit,
    /// Holds, and is resumed.
    Hold,
}
/// What a filter does to one message.
#[derive(Clone, Copy, Debug)]
struct Half {
    head: Head,
    body: Body,
    tail: Tail,
}
/// What befalls a filter in the request.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    ReplyAtHead,
    ReplyAtBody,
    FaultAtHead(OnError),
    FaultAtBody(OnError),
}
#[derive(Clone, Copy, Debug)]
struct Plan {
    request: Half,
    response: Half,
    streams: bool,
    trouble: Trouble,
}

impl Plan {
    fn callbacks(&self) -> Callbacks {
        let (at_head, at_body) = match self.trouble {
            Trouble::None => (false, false),
            Trouble::ReplyAtHead | Trouble::FaultAtHead(_) => (true, false),
            Trouble::ReplyAtBody | Trouble::FaultAtBody(_) => (false, true),
        };
        Callbacks {
            request_headers: self.request.head != Head::Silent || at_head,
            request_body: self.request.body != Body::Silent || at_body,
            request_trailers: self.request.tail != Tail::Silent,
            response_headers: self.response.head != Head::Silent,
            response_body: self.response.body != Body::Silent,
            response_trailers: self.response.tail != Tail::Silent,
            finish: false,
            streams_request_body: self.streams,
            streams_response_body: self.streams,
        }
    }
}

/// A filter that does as planned.
struct Planned {
    plan: Plan,
    stage: Stage,
    /// By direction: a body callback has been made, and what it took.
    called: [bool; 2],
    taken: [Vec<u8>; 2],
    waits: Rc<Cell<bool>>,
}

impl Planned {
    fn half(&self, direction: Direction) -> Half {
        direction.pick(self.plan.request, self.plan.response)
    }
    fn fault(&self) -> Fault {
        Fault { kind: FaultKind::Trap, detail: "planned".into() }
    }
    /// Acts on the whole body, which is here; `false` when it must wait to be resumed.
    fn end_body(&mut self, direction: Direction) -> bool {
        match self.half(direction).body {
            Body::Whole => reverse(&self.stage, direction),
            Body::WholeLater => return false,
            Body::Take => {
                let taken = &mut self.taken[direction.pick(0, 1)];
                taken.reverse();
                self.stage.set_body(direction, 0, usize::MAX, taken);
            }
            _ => {}
        }
        true
    }
}

fn reverse(stage: &Stage, direction: Direction) {
    let held = stage.with_body(direction, |held| held.iter().rev().copied().collect::<Vec<u8>>());
    if let Some(held) = held {
        stage.set_body(direction, 0, usize::MAX, &held);
    }
}
fn mark(headers: &mut Headers, index: usize) {
    headers.append(Name::Header(HeaderName::from_static("by")), HeaderValue::from(index));
}

impl Filter for Planned {
    fn on_headers(&mut self, direction: Direction, _end: bool) -> Result<HeadersAction, Fault> {
        if direction == Direction::Request {
            match self.plan.trouble {
                Trouble::FaultAtHead(_) => return Err(self.fault()),
                Trouble::ReplyAtHead => assert!(self.stage.reply(LocalReply::text(400, "no", ""))),
                _ => {}
            }
        }
        let half = self.half(direction);
        if half.head != Head::Silent {
            let index = self.stage.index();
            assert!(self.stage.edit_headers(direction, |head| mark(head, index)));
        }
        let action = match half.head {
            Head::Silent | Head::Go => HeadersAction::Continue,
            Head::Give => {
                self.stage.give_body(direction, Bytes::from_static(b"gift"));
                HeadersAction::Continue
            }
            Head::StopIteration => HeadersAction::StopIteration,
            Head::StopAll => HeadersAction::StopAllAndWatermark,
            Head::StopAllBuffer => HeadersAction::StopAllAndBuffer,
        };
        self.waits.set(action != HeadersAction::Continue);
        Ok(action)
    }
    fn on_body(&mut self, direction: Direction, _size: usize, end: bool) -> Result<BodyAction, Fault> {
        if direction == Direction::Request {
            match self.plan.trouble {
                Trouble::FaultAtBody(_) => return Err(self.fault()),
                Trouble::ReplyAtBody => assert!(self.stage.reply(LocalReply::text(400, "no", ""))),
                _ => {}
            }
        }
        self.waits.set(false);
        let stage = self.stage.clone();
        let first = !std::mem::replace(&mut self.called[direction.pick(0, 1)], true);
        let body = self.half(direction).body;
        match body {
            Body::Upper => {
                let upper = stage.with_body(direction, <[u8]>::to_ascii_uppercase).unwrap();
                assert!(stage.set_body(direction, 0, usize::MAX, &upper));
            }
            Body::Prefix if first => assert!(stage.set_body(direction, 0, 0, b"<")),
            Body::Mark if end => assert!(stage.set_body(direction, usize::MAX, 0, b">")),
            Body::Trailers if end => assert!(stage.edit_trailers(direction, |map| mark(map, stage.index()))),
            Body::Take => self.taken[direction.pick(0, 1)].extend(stage.with_body(direction, <[u8]>::to_vec).unwrap()),
            _ => {}
        }
        let holds = matches!(body, Body::Whole | Body::WholeLater);
        let done = !end || self.end_body(direction);
        self.waits.set(!done);
        Ok(match body {
            _ if end && done => BodyAction::Continue,
            Body::Take => BodyAction::StopNoBuffer,
            _ if holds => BodyAction::StopAndBuffer,
            _ => BodyAction::Continue,
        })
    }
    fn on_trailers(&mut self, direction: Direction) -> Result<TrailersAction, Fault> {
        let done = self.end_body(direction);
        let tail = self.half(direction).tail;
        if tail == Tail::Edit {
            let index = self.stage.index();
            assert!(self.stage.edit_trailers(direction, |map| mark(map, index)));
        }
        self.waits.set(!done || tail == Tail::Hold);
        Ok(if self.waits.get() { TrailersAction::Stop } else { TrailersAction::Continue })
    }
    fn finish(self: Box<Self>) {}
    fn fault(&self) -> Option<Fault> {
        None
    }
}

struct PlanSource {
    plan: Plan,
    waits: Rc<Cell<bool>>,
}

impl FilterSource for PlanSource {
    fn name(&self) -> &str {
        "planned"
    }
    fn callbacks(&self) -> Callbacks {
        self.plan.callbacks()
    }
    fn on_error(&self) -> OnError {
        match self.plan.trouble {
            Trouble::FaultAtHead(on_error) | Trouble::FaultAtBody(on_error) => on_error,
            _ => OnError::Closed,
        }
    }
    fn start(&self, stage: Stage) -> Result<Box<dyn Filter>, Fault> {
        let waits = Rc::clone(&self.waits);
        Ok(Box::new(Planned { plan: self.plan, stage, called: [false; 2], taken: <[Vec<u8>; 2]>::default(), waits }))
    }
    fn record(&self, _phase: Phase, _nanos: u64, _outcome: Outcome) {}
}

/// A whole message.
#[derive(Clone, Debug, Default, PartialEq)]
struct Whole {
    /// The filters that changed the head.
    head: Vec<usize>,
    body: Option<Vec<u8>>,
    trailers: Option<Vec<String>>,
}

/// One filter, one whole message.
fn apply(half: Half, index: usize, message: &mut Whole) {
    if half.head != Head::Silent {
        message.head.push(index);
    }
    let Some(body) = &mut message.body else {
        if half.head == Head::Give {
            message.body = Some(b"gift".to_vec());
        }
        return;
    };
    let had_trailers = message.trailers.is_some();
    let told_end = !had_trailers || half.tail == Tail::Silent;
    let called = told_end || !body.is_empty();
    match half.body {
        Body::Upper => body.make_ascii_uppercase(),
        Body::Prefix if called => body.insert(0, b'<'),
        Body::Mark if told_end => body.push(b'>'),
        Body::Whole | Body::WholeLater | Body::Take => body.reverse(),
        Body::Trailers if told_end => message.trailers.get_or_insert_default().push(format!("by={index}")),
        _ => {}
    }
    if had_trailers && half.tail == Tail::Edit {
        message.trailers.get_or_insert_default().push(format!("by={index}"));
    }
}

/// What the upstream gets, if the whole request, and what the client gets.
fn model(plans: &[Plan], request: &Whole, response: &Whole) -> (Option<Whole>, u16, Whole) {
    let mut message = request.clone();
    let mut gone = None;
    let mut reply = None;
    for (index, plan) in plans.iter().enumerate() {
        let told_end = message.trailers.is_none() || plan.request.tail == Tail::Silent;
        let called = message.body.as_ref().is_some_and(|body| told_end || !body.is_empty());
        let given = message.body.is_none() && plan.request.head == Head::Give;
        match plan.trouble {
            Trouble::ReplyAtHead => reply = Some((400, index)),
            Trouble::FaultAtHead(OnError::Closed) => (reply, gone) = (Some((503, index)), Some(index)),
            Trouble::ReplyAtBody if called && !given => reply = Some((400, index)),
            Trouble::FaultAtBody(OnError::Closed) if called && !given => (reply, gone) = (Some((503, index)), Some(index)),
            Trouble::FaultAtHead(OnError::Open) => gone = Some(index),
            Trouble::FaultAtBody(OnError::Open) if called && !given => {
                gone = Some(index);
                apply(Half { body: Body::Silent, tail: Tail::Silent, ..plan.request }, index, &mut message);
            }
            _ => apply(plan.request, index, &mut message),
        }
        if reply.is_some() {
            break;
        }
    }
    let (status, mut answer, passed) = match reply {
        None => (200, response.clone(), plans.len()),
        Some((status, from)) => {
            let text = if status == 400 { "no" } else { "service unavailable\n" };
            (status, Whole { body: Some(text.as_bytes().to_vec()), ..Whole::default() }, from + 1)
        }
    };
    for index in (0..passed).rev().filter(|index| Some(*index) != gone) {
        apply(plans[index].response, index, &mut answer);
    }
    (reply.is_none().then_some(message), status, answer)
}

/// The chain, driven until nothing is left to do.
struct Drive {
    chain: Rc<Chain>,
    plans: Vec<Plan>,
    waits: Vec<Rc<Cell<bool>>>,
    gates: [Rc<Gate>; 2],
    flag: Arc<Flag>,
}

impl Drive {
    fn new(plans: &[Plan], gates: [Rc<Gate>; 2]) -> Self {
        let waits: Vec<Rc<Cell<bool>>> = plans.iter().map(|_| Rc::default()).collect();
        let source = |(plan, waits): (&Plan, &Rc<Cell<bool>>)| {
            Rc::new(PlanSource { plan: *plan, waits: Rc::clone(waits) }) as Rc<dyn FilterSource>
        };
        let chain = Chain::new(facts(1000), plans.iter().zip(&waits).map(source).collect());
        Self { chain, plans: plans.to_vec(), waits, gates, flag: Arc::default() }
    }
    /// Opens gates first, then resumes the filters that wait; the chain must be woken by one of them.
    fn wait<T>(&self, direction: Direction, poll: impl Fn(&Chain, &mut Context<'_>) -> Poll<T>) -> T {
        let waker = Waker::from(Arc::clone(&self.flag));
        loop {
            if let Poll::Ready(ready) = poll(&self.chain, &mut Context::from_waker(&waker)) {
                return ready;
            }
            self.gates.iter().for_each(|gate| gate.open());
            if self.flag.take() {
                continue;
            }
            for (index, plan) in self.plans.iter().enumerate().filter(|(index, _)| self.waits[*index].take()) {
                let stage = self.chain.exchange().stage(index);
                if direction.pick(plan.request, plan.response).body == Body::WholeLater {
                    reverse(&stage, direction);
                }
                stage.resume(direction);
            }
            assert!(self.flag.take(), "the chain waits for nothing");
        }
    }
    /// The whole message that leaves the chain, if it does; its framing must be true.
    fn pull(&self, direction: Direction) -> Result<Whole, ChainError> {
        let framing = self.wait(direction, |chain, cx| chain.poll_head(direction, cx))?;
        let by = Name::Header(HeaderName::from_static("by"));
        let head = self.chain.exchange().headers(direction).unwrap();
        let marks = head.get_all(&by).map(|value| value.to_str().unwrap().parse().unwrap()).collect();
        drop(head);
        let (mut body, mut trailers) = (Vec::new(), None);
        while let Some(frame) = self.wait(direction, |chain, cx| chain.poll_frame(direction, cx)) {
            assert!(trailers.is_none(), "nothing follows trailers");
            match frame? {
                Frame::Data(bytes) => body.extend(bytes),
                Frame::Trailers(map) => trailers = Some(fields(&map).split_whitespace().map(str::to_owned).collect()),
            }
        }
        match framing {
            Framing::None => assert!(body.is_empty() && trailers.is_none()),
            Framing::Length(length) => assert_eq!(length, u64::try_from(body.len()).unwrap()),
            Framing::Streamed => {}
        }
        Ok(Whole { head: marks, body: (framing != Framing::None).then_some(body), trailers })
    }
}

/// A message as it arrives.
#[derive(Clone, Debug)]
struct Arriving {
    chunks: Vec<String>,
    declared: bool,
    late_end: bool,
    trailers: bool,
}

impl Arriving {
    fn whole(&self) -> Whole {
        let exists = !self.chunks.is_empty() || self.late_end || self.trailers;
        let body = self.chunks.iter().filter(|chunk| *chunk != "~").flat_map(|chunk| chunk.bytes()).collect();
        let trailers = self.trailers.then(|| vec!["t=1".to_owned()]);
        Whole { head: Vec::new(), body: exists.then_some(body), trailers }
    }
    fn pieces(&self) -> Pieces {
        let mut pieces = body(&self.chunks.join("|"));
        if self.declared {
            pieces = pieces.declared();
        }
        if self.late_end {
            pieces = pieces.late_end();
        }
        if self.trailers { pieces.trailers() } else { pieces }
    }
}

fn arriving() -> impl Strategy<Value = Arriving> {
    let chunk = prop_oneof![4 => "[a-z]{1,4}", 1 => Just("~".to_owned())];
    (proptest::collection::vec(chunk, 0..5), any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(chunks, declared, late_end, trailers)| Arriving { chunks, declared, late_end, trailers })
}
fn half() -> impl Strategy<Value = Half> {
    use proptest::sample::select;
    let heads = [Head::Silent, Head::Go, Head::Give, Head::StopIteration, Head::StopAll, Head::StopAllBuffer];
    let bodies = [
        Body::Silent,
        Body::Pass,
        Body::Upper,
        Body::Prefix,
        Body::Mark,
        Body::Whole,
        Body::WholeLater,
        Body::Take,
        Body::Trailers,
    ];
    let tails = [Tail::Silent, Tail::Edit, Tail::Hold];
    (select(heads.to_vec()), select(bodies.to_vec()), select(tails.to_vec()))
        .prop_map(|(head, body, tail)| Half { head, body, tail })
}
fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let trouble = prop_oneof![
        4 => Just(Trouble::None),
        1 => Just(Trouble::ReplyAtHead),
        1 => Just(Trouble::ReplyAtBody),
        1 => Just(Trouble::FaultAtHead(OnError::Open)),
        1 => Just(Trouble::FaultAtHead(OnError::Closed)),
        1 => Just(Trouble::FaultAtBody(OnError::Open)),
        1 => Just(Trouble::FaultAtBody(OnError::Closed)),
    ];
    let plan = (half(), half(), prop::bool::weighted(0.2));
    (proptest::collection::vec(plan, 0..5), trouble, any::<prop::sample::Index>()).prop_map(|(halves, trouble, unlucky)| {
        let plan = |(request, response, streams)| Plan { request, response, streams, trouble: Trouble::None };
        let mut plans: Vec<Plan> = halves.into_iter().map(plan).collect();
        if !plans.is_empty() {
            let index = unlucky.index(plans.len());
            plans[index].trouble = trouble;
        }
        plans
    })
}

/// Only a body that grows after its head has left with a length may end like this.
fn may_change_length(plans: &[Plan], direction: Direction) -> bool {
    plans.iter().any(|plan| direction.pick(plan.request, plan.response).body == Body::Mark)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_comes_out_does_not_depend_on_pieces_pauses_or_the_order_of_events(
        plans in plans(),
        request in arriving(),
        response in arriving(),
    ) {
        let (upstream, status, client) = model(&plans, &request.whole(), &response.whole());
        let (asked, answered) = (request.pieces(), response.pieces());
        let drive = Drive::new(&plans, [asked.gate(), answered.gate()]);
        drive.chain.begin_request(request_head(asked.length), asked.length, Box::new(asked));
        match drive.pull(Direction::Request) {
            Ok(got) => {
                prop_assert_eq!(Some(got), upstream);
                drive.chain.begin_response(response_head(200, answered.length), answered.length, Box::new(answered));
            }
            Err(ChainError::Interrupted(Interrupt::Reply(from, reply))) => {
                prop_assert!(upstream.is_none());
                prop_assert_eq!(reply.status, status);
                let content = Pieces::whole(&reply.body);
                drive.chain.begin_reply(Some(from), response_head(status, content.length), Box::new(content));
            }
            Err(ChainError::LengthChanged) if may_change_length(&plans, Direction::Request) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
        }
        match drive.pull(Direction::Response) {
            Ok(got) => prop_assert_eq!(got, client),
            Err(ChainError::LengthChanged) if may_change_length(&plans, Direction::Response) => {}
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
        }
    }
}
