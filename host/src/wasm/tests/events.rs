//! What reaches an instance between its streams' callbacks: answers of callouts, ticks, queues, deferred ends, retirement.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::guest::{Guest, pairs};
use super::stage::{Bench, head, on_worker, until};
use crate::filter::Direction::Request;
use crate::filter::{CalloutReply, FilterSource};

fn call(upstream: &str, headers: &[(&str, &str)]) -> String {
    let headers = pairs(headers);
    format!("(call $proxy_http_call '{upstream}' '{headers}' 'body' '' (i32.const 250) (i32.const 32))")
}

const HEAD: [(&str, &str); 3] = [(":method", "POST"), (":path", "/check"), (":authority", "users")];

/// Holds the request, calls out, and goes on when answered.
fn asking() -> Guest {
    Guest::new()
        .on(
            "proxy_on_request_headers",
            &format!(
                "(call $note (i32.const 1) {}) (call $note (i32.const 2) (i32.load (i32.const 32)))
                 (i32.store (i32.const 68) (local.get $ctx)) (i32.const 1)",
                call("users", &HEAD)
            ),
        )
        .on(
            "proxy_on_http_call_response",
            "(call $note (i32.const 3) (local.get $token)) (call $note (i32.const 4) (local.get $ctx))
             (call $note (i32.const 5) (local.get $count)) (call $note (i32.const 6) (local.get $trailers))
             (drop (call $proxy_get_header_map_value (i32.const 6) ':status' (global.get $at) (global.get $n)))
             (call $note_result (i32.const 7))
             (drop (call $proxy_get_buffer_bytes (i32.const 4) (i32.const 0) (local.get $size) (global.get $at) (global.get $n)))
             (call $note_result (i32.const 8))
             (drop (call $proxy_get_status (i32.const 32) (global.get $at) (global.get $n)))
             (call $note (i32.const 9) (i32.load (i32.const 32)))
             (if (i32.eqz (call $proxy_set_effective_context (i32.load (i32.const 68)))) (then
               (drop (call $proxy_add_header_map_value (i32.const 0) 'x-user' 'alice'))
               (drop (call $proxy_continue_stream (i32.const 0)))))",
        )
}

fn answer(bench: &Bench, failure: Option<&str>) {
    let (_, done) = bench.callouts.0.borrow_mut().pop_front().expect("a call");
    done(CalloutReply {
        headers: head(&[(":status", "201")], &[("a", "b")]),
        body: Bytes::from_static(b"yes"),
        trailers: head(&[], &[("t", "1")]),
        failure: failure.map(str::to_owned),
    });
}

#[test]
fn a_callout_is_answered_to_the_root_which_resumes_the_stream() {
    let bench = Bench::new(&asking());
    let talk = bench.exchange();
    assert!(talk.request(&[], &[]).is_none());
    {
        let calls = bench.callouts.0.borrow();
        let (call, _) = &calls[0];
        assert_eq!(
            (call.upstream.as_str(), &*call.body, call.timeout),
            ("users", &b"body"[..], Some(Duration::from_millis(250)))
        );
        assert_eq!(call.headers.len(), 3);
    }
    answer(&bench, None);
    assert!(talk.take(Request).is_some());
    assert_eq!(talk.fields(Request, "x-user"), ["alice"], "a held head may be changed by an answer");
    assert_eq!([1, 2, 3, 4, 5, 6, 9].map(|slot| bench.number(slot)), [0, 4, 4, 1, 2, 1, 0]);
    assert_eq!((bench.text(7).as_str(), bench.text(8).as_str()), ("201", "yes"));
}

#[test]
fn an_answer_after_the_end_of_its_stream_still_comes_once() {
    let bench = Bench::new(&asking());
    let talk = bench.exchange();
    assert!(talk.request(&[], &[]).is_none());
    talk.chain.finish();
    answer(&bench, Some("timeout"));
    assert_eq!((bench.number(3), bench.number(9)), (4, 14));
    assert!(bench.filter.start(bench.exchange().chain.exchange().stage(0)).is_ok(), "the instance lives");
}

