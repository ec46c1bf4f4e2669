//! Bodies: what callbacks are told, what is held, dropped, changed, and when it goes on.

use super::harness::{Event, row};
use super::scripts::{Answer, answer, body, filter, go};
use crate::filter::Phase::{RequestBody, RequestHeaders, RequestTrailers, ResponseBody};

#[test]
fn a_chunk_known_to_be_the_last_ends_the_stream_in_its_own_call() {
    let out = row().filter(filter("a").on(RequestBody, go())).request(body("ab|cd")).run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"cd\" end, finish");
}

#[test]
fn an_end_that_comes_without_data_is_a_call_of_its_own() {
    let out = row().filter(filter("a").on(RequestBody, go())).request(body("ab").late_end()).run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"\" end, finish");
    assert_eq!(out.upstream, "POST streamed | ab");
}

#[test]
fn an_empty_body_that_was_announced_is_one_empty_call() {
    let out = row().filter(filter("a").all()).request(body("").late_end()).run();
    assert_eq!(out.saw("a"), "> head, > body \"\" end, < head end, finish");
    assert_eq!(out.upstream, "POST streamed");
}

#[test]
fn the_final_call_tells_the_size_of_what_is_still_held() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab|cd").late_end())
        .run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"abcd\", > body \"abcd\" end, finish");
    assert_eq!(out.upstream, "POST streamed | abcd");
}

#[test]
fn continue_lets_all_that_is_held_go_on_as_one_piece() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)))
        .filter(filter("b").on(RequestBody, go()))
        .request(body("ab|cd|ef"))
        .run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"abcd\", > body \"ef\" end, finish");
    assert_eq!(out.saw("b"), "> body \"abcd\", > body \"ef\" end, finish");
    assert_eq!(out.upstream, "POST streamed | abcd | ef");
}

#[test]
fn a_held_request_beyond_the_limit_is_answered_413_and_filters_end() {
    let hold = answer(Answer::Buffer);
    let out = row()
        .filter(filter("a").on(RequestHeaders, go()).on(RequestBody, hold.clone()).on(RequestBody, hold))
        .request(body("01234|56789"))
        .limit(9)
        .run();
    assert_eq!(out.upstream, "POST streamed ! too large");
    assert_eq!(out.client, "(gateway) 413");
    assert_eq!(out.saw("a"), "> head, > body \"01234\", > body \"0123456789\" end, finish");
}

#[test]
fn a_held_response_beyond_the_limit_is_answered_502() {
    let hold = answer(Answer::Buffer);
    let out = row()
        .filter(filter("a").on(ResponseBody, hold.clone()).on(ResponseBody, hold))
        .response(body("01234|56789").declared())
        .limit(9)
        .run();
    assert_eq!(out.client, "(gateway) 502");
}

#[test]
fn a_held_response_beyond_the_limit_is_cut_when_its_head_has_left() {
    let hold = answer(Answer::Buffer);
    let out = row()
        .filter(filter("a").on(ResponseBody, hold.clone()).on(ResponseBody, hold))
        .response(body("01234|56789"))
        .limit(9)
        .run();
    assert_eq!(out.client, "200 streamed ! too large");
}

#[test]
fn exactly_the_limit_may_be_held() {
    let out =
        row().filter(filter("a").on(RequestBody, answer(Answer::Buffer))).request(body("01234|56789")).limit(10).run();
    assert_eq!(out.upstream, "POST streamed | 0123456789");
    let hold = filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestBody, answer(Answer::Buffer));
    let out = row().filter(hold).request(body("01234|56789")).limit(10).later(0, go().resume()).run();
    assert_eq!(out.upstream, "POST streamed | 0123456789");
}

#[test]
fn what_continues_is_not_bound_by_the_limit() {
    let out = row().filter(filter("a").on(RequestBody, go())).request(body("0123456789|0123456789")).limit(3).run();
    assert_eq!(out.upstream, "POST streamed | 0123456789 | 0123456789");
}

