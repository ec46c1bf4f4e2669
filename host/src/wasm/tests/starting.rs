//! From a module to a started instance: the order of callbacks, what a canary says, failing starts.

use std::sync::Arc;
use std::time::Duration;

use super::guest::{Guest, pairs};
use super::stage::{Bench, NAME, spec};
use crate::filter::FaultKind;
use crate::state::State;
use crate::wasm::testing::canary;

fn refusal(guest: &Guest) -> String {
    canary(&spec(guest), &Arc::new(State::default())).expect_err("it does not start")
}

#[test]
fn callbacks_of_the_start_come_in_order_with_the_root_context() {
    let next = "(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))";
    let step = |slot: u32| format!("{next} (call $note (i32.const {slot}) (i32.load (i32.const 64)))");
    let guest = Guest::new()
        .on("_initialize", next)
        .raw(&format!("(func (export \"__main_void\") (result i32) {next} (i32.const 0))"))
        .on("proxy_on_context_create", &format!("{} (call $note (i32.const 11) (local.get $ctx))", step(1)))
        .on("proxy_on_vm_start", &format!("{} (call $note (i32.const 12) (local.get $ctx)) (i32.const 1)", step(2)))
        .on(
            "proxy_on_configure",
            &format!(
                "{} (call $note (i32.const 13) (local.get $size))
                 (drop (call $proxy_get_buffer_bytes (i32.const 7) (i32.const 0) (local.get $size) (global.get $at) (global.get $n)))
                 (call $note_result (i32.const 14)) (i32.const 1)",
                step(3)
            ),
        );
    let mut spec = spec(&guest);
    spec.config = "{\"a\": 1}".into();
    let bench = Bench::with(spec);
    assert_eq!([1, 2, 3].map(|slot| bench.number(slot)), [3, 4, 5], "after _initialize and main");
    assert_eq!([11, 12].map(|slot| bench.number(slot)), [1, 1]);
    assert_eq!((bench.number(13), bench.text(14).as_str()), (8, "{\"a\": 1}"));
}

#[test]
fn the_vm_has_a_configuration_of_its_own() {
    let guest = Guest::new().on(
        "proxy_on_vm_start",
        "(drop (call $proxy_get_buffer_bytes (i32.const 6) (i32.const 0) (local.get $size) (global.get $at) (global.get $n)))
         (call $note (i32.const 1) (local.get $size)) (call $note_result (i32.const 2)) (i32.const 1)",
    );
    let mut spec = spec(&guest);
    spec.vm.config = "{\"vm\": 1}".into();
    let bench = Bench::with(spec);
    assert_eq!((bench.number(1), bench.text(2).as_str()), (9, "{\"vm\": 1}"));
}

#[test]
fn older_entry_points_work() {
    let guest = Guest::new().on("_start", "(i32.store (i32.const 64) (i32.const 5))").on(
        "proxy_on_configure",
        "(drop (call $proxy_get_configuration (global.get $at) (global.get $n)))
         (call $note_result (i32.const 1)) (call $note (i32.const 2) (i32.load (i32.const 64))) (i32.const 1)",
    );
    let bench = Bench::new(&guest);
    assert_eq!((bench.text(1).as_str(), bench.number(2)), ("{}", 5));
}

#[test]
fn a_canary_repeats_what_the_guest_said() {
    let says = Guest::new()
        .on("proxy_on_configure", "(drop (call $proxy_log (i32.const 4) 'missing field `idp`')) (i32.const 0)");
    assert_eq!(refusal(&says), "missing field `idp`");
    let silent = Guest::new().on("proxy_on_vm_start", "(i32.const 0)");
    assert_eq!(refusal(&silent), "proxy_on_vm_start answered false and said nothing");
    let panics =
        Guest::new().on("proxy_on_configure", "(drop (call $proxy_log (i32.const 5) 'panicked: no')) unreachable");
    let reason = refusal(&panics);
    assert!(reason.starts_with("proxy_on_configure: panicked: no; wasm trap: wasm `unreachable`"), "{reason}");
}

#[test]
fn a_canary_ends_a_start_that_never_ends() {
    let reason = refusal(&Guest::new().on("proxy_on_vm_start", "(loop $l (br $l)) (i32.const 1)"));
    assert!(reason.starts_with("proxy_on_vm_start: ran past its deadline"), "{reason}");
}

#[test]
fn a_canary_takes_no_events_from_an_instance_that_serves() {
    let guest = Guest::new().on(
        "proxy_on_configure",
        "(drop (call $proxy_register_shared_queue 'q' (i32.const 32))) (call $note (i32.const 1) (i32.load (i32.const 32))) (i32.const 1)",
    );
    let state = Arc::new(State::default());
    let told = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let count = Arc::clone(&told);
    let owner = move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let id = state.queues.register(NAME, "q", Box::new(owner));
    canary(&spec(&guest), &state).unwrap();
    state.queues.enqueue(id, "item".into()).unwrap();
    assert_eq!(told.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn a_canary_may_make_callouts() {
    let guest = Guest::new().on(
        "proxy_on_configure",
        &format!(
            "(i32.eqz (call $proxy_http_call 'users' '{}' '' '' (i32.const 0) (i32.const 32)))",
            pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")])
        ),
    );
    canary(&spec(&guest), &Arc::new(State::default())).unwrap();
}

#[test]
fn a_module_too_large_for_its_ceiling_does_not_start() {
    let mut spec = spec(&Guest::new().on("proxy_on_log", ""));
    spec.memory = 65536;
    let reason = canary(&spec, &Arc::new(State::default())).unwrap_err();
    assert!(reason.starts_with("instantiation: passed its memory ceiling of 65536 bytes"), "{reason}");
}

#[test]
fn a_filter_that_does_not_start_faults_its_streams_and_backs_off() {
    let guest = Guest::new()
        .on(
            "proxy_on_vm_start",
            "(drop (call $proxy_get_shared_data 'starts' (global.get $at) (global.get $n) (i32.const 32)))
         (i32.store (i32.const 64) (i32.add (i32.load8_u (i32.load (global.get $at))) (i32.const 1)))
         (drop (call $proxy_set_shared_data 'starts' (i32.const 64) (i32.const 1) (i32.const 0))) (i32.const 0)",
        )
        .on("proxy_on_request_headers", "(i32.const 0)");
    let bench = Bench::new(&guest);
    // The first was tried before there was a request.
    let kinds = [FaultKind::Start, FaultKind::Start, FaultKind::HeldOff, FaultKind::HeldOff, FaultKind::HeldOff];
    for kind in kinds {
        let reply = bench.exchange().request(&[], &[]).unwrap().reply();
        assert_eq!(reply.status, 503);
        assert_eq!(reply.details, format!("{NAME}: {}", kind.as_str()));
    }
    let starts = bench.state.data.get(NAME, b"starts").unwrap().0;
    assert_eq!(&*starts, [3], "three in a row, then none for a second");
}

#[test]
fn a_deadline_of_any_length_has_steps() {
    for millis in [0, 1, 9, 10, 11, 100, 60_000] {
        let deadline = crate::wasm::engine::Deadline::new(Duration::from_millis(millis));
        assert!(deadline.steps > 0 && deadline.ticks > 0, "{millis}");
    }
}
