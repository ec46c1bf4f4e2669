//! Heads: what each action does with them, who may change them when.

use super::harness::{Event, row};
use super::scripts::{Answer, answer, body, filter, go};
use crate::filter::Phase::{RequestBody, RequestHeaders, ResponseBody, ResponseHeaders};

#[test]
fn without_filters_messages_pass_as_they_are() {
    let out = row().request(body("ab|cd")).response(body("ok").declared()).run();
    assert_eq!(out.upstream, "POST streamed | ab | cd");
    assert_eq!(out.client, "200 length 2 | ok");
}

#[test]
fn a_filter_without_callbacks_is_never_called() {
    let out = row().filter(filter("a")).request(body("ab|cd").declared()).response(body("ok")).run();
    assert_eq!(out.saw("a"), "");
    assert_eq!(out.upstream, "POST length 4 | ab | cd");
    assert_eq!(out.client, "200 streamed | ok");
}

#[test]
fn continue_gives_the_head_to_the_next_stage_with_its_changes() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go().header("x", "1")))
        .filter(filter("b").on(RequestHeaders, go().header("y", "2")))
        .run();
    assert_eq!(out.upstream, "POST x=1 y=2");
    assert_eq!(out.order(), "a > head end, b > head end, a finish, b finish");
}

#[test]
fn a_request_meets_the_filters_first_to_last_and_a_response_last_to_first() {
    let out = row().filter(filter("a").all()).filter(filter("b").all()).request(body("q")).response(body("r")).run();
    assert_eq!(
        out.order(),
        "a > head, b > head, a > body \"q\" end, b > body \"q\" end, b < head, a < head, b < body \"r\" end, a < body \"r\" end, a finish, b finish"
    );
}

#[test]
fn a_head_without_a_body_says_that_the_stream_ends_with_it() {
    let out = row().filter(filter("a").all()).run();
    assert_eq!(out.saw("a"), "> head end, < head end, finish");
    assert_eq!((&*out.upstream, &*out.client), ("POST", "200"));
}

#[test]
fn stop_all_withholds_every_callback_until_the_filter_is_resumed() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, answer(Answer::StopAll)).on(RequestBody, go()))
        .filter(filter("b").on(RequestHeaders, go()))
        .request(body("ab|cd"))
        .later(0, go().header("x", "1").resume())
        .run();
    assert_eq!(out.order(), "a > head, b > head, a > body \"ab\", a > body \"cd\" end, a finish, b finish");
    assert_eq!(out.upstream, "POST x=1 streamed | ab | cd");
}

#[test]
fn stop_all_reads_nothing_of_the_body() {
    let stop = filter("a").on(RequestHeaders, answer(Answer::StopAll)).on(RequestBody, go());
    let out = row().filter(stop).request(body("0123456789|broken").broken()).run();
    assert_eq!(out.upstream, "! waits");
    assert_eq!(out.client, "(gateway) 504");
}

#[test]
fn stop_all_and_buffer_reads_on_and_hands_over_one_chunk_when_resumed() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, answer(Answer::StopAllBuffer)).on(RequestBody, go()))
        .request(body("ab|cd|~|ef"))
        .then(Event::Opens)
        .later(0, go().resume())
        .run();
    assert_eq!(out.saw("a"), "> head, > body \"abcdef\" end, finish");
    assert_eq!(out.upstream, "POST streamed | abcdef");
}

#[test]
fn stop_all_and_buffer_resumed_before_the_end_calls_what_follows_chunk_by_chunk() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, answer(Answer::StopAllBuffer)).on(RequestBody, go()))
        .request(body("ab|cd|~|ef"))
        .later(0, go().resume())
        .run();
    assert_eq!(out.saw("a"), "> head, > body \"abcd\", > body \"ef\" end, finish");
}

