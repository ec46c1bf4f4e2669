//! gRPC callouts, as a guest meets them.

use bytes::Bytes;

use super::guest::{Guest, pairs};
use super::stage::{Bench, Talk, head, on_worker};
use crate::filter::Direction::Request;
use crate::filter::GrpcEvent;

/// Notes every event: its slot is 10 to 13 by kind, its text or code one hundred further.
fn listening() -> Guest {
    Guest::new()
        .on(
            "proxy_on_grpc_receive_initial_metadata",
            "(call $note (i32.const 10) (local.get $token)) (call $note (i32.const 20) (local.get $count))
             (drop (call $proxy_get_header_map_value (i32.const 4) 'x-kind' (global.get $at) (global.get $n)))
             (call $note_result (i32.const 110))",
        )
        .on(
            "proxy_on_grpc_receive",
            "(call $note (i32.const 11) (local.get $token)) (call $note (i32.const 21) (local.get $size))
             (drop (call $proxy_get_buffer_bytes (i32.const 5) (i32.const 0) (local.get $size) (global.get $at) (global.get $n)))
             (call $note_result (i32.const 111))
             (drop (call $proxy_set_effective_context (i32.load (i32.const 68))))
             (drop (call $proxy_continue_stream (i32.const 0)))",
        )
        .on(
            "proxy_on_grpc_receive_trailing_metadata",
            "(call $note (i32.const 12) (local.get $token)) (call $note (i32.const 22) (local.get $count))
             (drop (call $proxy_get_header_map_value (i32.const 5) 'x-kind' (global.get $at) (global.get $n)))
             (call $note_result (i32.const 112))",
        )
        .on(
            "proxy_on_grpc_close",
            "(call $note (i32.const 13) (local.get $token)) (call $note (i32.const 23) (local.get $status))
             (drop (call $proxy_get_status (i32.const 32) (global.get $at) (global.get $n)))
             (call $note (i32.const 33) (i32.load (i32.const 32))) (call $note_result (i32.const 113))",
        )
}

/// Makes a call when a request comes, keeps its token, and holds the request; `then` runs for the response.
fn calling(call: &str, then: &str) -> Guest {
    listening()
        .on(
            "proxy_on_request_headers",
            &format!(
                "(i32.store (i32.const 68) (local.get $ctx)) (call $note (i32.const 1) {call})
                 (call $note (i32.const 2) (i32.load (i32.const 40))) (i32.const 1)"
            ),
        )
        .on("proxy_on_response_headers", &format!("{then} (i32.const 0)"))
}

fn unary(upstream: &str) -> String {
    let metadata = pairs(&[("x-asked", "yes")]);
    format!(
        "(call $proxy_grpc_call '{upstream}' 'shop.Users' 'Get' '{metadata}' 'question' (i32.const 250) (i32.const 40))"
    )
}

fn stream(upstream: &str) -> String {
    format!("(call $proxy_grpc_stream '{upstream}' 'shop.Users' 'Watch' '' (i32.const 40))")
}

fn begin(bench: &Bench) -> Talk {
    let talk = bench.exchange();
    assert!(talk.request(&[], &[]).is_none());
    assert_eq!(bench.number(1), 0);
    talk
}

/// An event of the call made last.
fn tell(bench: &Bench, event: GrpcEvent) {
    let mut call = bench.callouts.1.borrow_mut().pop().expect("a call");
    (call.events)(event);
    bench.callouts.1.borrow_mut().push(call);
}

fn metadata(kind: &str) -> crate::filter::Headers {
    head(&[], &[("x-kind", kind), ("x-other", "1")])
}