#[test]
fn an_answer_for_an_instance_that_died_is_dropped() {
    let guest = asking().on("proxy_on_response_headers", "unreachable");
    let bench = Bench::new(&guest);
    let talk = bench.exchange();
    assert!(talk.request(&[], &[]).is_none());
    assert!(talk.response(&[], &[]).unwrap().head.is_err());
    answer(&bench, None);
    assert_eq!(bench.noted(3), None);
}

#[test]
fn calls_that_cannot_be_made_are_refused_at_once() {
    let calls = [
        call("elsewhere", &HEAD),
        call("nowhere", &HEAD),
        call("users", &HEAD[..2]),
        call("users", &[(":method", "GET"), (":path", "/\r\n"), (":authority", "a")]),
        "(call $proxy_http_call 'users' 'nonsense' '' '' (i32.const 0) (i32.const 32))".into(),
    ];
    let body: String =
        (1..).zip(&calls).map(|(slot, call)| format!("(call $note (i32.const {slot}) {call})")).collect();
    let bench = Bench::new(&Guest::new().on("proxy_on_request_headers", &format!("{body} (i32.const 0)")));
    bench.exchange().request(&[], &[]);
    assert_eq!([1, 2, 3, 4, 5].map(|slot| bench.number(slot)), [2; 5]);
    assert!(bench.callouts.0.borrow().is_empty());
}

#[test]
fn open_callouts_are_bounded() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        &format!(
            "(loop $l (br_if $l (i32.eqz {}))) (call $note (i32.const 1) {}) (i32.const 0)",
            call("users", &HEAD),
            call("users", &HEAD)
        ),
    );
    let bench = Bench::new(&guest);
    bench.exchange().request(&[], &[]);
    assert_eq!((bench.number(1), bench.callouts.0.borrow().len()), (10, 1000));
}

#[test]
fn ticks_come_until_they_are_stopped() {
    on_worker(async {
        let ticking = |last: u32| {
            Guest::new()
                .on(
                    "proxy_on_configure",
                    "(drop (call $proxy_set_tick_period_milliseconds (i32.const 1))) (i32.const 1)",
                )
                .on(
                    "proxy_on_tick",
                    &format!(
                        "(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
                         (call $note (i32.const 1) (i32.load (i32.const 64)))
                         (if (i32.eq (i32.load (i32.const 64)) (i32.const {last})) (then
                           (drop (call $proxy_set_tick_period_milliseconds (i32.const 0)))))"
                    ),
                )
                .on("proxy_on_log", "")
        };
        let (short, long) = (Bench::new(&ticking(3)), Bench::new(&ticking(6)));
        until(|| long.noted(1).is_some_and(|ticks| ticks[0] == 6)).await;
        assert_eq!(short.number(1), 3);
    });
}

#[test]
fn a_tick_that_traps_costs_the_instance_and_the_next_stream_gets_a_fresh_one() {
    on_worker(async {
        let guest = Guest::new()
            .on("proxy_on_configure", "(drop (call $proxy_set_tick_period_milliseconds (i32.const 10))) (i32.const 1)")
            .on("proxy_on_tick", "(call $note (i32.const 1) (i32.const 1)) unreachable")
            .on("proxy_on_request_headers", "(i32.const 0)");
        let bench = Bench::new(&guest);
        until(|| bench.noted(1).is_some()).await;
        assert!(bench.exchange().request(&[], &[]).unwrap().head.is_ok());
    });
}

#[test]
fn an_item_of_a_queue_reaches_its_registrant_wherever_it_was_enqueued() {
    on_worker(async {
        let guest = Guest::new()
            .on(
                "proxy_on_configure",
                "(drop (call $proxy_register_shared_queue 'jobs' (i32.const 32))) (call $note (i32.const 9) (i32.load (i32.const 32))) (i32.const 1)",
            )
            .on(
                "proxy_on_queue_ready",
                "(call $note (i32.const 1) (local.get $queue))
                 (drop (call $proxy_dequeue_shared_queue (local.get $queue) (global.get $at) (global.get $n)))
                 (call $note_result (i32.add (i32.const 100) (i32.load8_u (i32.load (global.get $at)))))",
            )
            .on("proxy_on_log", "");
        let bench = Bench::new(&guest);
        let state = Arc::clone(&bench.state);
        std::thread::spawn(move || {
            let id = state.queues.resolve("test", "jobs").unwrap();
            state.queues.enqueue(id, "\u{1}first".into()).unwrap();
            state.queues.enqueue(id, "\u{2}second".into()).unwrap();
        })
        .join()
        .unwrap();
        until(|| bench.noted(102).is_some()).await;
        assert_eq!((bench.text(101).as_str(), bench.text(102).as_str()), ("\u{1}first", "\u{2}second"));
        assert_eq!(bench.number(1), bench.number(9));
    });
}

