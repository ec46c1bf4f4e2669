//! Contexts: ids, the order of a stream's callbacks, the effective context.

use super::guest::Guest;
use super::stage::Bench;
use crate::filter::Direction::Request;

#[test]
fn ids_are_never_used_twice_and_belong_to_the_root() {
    let guest = Guest::new()
        .on("proxy_on_context_create", "(call $note (i32.add (i32.const 100) (local.get $ctx)) (local.get $parent))")
        .on("proxy_on_request_headers", "(i32.const 0)");
    let bench = Bench::new(&guest);
    (0..3).for_each(|_| bench.run());
    assert_eq!([101, 102, 103, 104].map(|slot| bench.number(slot)), [0, 1, 1, 1]);
    assert_eq!(bench.noted(105), None);
}

#[test]
fn a_stream_ends_with_done_log_and_delete() {
    let step = |slot: u32| {
        format!(
            "(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
             (call $note (i32.const {slot}) (i32.load (i32.const 64)))"
        )
    };
    let guest = Guest::new()
        .on("proxy_on_request_headers", "(i32.const 0)")
        .on("proxy_on_done", &format!("{} (i32.const 1)", step(1)))
        .on("proxy_on_log", &step(2))
        .on("proxy_on_delete", &step(3));
    let bench = Bench::new(&guest);
    bench.run();
    assert_eq!([1, 2, 3].map(|slot| bench.number(slot)), [1, 2, 3]);
}

#[test]
fn the_effective_context_can_be_any_that_lives_for_the_rest_of_the_callback() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(if (i32.eq (local.get $ctx) (i32.const 3)) (then
           (call $note (i32.const 1) (call $proxy_set_effective_context (i32.const 2)))
           (drop (call $proxy_add_header_map_value (i32.const 0) 'x-from' 'three'))
           (call $note (i32.const 2) (call $proxy_set_effective_context (i32.const 99)))
           (call $note (i32.const 3) (call $proxy_set_effective_context (i32.const 1)))
           (call $note (i32.const 4) (call $proxy_get_header_map_value (i32.const 0) ':path' (global.get $at) (global.get $n)))))
         (i32.const 1)",
    );
    let bench = Bench::new(&guest);
    let (first, second) = (bench.exchange(), bench.exchange());
    assert!(first.request(&[], &[]).is_none());
    assert!(second.request(&[], &[]).is_none());
    assert_eq!([1, 2, 3, 4].map(|slot| bench.number(slot)), [0, 2, 0, 1]);
    assert_eq!(first.fields(Request, "x-from"), ["three"]);
    assert_eq!(second.fields(Request, "x-from"), [""; 0]);
}

#[test]
fn another_stream_is_resumed_through_the_effective_context() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(if (i32.eq (local.get $ctx) (i32.const 3)) (then
           (drop (call $proxy_set_effective_context (i32.const 2)))
           (drop (call $proxy_continue_stream (i32.const 0)))))
         (i32.const 1)",
    );
    let bench = Bench::new(&guest);
    let (first, second) = (bench.exchange(), bench.exchange());
    assert!(first.request(&[], &[]).is_none());
    assert!(second.request(&[], &[]).is_none());
    assert!(first.take(Request).is_some());
    assert!(second.take(Request).is_none());
}

#[test]
fn done_of_a_context_that_does_not_wait_is_ok() {
    let guest =
        Guest::new().on("proxy_on_request_headers", "(call $note (i32.const 1) (call $proxy_done)) (i32.const 0)");
    let bench = Bench::new(&guest);
    bench.run();
    bench.run();
    assert_eq!(bench.number(1), 0);
}
