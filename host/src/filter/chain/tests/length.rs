//! `content-length` is always true.

use super::harness::row;
use super::scripts::{Answer, answer, body, filter, go};
use crate::filter::Phase::{RequestBody, RequestHeaders, RequestTrailers, ResponseBody};

#[test]
fn a_message_without_a_length_leaves_as_soon_as_its_head_is_released() {
    let out = row().filter(filter("a").on(RequestBody, answer(Answer::Buffer))).request(body("~|ab")).run();
    assert_eq!(out.order(), "a > body \"ab\" end, a finish");
    assert_eq!(out.upstream, "POST streamed ! waits");
}

#[test]
fn a_length_stays_when_no_filter_hears_the_body() {
    let out = row().filter(filter("a").on(RequestHeaders, go())).request(body("~|ab").declared()).run();
    assert_eq!(out.upstream, "POST length 2 | ab");
}

#[test]
fn a_length_stays_when_the_body_begins_to_leave_untouched() {
    let out = row().filter(filter("a").on(RequestBody, go())).request(body("ab|cd").declared()).run();
    assert_eq!(out.upstream, "POST length 4 | ab | cd");
}

#[test]
fn a_length_stays_when_a_held_body_leaves_untouched() {
    let out = row().filter(filter("a").on(RequestBody, answer(Answer::Buffer))).request(body("ab|cd").declared()).run();
    assert_eq!(out.upstream, "POST length 4 | abcd");
}

#[test]
fn a_length_is_set_right_when_the_whole_body_is_known() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestBody, go().append("!")))
        .request(body("ab|cd").declared())
        .run();
    assert_eq!(out.upstream, "POST length 5 | abcd!");
}

#[test]
fn a_body_in_one_piece_that_is_changed_keeps_a_length() {
    let out = row().filter(filter("a").on(ResponseBody, go().body("other"))).response(body("ab").declared()).run();
    assert_eq!(out.client, "200 length 5 | other");
}

#[test]
fn a_body_that_was_emptied_has_length_zero() {
    let out = row().filter(filter("a").on(RequestBody, go().body(""))).request(body("ab").declared()).run();
    assert_eq!(out.upstream, "POST length 0");
}

#[test]
fn a_body_changed_with_more_to_come_leaves_without_a_length() {
    let out = row().filter(filter("a").on(RequestBody, go().append("!"))).request(body("ab|cd").declared()).run();
    assert_eq!(out.upstream, "POST streamed | ab! | cd");
}

#[test]
fn a_body_of_which_a_chunk_was_taken_leaves_without_a_length() {
    let out =
        row().filter(filter("a").on(RequestBody, answer(Answer::NoBuffer))).request(body("ab|cd|ef").declared()).run();
    assert_eq!(out.upstream, "POST streamed | cd | ef");
}

#[test]
fn a_change_of_length_after_the_head_left_with_one_ends_the_stream() {
    let longer = filter("a").on(RequestBody, go()).on(RequestBody, go().append("!"));
    let out = row().filter(longer).request(body("ab|cd").declared()).run();
    assert_eq!(out.upstream, "POST length 4 | ab ! length changed");
    let shorter = filter("a").on(ResponseBody, go()).on(ResponseBody, go().body("c"));
    let out = row().filter(shorter).response(body("ab|cd").declared()).run();
    assert_eq!(out.client, "200 length 4 | ab ! length changed");
    let emptied = filter("a").on(ResponseBody, go()).on(ResponseBody, go().body(""));
    let out = row().filter(emptied).response(body("ab|cd").declared()).run();
    assert_eq!(out.client, "200 length 4 | ab ! length changed");
}

#[test]
fn a_change_that_keeps_the_length_is_fine_at_any_time() {
    let out = row()
        .filter(filter("a").on(RequestBody, go()).on(RequestBody, go().body("CD")))
        .request(body("ab|cd").declared())
        .run();
    assert_eq!(out.upstream, "POST length 4 | ab | CD");
}

#[test]
fn a_filter_that_streams_its_edits_makes_the_head_leave_at_once_without_a_length() {
    let out = row()
        .filter(filter("a").on(RequestBody, go()).on(RequestBody, go().append("!")).streams())
        .request(body("ab|cd").declared())
        .run();
    assert_eq!(out.upstream, "POST streamed | ab | cd!");
}

#[test]
fn a_sender_that_sends_less_or_more_than_it_declared_breaks_the_message() {
    let out = row().request(body("ab").length(3)).run();
    assert_eq!(out.upstream, "POST length 3 ! length changed");
    let out = row().request(body("ab|cd").length(3)).run();
    assert_eq!(out.upstream, "POST length 3 | ab ! length changed");
    let out = row().request(body("ab").late_end().length(3)).run();
    assert_eq!(out.upstream, "POST length 3 | ab ! length changed");
}

#[test]
fn trailers_that_are_known_when_the_head_leaves_take_the_length_away() {
    let out = row().filter(filter("a").on(RequestBody, go().trailer("x", "1"))).request(body("ab").declared()).run();
    assert_eq!(out.upstream, "POST streamed | ab | x=1");
    let hold = filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestTrailers, go());
    let out = row().filter(hold).request(body("ab").declared().trailers()).run();
    assert_eq!(out.upstream, "POST streamed | ab | t=1");
}

#[test]
fn the_length_waits_behind_the_last_stage_while_an_earlier_one_holds_the_body() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)))
        .filter(filter("b").on(RequestHeaders, go().header("x", "1")))
        .request(body("ab").declared())
        .later(0, go().body("abc").resume())
        .run();
    assert_eq!(out.order(), "b > head, a > body \"ab\" end, a finish, b finish");
    assert_eq!(out.upstream, "POST x=1 length 3 | abc");
}
