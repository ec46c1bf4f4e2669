//! A client that leaves: the upstream hears of it at once, and every filter's stream ends exactly once.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::answer;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Connection, Gateway, Origin, RawOrigin, Site, body, one_route, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

/// What an upstream does after it has read the head of a request.
#[derive(Clone, Copy)]
enum Upstream {
    /// Reads on.
    Listens,
    /// Sends body bytes without end.
    Talks,
}

/// An upstream that says when its peer came and when it left.
struct Watcher {
    origin: RawOrigin,
    came: Arc<Notify>,
    left: Arc<Notify>,
}

impl Watcher {
    async fn start(what: Upstream) -> Self {
        let (came, left) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (arrives, leaves) = (Arc::clone(&came), Arc::clone(&left));
        let origin = RawOrigin::start(move |mut stream| {
            let (arrives, leaves) = (Arc::clone(&arrives), Arc::clone(&leaves));
            async move {
                let mut piece = vec![0; 64 * 1024];
                // A connection that carries nothing is none that counts.
                if stream.read(&mut piece).await.unwrap_or(0) == 0 {
                    return;
                }
                arrives.notify_one();
                match what {
                    Upstream::Listens => while stream.read(&mut piece).await.is_ok_and(|read| read > 0) {},
                    Upstream::Talks => {
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await.ok();
                        while stream.write_all(&piece).await.is_ok() {}
                    }
                }
                leaves.notify_one();
            }
        })
        .await;
        Self { origin, came, left }
    }
    async fn came(&self) {
        wait::within("a request reaches the upstream", self.came.notified()).await;
    }
    async fn left(&self) {
        wait::within("the upstream hears that the client has left", self.left.notified()).await;
    }
}

/// A gateway with two filters that tell about every callback.
async fn gateway(target: &str) -> Gateway {
    let filter = json!({ "use": "script", "config": { "trace": true } });
    Site::new(&one_route(target, &json!([filter, filter]))).script().start().await
}

/// Every stream so far has ended, once per filter.
async fn ended(gateway: &Gateway, streams: usize) {
    gateway.log.wait_for_count("saw delete", 2 * streams).await;
    for callback in ["saw done", "saw log", "saw delete"] {
        assert_eq!(gateway.log.count(callback), 2 * streams, "{callback}");
    }
}

#[tokio::test]
async fn while_the_upstream_thinks() {
    let watcher = Watcher::start(Upstream::Listens).await;
    let gateway = gateway(&watcher.origin.url()).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    watcher.came().await;
    drop(raw);
    watcher.left().await;
    ended(&gateway, 1).await;
}

#[tokio::test]
async fn in_the_middle_of_its_request() {
    let watcher = Watcher::start(Upstream::Listens).await;
    let gateway = gateway(&watcher.origin.url()).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nten bytes.").await;
    watcher.came().await;
    drop(raw);
    watcher.left().await;
    ended(&gateway, 1).await;
}

#[tokio::test]
async fn in_the_middle_of_the_response() {
    let watcher = Watcher::start(Upstream::Talks).await;
    let gateway = gateway(&watcher.origin.url()).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    raw.take(100_000).await;
    drop(raw);
    watcher.left().await;
    ended(&gateway, 1).await;
}

#[tokio::test]
async fn by_a_reset_of_one_stream_of_its_connection() {
    let watcher = Watcher::start(Upstream::Listens).await;
    let gateway = gateway(&watcher.origin.url()).await;
    let connection = Connection::http2(gateway.address()).await.unwrap();
    let mut sender = connection.http2_sender();
    let request = http::Request::get(format!("http://{}/", gateway.address())).body(body::empty()).unwrap();
    let call = tokio::spawn(async move { sender.send_request(request).await });
    watcher.came().await;
    call.abort();
    watcher.left().await;
    ended(&gateway, 1).await;
    assert!(!connection.is_closed(), "the connection lives on");
}

#[tokio::test]
async fn while_a_filter_waits_for_a_callout() {
    let watcher = Watcher::start(Upstream::Listens).await;
    let origin = Origin::text("never").await;
    let call = json!({ "call": { "upstream": "other", "path": "/", "timeout_ms": 60_000 } });
    let filter = json!({
        "use": "script", "upstreams": ["other"],
        "config": { "trace": true, "request_headers": [call, "pause"] },
    });
    let mut config: Value =
        one_route(&origin.url(), &json!([{ "use": "script", "config": { "trace": true } }, filter]));
    config["upstreams"]["other"] = json!({ "targets": [watcher.origin.url()] });
    let gateway = Site::new(&config).script().start().await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    watcher.came().await;
    drop(raw);
    ended(&gateway, 1).await;
    assert_eq!(origin.count(), 0, "the request went on without its client");
}

#[tokio::test]
async fn and_a_client_that_stays_is_told_no_different() {
    let origin = Origin::start(|_| async { answer(200, "ok") }).await;
    let gateway = gateway(&origin.url()).await;
    for stream in 1..=3 {
        gateway.request(Method::POST, "/").body("hello").send().await.expect(200);
        ended(&gateway, stream).await;
    }
}