#[test]
fn stop_all_and_buffer_keeps_a_body_that_has_trailers_whole() {
    let held =
        filter("a").on(RequestHeaders, answer(Answer::StopAllBuffer)).on(RequestBody, answer(Answer::Buffer)).all();
    let out = row().filter(held).request(body("ab|cd").trailers()).later(0, go().resume()).run();
    assert_eq!(out.saw("a"), "> head, > body \"abcd\", > trailers t=1, < head end, finish");
    assert_eq!(out.upstream, "POST streamed | abcd | t=1");
}

#[test]
fn stop_all_and_buffer_refuses_a_body_beyond_the_limit() {
    let stop = filter("a").on(RequestHeaders, answer(Answer::StopAllBuffer)).on(RequestBody, go());
    let out = row().filter(stop).request(body("01234|56789")).limit(9).run();
    assert_eq!(out.upstream, "! too large");
    assert_eq!(out.client, "(gateway) 413");
    assert_eq!(out.saw("a"), "> head, finish");
}

#[test]
fn stop_iteration_holds_the_head_while_body_callbacks_go_on() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, answer(Answer::StopIteration)).on(RequestBody, answer(Answer::Buffer)))
        .filter(filter("b").on(RequestHeaders, go()))
        .request(body("ab|cd"))
        .run();
    assert_eq!(out.order(), "a > head, a > body \"ab\", a > body \"abcd\" end, b > head, a finish, b finish");
    assert_eq!(out.upstream, "POST streamed | abcd");
}

#[test]
fn a_head_held_by_stop_iteration_may_be_changed_by_body_callbacks() {
    let out = row()
        .filter(
            filter("a")
                .on(RequestHeaders, answer(Answer::StopIteration))
                .on(RequestBody, answer(Answer::Buffer).header("x", "1"))
                .on(RequestBody, go().header("y", "2")),
        )
        .request(body("ab|cd"))
        .run();
    assert_eq!(out.upstream, "POST x=1 y=2 streamed | abcd");
}

#[test]
fn a_resume_releases_a_head_held_by_stop_iteration_and_the_body_with_it() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, answer(Answer::StopIteration)).on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab|~|cd"))
        .later(0, go().resume())
        .run();
    assert_eq!(out.saw("a"), "> head, > body \"ab\", > body \"cd\" end, finish");
    assert_eq!(out.upstream, "POST streamed | ab | cd");
}

#[test]
fn a_stage_reads_the_body_through_the_stages_before_it_while_it_holds_the_head() {
    let out = row()
        .filter(filter("a").on(RequestBody, go().append("!")))
        .filter(filter("b").on(RequestHeaders, answer(Answer::StopIteration)).on(RequestBody, go()))
        .request(body("ab"))
        .run();
    assert_eq!(out.order(), "b > head, a > body \"ab\" end, b > body \"ab!\" end, a finish, b finish");
    assert_eq!(out.upstream, "POST streamed | ab!");
}

#[test]
fn the_end_alone_does_not_release_a_head() {
    let out = row().filter(filter("a").on(RequestHeaders, answer(Answer::StopIteration)).on(RequestBody, go())).run();
    assert_eq!(out.upstream, "! waits");
    assert_eq!(out.client, "(gateway) 504");
}

#[test]
fn a_filter_without_a_body_callback_is_not_overtaken_by_the_body() {
    let stop = filter("a").on(RequestHeaders, answer(Answer::StopIteration));
    let out = row().filter(stop.clone()).request(body("ab")).run();
    assert_eq!(out.upstream, "! waits");
    let out = row().filter(stop).request(body("ab")).later(0, go().header("x", "1").resume()).run();
    assert_eq!(out.upstream, "POST x=1 streamed | ab");
}

#[test]
fn a_callout_answer_may_change_the_held_head() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, answer(Answer::StopAll)))
        .later(0, go().header("x", "1"))
        .later(0, go().resume().header("y", "2"))
        .run();
    assert_eq!(out.upstream, "POST x=1 y=2");
    assert_eq!(out.written.as_deref(), Some(&b"true"[..]));
}

