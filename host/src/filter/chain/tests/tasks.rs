//! What tasks that poll the two messages at the same time see of each other.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::harness::{Flag, facts, request_head, response_head};
use super::scripts::{Answer, Script, answer, body, fault, filter, go};
use crate::filter::Direction::{Request, Response};
use crate::filter::Phase::{RequestBody, RequestHeaders, ResponseHeaders};
use crate::filter::chain::{Chain, ChainError, Framing};
use crate::filter::exchange::Interrupt;
use crate::filter::{FilterSource, LocalReply};

fn chain_of(script: &Script) -> Rc<Chain> {
    let filters: Rc<[Rc<dyn FilterSource>]> = Rc::new([script.source(&Rc::default())]);
    Chain::new(facts(8), filters)
}

#[test]
fn an_interrupt_of_the_request_body_also_reaches_the_task_that_awaits_the_upstream() {
    let chain = chain_of(&filter("a").on(RequestBody, go().reply(400)));
    let cx = &mut Context::from_waker(Waker::noop());
    chain.begin_request(request_head(None), None, Box::new(body("ab")));
    assert!(matches!(chain.poll_head(Request, cx), Poll::Ready(Ok(Framing::Streamed))));
    let is_reply = |interrupt: &Interrupt| matches!(interrupt, Interrupt::Reply(0, LocalReply { status: 400, .. }));
    for _ in 0..2 {
        let Poll::Ready(Some(Err(ChainError::Interrupted(interrupt)))) = chain.poll_frame(Request, cx) else {
            panic!()
        };
        assert!(is_reply(&interrupt));
    }
    assert!(!chain.exchange().stage(0).set_body(Request, 0, 0, b"late"), "what was held is dropped");
    let Poll::Ready(interrupt) = chain.poll_interrupt(cx) else { panic!() };
    assert!(is_reply(&interrupt));
    assert!(chain.poll_interrupt(cx).is_pending(), "it is given once");
    let Poll::Ready(Some(Err(ChainError::Interrupted(Interrupt::Reset(_))))) = chain.poll_frame(Request, cx) else {
        panic!()
    };
}

#[test]
fn a_reply_of_a_request_callback_replaces_a_response_that_has_not_left() {
    let chain = chain_of(&filter("a").on(RequestHeaders, go()).on(ResponseHeaders, answer(Answer::StopAll)));
    let cx = &mut Context::from_waker(Waker::noop());
    chain.begin_request(request_head(None), None, Box::new(body("~")));
    assert!(chain.poll_head(Request, cx).is_ready());
    chain.begin_response(response_head(200, None), None, Box::new(body("")));
    assert!(chain.poll_head(Response, cx).is_pending());
    assert!(chain.exchange().stage(0).reply(LocalReply::text(400, "", "")));
    assert!(matches!(chain.poll_head(Response, cx), Poll::Ready(Err(ChainError::Interrupted(Interrupt::Reply(0, _))))));
    // Its response callbacks have been made once; the reply makes none again.
    chain.begin_reply(Some(0), response_head(400, None), Box::new(body("")));
    assert!(matches!(chain.poll_head(Response, cx), Poll::Ready(Ok(Framing::None))));
}

#[test]
fn a_reply_of_a_request_callback_after_the_responses_head_has_left_resets() {
    let chain = chain_of(&filter("a").on(RequestBody, go().reply(400)));
    let cx = &mut Context::from_waker(Waker::noop());
    chain.begin_request(request_head(None), None, Box::new(body("ab")));
    assert!(chain.poll_head(Request, cx).is_ready());
    chain.begin_response(response_head(200, None), None, Box::new(body("~")));
    assert!(chain.poll_head(Response, cx).is_ready());
    let Poll::Ready(Some(Err(ChainError::Interrupted(Interrupt::Reset(_))))) = chain.poll_frame(Request, cx) else {
        panic!()
    };
}

#[test]
fn the_unread_rest_of_a_request_can_be_taken_back_for_draining() {
    let chain = chain_of(&filter("a").on(RequestHeaders, go().reply(400)));
    let cx = &mut Context::from_waker(Waker::noop());
    chain.begin_request(request_head(None), None, Box::new(body("ab")));
    assert!(matches!(chain.poll_head(Request, cx), Poll::Ready(Err(ChainError::Interrupted(_)))));
    let mut rest = chain.take_input(Request).unwrap();
    assert!(matches!(rest.poll_frame(cx), Poll::Ready(Some(Ok(_)))));
    assert!(chain.take_input(Request).is_none());
}

#[test]
fn a_fault_in_one_message_wakes_the_task_that_waits_for_the_other() {
    let script = filter("a").on(RequestBody, fault()).on(ResponseHeaders, answer(Answer::StopAll)).open();
    let chain = chain_of(&script);
    let woken = Arc::new(Flag::default());
    let waker = Waker::from(Arc::clone(&woken));
    let (sending, answering) = (&mut Context::from_waker(Waker::noop()), &mut Context::from_waker(&waker));
    chain.begin_request(request_head(None), None, Box::new(body("ab")));
    assert!(chain.poll_head(Request, sending).is_ready());
    chain.begin_response(response_head(200, None), None, Box::new(body("")));
    assert!(chain.poll_head(Response, answering).is_pending());
    assert!(chain.poll_frame(Request, sending).is_ready());
    assert!(woken.take());
    assert!(chain.poll_head(Response, answering).is_ready());
}

#[test]
fn nothing_is_recorded_after_a_reset() {
    let chain = chain_of(&filter("a"));
    let stage = chain.exchange().stage(0);
    assert!(stage.reset("closed"));
    assert!(matches!(chain.poll_interrupt(&mut Context::from_waker(Waker::noop())), Poll::Ready(Interrupt::Reset(_))));
    assert!(!stage.reply(LocalReply::text(400, "", "")));
    assert!(!stage.reset("again"));
}
