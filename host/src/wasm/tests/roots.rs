//! Several root contexts in one instance: what they share, what stays each one's own, and how they end together.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::guest::{Guest, pairs};
use super::stage::{Bench, on_worker, spec, until};
use crate::config::Ticks;
use crate::filter::CalloutReply;
use crate::filter::Direction::Request;
use crate::wasm::{FilterSpec, VmSpec};

/// Entries of that guest with those configurations.
fn entries(guest: &Guest, configs: &[&str]) -> Vec<FilterSpec> {
    let first = spec(guest);
    let entry = |(place, config): (usize, &&str)| FilterSpec {
        path: format!("filters[{place}]").into(),
        config: (*config).into(),
        ledger: Arc::default(),
        ..first.clone()
    };
    configs.iter().enumerate().map(entry).collect()
}

/// A global for all, and what the guest notes of each context: its parent under 100 + id, the size of its configuration under
/// 200 + id.
fn counting() -> Guest {
    Guest::new()
        .raw("(global $count (mut i32) (i32.const 0))")
        .on("proxy_on_context_create", "(call $note (i32.add (i32.const 100) (local.get $ctx)) (local.get $parent))")
        .on(
            "proxy_on_configure",
            "(call $note (i32.add (i32.const 200) (local.get $ctx)) (local.get $size)) (i32.const 1)",
        )
        .on(
            "proxy_on_request_headers",
            "(global.set $count (i32.add (global.get $count) (i32.const 1)))
             (call $note (i32.const 1) (global.get $count)) (i32.const 0)",
        )
}

#[test]
fn each_entry_has_a_root_context_and_all_have_one_memory() {
    let specs = entries(&counting(), &["a", "bcd"]);
    let ledgers: Vec<_> = specs.iter().map(|spec| Arc::clone(&spec.ledger)).collect();
    let bench = Bench::shared(specs);
    assert_eq!([201, 202].map(|slot| bench.number(slot)), [1, 3], "each with its own configuration");
    for filter in [&bench.filter, &bench.more[0], &bench.filter] {
        let talk = Bench::exchange_through(filter);
        talk.request(&[], &[]);
        talk.chain.finish();
    }
    assert_eq!([101, 102, 103, 104, 105].map(|slot| bench.number(slot)), [0, 0, 1, 2, 1]);
    assert_eq!(bench.number(1), 3);
    let [first, second] = [0, 1].map(|entry: usize| ledgers[entry].snapshot());
    assert_eq!((first.starts, first.instances, first.roots), (1, 1, 1));
    assert_eq!((second.starts, second.instances, second.roots, second.memory_bytes), (0, 0, 1, 0));
    assert!(first.memory_bytes > 0);
}

#[test]
fn a_fault_in_the_tick_of_one_ends_the_streams_of_all_and_the_next_get_a_fresh_instance() {
    on_worker(async {
        let guest = Guest::new()
            .on(
                "proxy_on_configure",
                "(if (i32.eq (local.get $size) (i32.const 3)) (then
                   (drop (call $proxy_set_tick_period_milliseconds (i32.const 10))))) (i32.const 1)",
            )
            .on("proxy_on_request_headers", "(i32.const 1)")
            .on(
                "proxy_on_tick",
                "(call $note (i32.const 9) (local.get $ctx))
                 (if (i32.eqz (call $proxy_get_shared_data 'armed' (global.get $at) (global.get $n) (i32.const 32)))
                   (then unreachable))",
            );
        let specs = entries(&guest, &["a", "bcd"]);
        let ledgers: Vec<_> = specs.iter().map(|spec| Arc::clone(&spec.ledger)).collect();
        let bench = Bench::shared(specs);
        let talks = [&bench.filter, &bench.more[0]].map(Bench::exchange_through);
        assert!(talks.iter().all(|talk| talk.request(&[], &[]).is_none()), "both are held");
        bench.state.data.set(super::stage::NAME, b"armed", "yes", 0).unwrap();
        let mut replies = [None, None];
        until(|| {
            for (reply, talk) in replies.iter_mut().zip(&talks) {
                *reply = reply.take().or_else(|| talk.take(Request));
            }
            replies.iter().all(Option::is_some)
        })
        .await;
        assert_eq!(bench.number(9), 2, "the tick of the one that asked for it");
        for reply in replies {
            assert_eq!(reply.unwrap().reply().status, 503);
        }
        assert_eq!([0, 1].map(|entry: usize| ledgers[entry].snapshot().traps[0]), [0, 1]);
        assert!(Bench::exchange_through(&bench.filter).request(&[], &[]).is_none(), "a fresh instance holds it");
        assert_eq!(ledgers[0].snapshot().starts, 2);
    });
}

