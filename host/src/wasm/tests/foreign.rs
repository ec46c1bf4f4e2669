//! Foreign functions of sdk/HOST.md.

use super::guest::{Guest, pairs};
use super::stage::Bench;
use crate::filter::FilterSource;

/// Calls a foreign function: the status under `slot`, the result under `slot + 100`.
fn call(slot: u32, name: &str, arguments: &str) -> String {
    format!(
        "(i32.store (global.get $n) (i32.const 0))
         (call $note (i32.const {slot}) (call $proxy_call_foreign_function '{name}' '{arguments}' (global.get $at) (global.get $n)))
         (call $note_result (i32.const {}))",
        slot + 100
    )
}

/// Little-endian numbers below 128 as text.
fn words<const N: usize>(values: [u8; N]) -> String {
    values.iter().map(|value| format!("{}\0\0\0\0\0\0\0", char::from(*value))).collect()
}

fn bench(calls: &[String]) -> Bench {
    let guest = Guest::new().on("proxy_on_request_headers", &format!("{} (i32.const 0)", calls.concat()));
    let bench = Bench::new(&guest);
    bench.exchange().request(&[], &[]);
    bench
}

#[test]
fn rates_counters_and_values_are_kept() {
    let kv = words([0]) + "\u{1}\0\0\0kvalue";
    let bench = bench(&[
        call(1, "sluicegate.gcra", &(words([2, 100, 0, 1]) + "key")),
        call(2, "sluicegate.counter", &(words([5, 0]) + "key")),
        call(3, "sluicegate.counter", &(words([1, 0]) + "key")),
        call(4, "sluicegate.kv_get", "k"),
        call(5, "sluicegate.kv_set", &kv),
        call(6, "sluicegate.kv_get", "k"),
        call(7, "sluicegate.kv_delete", "k"),
        call(8, "sluicegate.kv_get", "k"),
    ]);
    assert_eq!([1, 2, 3, 4, 5, 6, 7, 8].map(|slot| bench.number(slot)), [0; 8]);
    let gcra = bench.noted(101).unwrap();
    assert_eq!((gcra.len(), gcra[0]), (32, 1));
    assert_eq!(bench.noted(103).unwrap(), 6_i64.to_le_bytes().as_slice());
    assert_eq!([104, 106, 108].map(|slot| bench.noted(slot).unwrap()), ["", "\u{1}value", ""]);
}

#[test]
fn labelled_metrics_are_defined() {
    let arguments = format!("\0\u{6}\0\0\0denied{}", pairs(&[("reason", "expired")]));
    let bench = bench(&[
        call(1, "sluicegate.metric", &arguments),
        call(2, "sluicegate.metric", "\u{9}"),
        call(3, "sluicegate.metric", ""),
    ]);
    assert_eq!([1, 2, 3].map(|slot| bench.number(slot)), [0, 2, 2]);
    assert_eq!(bench.number(101), 1);
}

#[test]
fn unknown_functions_and_short_arguments_are_told_apart() {
    let bench = bench(&[
        call(1, "sluicegate.nothing", ""),
        call(2, "sluicegate.gcra", "short"),
        call(3, "sluicegate.kv_set", &(words([0]) + "\u{9}\0\0\0k")),
        call(4, "sluicegate.body", "\u{7}"),
        call(5, "clear_route_cache", ""),
    ]);
    assert_eq!([1, 2, 3, 4, 5].map(|slot| bench.number(slot)), [1, 2, 2, 2, 0]);
}

#[test]
fn a_guest_may_pass_no_place_for_the_result() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(call $note (i32.const 1) (call $proxy_call_foreign_function 'sluicegate.print' '' (i32.const 0) (i32.const 0))) (i32.const 0)",
    );
    let bench = Bench::new(&guest);
    bench.exchange().request(&[], &[]);
    assert_eq!(bench.number(1), 0);
}

#[test]
fn a_message_without_a_body_is_given_one() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        &format!(
            "{} (i32.const 0)",
            call(1, "sluicegate.body", "\0made here") + &call(2, "sluicegate.body", "\u{1}too early")
        ),
    );
    let bench = Bench::new(&guest);
    assert_eq!(bench.exchange().request(&[], &[]).unwrap().body, b"made here");
    assert_eq!([101, 102].map(|slot| bench.noted(slot).unwrap()), ["\u{1}", "\0"]);
}

#[test]
fn a_reported_fault_costs_its_stream_and_not_the_instance() {
    let guest = Guest::new()
        .on(
            "proxy_on_context_create",
            "(if (i32.eqz (local.get $parent)) (then (call $note (i32.const 2) (i32.const 1))))",
        )
        .on("proxy_on_request_headers", &format!("{} (i32.const 0)", call(1, "sluicegate.fault", "upstream said no")))
        .on("proxy_on_delete", "(call $note (i32.const 3) (local.get $ctx))");
    let bench = Bench::new(&guest);
    assert_eq!(bench.exchange().request(&[], &[]).unwrap().reply().details, "test: reported");
    assert!(bench.state.data.set("test", &2_u32.to_le_bytes(), "untouched", 0).is_ok());
    assert_eq!(bench.exchange().request(&[], &[]).unwrap().reply().status, 503);
    assert_eq!(bench.text(2), "untouched", "no fresh instance was made");
    assert_eq!(bench.number(3), 2, "the guest learns of the first stream's end");
    assert_eq!(bench.filter.name(), "test");
}
