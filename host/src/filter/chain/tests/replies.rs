//! Local replies and resets: when they are acted on, whom they pass, which one wins.

use super::harness::{Event, row};
use super::scripts::{Answer, answer, body, filter, go};
use crate::filter::Direction::Request;
use crate::filter::Phase::{
    RequestBody, RequestHeaders, RequestTrailers, ResponseBody, ResponseHeaders, ResponseTrailers,
};

#[test]
fn a_reply_runs_back_from_the_replying_filter_over_those_that_saw_the_request() {
    let out = row()
        .filter(filter("a").all())
        .filter(filter("b").all().on(RequestHeaders, answer(Answer::StopAll).reply(401)))
        .filter(filter("c").all())
        .request(body("unread"))
        .run();
    assert_eq!(
        out.order(),
        "a > head, b > head, b < head, a < head, b < body \"no\" end, a < body \"no\" end, a finish, b finish"
    );
    assert_eq!(out.upstream, "");
    assert_eq!(out.client, "(filter 1) 401 length 2 | no");
}

#[test]
fn a_reply_is_acted_on_whatever_the_callback_answers() {
    for says in [Answer::Continue, Answer::StopIteration, Answer::StopAll, Answer::StopAllBuffer] {
        let out = row()
            .filter(filter("a").on(RequestHeaders, answer(says).reply(403)))
            .filter(filter("b").on(RequestHeaders, go()))
            .run();
        assert_eq!(out.client, "(filter 0) 403 length 2 | no");
        assert_eq!(out.saw("b"), "", "the filter after it never sees the request");
    }
}

#[test]
fn the_first_reply_wins() {
    let out = row().filter(filter("a").on(RequestHeaders, go().reply(401).reply(403))).run();
    assert_eq!(out.client, "(filter 0) 401 length 2 | no");
    assert_eq!(out.written.as_deref(), Some(&b"false"[..]));
}

#[test]
fn a_reply_to_ones_own_reply_is_ignored_and_holds_nothing_up() {
    let again = filter("a")
        .on(RequestHeaders, go().reply(401))
        .on(ResponseHeaders, answer(Answer::StopAll).reply(500))
        .on(ResponseBody, answer(Answer::Buffer).reply(500));
    let out = row().filter(again).run();
    assert_eq!(out.client, "(filter 0) 401 length 2 | no");
}

#[test]
fn response_callbacks_may_change_a_reply() {
    let out = row()
        .filter(filter("cors").on(ResponseHeaders, go().header("x", "1")).on(ResponseBody, go().body("sorry")))
        .filter(filter("auth").on(RequestHeaders, go().reply(401)))
        .run();
    assert_eq!(out.client, "(filter 1) 401 x=1 length 5 | sorry");
}

#[test]
fn a_filter_that_only_has_response_callbacks_saw_the_request_that_passed_it() {
    let passive = |name| filter(name).on(ResponseHeaders, go());
    let out =
        row().filter(passive("a")).filter(filter("b").on(RequestHeaders, go().reply(401))).filter(passive("c")).run();
    assert_eq!(out.saw("a"), "< head, finish");
    assert_eq!(out.saw("c"), "");
}

#[test]
fn a_reply_from_a_body_callback_drops_what_is_held() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, answer(Answer::StopIteration)).on(RequestBody, go().reply(400)))
        .filter(filter("b").on(RequestHeaders, go()).on(ResponseHeaders, go()))
        .request(body("ab|cd"))
        .run();
    assert_eq!((&*out.upstream, &*out.client), ("", "(filter 0) 400 length 2 | no"));
    assert_eq!(out.saw("a"), "> head, > body \"ab\", finish");
    assert_eq!(out.saw("b"), "");
}

#[test]
fn a_reply_from_an_early_filter_does_not_pass_the_later_ones() {
    let out = row()
        .filter(filter("a").on(RequestBody, go()).on(RequestBody, go().reply(400)).on(ResponseHeaders, go()))
        .filter(filter("b").on(RequestHeaders, go()).on(ResponseHeaders, go()))
        .request(body("ab|cd"))
        .run();
    assert_eq!(out.upstream, "POST streamed | ab");
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"cd\" end, < head, finish");
    assert_eq!(out.saw("b"), "> head, finish");
}