/// Defers the end of stream contexts until their next request says so.
fn deferring() -> Guest {
    Guest::new()
        .on(
            "proxy_on_request_headers",
            "(if (i32.load (i32.const 64)) (then
               (drop (call $proxy_set_effective_context (i32.load (i32.const 64)))) (drop (call $proxy_done)))) (i32.const 0)",
        )
        .on("proxy_on_done", "(i32.store (i32.const 64) (local.get $ctx)) (i32.const 0)")
        .on("proxy_on_log", "(call $note (i32.const 1) (local.get $ctx))")
        .on("proxy_on_delete", "(call $note (i32.const 2) (local.get $ctx))")
}

#[test]
fn a_context_that_is_not_done_yet_ends_when_it_says_so() {
    on_worker(async {
        let bench = Bench::new(&deferring());
        bench.exchange().request(&[], &[]);
        assert_eq!(bench.noted(2), None, "deferred");
        bench.exchange().request(&[], &[]);
        assert_eq!((bench.number(1), bench.number(2)), (2, 2));
    });
}

#[test]
fn a_retired_filter_serves_its_streams_and_then_says_goodbye() {
    on_worker(async {
        let guest = Guest::new()
            .on("proxy_on_request_headers", "(i32.const 0)")
            .on("proxy_on_response_headers", "(call $note (i32.const 1) (local.get $ctx)) (i32.const 0)")
            .on("proxy_on_done", "(call $note (i32.const 2) (local.get $ctx)) (i32.const 1)")
            .on("proxy_on_log", "(call $note (i32.const 3) (local.get $ctx))")
            .on("proxy_on_delete", "(call $note (i32.const 4) (local.get $ctx))");
        let bench = Bench::new(&guest);
        let talk = bench.exchange();
        talk.request(&[], &[]);
        bench.vm.retire(Duration::from_secs(20));
        bench.vm.retire(Duration::from_secs(20));
        assert!(talk.response(&[], &[]).unwrap().head.is_ok());
        assert_eq!((bench.number(1), bench.noted(2)), (2, None));
        talk.chain.finish();
        assert_eq!(
            [2, 3, 4].map(|slot| bench.number(slot)),
            [1, 2, 1],
            "the stream's end, then the root's, which has no log"
        );
        bench.run();
        assert_eq!(bench.number(4), 1, "a late-comer of the old generation is served by an instance of its own");
    });
}

#[test]
fn what_is_still_running_at_the_end_of_the_drain_is_ended() {
    on_worker(async {
        let bench = Bench::new(&Guest::new().on("proxy_on_request_headers", "(i32.const 1)"));
        let talk = bench.exchange();
        assert!(talk.request(&[], &[]).is_none());
        bench.vm.retire(Duration::from_millis(5));
        let mut reply = None;
        until(|| {
            reply = talk.take(Request);
            reply.is_some()
        })
        .await;
        assert_eq!(reply.unwrap().reply().details, "test: ended");
    });
}

#[test]
fn dropping_a_filter_ends_its_instance() {
    let bench = Bench::new(&asking());
    let talk = bench.exchange();
    assert!(talk.request(&[], &[]).is_none());
    let (state, callouts) = (Arc::clone(&bench.state), bench.callouts.clone());
    drop((bench, talk));
    let (_, done) = callouts.0.borrow_mut().pop_front().unwrap();
    done(CalloutReply::default());
    assert_eq!(Arc::strong_count(&state), 1);
}