#[test]
fn a_watermark_stops_reading_at_the_limit_until_resumed() {
    let hold = answer(Answer::Watermark);
    let out = row()
        .filter(filter("a").on(RequestBody, hold.clone()).on(RequestBody, hold))
        .request(body("01234|56789|ab"))
        .limit(10)
        .later(0, go().resume())
        .run();
    assert_eq!(out.saw("a"), "> body \"01234\", > body \"0123456789\", > body \"ab\" end, finish");
    assert_eq!(out.upstream, "POST streamed | 0123456789 | ab");
}

#[test]
fn a_watermark_below_the_limit_reads_on_and_never_fails() {
    let hold = answer(Answer::Watermark);
    let out = row()
        .filter(filter("a").on(RequestBody, hold.clone()).on(RequestBody, hold))
        .request(body("0123|4567890123456789|broken").broken())
        .limit(5)
        .run();
    assert_eq!(out.saw("a"), "> body \"0123\", > body \"01234567890123456789\", finish");
    assert_eq!(out.upstream, "POST streamed ! waits");
}

#[test]
fn no_buffer_drops_the_chunk() {
    let out = row().filter(filter("a").on(RequestBody, answer(Answer::NoBuffer))).request(body("ab|cd")).run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"cd\" end, finish");
    assert_eq!(out.upstream, "POST streamed | cd");
}

#[test]
fn no_buffer_drops_only_the_chunk_and_not_what_was_held_before() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestBody, answer(Answer::NoBuffer)))
        .request(body("ab|cd|ef"))
        .run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"abcd\", > body \"abef\" end, finish");
    assert_eq!(out.upstream, "POST streamed | abef");
}

#[test]
fn a_filter_that_took_the_whole_body_can_put_another_in_its_place_later() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::NoBuffer)).on(RequestBody, answer(Answer::NoBuffer)))
        .request(body("ab|cd"))
        .later(0, go().append("new").resume())
        .run();
    assert_eq!(out.upstream, "POST streamed | new");
}

#[test]
fn a_filter_that_took_the_end_holds_it_until_resumed() {
    let took = filter("a").on(RequestBody, answer(Answer::NoBuffer));
    let out = row().filter(took.clone()).request(body("ab")).run();
    assert_eq!(out.upstream, "POST streamed ! waits");
    let out = row().filter(took).request(body("ab")).later(0, go().resume()).run();
    assert_eq!(out.upstream, "POST streamed");
}

#[test]
fn a_body_may_be_replaced_emptied_extended_and_cut_anywhere() {
    let edit = |start, length, data: &'static str| {
        go().does(move |stage, direction| assert!(stage.set_body(direction, start, length, data.as_bytes())))
    };
    let cases = [
        ((0, usize::MAX, "new"), " | new"),
        ((0, 3, ""), " | defgh"),
        ((2, 2, "XYZ"), " | abXYZefgh"),
        ((0, 0, "<<"), " | <<abcdefgh"),
        ((0x7fff_ffff, 0, ">>"), " | abcdefgh>>"),
        ((6, 0x7fff_ffff, "!"), " | abcdef!"),
        ((0, usize::MAX, ""), ""),
    ];
    for ((start, length, data), expected) in cases {
        let out = row().filter(filter("a").on(RequestBody, edit(start, length, data))).request(body("abcdefgh")).run();
        assert_eq!(out.upstream, format!("POST streamed{expected}"), "{start} {length} {data}");
    }
}

#[test]
fn what_a_filter_adds_is_seen_by_the_next_filter_and_not_by_itself_again() {
    let out = row()
        .filter(filter("a").on(RequestBody, go().append("+a")))
        .filter(filter("b").on(RequestBody, go().append("+b")))
        .request(body("1|2"))
        .run();
    assert_eq!(out.saw("a"), "> body \"1\", > body \"2\" end, finish");
    assert_eq!(out.saw("b"), "> body \"1+a\", > body \"2\" end, finish");
    assert_eq!(out.upstream, "POST streamed | 1+a+b | 2");
}

