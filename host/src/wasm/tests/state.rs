//! Shared data, queues and metrics.

use std::sync::Arc;

use super::guest::Guest;
use super::stage::Bench;
use crate::wasm::VmSpec;

fn on_configure(body: &str) -> Bench {
    Bench::new(&Guest::new().on("proxy_on_configure", &format!("{body} (i32.const 1)")).on("proxy_on_log", ""))
}

#[test]
fn shared_data_is_compared_before_it_is_swapped() {
    let bench = on_configure(
        "(call $note (i32.const 1) (call $proxy_get_shared_data 'k' (global.get $at) (global.get $n) (i32.const 32)))
         (call $note (i32.const 2) (call $proxy_set_shared_data 'k' 'v' (i32.const 0)))
         (call $note (i32.const 3) (call $proxy_get_shared_data 'k' (global.get $at) (global.get $n) (i32.const 32)))
         (call $note_result (i32.const 4))
         (call $note (i32.const 5) (call $proxy_set_shared_data 'k' 'w' (i32.add (i32.load (i32.const 32)) (i32.const 1))))
         (call $note (i32.const 6) (call $proxy_set_shared_data 'k' 'w' (i32.load (i32.const 32))))",
    );
    assert_eq!([1, 2, 3, 5, 6].map(|slot| bench.number(slot)), [1, 0, 0, 8, 0]);
    assert_eq!(bench.text(4), "v");
    assert_eq!(bench.state.data.get("test", b"k").unwrap().0, "w");
    assert_eq!(bench.state.data.get("other", b"k"), None);
}

#[test]
fn queues_are_resolved_filled_and_emptied() {
    let bench = on_configure(
        "(call $note (i32.const 1) (call $proxy_resolve_shared_queue '' 'q' (i32.const 32)))
         (drop (call $proxy_resolve_shared_queue 'other' 'theirs' (i32.const 32)))
         (call $note (i32.const 2) (call $proxy_enqueue_shared_queue (i32.load (i32.const 32)) 'item'))
         (call $note (i32.const 3) (call $proxy_dequeue_shared_queue (i32.load (i32.const 32)) (global.get $at) (global.get $n)))
         (call $note_result (i32.const 4))
         (call $note (i32.const 5) (call $proxy_dequeue_shared_queue (i32.load (i32.const 32)) (global.get $at) (global.get $n)))
         (call $note (i32.const 6) (call $proxy_dequeue_shared_queue (i32.const 99) (global.get $at) (global.get $n)))",
    );
    assert_eq!(bench.number(1), 1, "never registered");
    assert_eq!(bench.number(2), 1, "an id that it was not given");
    let state = Arc::clone(&bench.state);
    state.queues.register("other", "theirs", Box::new(|| {}));
    let guest = Guest::new().on(
            "proxy_on_configure",
            "(drop (call $proxy_resolve_shared_queue 'other' 'theirs' (i32.const 32)))
             (call $note (i32.const 2) (call $proxy_enqueue_shared_queue (i32.load (i32.const 32)) 'item'))
             (call $note (i32.const 3) (call $proxy_dequeue_shared_queue (i32.load (i32.const 32)) (global.get $at) (global.get $n)))
             (call $note_result (i32.const 4))
             (call $note (i32.const 5) (call $proxy_dequeue_shared_queue (i32.load (i32.const 32)) (global.get $at) (global.get $n)))
             (i32.const 1)",
    );
    let again = Bench::beside(&VmSpec::new(Arc::new(super::stage::spec(&guest))), state);
    assert_eq!([2, 3, 5, 6].map(|slot| bench.number(slot)), [0, 0, 7, 1]);
    assert_eq!(bench.text(4), "item");
    drop(again);
}

#[test]
fn queues_of_others_and_foreign_functions_are_there_as_far_as_they_are_granted() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(call $note (i32.const 1) (call $proxy_resolve_shared_queue 'other' 'theirs' (i32.const 32)))
         (call $note (i32.const 2) (call $proxy_resolve_shared_queue 'friend' 'theirs' (i32.const 32)))
         (call $note (i32.const 3) (call $proxy_resolve_shared_queue '' 'mine' (i32.const 32)))
         (call $note (i32.const 4) (call $proxy_call_foreign_function 'sluicegate.kv_get' 'k' (global.get $at) (global.get $n)))
         (call $note (i32.const 5) (call $proxy_call_foreign_function 'compress' 'k' (global.get $at) (global.get $n)))
         (call $note (i32.const 6) (call $proxy_call_foreign_function 'unheard-of' 'k' (global.get $at) (global.get $n)))
         (i32.const 0)",
    );
    let mut spec = super::stage::spec(&guest);
    let only = |name: &str| Some(std::collections::BTreeSet::from([Arc::from(name)]));
    spec.capabilities.shared = only("friend");
    spec.capabilities.foreign = only("compress");
    let bench = Bench::with(spec);
    for (plugin, name) in [("other", "theirs"), ("friend", "theirs"), (super::stage::NAME, "mine")] {
        bench.state.queues.register(plugin, name, Box::new(|| {}));
    }
    bench.exchange().request(&[], &[]);
    assert_eq!([1, 2, 3, 4, 5, 6].map(|slot| bench.number(slot)), [1, 0, 0, 10, 0, 10]);
}

#[test]
fn metrics_count_and_refuse_what_their_kind_does_not_do() {
    let bench = on_configure(
        "(drop (call $proxy_define_metric (i32.const 0) 'denied' (i32.const 32)))
         (drop (call $proxy_define_metric (i32.const 0) 'denied' (i32.const 36)))
         (call $note (i32.const 1) (i32.eq (i32.load (i32.const 32)) (i32.load (i32.const 36))))
         (call $note (i32.const 2) (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const 5)))
         (call $note (i32.const 3) (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const -1)))
         (call $note (i32.const 4) (call $proxy_get_metric (i32.load (i32.const 32)) (i32.const 40)))
         (call $note (i32.const 5) (i32.load (i32.const 40)))
         (call $note (i32.const 6) (call $proxy_increment_metric (i32.const 77) (i64.const 1)))
         (call $note (i32.const 7) (call $proxy_define_metric (i32.const 3) 'x' (i32.const 32)))",
    );
    assert_eq!([1, 2, 3, 4, 5, 6, 7].map(|slot| bench.number(slot)), [1, 0, 2, 0, 5, 1, 2]);
}

#[test]
fn a_metric_that_cannot_be_had_counts_nothing_without_failing() {
    let bench = on_configure(
        "(drop (call $proxy_define_metric (i32.const 0) 'size' (i32.const 32)))
         (call $note (i32.const 1) (call $proxy_define_metric (i32.const 1) 'size' (i32.const 32)))
         (call $note (i32.const 2) (call $proxy_increment_metric (i32.load (i32.const 32)) (i64.const 5)))
         (call $note (i32.const 3) (call $proxy_record_metric (i32.load (i32.const 32)) (i64.const 5)))
         (call $note (i32.const 4) (call $proxy_get_metric (i32.load (i32.const 32)) (i32.const 40)))
         (call $note (i32.const 5) (i32.load (i32.const 40)))",
    );
    assert_eq!([1, 2, 3, 4, 5].map(|slot| bench.number(slot)), [0; 5]);
}
