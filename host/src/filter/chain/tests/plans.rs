//! Filters that do as planned: what the model knows how to do to a whole message, done piece by piece.

use std::cell::Cell;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::filter::{
    BodyAction, Callbacks, Direction, Fault, FaultKind, Filter, FilterSource, Headers, HeadersAction, LocalReply, Name,
    OnError, Outcome, Phase, Stage, TrailersAction,
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Head {
    Silent,
    Go,
    /// Gives a message without a body one.
    Give,
    StopIteration,
    StopAll,
    StopAllBuffer,
}
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Body {
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
pub(super) enum Tail {
    Silent,
    Edit,
    /// Holds, and is resumed.
    Hold,
}
/// What a filter does to one message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half {
    pub(super) head: Head,
    pub(super) body: Body,
    pub(super) tail: Tail,
}
/// What befalls a filter in the request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trouble {
    None,
    ReplyAtHead,
    ReplyAtBody,
    FaultAtHead(OnError),
    FaultAtBody(OnError),
}
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) request: Half,
    pub(super) response: Half,
    pub(super) streams: bool,
    pub(super) trouble: Trouble,
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

pub(super) fn reverse(stage: &Stage, direction: Direction) {
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

pub(super) struct PlanSource {
    pub(super) plan: Plan,
    pub(super) waits: Rc<Cell<bool>>,
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
    (select(heads.to_vec()), select(bodies.to_vec()), select(tails.to_vec())).prop_map(|(head, body, tail)| Half {
        head,
        body,
        tail,
    })
}
pub(super) fn plans() -> impl Strategy<Value = Vec<Plan>> {
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
    (proptest::collection::vec(plan, 0..5), trouble, any::<prop::sample::Index>()).prop_map(
        |(halves, trouble, unlucky)| {
            let plan = |(request, response, streams)| Plan { request, response, streams, trouble: Trouble::None };
            let mut plans: Vec<Plan> = halves.into_iter().map(plan).collect();
            if !plans.is_empty() {
                let index = unlucky.index(plans.len());
                plans[index].trouble = trouble;
            }
            plans
        },
    )
}