#[test]
fn an_entry_that_refuses_its_configuration_keeps_all_from_starting_and_is_named() {
    let guest = Guest::new()
        .on("proxy_on_configure", "(i32.ne (local.get $size) (i32.const 3))")
        .on("proxy_on_request_headers", "(i32.const 0)");
    let mut vm = None;
    for entry in entries(&guest, &["a", "bcd", "c"]).into_iter().map(Arc::new) {
        match &mut vm {
            None => vm = Some(VmSpec::new(entry)),
            Some(vm) => vm.join(entry),
        }
    }
    let refused = crate::wasm::canary(&vm.unwrap(), &Arc::default()).expect_err("it does not start");
    assert_eq!(&*refused.entry.path, "filters[1]");
    let bench = Bench::shared(entries(&guest, &["a", "bcd"]));
    for filter in [&bench.filter, &bench.more[0]] {
        assert_eq!(Bench::exchange_through(filter).request(&[], &[]).unwrap().reply().status, 503);
    }
}

#[test]
fn answers_come_to_the_root_context_of_who_asked_and_each_calls_what_its_own_entry_grants() {
    let call = |upstream: &str| {
        let head = pairs(&[(":method", "GET"), (":path", "/"), (":authority", "a")]);
        format!("(call $proxy_http_call '{upstream}' '{head}' '' '' (i32.const 0) (i32.const 32))")
    };
    let guest = Guest::new()
        .on(
            "proxy_on_request_headers",
            &format!(
                "(call $note (i32.const 1) {0})
                 (call $note (i32.const 2) (call $proxy_set_effective_context (i32.const 1)))
                 (call $note (i32.const 3) {0}) (i32.const 1)",
                call("users")
            ),
        )
        .on("proxy_on_http_call_response", "(call $note (i32.const 4) (local.get $ctx))");
    let mut specs = entries(&guest, &["a", "b"]);
    specs[0].upstreams = BTreeSet::from(["other".to_owned()]);
    let bench = Bench::shared(specs);
    assert!(Bench::exchange_through(&bench.more[0]).request(&[], &[]).is_none());
    assert_eq!([1, 2, 3].map(|slot| bench.number(slot)), [0, 0, 2], "what the other entry is not granted");
    let (_, done) = bench.callouts.0.borrow_mut().pop_front().expect("a call");
    done(CalloutReply::default());
    assert_eq!(bench.number(4), 2);
}

#[test]
fn grpc_calls_and_queues_of_others_belong_to_the_entry_that_may_have_them() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(drop (call $proxy_resolve_shared_queue 'friend' 'theirs' (i32.const 40)))
             (drop (call $proxy_grpc_stream 'users' 's' 'm' '' (i32.const 36)))
             (call $note (i32.const 1) (call $proxy_enqueue_shared_queue (i32.load (i32.const 40)) 'a'))
             (call $note (i32.const 2) (call $proxy_grpc_send (i32.load (i32.const 36)) 'a' (i32.const 0)))
             (drop (call $proxy_set_effective_context (i32.const 1)))
             (call $note (i32.const 3) (call $proxy_enqueue_shared_queue (i32.load (i32.const 40)) 'a'))
             (call $note (i32.const 4) (call $proxy_grpc_send (i32.load (i32.const 36)) 'a' (i32.const 0)))
             (call $note (i32.const 5) (call $proxy_grpc_cancel (i32.load (i32.const 36)))) (i32.const 0)",
    );
    let mut specs = entries(&guest, &["a", "b"]);
    specs[0].capabilities.shared = Some(BTreeSet::new());
    let bench = Bench::shared(specs);
    bench.state.queues.register("friend", "theirs", Box::new(|| {}));
    Bench::exchange_through(&bench.more[0]).request(&[], &[]);
    assert_eq!([1, 2, 3, 4, 5].map(|slot| bench.number(slot)), [0, 0, 1, 1, 1]);
}

#[test]
fn items_of_queues_and_ticks_reach_the_root_context_that_asked_for_them() {
    on_worker(async {
        let guest = Guest::new()
            .on(
                "proxy_on_configure",
                "(drop (call $proxy_set_tick_period_milliseconds (i32.const 10)))
                 (if (i32.eq (local.get $size) (i32.const 1))
                   (then (drop (call $proxy_register_shared_queue 'first' (i32.const 32))))
                   (else (drop (call $proxy_register_shared_queue 'second' (i32.const 32)))))
                 (i32.const 1)",
            )
            .on("proxy_on_tick", "(call $note (i32.add (i32.const 10) (local.get $ctx)) (i32.const 1))")
            .on("proxy_on_queue_ready", "(call $note (i32.add (i32.const 20) (local.get $ctx)) (local.get $queue))")
            .on("proxy_on_log", "");
        let mut specs = entries(&guest, &["a", "bc", "def"]);
        // The bench's worker is the first, where those timers run as well.
        specs[2].ticks = Ticks::Process;
        let bench = Bench::shared(specs);
        for name in ["first", "second"] {
            let id = bench.state.queues.resolve(super::stage::NAME, name).unwrap();
            bench.state.queues.enqueue(id, "item".into()).unwrap();
        }
        until(|| [11, 12, 13, 21, 23].iter().all(|slot| bench.noted(*slot).is_some())).await;
        assert_eq!(bench.noted(22), None, "another has registered it after that one");
        assert_ne!(bench.number(21), bench.number(23));
    });
}

