//! What guests do wrong, and that it costs their instance and nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::guest::{Guest, pairs};
use super::stage::{Bench, spec};
use crate::filter::Direction::Request;
use crate::filter::{Fault, FaultKind, FilterSource, OnError};
use crate::wasm::host_state::Purpose;
use crate::wasm::instance::Instance;
use crate::wasm::testing::host;

/// The fault of a guest that does that while it starts, told precisely.
fn fault_of(body: &str) -> Fault {
    fault_of_guest(&Guest::new().on("proxy_on_vm_start", &format!("{body} (i32.const 1)")))
}

fn fault_of_guest(guest: &Guest) -> Fault {
    let host = host(&spec(guest), Purpose::Canary);
    Instance::start(host).err().expect("a fault").fault
}

/// A guest that does `body` in `callback` when the request has the header `x-bad`, or where it cannot know, for the
/// first stream (id 2).
fn bad_in(callback: &str, body: &str, answer: &str) -> Guest {
    let headers = |own: &str| format!("(if (i32.eq (local.get $ctx) (i32.const 2)) (then {own})) ");
    let mut guest = Guest::new();
    if callback != "proxy_on_request_headers" {
        guest = guest.on("proxy_on_request_headers", "(i32.const 0)");
    }
    guest.on(callback, &format!("{} {answer}", headers(body)))
}

#[test]
fn a_trap_in_any_callback_costs_one_stream_and_the_next_gets_a_fresh_instance() {
    for (callback, answer) in [
        ("proxy_on_context_create", ""),
        ("proxy_on_request_headers", "(i32.const 0)"),
        ("proxy_on_request_body", "(i32.const 0)"),
        ("proxy_on_request_trailers", "(i32.const 0)"),
        ("proxy_on_response_headers", "(i32.const 0)"),
        ("proxy_on_response_body", "(i32.const 0)"),
        ("proxy_on_response_trailers", "(i32.const 0)"),
        ("proxy_on_done", "(i32.const 1)"),
        ("proxy_on_log", ""),
        ("proxy_on_delete", ""),
    ] {
        let guest = bad_in(callback, "(if (i32.eqz (call $seen)) (then unreachable))", answer).raw(
            "(func $seen (result i32) (local $r i32)
               (local.set $r (call $proxy_get_shared_data 'seen' (global.get $at) (global.get $n) (i32.const 32)))
               (drop (call $proxy_set_shared_data 'seen' 'y' (i32.const 0))) (i32.eqz (local.get $r)))",
        );
        let bench = Bench::new(&guest);
        let run = || {
            let talk = bench.exchange();
            let request = talk.request(&[], &["body", "!t: 1"]).expect("an outcome, never a hang");
            let failed = request.head.is_err() || request.error.is_some();
            let response = talk.response(&[], &["body", "!t: 1"]).expect("an outcome, never a hang");
            talk.chain.finish();
            failed || response.head.is_err() || response.error.is_some()
        };
        let ends = ["proxy_on_done", "proxy_on_log", "proxy_on_delete"].contains(&callback);
        assert_eq!(run(), !ends, "{callback}: the stream that traps");
        assert!(bench.state.data.get("test", b"seen").is_some(), "{callback} was called");
        assert!(!run(), "{callback}: the next stream");
    }
}

#[test]
fn other_streams_of_the_instance_are_told_and_answered() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(if (i32.eq (local.get $ctx) (i32.const 3)) (then unreachable)) (i32.const 1)",
    );
    let bench = Bench::new(&guest);
    let (waits, traps) = (bench.exchange(), bench.exchange());
    assert!(waits.request(&[], &[]).is_none());
    assert_eq!(traps.request(&[], &[]).unwrap().reply().details, "test: trap");
    assert_eq!(waits.take(Request).expect("it does not hang").reply().status, 503);
}

#[test]
fn a_filter_that_may_fail_open_is_skipped() {
    let mut spec = spec(&Guest::new().on("proxy_on_request_headers", "unreachable"));
    spec.on_error = OnError::Open;
    let bench = Bench::with(spec);
    assert_eq!(bench.exchange().request(&[], &["body"]).unwrap().body, b"body");
    assert_eq!(bench.filter.on_error(), OnError::Open);
}

#[test]
fn a_loop_ends_at_its_deadline() {
    let guest = bad_in("proxy_on_request_headers", "(loop $l (br $l))", "(i32.const 0)");
    let mut spec = spec(&guest);
    spec.deadline = Duration::from_millis(20);
    let bench = Bench::with(spec);
    assert_eq!(bench.exchange().request(&[], &[]).unwrap().reply().details, "test: deadline");
}

#[test]
fn faults_are_told_apart_and_say_where() {
    for (body, kind, says) in [
        ("unreachable", FaultKind::Trap, "wasm trap: wasm `unreachable` instruction executed"),
        ("(drop (i32.load (i32.const -4)))", FaultKind::Trap, "wasm trap: out of bounds memory access"),
        ("(drop (i32.div_u (i32.const 1) (i32.const 0)))", FaultKind::Trap, "wasm trap: integer divide by zero"),
        (
            "(if (i32.eq (memory.grow (i32.const 100)) (i32.const -1)) (then unreachable))",
            FaultKind::Memory,
            "passed its memory ceiling of 4194304 bytes",
        ),
        (
            "(drop (call $proxy_log (i32.const 5) 'panicked at src/lib.rs:3')) unreachable",
            FaultKind::Trap,
            "panicked at src/lib.rs:3; wasm trap",
        ),
        (
            "(drop (call $proxy_get_current_time_nanoseconds (i32.const -4)))",
            FaultKind::Abi,
            "a result of 8 bytes was to be written to 0xfffffffc",
        ),
    ] {
        let fault = fault_of(body);
        assert_eq!(fault.kind, kind, "{body}");
        assert!(fault.detail.contains(says), "{body}: {}", fault.detail);
        assert!(fault.detail.starts_with("proxy_on_vm_start: "), "{}", fault.detail);
        let served = Bench::new(&Guest::new().on("proxy_on_request_headers", &format!("{body} (i32.const 0)")));
        assert_eq!(
            served.exchange().request(&[], &[]).unwrap().reply().details,
            format!("test: {}", kind.as_str()),
            "{body}"
        );
    }
}

