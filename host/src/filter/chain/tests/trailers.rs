//! Trailers: their callback, what is held with them, who may make them.

use super::harness::{Event, row};
use super::scripts::{Answer, answer, body, filter, go};
use crate::filter::Direction;
use crate::filter::Phase::{RequestBody, RequestHeaders, RequestTrailers, ResponseBody, ResponseTrailers};

#[test]
fn no_body_call_is_told_the_end_when_trailers_follow() {
    let out = row()
        .filter(filter("a").on(RequestBody, go()).on(RequestTrailers, go()))
        .request(body("ab|cd").trailers())
        .run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"cd\", > trailers t=1, finish");
    assert_eq!(out.upstream, "POST streamed | ab | cd | t=1");
}

#[test]
fn a_trailers_callback_that_continues_releases_the_held_body_first() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestTrailers, go()))
        .request(body("ab").trailers())
        .run();
    assert_eq!(out.upstream, "POST streamed | ab | t=1");
}

#[test]
fn a_trailers_callback_that_continues_releases_a_held_head_too() {
    let out = row()
        .filter(
            filter("a")
                .on(RequestHeaders, answer(Answer::StopIteration))
                .on(RequestBody, answer(Answer::Buffer))
                .on(RequestTrailers, go().header("x", "1")),
        )
        .request(body("ab").trailers())
        .run();
    assert_eq!(out.upstream, "POST x=1 streamed | ab | t=1");
}

#[test]
fn a_trailers_callback_that_stops_holds_body_and_trailers_until_resumed() {
    let stop = filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestTrailers, answer(Answer::Stop));
    let out = row().filter(stop.clone()).request(body("ab").trailers()).run();
    assert_eq!(out.upstream, "POST streamed ! waits");
    let out =
        row().filter(stop).request(body("ab").trailers()).later(0, go().trailer("x", "1").append("!").resume()).run();
    assert_eq!(out.upstream, "POST streamed | ab! | t=1 x=1");
}

#[test]
fn trailers_can_be_changed_in_their_callback_and_are_seen_by_the_next_stage() {
    let out = row()
        .filter(filter("a").on(RequestTrailers, go().trailer("t", "2")))
        .filter(filter("b").on(RequestTrailers, go()))
        .request(body("ab").trailers())
        .run();
    assert_eq!(out.saw("b"), "> trailers t=2, finish");
    assert_eq!(out.upstream, "POST streamed | ab | t=2");
}

#[test]
fn trailers_made_in_the_last_body_callback_are_sent_and_seen_by_later_stages_only() {
    let out = row()
        .filter(filter("a").on(ResponseBody, go()).on(ResponseTrailers, go()))
        .filter(filter("b").on(ResponseBody, go().trailer("x", "1")).on(ResponseTrailers, go()))
        .response(body("ab"))
        .run();
    assert_eq!(out.saw("b"), "< body \"ab\" end, finish");
    assert_eq!(out.saw("a"), "< body \"ab\", < trailers x=1, finish");
    assert_eq!(out.client, "200 streamed | ab | x=1");
}

#[test]
fn trailers_cannot_be_made_before_the_last_body_callback() {
    let early = filter("a").on(RequestHeaders, go().trailer("x", "1")).on(RequestBody, go().trailer("x", "1"));
    let out = row().filter(early).request(body("ab|cd")).run();
    assert_eq!(out.upstream, "POST streamed | ab | cd");
    assert_eq!(out.written.as_deref(), Some(&b"false"[..]));
}

#[test]
fn trailers_may_be_made_while_the_end_of_the_body_is_held() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab"))
        .later(0, go().trailer("x", "1").resume())
        .run();
    assert_eq!(out.upstream, "POST streamed | ab | x=1");
}

#[test]
fn trailers_that_have_gone_on_cannot_be_changed() {
    let out = row()
        .filter(filter("a").on(RequestTrailers, go()))
        .filter(filter("b").on(RequestTrailers, answer(Answer::Stop)))
        .request(body("ab").trailers())
        .later(0, go().trailer("x", "1"))
        .later(1, go().resume())
        .run();
    assert_eq!(out.upstream, "POST streamed | ab | t=1");
    let out = row()
        .filter(filter("a").on(RequestBody, go()))
        .filter(filter("b").on(RequestHeaders, go()).on(RequestTrailers, go()))
        .request(body("ab"))
        .awaiting(Event::Later(0, Direction::Request, go().trailer("x", "1")))
        .run();
    assert_eq!(out.written.as_deref(), Some(&b"false"[..]));
}

#[test]
fn trailers_without_a_body_have_a_callback_and_no_body_call() {
    let out = row().filter(filter("a").all()).request(body("").trailers()).run();
    assert_eq!(out.saw("a"), "> head, > trailers t=1, < head end, finish");
    assert_eq!(out.upstream, "POST streamed | t=1");
}

#[test]
fn a_filter_without_a_trailers_callback_hears_the_end_with_its_body() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestBody, go().append("!")))
        .request(body("ab").trailers())
        .run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"ab\" end, finish");
    assert_eq!(out.upstream, "POST streamed | ab! | t=1");
}

#[test]
fn trailers_do_not_overtake_a_filter_that_hears_none() {
    let hold = answer(Answer::Buffer);
    let held = filter("a").on(RequestBody, hold.clone()).on(RequestBody, hold);
    let out = row().filter(held.clone()).request(body("ab").trailers()).run();
    assert_eq!(out.upstream, "POST streamed ! waits");
    let out = row().filter(held).request(body("ab").trailers()).later(0, go().resume()).run();
    assert_eq!(out.upstream, "POST streamed | ab | t=1");
}

#[test]
fn trailers_of_which_nothing_is_left_are_not_sent() {
    let clear = go().does(|stage, direction| assert!(stage.edit_trailers(direction, |map| map.retain(|_| false))));
    let out = row().filter(filter("a").on(RequestTrailers, clear)).request(body("ab").trailers()).run();
    assert_eq!(out.upstream, "POST streamed | ab");
}