#[test]
fn the_deadline_of_a_callback_is_that_of_its_entry() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(if (i32.gt_u (local.get $count) (i32.const 4)) (then (loop $l (br $l)))) (i32.const 0)",
    );
    let mut specs = entries(&guest, &["a", "b"]);
    specs[1].deadline = Duration::from_millis(20);
    specs[0].deadline = Duration::from_secs(3600);
    let ledger = Arc::clone(&specs[1].ledger);
    let bench = Bench::shared(specs);
    let reply = Bench::exchange_through(&bench.more[0]).request(&[("x-a", "1")], &[]).unwrap().reply();
    assert_eq!((reply.details.as_str(), ledger.snapshot().traps[1]), ("test: deadline", 1));
}

#[test]
fn each_root_context_may_ask_for_time_at_the_end_and_the_instance_ends_with_the_last() {
    on_worker(async {
        let guest = Guest::new()
            .on("proxy_on_request_headers", "(i32.const 0)")
            .on(
                "proxy_on_done",
                "(call $note (i32.add (i32.const 10) (local.get $ctx)) (i32.const 1))
                 ;; The second asks for time, and the third says that it has had enough.
                 (if (i32.eq (local.get $ctx) (i32.const 3)) (then
                   (drop (call $proxy_set_effective_context (i32.const 2))) (drop (call $proxy_done))
                   (call $note (i32.const 1) (call $proxy_set_effective_context (i32.const 1)))))
                 (i32.ne (local.get $ctx) (i32.const 2))",
            )
            .on("proxy_on_delete", "(call $note (i32.add (i32.const 20) (local.get $ctx)) (i32.const 1))");
        let specs = entries(&guest, &["a", "b", "c"]);
        let ledgers: Vec<_> = specs.iter().map(|spec| Arc::clone(&spec.ledger)).collect();
        let bench = Bench::shared(specs);
        let talk = Bench::exchange_through(&bench.more[1]);
        talk.request(&[], &[]);
        bench.vm.retire(Duration::from_secs(20));
        assert_eq!(bench.noted(11), None, "a stream is open");
        talk.chain.finish();
        assert_eq!([11, 12, 13, 21, 22, 23].map(|slot| bench.number(slot)), [1; 6]);
        assert_eq!(bench.number(1), 2, "the first has ended already");
        let ledgers: Vec<_> = ledgers.iter().map(|ledger| ledger.snapshot()).collect();
        assert_eq!((ledgers[0].instances, ledgers[0].memory_bytes), (0, 0));
        assert!(ledgers.iter().all(|ledger| ledger.roots == 0));
        assert_eq!(Rc::strong_count(&bench.vm), 4, "the bench and its filters");
    });
}

#[test]
fn a_stream_that_comes_while_root_contexts_say_goodbye_has_another_instance() {
    on_worker(async {
        let guest = Guest::new().on("proxy_on_request_headers", "(i32.const 0)").on("proxy_on_done", "(i32.const 0)");
        let specs = entries(&guest, &["a", "b"]);
        let ledger = Arc::clone(&specs[0].ledger);
        let bench = Bench::shared(specs);
        bench.vm.retire(Duration::from_secs(20));
        assert_eq!(ledger.snapshot().instances, 1, "both have asked for time");
        assert!(Bench::exchange_through(&bench.more[0]).request(&[], &[]).unwrap().head.is_ok());
        assert_eq!(ledger.snapshot().instances, 2);
    });
}

#[test]
fn entries_share_an_instance_when_both_name_the_vm_and_all_that_makes_it_is_the_same() {
    let named = |entry: FilterSpec| {
        let mut entry = entry;
        entry.vm.named = true;
        entry
    };
    let specs = entries(&counting(), &["a", "b"]);
    let vm = |spec: &FilterSpec| VmSpec::new(Arc::new(spec.clone()));
    assert!(!vm(&specs[0]).takes(&specs[1]), "no name is given");
    let [first, second] = [0, 1].map(|entry: usize| named(specs[entry].clone()));
    assert!(vm(&first).takes(&second));
    assert!(!vm(&first).takes(&specs[1]) && !vm(&specs[0]).takes(&second));
    let mut other = second.clone();
    other.vm.config = "1".into();
    assert!(!vm(&first).takes(&other));
    let other = FilterSpec { memory: 8 << 20, ..second.clone() };
    assert!(!vm(&first).takes(&other));
    let mut other = second.clone();
    other.env.insert("A".into(), "b".into());
    assert!(!vm(&first).takes(&other));
    let plugin = Arc::clone(&spec(&Guest::new().on("proxy_on_log", "")).plugin);
    assert!(!vm(&first).takes(&FilterSpec { plugin, ..second }));
}
