//! Generated exchanges against a plain model: whole messages, one filter after the other, no streaming. Whatever the chunks,
//! the pauses and the order of events, the same must come out.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::HeaderName;
use proptest::prelude::*;

use super::harness::{Flag, facts, request_head, response_head};
use super::plans::{Body, Half, Head, Plan, PlanSource, Tail, Trouble, plans, reverse};
use super::scripts::{Gate, Pieces, body, fields};
use crate::filter::chain::{Chain, ChainError, Frame, Framing};
use crate::filter::exchange::Interrupt;
use crate::filter::{Direction, FilterSource, Name, OnError};

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
            Trouble::FaultAtBody(OnError::Closed) if called && !given => {
                (reply, gone) = (Some((503, index)), Some(index))
            }
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
