//! The end of a stream, and what the ledger is told of its life.

use std::rc::Rc;
use std::task::{Context, Waker};

use super::harness::{facts, request_head, row};
use super::scripts::{Answer, Log, answer, body, fault, filter, go};
use crate::filter::Direction::Request;
use crate::filter::Phase::{Finish, RequestBody, RequestHeaders};
use crate::filter::chain::Chain;
use crate::filter::{Direction, FilterSource};

#[test]
fn every_live_context_ends_once_in_chain_order() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()))
        .filter(filter("b").on(RequestHeaders, fault()).open())
        .filter(filter("c"))
        .filter(filter("d").on(RequestHeaders, go()))
        .run();
    assert_eq!(out.order(), "a > head end, b > head end, d > head end, a finish, d finish");
}

#[test]
fn a_filter_that_only_hears_the_end_gets_its_context_then() {
    let out = row().filter(filter("log").on(Finish, go())).request(body("ab")).run();
    assert_eq!(out.saw("log"), "finish");
    assert_eq!(out.saw("ledger"), "log Finish Continue");
}

#[test]
fn a_filter_that_the_request_never_reached_does_not_hear_the_end() {
    let out =
        row().filter(filter("a").on(RequestHeaders, go().reply(401))).filter(filter("log").on(Finish, go())).run();
    assert_eq!(out.saw("log"), "");
}

#[test]
fn a_dropped_chain_ends_its_contexts_and_a_finished_one_does_not_end_them_again() {
    let log = Log::default();
    let run = |finish: fn(&Chain)| {
        let filters: Rc<[Rc<dyn FilterSource>]> = Rc::new([filter("a").on(RequestHeaders, go()).source(&log)]);
        let chain = Chain::new(facts(8), filters);
        chain.begin_request(request_head(None), None, Box::new(body("ab")));
        assert!(chain.poll_head(Request, &mut Context::from_waker(Waker::noop())).is_ready());
        finish(&chain);
    };
    let ends = || log.borrow().iter().filter(|(name, line)| *name == "a" && line == "finish").count();
    run(|_| ());
    assert_eq!(ends(), 1);
    run(|chain| {
        chain.finish();
        chain.finish();
    });
    assert_eq!(ends(), 2);
}

#[test]
fn heads_and_trailers_stay_readable_after_the_end() {
    let filters: Rc<[Rc<dyn FilterSource>]> = Rc::new([]);
    let chain = Chain::new(facts(8), filters);
    chain.begin_request(request_head(None), None, Box::new(body("ab").trailers()));
    let cx = &mut Context::from_waker(Waker::noop());
    while !chain.is_end(Request) {
        assert!(chain.poll_frame(Request, cx).is_ready());
    }
    chain.finish();
    assert!(chain.exchange().headers(Direction::Request).is_some());
    assert!(chain.exchange().trailers(Direction::Request).is_some());
    assert!(chain.poll_frame(Request, cx).is_ready(), "nothing waits for a message that is over");
}

#[test]
fn the_ledger_gets_every_callback_with_its_outcome() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()).on(RequestBody, answer(Answer::Buffer)))
        .filter(filter("b").on(RequestBody, go().reply(400)))
        .request(body("ab|cd"))
        .run();
    assert_eq!(
        out.saw("ledger"),
        "a RequestHeaders Continue, a RequestBody Pause, a RequestBody Continue, b RequestBody Reply, a Finish Continue, b Finish Continue"
    );
    let out = row().filter(filter("a").on(RequestHeaders, go()).cannot_start()).run();
    assert_eq!(out.saw("ledger"), "a RequestHeaders Fault(Start)");
}
