//! Local replies and the ends of streams.

use super::guest::{Guest, pairs};
use super::stage::Bench;
use crate::filter::Name;
use crate::filter::chain::ChainError;
use crate::filter::exchange::Interrupt;

fn reply(status: i32, body: &str, headers: &str, grpc: i32) -> String {
    format!(
        "(call $note (i32.const 1) (call $proxy_send_local_response (i32.const {status}) 'why' '{body}' '{headers}' (i32.const {grpc})))"
    )
}

fn replying(call: &str) -> Guest {
    Guest::new().on("proxy_on_request_headers", &format!("{call} (i32.const 1)"))
}

#[test]
fn a_reply_carries_what_the_filter_gave() {
    let headers = pairs(&[("www-authenticate", "Bearer"), (":status", "299"), ("x", "a\r\nb")]);
    let reply = Bench::new(&replying(&reply(401, "no", &headers, 16))).exchange().request(&[], &[]).unwrap().reply();
    assert_eq!((reply.status, &*reply.body, reply.grpc_status), (401, &b"no"[..], Some(16)));
    assert_eq!(reply.details, "test: why");
    assert_eq!(reply.headers.len(), 1, "neither pseudo headers nor what is not legal");
    assert_eq!(reply.headers.get(&Name::parse(b"www-authenticate").unwrap()).unwrap(), "Bearer");
}

#[test]
fn an_impossible_status_becomes_500_and_unreadable_headers_none() {
    for (status, headers) in [(42, ""), (99999, ""), (-1, "")] {
        let call = reply(status, "no", headers, -1);
        let reply = Bench::new(&replying(&call)).exchange().request(&[], &[]).unwrap().reply();
        assert_eq!((reply.status, reply.grpc_status), (500, None), "{status}");
    }
    let reply = Bench::new(&replying(&reply(403, "", "nonsense", -1))).exchange().request(&[], &[]).unwrap().reply();
    assert_eq!((reply.status, reply.headers.len()), (403, 0));
}

#[test]
fn the_first_reply_wins_and_the_second_is_ok() {
    let calls = reply(401, "first", "", -1) + &reply(402, "second", "", -1);
    let bench = Bench::new(&replying(&calls));
    assert_eq!(bench.exchange().request(&[], &[]).unwrap().reply().status, 401);
    assert_eq!(bench.number(1), 0);
}

#[test]
fn a_reply_when_the_stream_is_over_is_ignored() {
    let guest =
        Guest::new().on("proxy_on_request_headers", "(i32.const 0)").on("proxy_on_log", &reply(500, "", "", -1));
    let bench = Bench::new(&guest);
    bench.run();
    assert_eq!(bench.number(1), 0);
    bench.run();
}

#[test]
fn a_filter_can_close_its_stream() {
    let guest =
        Guest::new().on("proxy_on_request_headers", "(drop (call $proxy_close_stream (i32.const 0))) (i32.const 1)");
    let passed = Bench::new(&guest).exchange().request(&[], &[]).unwrap();
    let Err(ChainError::Interrupted(Interrupt::Reset(reason))) = passed.head else { panic!("{passed:?}") };
    assert_eq!(reason, "test: closed the stream");
}

#[test]
fn streams_that_do_not_exist_are_told_apart() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(call $note (i32.const 1) (call $proxy_continue_stream (i32.const 2)))
         (call $note (i32.const 2) (call $proxy_continue_stream (i32.const 4)))
         (call $note (i32.const 3) (call $proxy_clear_route_cache)) (i32.const 0)",
    );
    let bench = Bench::new(&guest);
    assert!(bench.exchange().request(&[], &[]).is_some());
    assert_eq!([1, 2, 3].map(|slot| bench.number(slot)), [0, 2, 0]);
}

#[test]
fn both_ways_of_asking_have_the_route_chosen_again() {
    let foreign = "(drop (call $proxy_call_foreign_function 'clear_route_cache' '' (i32.const 0) (i32.const 0)))";
    for (ask, asked) in [(foreign, true), ("(drop (call $proxy_clear_route_cache))", true), ("", false)] {
        let guest = Guest::new().on("proxy_on_request_headers", &format!("{ask} (i32.const 0)"));
        let talk = Bench::new(&guest).exchange();
        talk.request(&[], &[]);
        assert_eq!(talk.chain.exchange().take_route_cleared(), asked, "{ask}");
        assert!(!talk.chain.exchange().take_route_cleared(), "once");
    }
}
