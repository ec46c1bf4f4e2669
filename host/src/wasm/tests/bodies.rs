//! Bodies: reading, writing, holding.

use std::sync::Arc;

use super::guest::Guest;
use super::stage::{Bench, spec};
use crate::config::PauseMeaning;
use crate::filter::Direction::Request;

const ALL: &str = "(i32.const 0x7fffffff)";

#[test]
fn a_held_body_is_seen_whole_and_goes_on_as_one() {
    let guest = Guest::new().on(
        "proxy_on_request_body",
        "(call $note (local.get $end) (local.get $size))
         (drop (call $proxy_get_buffer_bytes (i32.const 0) (i32.const 1) (i32.const 4) (global.get $at) (global.get $n)))
         (call $note_result (i32.const 5))
         (drop (call $proxy_get_buffer_status (i32.const 0) (i32.const 32) (i32.const 36)))
         (call $note (i32.const 6) (i32.load (i32.const 32)))
         (i32.eqz (local.get $end))",
    );
    let bench = Bench::new(&guest);
    let passed = bench.exchange().request(&[], &["abc", "def"]).unwrap();
    assert_eq!(passed.body, b"abcdef");
    assert_eq!((bench.number(0), bench.number(1)), (3, 6), "accumulated");
    assert_eq!((bench.text(5).as_str(), bench.number(6)), ("bcde", 6));
}

#[test]
fn bodies_are_replaced_prepended_appended_and_cut() {
    for (call, expected) in [
        (format!("(i32.const 0) {ALL} 'new'"), "new"),
        ("(i32.const 0) (i32.const 0) 'new'".into(), "newbody"),
        (format!("{ALL} (i32.const 0) 'new'"), "bodynew"),
        ("(i32.const 1) (i32.const 2) ''".into(), "by"),
        ("(i32.const 0) (i32.const -1) ''".into(), ""),
    ] {
        let guest = Guest::new().on(
            "proxy_on_request_body",
            &format!("(drop (call $proxy_set_buffer_bytes (i32.const 0) {call})) (i32.const 0)"),
        );
        let passed = Bench::new(&guest).exchange().request(&[], &["body"]).unwrap();
        assert_eq!(String::from_utf8(passed.body).unwrap(), expected, "{call}");
    }
}

#[test]
fn ranges_outside_a_body_are_empty_and_absent_buffers_are_said_so() {
    let get = |slot: u32, buffer: i32, start: i32, length: i32| {
        format!(
            "(call $note (i32.const {slot}) (call $proxy_get_buffer_bytes (i32.const {buffer}) (i32.const {start}) (i32.const {length})
                (global.get $at) (global.get $n)))
             (call $note (i32.const {}) (i32.load (global.get $n)))",
            slot + 10
        )
    };
    let body = [get(1, 0, 9, 5), get(2, 0, 1, -1), get(3, 1, 0, 5), get(4, 4, 0, 5), get(5, 6, 0, 5), get(6, 9, 0, 5)]
        .join("");
    let bench = Bench::new(&Guest::new().on("proxy_on_request_body", &format!("{body} (i32.const 0)")));
    bench.exchange().request(&[], &["body"]).unwrap();
    assert_eq!([1, 2, 3, 4, 5, 6].map(|slot| bench.number(slot)), [0, 0, 0, 1, 0, 2]);
    assert_eq!([11, 12, 13].map(|slot| bench.number(slot)), [0, 3, 0]);
}

#[test]
fn a_body_that_grows_out_of_proportion_ends_its_stream() {
    let guest = Guest::new().on(
        "proxy_on_request_body",
        "(drop (call $proxy_set_buffer_bytes (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 5000))) (i32.const 0)",
    );
    let passed = Bench::new(&guest).exchange().request(&[], &["body"]).unwrap();
    assert!(passed.body.is_empty());
    assert!(passed.error.is_some() || passed.head.is_err());
}

#[test]
fn pause_means_what_the_configuration_says() {
    let guest = Guest::new()
        .on("proxy_on_request_headers", "(i32.const 1)")
        .on("proxy_on_request_body", "(call $note (i32.const 1) (local.get $size)) (i32.const 0)");
    let stops = Bench::new(&guest);
    assert!(stops.exchange().request(&[], &["body"]).is_none());
    assert_eq!(stops.noted(1), None, "no body callback while it holds the stream");
    let mut iterates = spec(&guest);
    iterates.pause = PauseMeaning::StopIteration;
    let bench = Bench::with(iterates);
    assert_eq!(bench.exchange().request(&[], &["body"]).unwrap().body, b"body");
    assert_eq!(bench.number(1), 4);
}

#[test]
fn the_finer_actions_of_other_sdks_are_understood() {
    for (action, goes_on) in [(0, true), (2, true), (3, false), (4, false)] {
        let guest = Guest::new().on("proxy_on_request_headers", &format!("(i32.const {action})"));
        assert_eq!(Bench::new(&guest).exchange().request(&[], &[]).is_some(), goes_on, "{action}");
    }
    let took = Guest::new().on("proxy_on_request_body", "(select (i32.const 0) (i32.const 3) (local.get $end))");
    assert_eq!(Bench::new(&took).exchange().request(&[], &["first", "last"]).unwrap().body, b"last");
}

#[test]
fn headers_callbacks_of_abi_0_1_0_have_no_end_of_stream() {
    let guest = Guest::new().raw(
        "(func (export \"proxy_on_request_headers\") (param $ctx i32) (param $count i32) (result i32)
           (call $note (i32.const 1) (local.get $count)) (call $proxy_continue_request) (i32.const 0))",
    );
    let bench = Bench::with(spec(&guest));
    let talk = bench.exchange();
    assert!(talk.request(&[], &[]).is_some());
    assert_eq!(bench.number(1), 4);
    assert_eq!(talk.fields(Request, ":path"), ["/p?q=1"]);
    assert_eq!(Arc::strong_count(&bench.state), 3, "the bench, the filter and its instance");
}