#[test]
fn endless_recursion_ends_in_a_trap() {
    let guest = Guest::new()
        .raw("(func $deep (param i64 i64) (result i32) (i32.add (call $deep (local.get 1) (local.get 0)) (i32.const 1)))")
        .on("proxy_on_vm_start", "(drop (call $deep (i64.const 1) (i64.const 2))) (i32.const 1)");
    let detail = fault_of_guest(&guest).detail;
    assert!(detail.contains("call stack exhausted; in deep < deep"), "{detail}");
}

#[test]
fn a_memory_bomb_stops_at_the_ceiling() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (call $note (i32.const 1) (memory.size)) (i32.const 0)",
    );
    let bench = Bench::new(&guest);
    assert!(bench.exchange().request(&[], &[]).is_some(), "a guest that copes may go on");
    assert_eq!(bench.number(1), 64);
}

#[test]
fn an_allocator_that_lies_ends_the_instance() {
    let export = |body: &str| format!("(func (export \"proxy_on_memory_allocate\") (param i32) (result i32) {body})");
    for (body, says) in [
        ("(i32.const 0)", "the allocator has no 2 bytes"),
        ("(i32.const -1)", "a result of 2 bytes was to be written to 0xffffffff"),
        ("(i32.const 262143)", "a result of 2 bytes was to be written to 0x3ffff"),
        ("unreachable", "wasm trap"),
        (
            "(drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 20))) (i32.const 64)",
            "a hostcall other than log, clock and WASI inside the allocator",
        ),
    ] {
        let guest = Guest::new().allocator(&export(body)).on(
            "proxy_on_vm_start",
            "(drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 9) (i32.const 16) (i32.const 20))) (i32.const 1)",
        );
        let detail = fault_of_guest(&guest).detail;
        assert!(detail.contains(says), "{body}: {detail}");
    }
    let grows = Guest::new()
        .allocator(&export("(drop (call $proxy_log (i32.const 1) 'x')) (i32.mul (memory.grow (i32.const 1)) (i32.const 65536))"))
        .on(
            "proxy_on_configure",
            "(drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (i32.const 9) (global.get $at) (global.get $n)))
             (call $note_result (i32.const 1)) (i32.const 1)",
        );
    assert_eq!(Bench::new(&grows).text(1), "{}", "memory that moved or grew is looked at afresh");
}

#[test]
fn addresses_outside_memory_are_refused_for_arguments() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(call $note (i32.const 1) (call $proxy_log (i32.const 2) (i32.const -16) (i32.const 64)))
         (call $note (i32.const 2) (call $proxy_add_header_map_value (i32.const 0) (i32.const 0) (i32.const -1) 'v'))
         (call $note (i32.const 3) (call $proxy_set_property (i32.const 262144) (i32.const 1) 'v'))
         (call $note (i32.const 4) (call $proxy_set_header_map_pairs (i32.const 0) (i32.const 262140) (i32.const 8)))
         (call $note (i32.const 5) (call $proxy_log (i32.const 2) (i32.const 262144) (i32.const 0))) (i32.const 0)",
    );
    let bench = Bench::new(&guest);
    assert!(bench.exchange().request(&[], &[]).is_some());
    assert_eq!([1, 2, 3, 4, 5].map(|slot| bench.number(slot)), [6, 6, 6, 6, 0]);
}

#[test]
fn an_action_that_does_not_exist_is_a_fault() {
    for callback in ["proxy_on_request_headers", "proxy_on_request_body"] {
        let bench = Bench::new(&Guest::new().on(callback, "(i32.const 77)"));
        let passed = bench.exchange().request(&[], &["body"]).unwrap();
        assert!(passed.head.is_err() || passed.error.is_some(), "{callback}");
    }
}

#[test]
fn calling_what_the_host_does_not_have_ends_the_instance() {
    let text = r#"(module (import "env" "proxy_redis_call" (func $redis))
        (memory (export "memory") 1) (func (export "malloc") (param i32) (result i32) (i32.const 8))
        (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (call $redis) (i32.const 1)))"#;
    let mut spec = spec(&Guest::new().on("proxy_on_log", ""));
    spec.plugin = Arc::new(super::engine().load("test", &wat::parse_str(text).unwrap()).unwrap());
    let error = crate::wasm::testing::canary(&spec, &Arc::default()).unwrap_err();
    assert!(error.contains("called env.proxy_redis_call, which this host does not have"), "{error}");
}

#[test]
fn a_defect_of_the_host_in_a_hostcall_costs_the_instance_and_not_the_worker() {
    let head = pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        &format!(
            "(if (i32.eq (local.get $ctx) (i32.const 2)) (then
               (drop (call $proxy_http_call 'panics' '{head}' '' '' (i32.const 0) (i32.const 32)))))
             (i32.const 0)"
        ),
    );
    let bench = Bench::new(&guest);
    assert_eq!(bench.exchange().request(&[], &[]).unwrap().reply().details, "test: trap");
    assert!(bench.filter.start(bench.exchange().chain.exchange().stage(0)).is_ok(), "a fresh instance");
}
