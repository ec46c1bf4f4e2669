//! What a request may be: how long its body and its target, and how long the body may stall.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use hyper::body::Frame;
use serde_json::{Value, json};
use sluicegate_tests::body::{self, Body};
use sluicegate_tests::client::Call;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::wait::{self, eventually};
use sluicegate_tests::{Gateway, Origin, RawOrigin, Site, Wat, one_route};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;

/// No filter, one that sees the body as it comes, and one that holds it to its end.
fn all_chains() -> [Value; 3] {
    [json!([]), json!([{ "use": "watch" }]), json!([{ "use": "hold" }])]
}

async fn gateway(target: &str, filters: &Value, limits: Value, route: &Value) -> Gateway {
    let mut config = one_route(target, filters);
    config["limits"] = limits;
    config["upstreams"]["origin"]["eject"] = json!({ "failures": 1, "most_percent": 100 });
    for (key, value) in route.as_object().unwrap() {
        config["routes"][0][key] = value.clone();
    }
    let watch = Wat::new().doing("proxy_on_request_headers", "").doing("proxy_on_request_body", "");
    let hold = "(if (result i32) (local.get 2) (then (i32.const 0)) (else (i32.const 1)))";
    let hold = Wat::new().on("proxy_on_request_body", hold);
    Site::new(&config).plugin("watch", watch.build()).plugin("hold", hold.build()).start().await
}

async fn refused(gateway: &Gateway, reason: &str) -> f64 {
    gateway.metric("sluicegate_replies_total", &[("reason", reason)]).await
}

fn post(gateway: &Gateway, http2: bool, body: Body) -> Call {
    let call = gateway.request(Method::POST, "/").stream(body);
    if http2 { call.http2() } else { call }
}

/// A piece of a chunked body.
fn chunk(bytes: usize) -> String {
    format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes))
}

/// Reads a request's head and begins an answer.
async fn begin(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n").await.unwrap();
}

/// An upstream that reads on without an answer; the number of its connections that have ended.
async fn silent(ended: &Arc<AtomicUsize>) -> RawOrigin {
    let ended = Arc::clone(ended);
    RawOrigin::start(move |mut stream| {
        let ended = Arc::clone(&ended);
        async move {
            let mut piece = [0; 4096];
            while let Ok(1..) = stream.read(&mut piece).await {}
            ended.fetch_add(1, Ordering::Relaxed);
        }
    })
    .await
}

