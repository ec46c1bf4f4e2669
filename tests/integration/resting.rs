//! Connections that have waited for their next request for a while keep no buffers, and nobody else notices.

use serde_json::{Value, json};
use sluicegate_tests::raw::Raw;
use sluicegate_tests::tls::{Authority, TlsClient};
use sluicegate_tests::{Gateway, Origin, Site, one_route, process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::tls::{pairs, put};

/// What a gateway logs when a connection rests.
const RESTS: &str = "Connection rests.";

fn config(origin: &Origin, limits: &Value) -> Value {
    let mut config = one_route(&origin.url(), &json!([]));
    config["limits"] = limits.clone();
    config
}

async fn gateway(origin: &Origin, limits: &Value) -> Gateway {
    Site::new(&config(origin, limits)).env("RUST_LOG", "debug").start().await
}

/// A connection on which a request was answered some time ago.
async fn rested(gateway: &Gateway) -> Raw {
    let from = gateway.log.len();
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("GET /first HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 200);
    gateway.log.wait_from(from, RESTS).await;
    raw
}

#[tokio::test]
async fn requests_after_a_rest_are_served_whole_in_pieces_and_in_a_row() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &json!({ "header_timeout": "2s" })).await;
    let mut raw = rested(&gateway).await;
    for piece in ["\r\nGE", "T /pieces HT", "TP/1.1\r\nhost: a\r\n", "content-length: 5\r\n\r\nhe", "llo"] {
        raw.write(piece).await;
    }
    assert_eq!(raw.response().await.status, 200);
    assert_eq!((origin.last().target, origin.last().text()), ("/pieces".to_owned(), "hello".to_owned()));
    let from = gateway.log.len();
    // Empty lines may stand before a request, and one may come long before it.
    raw.write("\r\n").await;
    gateway.log.wait_from(from, RESTS).await;
    raw.write("GET /third HTTP/1.1\r\nhost: a\r\n\r\nGET /fourth HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for _ in 0..2 {
        assert_eq!(raw.response().await.status, 200);
    }
    let targets: Vec<String> = origin.requests().into_iter().map(|seen| seen.target).collect();
    assert_eq!(targets, ["/first", "/pieces", "/third", "/fourth"]);
    raw.write("GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\nGET /fifth HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 400);
    assert_eq!(raw.rest().await, b"");
    assert_eq!(origin.count(), 4);
}

#[tokio::test]
async fn a_connection_that_rests_is_closed_when_it_idles_too_long_and_when_the_gateway_ends() {
    let origin = Origin::text("ok").await;
    let short = gateway(&origin, &json!({ "idle_timeout": "2s" })).await;
    assert_eq!(rested(&short).await.rest().await, b"");
    short.get("/").await.expect(200);
    let mut long = gateway(&origin, &json!({ "header_timeout": "2s", "idle_timeout": "1h" })).await;
    let mut raw = rested(&long).await;
    process::signal(long.pid(), "TERM");
    assert_eq!(raw.rest().await, b"");
    drop(raw);
    assert_eq!(long.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_connection_that_is_being_closed_does_not_rest_and_takes_no_request() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &json!({ "header_timeout": "2s", "workers": 1 })).await;
    let mut closing = Raw::connect(gateway.address()).await;
    closing.write("GET /first HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert_eq!(closing.response().await.status, 200);
    // The other one has rested, so that time enough has passed for this one.
    let mut other = rested(&gateway).await;
    closing.write("GET /second HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(closing.rest().await, b"");
    other.write("GET /third HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(other.response().await.status, 200);
    assert!(origin.requests().iter().all(|seen| seen.target != "/second"));
    assert_eq!(gateway.log.count(RESTS), 1);
}

#[tokio::test]
async fn a_connection_with_tls_rests_and_serves_on_too() {
    let (origin, authority) = (Origin::text("ok").await, Authority::new("Test"));
    let mut config = config(&origin, &json!({ "header_timeout": "2s" }));
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "tls": { "certificates": pairs(&["a"]) } }]);
    let site = Site::new(&config).env("RUST_LOG", "debug");
    put(&site, "a", &authority.issue(&["a.test"]));
    let gateway = site.start().await;
    let mut stream = TlsClient::trusting(&authority).build().stream(gateway.address(), "a.test").await.unwrap();
    for round in 1..=2 {
        let from = gateway.log.len();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nok") {
            answer.push(stream.read_u8().await.unwrap());
        }
        assert_eq!(origin.count(), round);
        gateway.log.wait_from(from, RESTS).await;
    }
    gateway.stop().await;
}