#[test]
fn a_chunk_that_a_filter_emptied_calls_nobody() {
    let out = row()
        .filter(filter("a").on(RequestBody, go().body("")))
        .filter(filter("b").on(RequestBody, go()))
        .request(body("ab|cd"))
        .run();
    assert_eq!(out.saw("b"), "> body \"cd\" end, finish");
}

#[test]
fn a_held_body_can_be_changed_by_a_callout_answer() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab"))
        .later(0, go().body("new"))
        .later(0, go().append("!").resume())
        .run();
    assert_eq!(out.upstream, "POST streamed | new!");
}

#[test]
fn a_body_that_has_gone_on_or_not_come_cannot_be_changed() {
    let late = row()
        .filter(filter("a").on(RequestBody, go()))
        .filter(filter("b").on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab"))
        .later(0, go().body("late"))
        .later(1, go().resume())
        .run();
    assert_eq!(late.upstream, "POST streamed | ab");
    assert_eq!(late.written.as_deref(), Some(&b"false"[..]));
    let early = row().filter(filter("a").on(RequestHeaders, go().body("early"))).request(body("ab")).run();
    assert_eq!(early.written.as_deref(), Some(&b"false"[..]));
}

#[test]
fn a_resume_lets_the_held_body_go_on_without_another_call() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab|~|cd|ef"))
        .later(0, go().resume())
        .run();
    assert_eq!(out.saw("a"), "> body \"ab\", > body \"cd\", > body \"ef\" end, finish");
    assert_eq!(out.upstream, "POST streamed | ab | cd | ef");
}

#[test]
fn a_second_resume_for_the_same_pause_does_nothing() {
    let out = row()
        .filter(filter("a").on(RequestBody, answer(Answer::Buffer)).on(RequestBody, answer(Answer::Buffer)))
        .request(body("ab|~|cd"))
        .later(0, go().resume())
        .later(0, go().resume())
        .run();
    assert_eq!(out.upstream, "POST streamed | ab ! waits");
}

#[test]
fn a_body_held_at_its_end_and_never_resumed_is_a_reset_or_a_504() {
    let out = row().filter(filter("a").on(RequestBody, answer(Answer::Buffer))).request(body("ab")).run();
    assert_eq!((&*out.upstream, &*out.client), ("POST streamed ! waits", "(gateway) 504"));
    let out = row().filter(filter("a").on(ResponseBody, answer(Answer::Buffer))).response(body("ab")).run();
    assert_eq!(out.client, "200 streamed ! waits");
}

#[test]
fn a_stage_that_is_not_polled_reads_nothing() {
    let out = row()
        .filter(filter("a").on(RequestBody, go()))
        .filter(filter("b").on(RequestHeaders, answer(Answer::StopAll)))
        .request(body("ab|cd").declared())
        .run();
    assert_eq!(out.saw("a"), "", "b holds the head and does not read");
}

#[test]
fn the_end_of_a_body_passes_stages_that_hear_no_bodies() {
    let out = row()
        .filter(filter("a").on(RequestTrailers, go()))
        .filter(filter("b").on(RequestBody, go()))
        .request(body("ab|cd"))
        .run();
    assert_eq!(out.saw("b"), "> body \"ab\", > body \"cd\" end, finish");
}

#[test]
fn a_failing_sender_ends_the_message_and_what_is_held_of_it() {
    let out = row().filter(filter("a").on(RequestBody, answer(Answer::Buffer))).request(body("ab").broken()).run();
    assert_eq!(out.upstream, "POST streamed ! client: reset by peer");
    let out = row().response(body("ab|~").broken()).then(Event::Opens).run();
    assert_eq!(out.client, "200 streamed | ab ! upstream: reset by peer");
    let out = row().filter(filter("a").on(ResponseBody, go())).response(body("").broken().length(5)).run();
    assert_eq!(out.client, "(gateway) 502");
}