#[test]
fn a_reply_from_a_trailers_callback_or_a_callout_answer_counts_too() {
    let out = row().filter(filter("a").on(RequestTrailers, go().reply(400))).request(body("ab").trailers()).run();
    assert_eq!(out.client, "(filter 0) 400 length 2 | no");
    let stop = filter("a").on(RequestHeaders, answer(Answer::StopAll));
    let out = row().filter(stop).later(0, go().reply(429)).run();
    assert_eq!(out.client, "(filter 0) 429 length 2 | no");
}

#[test]
fn a_reply_wakes_a_message_that_waits_for_its_sender() {
    let out =
        row().filter(filter("a").on(RequestHeaders, go())).request(body("ab|~|cd")).later(0, go().reply(408)).run();
    assert_eq!(out.upstream, "POST streamed | ab");
    assert_eq!(out.client, "(filter 0) 408 length 2 | no");
}

#[test]
fn a_reply_while_the_upstream_is_awaited_is_given_at_once() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()).on(ResponseHeaders, go()))
        .awaiting(Event::Later(0, Request, go().reply(503)))
        .run();
    assert_eq!(out.client, "(filter 0) 503 length 2 | no");
    assert_eq!(out.saw("a"), "> head end, < head, finish");
}

#[test]
fn a_reply_in_the_response_replaces_it_and_passes_no_further_filter() {
    let out = row()
        .filter(filter("a").on(ResponseHeaders, go()))
        .filter(filter("b").on(ResponseHeaders, go().reply(502)))
        .filter(filter("c").on(ResponseHeaders, go()))
        .response(body("secret"))
        .run();
    assert_eq!(out.order(), "c < head, b < head, b finish, c finish");
    assert_eq!(out.client, "(filter 1) 502 length 2 | no");
}

#[test]
fn a_reply_from_a_response_body_callback_replaces_a_head_that_is_still_held() {
    let out = row()
        .filter(filter("a").on(ResponseHeaders, answer(Answer::StopIteration)).on(ResponseBody, go().reply(502)))
        .response(body("secret"))
        .run();
    assert_eq!(out.client, "(filter 0) 502 length 2 | no");
    let waiting = row().filter(filter("a").on(ResponseBody, go().reply(502))).response(body("secret").declared()).run();
    assert_eq!(waiting.client, "(filter 0) 502 length 2 | no", "a head that waits for its length has not left");
}

#[test]
fn a_reply_after_the_responses_head_has_left_resets_the_stream() {
    let out = row().filter(filter("a").on(ResponseBody, go().reply(502))).response(body("ab|cd")).run();
    assert_eq!(out.client, "200 streamed ! reset filter 0");
    let out = row().filter(filter("a").on(ResponseTrailers, go().reply(502))).response(body("ab").trailers()).run();
    assert_eq!(out.client, "200 streamed | ab ! reset filter 0");
}

#[test]
fn a_reset_ends_the_stream_in_either_direction() {
    let out = row().filter(filter("a").on(RequestHeaders, go().reset())).run();
    assert_eq!((&*out.upstream, &*out.client), ("! reset closed", ""));
    let out = row().filter(filter("a").on(ResponseHeaders, go().reset())).run();
    assert_eq!(out.client, "! reset closed");
}

#[test]
fn a_reply_after_a_reset_is_ignored_and_so_is_a_reset_after_a_reply() {
    let out = row().filter(filter("a").on(RequestHeaders, go().reset().reply(401))).run();
    assert_eq!(out.upstream, "! reset closed");
    let out = row().filter(filter("a").on(RequestHeaders, go().reply(401).reset())).run();
    assert_eq!(out.client, "(filter 0) 401 length 2 | no");
}

#[test]
fn a_reset_is_heard_after_a_reply_was_acted_on() {
    let out = row().filter(filter("a").on(RequestHeaders, go().reply(401)).on(ResponseBody, go().reset())).run();
    assert_eq!(out.client, "(filter 0) ! reset closed");
}

#[test]
fn a_reply_of_the_gateway_passes_every_filter_that_saw_the_request() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()).on(ResponseHeaders, go().header("x", "1")))
        .filter(filter("b").on(RequestHeaders, answer(Answer::StopAll)).on(ResponseHeaders, go().header("y", "2")))
        .filter(filter("c").on(ResponseHeaders, go().header("z", "3")))
        .run();
    assert_eq!(out.client, "(gateway) 504 y=2 x=1");
}