#[test]
fn a_unary_call_is_answered_with_its_message_alone() {
    let bench = Bench::new(&calling(&unary("users"), ""));
    let talk = begin(&bench);
    {
        let calls = bench.callouts.1.borrow();
        let call = &calls[0].call;
        assert_eq!(
            (call.upstream.as_str(), call.service.as_str(), call.method.as_str()),
            ("users", "shop.Users", "Get")
        );
        assert_eq!((call.timeout.unwrap().as_millis(), call.metadata.len(), call.authority.as_deref()), (250, 1, None));
        assert_eq!(*calls[0].sent.borrow(), [Some("question".to_owned()), None], "one message, then half-closed");
    }
    tell(&bench, GrpcEvent::InitialMetadata(metadata("first")));
    tell(&bench, GrpcEvent::Message(Bytes::from_static(b"answer")));
    tell(&bench, GrpcEvent::TrailingMetadata(metadata("last")));
    assert_eq!(bench.noted(11), None, "not before its status is known");
    tell(&bench, GrpcEvent::Close(0, String::new()));
    assert_eq!((bench.number(11), bench.number(21), bench.text(111).as_str()), (bench.number(2), 6, "answer"));
    assert_eq!([10, 12, 13].map(|slot| bench.noted(slot)), [None, None, None]);
    assert!(talk.take(Request).is_some(), "the answer resumed the request");
    assert!(bench.callouts.1.borrow()[0].reset.get(), "and the call is over");
}

#[test]
fn a_unary_call_that_fails_is_closed_with_its_status_and_message() {
    for (event, status, text) in [
        (GrpcEvent::Close(5, "no such user".to_owned()), 5, "no such user"),
        (GrpcEvent::Close(0, String::new()), 13, "the upstream sent no message"),
    ] {
        let bench = Bench::new(&calling(&unary("users"), ""));
        begin(&bench);
        tell(&bench, event);
        assert_eq!((bench.number(13), bench.number(23), bench.number(33)), (bench.number(2), status, status));
        assert_eq!((bench.text(113).as_str(), bench.noted(11)), (text, None));
        tell(&bench, GrpcEvent::Message(Bytes::from_static(b"late")));
        assert_eq!(bench.noted(11), None, "nothing comes after its end");
    }
}

#[test]
fn a_stream_tells_each_event_in_order_and_sends_until_it_is_closed() {
    let then = "(call $note (i32.const 3) (call $proxy_grpc_send (i32.load (i32.const 40)) 'one' (i32.const 0)))
                (call $note (i32.const 4) (call $proxy_grpc_send (i32.load (i32.const 40)) 'two' (i32.const 1)))
                (call $note (i32.const 5) (call $proxy_grpc_close (i32.load (i32.const 40))))";
    let bench = Bench::new(&calling(&stream("users"), then));
    let talk = begin(&bench);
    tell(&bench, GrpcEvent::InitialMetadata(metadata("first")));
    assert_eq!((bench.number(20), bench.text(110).as_str()), (2, "first"));
    for text in ["a", "bc"] {
        tell(&bench, GrpcEvent::Message(Bytes::from_static(text.as_bytes())));
        assert_eq!(bench.text(111), text);
    }
    talk.take(Request);
    talk.response(&[], &[]);
    assert_eq!([3, 4, 5].map(|slot| bench.number(slot)), [0, 0, 0]);
    let sent = bench.callouts.1.borrow()[0].sent.borrow().clone();
    assert_eq!(sent, [Some("one".to_owned()), Some("two".to_owned()), None, None]);
    assert!(!bench.callouts.1.borrow()[0].reset.get(), "half-closed only");
    tell(&bench, GrpcEvent::TrailingMetadata(metadata("last")));
    tell(&bench, GrpcEvent::Close(7, "no".to_owned()));
    assert_eq!((bench.text(112).as_str(), bench.number(23), bench.text(113).as_str()), ("last", 7, "no"));
    assert_eq!([10, 11, 12, 13].map(|slot| bench.number(slot)), [bench.number(2); 4]);
}

#[test]
fn a_cancelled_call_is_reset_and_tells_nothing_more() {
    for call in [unary("users"), stream("users")] {
        let then = "(call $note (i32.const 3) (call $proxy_grpc_cancel (i32.load (i32.const 40))))
                    (call $note (i32.const 4) (call $proxy_grpc_cancel (i32.load (i32.const 40))))
                    (call $note (i32.const 5) (call $proxy_grpc_send (i32.load (i32.const 40)) 'x' (i32.const 0)))";
        let bench = Bench::new(&calling(&call, then));
        let talk = begin(&bench);
        talk.response(&[], &[]);
        assert_eq!([3, 4, 5].map(|slot| bench.number(slot)), [0, 0, 0], "a call that has ended is no error");
        assert!(bench.callouts.1.borrow()[0].reset.get());
        tell(&bench, GrpcEvent::Message(Bytes::from_static(b"late")));
        tell(&bench, GrpcEvent::Close(0, String::new()));
        assert_eq!([11, 13].map(|slot| bench.noted(slot)), [None, None]);
    }
}