#[tokio::test]
async fn a_body_that_is_too_long_by_its_own_word_reaches_no_upstream() {
    let origin = Origin::text("ok").await;
    for filters in all_chains() {
        let gateway = gateway(&origin.url(), &filters, json!({ "body_bytes": 1000 }), &json!({})).await;
        for http2 in [false, true] {
            let answer = post(&gateway, http2, body::full(vec![b'x'; 1001])).send().await.expect(413);
            assert_eq!(answer.text(), "request body too large\n");
        }
        let mut client = Raw::connect(gateway.address()).await;
        client.write("POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 1001\r\n\r\n").await;
        assert_eq!(client.response().await.status, 413, "no 100 before it");
        assert!(client.rest().await.is_empty(), "whether the body follows is unknown");
        assert_eq!(refused(&gateway, "body_too_large").await, 3.0);
        assert_eq!(origin.connections(), 0);
    }
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_is_refused_and_its_upstream_never_sees_it_whole() {
    let origin = Origin::text("ok").await;
    for filters in all_chains() {
        let gateway = gateway(&origin.url(), &filters, json!({ "body_bytes": "4KiB" }), &json!({})).await;
        for http2 in [false, true] {
            let (feed, body) = body::fed();
            let call = tokio::spawn(post(&gateway, http2, body).send());
            for _ in 0..5 {
                feed.send(Ok(Frame::data(vec![b'x'; 1000].into()))).await.ok();
            }
            call.await.unwrap().expect(413);
        }
        let mut client = Raw::connect(gateway.address()).await;
        client.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        client.write(chunk(4096)).await;
        client.write(chunk(1)).await;
        assert_eq!(client.response().await.status, 413);
        assert!(client.rest().await.is_empty(), "the connection is closed");
        assert_eq!(refused(&gateway, "body_too_large").await, 3.0);
        assert_eq!(origin.count(), 0);
    }
}

#[tokio::test]
async fn a_body_of_just_that_length_passes_and_a_route_may_say_otherwise() {
    let origin = Origin::text("ok").await;
    for (own, length, status) in [
        (json!({}), 1000, 200),
        (json!({ "body_bytes": "2KiB" }), 2048, 200),
        (json!({ "body_bytes": "2KiB" }), 2049, 413),
        (json!({ "body_bytes": 10 }), 11, 413),
        (json!({ "body_bytes": false }), MIB, 200),
    ] {
        let gateway = gateway(&origin.url(), &json!([]), json!({ "body_bytes": 1000 }), &own).await;
        post(&gateway, false, body::full(vec![b'x'; length])).send().await.expect(status);
        post(&gateway, true, body::chunks([vec![b'x'; length]])).send().await.expect(status);
    }
}

#[tokio::test]
async fn a_response_that_has_begun_is_broken_off_when_the_body_turns_out_too_long() {
    let origin = RawOrigin::start(|mut stream| async move {
        begin(&mut stream).await;
        let mut piece = [0; 4096];
        while let Ok(1..) = stream.read(&mut piece).await {}
    })
    .await;
    for filters in [json!([]), json!([{ "use": "watch" }])] {
        let gateway = gateway(&origin.url(), &filters, json!({ "body_bytes": 1000 }), &json!({})).await;
        let mut client = Raw::connect(gateway.address()).await;
        client.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
        client.write(chunk(500)).await;
        let begun = client.take_until(b"hi\r\n").await;
        assert!(begun.starts_with(b"HTTP/1.1 200"));
        client.write(chunk(501)).await;
        assert!(client.rest().await.is_empty(), "no last chunk");
        gateway.wait_for_log("body_too_large").await;
    }
}

#[tokio::test]
async fn a_body_that_stalls_is_answered_408_and_its_upstream_let_go() {
    for filters in all_chains() {
        let ended = Arc::default();
        let origin = silent(&ended).await;
        let route = json!({ "timeout": "0s" });
        let gateway = gateway(&origin.url(), &filters, json!({ "body_timeout": "200ms" }), &route).await;
        let mut client = Raw::connect(gateway.address()).await;
        client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello").await;
        let answer = client.response().await;
        assert_eq!((answer.status, answer.has_line("connection: close")), (408, true), "{}", answer.head);
        assert!(client.rest().await.is_empty());
        let (feed, body) = body::fed();
        let call = tokio::spawn(post(&gateway, true, body).send());
        feed.send(Ok(Frame::data("hello".into()))).await.unwrap();
        assert_eq!(call.await.unwrap().expect(408).text(), "request timeout\n");
        assert_eq!(refused(&gateway, "body_timeout").await, 2.0);
        // Where a filter holds the body, the upstream may not have been asked yet.
        if filters[0]["use"] != "hold" {
            eventually("the upstream's connections end", || async { ended.load(Ordering::Relaxed) == 2 }).await;
        }
    }
}

#[tokio::test]
async fn a_slow_but_steady_body_passes_and_so_does_one_that_nobody_reads_for_a_while() {
    let origin = Origin::text("ok").await;
    let limits = json!({ "body_timeout": "1s" });
    let route = json!({ "timeout": "0s" });
    let slow = gateway(&origin.url(), &json!([]), limits.clone(), &route).await;
    let (feed, body) = body::fed();
    let call = tokio::spawn(post(&slow, false, body).send());
    for _ in 0..15 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        feed.send(Ok(Frame::data("x".into()))).await.unwrap();
    }
    drop(feed);
    call.await.unwrap().expect(200);
    assert_eq!(origin.last().body.len(), 15);

    let busy = RawOrigin::start(|mut stream| async move {
        // Longer than a body may stall.
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let (mut read, mut piece) = (0, vec![0; MIB]);
        while read < 64 * MIB {
            read += stream.read(&mut piece).await.unwrap();
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    for filters in [json!([]), json!([{ "use": "watch" }])] {
        let gateway = gateway(&busy.url(), &filters, limits.clone(), &route).await;
        post(&gateway, false, body::full(vec![b'x'; 64 * MIB])).send().await.expect(200);
    }
}

#[tokio::test]
async fn a_client_that_goes_on_after_the_response_has_begun_may_take_its_time() {
    let origin = RawOrigin::start(|mut stream| async move {
        begin(&mut stream).await;
        let mut seen = Vec::new();
        while !seen.ends_with(b"0\r\n\r\n") {
            seen.push(stream.read_u8().await.unwrap());
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let route = json!({ "timeout": "0s" });
    let gateway = gateway(&origin.url(), &json!([]), json!({ "body_timeout": "100ms" }), &route).await;
    let mut client = Raw::connect(gateway.address()).await;
    client.write("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    client.take_until(b"hi\r\n").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    client.write("0\r\n\r\n").await;
    assert_eq!(client.take(5).await, b"0\r\n\r\n");
}

#[tokio::test]
async fn a_client_that_lets_its_routes_timeout_pass_is_told_so_and_no_target_is_blamed() {
    for filters in all_chains() {
        let ended = Arc::default();
        let origin = silent(&ended).await;
        let route = json!({ "timeout": "200ms" });
        let gateway = gateway(&origin.url(), &filters, json!({}), &route).await;
        let mut client = Raw::connect(gateway.address()).await;
        client.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello").await;
        assert_eq!(client.response().await.status, 408);
        assert!(!gateway.log.all().iter().any(|line| line.contains("left out")));
        // With the whole body, the upstream is what is waited for.
        post(&gateway, false, body::full("whole")).send().await.expect(504);
        gateway.wait_for_log("left out").await;
    }
}

#[tokio::test]
async fn a_target_longer_than_it_may_be_is_answered_414() {
    let origin = Origin::text("ok").await;
    let limited = gateway(&origin.url(), &json!([]), json!({ "uri_bytes": 100 }), &json!({})).await;
    let target = |length: usize| format!("/?{}", "x".repeat(length - 2));
    for http2 in [false, true] {
        for (length, status) in [(100, 200), (101, 414)] {
            let call = limited.request(Method::GET, &target(length));
            let call = if http2 { call.http2() } else { call };
            call.send().await.expect(status);
        }
    }
    assert_eq!(refused(&limited, "uri_too_long").await, 2.0);
    let usual = gateway(&origin.url(), &json!([]), json!({}), &json!({})).await;
    usual.get(&target(60_000)).await.expect(200);
    wait::within("the last one", usual.stop()).await;
}
