//! Faults: what a filter that dies does to its stream, by its `on_error`.

use super::harness::{Event, row};
use super::scripts::{Answer, answer, body, fault, filter, go};
use crate::filter::Phase::{RequestBody, RequestHeaders, RequestTrailers, ResponseBody, ResponseHeaders};

#[test]
fn a_closed_fault_in_the_request_is_answered_503_through_the_filters_before_it() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()).on(ResponseHeaders, go().header("x", "1")))
        .filter(filter("b").on(RequestHeaders, fault()).on(ResponseHeaders, go()))
        .filter(filter("c").on(RequestHeaders, go()).on(ResponseHeaders, go()))
        .run();
    assert!(out.client.starts_with("(b: trap) 503 x=1 length"), "{}", out.client);
    assert_eq!(out.order(), "a > head end, b > head end, a < head, a finish");
}

#[test]
fn an_open_fault_lets_what_was_held_go_on_and_makes_no_more_calls() {
    let broken = filter("a")
        .on(RequestHeaders, answer(Answer::StopIteration).header("x", "1"))
        .on(RequestBody, answer(Answer::Buffer))
        .on(RequestBody, fault())
        .on(ResponseHeaders, go())
        .open();
    let out = row().filter(broken).filter(filter("b").on(RequestBody, go())).request(body("ab|cd|ef")).run();
    assert_eq!(out.saw("a"), "> head, > body \"ab\", > body \"abcd\"");
    assert_eq!(out.saw("b"), "> body \"abcd\", > body \"ef\" end, finish");
    assert_eq!(out.upstream, "POST x=1 streamed | abcd | ef");
    assert_eq!(out.client, "200");
}

#[test]
fn an_open_fault_at_the_head_or_the_trailers_lets_them_pass() {
    let out = row().filter(filter("a").on(RequestHeaders, fault()).open()).request(body("ab")).run();
    assert_eq!(out.upstream, "POST streamed | ab");
    let out = row().filter(filter("a").on(RequestTrailers, fault()).open()).request(body("ab").trailers()).run();
    assert_eq!(out.upstream, "POST streamed | ab | t=1");
}

#[test]
fn a_closed_fault_before_the_responses_head_has_left_goes_straight_to_the_client() {
    let out = row()
        .filter(filter("a").on(ResponseHeaders, go()))
        .filter(filter("b").on(ResponseHeaders, fault()))
        .response(body("secret"))
        .run();
    assert!(out.client.starts_with("(b: trap) 503 length"), "{}", out.client);
    assert_eq!(out.order(), "b < head");
}

#[test]
fn a_closed_fault_after_the_responses_head_has_left_resets_the_stream() {
    let broken = filter("a").on(ResponseBody, go()).on(ResponseBody, fault());
    let out = row().filter(broken).response(body("ab|cd")).run();
    assert_eq!(out.client, "200 streamed | ab ! reset a: trap");
}

#[test]
fn an_open_fault_in_a_response_body_lets_the_rest_pass() {
    let broken = filter("a").on(ResponseBody, go().append("!")).on(ResponseBody, fault()).open();
    let out = row().filter(broken).response(body("ab|cd|ef")).run();
    assert_eq!(out.client, "200 streamed | ab! | cd | ef");
}

#[test]
fn a_filter_that_cannot_start_is_a_fault() {
    let out = row().filter(filter("a").on(RequestHeaders, go()).cannot_start()).run();
    assert!(out.client.starts_with("(a: start) 503"), "{}", out.client);
    let out = row().filter(filter("a").on(RequestHeaders, go()).cannot_start().open()).run();
    assert_eq!((&*out.upstream, &*out.client), ("POST", "200"));
}

#[test]
fn an_instance_that_dies_while_its_filter_holds_ends_the_wait() {
    let held = filter("a").on(RequestHeaders, answer(Answer::StopAll));
    let out = row().filter(held.clone()).then(Event::Dies(0)).run();
    assert!(out.client.starts_with("(a: trap) 503"), "{}", out.client);
    let out = row().filter(held.open()).then(Event::Dies(0)).run();
    assert_eq!((&*out.upstream, &*out.client), ("POST", "200"));
}

#[test]
fn an_instance_that_dies_while_its_filter_holds_a_body_lets_go_of_it() {
    let held = filter("a").on(RequestBody, answer(Answer::Buffer)).open();
    let out = row().filter(held.clone()).request(body("ab|~|cd")).then(Event::Dies(0)).run();
    assert_eq!(out.upstream, "POST streamed | ab | cd");
    let out = row().filter(held).request(body("ab")).then(Event::Dies(0)).run();
    assert_eq!(out.upstream, "POST streamed | ab");
}

#[test]
fn what_was_read_ahead_for_a_filter_that_dies_passes_it() {
    let held = filter("a").on(RequestHeaders, answer(Answer::StopAllBuffer)).on(RequestBody, go()).open();
    let out = row().filter(held).request(body("ab|cd").trailers()).then(Event::Dies(0)).run();
    assert_eq!(out.saw("a"), "> head");
    assert_eq!(out.upstream, "POST streamed | abcd | t=1");
}

#[test]
fn an_instance_that_dies_is_noticed_at_the_next_callback() {
    let out =
        row().filter(filter("a").on(RequestHeaders, go()).on(ResponseHeaders, go())).awaiting(Event::Dies(0)).run();
    assert!(out.client.starts_with("(a: trap) 503"), "{}", out.client);
    assert_eq!(out.saw("a"), "> head end");
}

#[test]
fn a_filter_with_nothing_left_to_do_does_not_take_its_stream_down() {
    let out = row().filter(filter("a").on(RequestHeaders, go())).response(body("ab")).awaiting(Event::Dies(0)).run();
    assert_eq!(out.client, "200 streamed | ab");
    assert_eq!(out.saw("a"), "> head end", "a context of a dead instance has no end of its own");
}

#[test]
fn a_faulted_filter_is_gone_from_the_other_direction_too() {
    let broken = filter("a").on(RequestBody, fault()).on(ResponseHeaders, go()).on(ResponseBody, go()).open();
    let out = row().filter(broken).request(body("ab")).response(body("cd").declared()).run();
    assert_eq!(out.saw("a"), "> body \"ab\" end");
    assert_eq!(out.client, "200 length 2 | cd");
}

#[test]
fn a_fault_while_a_reply_passes_is_answered_503() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()).on(ResponseHeaders, fault()))
        .filter(filter("b").on(RequestHeaders, go().reply(401)))
        .run();
    assert!(out.client.starts_with("(a: trap) 503"), "{}", out.client);
}