#[test]
fn after_its_release_a_head_can_be_read_but_not_changed() {
    let late = go().header("x", "late").does(|stage, direction| {
        assert!(stage.exchange().headers(direction).is_some(), "still readable");
    });
    let out = row().filter(filter("a").on(RequestHeaders, go()).on(RequestBody, late)).request(body("ab")).run();
    assert_eq!(out.upstream, "POST streamed | ab");
    assert_eq!(out.written.as_deref(), Some(&b"false"[..]));
}

#[test]
fn the_request_head_is_readable_in_response_callbacks_and_not_changeable() {
    let read = go().does(|stage, _| {
        let request = crate::filter::Direction::Request;
        assert!(stage.exchange().headers(request).is_some());
        assert!(!stage.edit_headers(request, |_| ()));
    });
    let out = row().filter(filter("a").on(ResponseHeaders, read)).run();
    assert_eq!(out.client, "200");
}

#[test]
fn a_filter_cannot_change_a_head_that_another_stage_holds() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()))
        .filter(filter("b").on(RequestHeaders, answer(Answer::StopAll)))
        .later(0, go().header("x", "1"))
        .later(1, go().resume())
        .run();
    assert_eq!(out.upstream, "POST");
    assert_eq!(out.written.as_deref(), Some(&b"false"[..]));
}

#[test]
fn a_resume_inside_the_callback_that_pauses_counts() {
    let out = row().filter(filter("a").on(RequestHeaders, answer(Answer::StopAll).resume())).run();
    assert_eq!(out.upstream, "POST");
}

#[test]
fn a_resume_from_before_the_pause_does_not_count() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go().resume()).on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab"))
        .run();
    assert_eq!(out.upstream, "POST streamed ! waits");
}

#[test]
fn a_resume_from_before_the_head_arrived_does_not_count() {
    let stop = |name| filter(name).on(RequestHeaders, answer(Answer::StopAll));
    let out = row().filter(stop("a")).filter(stop("b")).later(1, go().resume()).later(0, go().resume()).run();
    assert_eq!(out.order(), "a > head end, b > head end, a finish, b finish");
    assert_eq!(out.upstream, "! waits");
}

#[test]
fn resuming_one_direction_does_not_release_the_other() {
    let out =
        row().filter(filter("a").on(RequestHeaders, answer(Answer::StopAll))).later_response(0, go().resume()).run();
    assert_eq!(out.upstream, "! waits");
}

#[test]
fn a_message_without_a_body_can_be_given_one_with_the_head() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go().give("made")).on(RequestBody, go()))
        .filter(filter("b").all())
        .run();
    assert_eq!(out.upstream, "POST length 4 | made");
    assert_eq!(out.saw("a"), "> head end, finish");
    assert_eq!(out.saw("b"), "> head, > body \"made\" end, < head end, finish");
}

#[test]
fn a_body_can_be_given_while_the_head_is_held_and_the_last_gift_counts() {
    let out = row()
        .filter(filter("a").on(ResponseHeaders, answer(Answer::StopIteration)).on(ResponseBody, go()))
        .later_response(0, go().give("first"))
        .later_response(0, go().give("made").resume())
        .run();
    assert_eq!(out.client, "200 length 4 | made");
}

#[test]
fn a_message_with_a_body_of_its_own_is_not_given_another() {
    let out = row().filter(filter("a").on(RequestHeaders, go().give("made"))).request(body("own")).run();
    assert_eq!(out.upstream, "POST streamed | own");
    assert_eq!(out.written.as_deref(), Some(&b"false"[..]));
}

#[test]
fn a_given_body_is_the_messages_own_for_later_stages() {
    let out = row()
        .filter(filter("a").on(RequestHeaders, go().give("one")))
        .filter(filter("b").on(RequestHeaders, go().give("two")).on(RequestBody, go().append("!")))
        .run();
    assert_eq!(out.upstream, "POST length 4 | one!");
}