#[test]
fn tokens_of_another_kind_or_never_given_are_refused() {
    let head = pairs(&[(":method", "GET"), (":path", "/"), (":authority", "users")]);
    let uses = format!(
        "(call $note (i32.const 3) (call $proxy_grpc_send (i32.load (i32.const 40)) 'x' (i32.const 0)))
         (drop (call $proxy_http_call 'users' '{head}' '' '' (i32.const 0) (i32.const 44)))
         (call $note (i32.const 4) (call $proxy_grpc_send (i32.load (i32.const 44)) 'x' (i32.const 0)))
         (call $note (i32.const 5) (call $proxy_grpc_cancel (i32.load (i32.const 44))))
         (call $note (i32.const 6) (call $proxy_grpc_close (i32.const 4001)))
         (call $note (i32.const 7) (call $proxy_grpc_send (i32.const 4002) 'x' (i32.const 0)))
         (call $note (i32.const 8) (call $proxy_grpc_cancel (i32.const 2)))"
    );
    let bench = Bench::new(&calling(&unary("users"), &uses));
    let talk = begin(&bench);
    talk.response(&[], &[]);
    assert_eq!([3, 4, 5, 6, 7, 8].map(|slot| bench.number(slot)), [2, 2, 2, 1, 1, 1]);
    assert!(!bench.callouts.1.borrow()[0].reset.get(), "the call goes on");
}

#[test]
fn calls_to_what_was_not_granted_are_refused() {
    for upstream in ["elsewhere", "nowhere"] {
        for call in [unary(upstream), stream(upstream)] {
            let bench = Bench::new(&calling(&call, ""));
            bench.exchange().request(&[], &[]);
            assert_eq!(bench.number(1), 4);
        }
    }
}

#[test]
fn a_target_may_be_written_as_envoy_writes_it() {
    // envoy_grpc { cluster_name: "users", authority: "u.example" }
    let bench = Bench::new(&calling(&stream("\u{a}\u{12}\u{a}\u{5}users\u{12}\u{9}u.example"), ""));
    begin(&bench);
    let calls = bench.callouts.1.borrow();
    assert_eq!((calls[0].call.upstream.as_str(), calls[0].call.authority.as_deref()), ("users", Some("u.example")));
}

#[test]
fn a_stream_that_outruns_its_upstream_is_ended_after_the_callback() {
    let big = "x".repeat(101);
    let then =
        format!("(call $note (i32.const 3) (call $proxy_grpc_send (i32.load (i32.const 40)) '{big}' (i32.const 0)))");
    let bench = Bench::new(&calling(&stream("users"), &then));
    let talk = begin(&bench);
    talk.response(&[], &[]);
    assert_eq!((bench.number(3), bench.number(23)), (0, 8));
    assert!(bench.callouts.1.borrow()[0].reset.get());
}

#[test]
fn a_call_made_when_the_filter_starts_is_answered_and_a_trap_resets_what_is_open() {
    on_worker(async {
        let guest = listening()
            .on("proxy_on_configure", &format!("(call $note (i32.const 1) {}) (i32.const 1)", stream("users")))
            .on("proxy_on_request_headers", "unreachable");
        let bench = Bench::new(&guest);
        tell(&bench, GrpcEvent::Message(Bytes::from_static(b"early")));
        assert_eq!((bench.number(1), bench.text(111).as_str()), (0, "early"));
        bench.exchange().request(&[], &[]);
        assert!(bench.callouts.1.borrow()[0].reset.get(), "its instance is gone");
    });
}

#[test]
fn open_calls_of_all_kinds_are_bounded_together() {
    let body = format!(
        "(loop $l (br_if $l (i32.eqz {}))) (call $note (i32.const 1) {}) (i32.const 0)",
        stream("users"),
        unary("users")
    );
    let bench = Bench::new(&Guest::new().on("proxy_on_request_headers", &body));
    bench.exchange().request(&[], &[]);
    assert_eq!((bench.number(1), bench.callouts.1.borrow().len()), (10, 1000));
}
