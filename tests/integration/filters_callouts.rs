//! Callouts: the calls that filters make, and how a stream waits for them.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::{answer, with};
use sluicegate_tests::{Gateway, Origin, RawOrigin, Site, one_route, wait};
use tokio::io::AsyncReadExt;
use tokio::sync::Notify;

fn call(upstream: &str, path: &str, timeout_ms: u64) -> Value {
    json!({ "call": { "upstream": upstream, "path": path, "timeout_ms": timeout_ms, "headers": [["x-asked", "1"]], "body": "question" } })
}

/// Asks `side` in the request's headers, and shows status and body of the answer to the upstream.
fn asking(upstream: &str, timeout_ms: u64) -> Value {
    json!({
        "request_headers": [call(upstream, "/side?x=1", timeout_ms), "pause"],
        "call_response": [
            { "set": ["request", "x-status", { "header": ["call", ":status"] }] },
            { "set": ["request", "x-answer", { "body": "call" }] },
            { "resume": "request" },
        ],
    })
}

/// A gateway in front of `origin` with one scripted filter that may call `side`.
async fn gateway(origin: &Origin, side: &str, config: &Value) -> Gateway {
    let filter = json!({ "use": "script", "config": config, "upstreams": ["side"] });
    let mut whole = one_route(&origin.url(), &json!([filter]));
    whole["upstreams"]["side"] = json!({ "targets": [side] });
    Site::new(&whole).script().start().await
}

#[tokio::test]
async fn a_stream_waits_for_the_answer_and_goes_on_with_it() {
    let origin = Origin::echo().await;
    let side = Origin::start(|_| async { with(answer(201, "yes"), &[("x-side", "1")]) }).await;
    let gateway = gateway(&origin, &side.url(), &asking("side", 10_000)).await;
    gateway.post("/", "body").await.expect(200);
    let asked = side.last();
    assert_eq!((asked.method.as_str(), asked.target.as_str(), asked.text().as_str()), ("GET", "/side?x=1", "question"));
    assert_eq!((asked.header("host").as_str(), asked.header("x-asked").as_str()), ("side", "1"));
    let seen = origin.last();
    assert_eq!((seen.header("x-status").as_str(), seen.header("x-answer").as_str()), ("201", "yes"));
    assert_eq!(seen.text(), "body");
}

#[tokio::test]
async fn others_on_the_same_worker_go_on_while_one_waits() {
    let origin = Origin::echo().await;
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let side = Origin::start(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            answer(200, "at last")
        }
    })
    .await;
    let config = json!({
        "request_headers": [{ "when": ["ask", [call("side", "/", 60_000), "pause"]] }],
        "call_response": [{ "resume": "request" }],
    });
    let filter = json!({ "use": "script", "config": config, "upstreams": ["side"] });
    let mut whole = one_route(&origin.url(), &json!([filter]));
    whole["upstreams"]["side"] = json!({ "targets": [side.url()] });
    whole["limits"] = json!({ "workers": 1 });
    let gateway = Site::new(&whole).script().start().await;
    let waiting = gateway.request(Method::GET, "/waiting").header("x-do", "ask");
    let waiting = tokio::spawn(waiting.send());
    side.wait_for(1).await;
    for _ in 0..10 {
        gateway.get("/").await.expect(200);
    }
    assert!(!waiting.is_finished());
    release.notify_one();
    waiting.await.unwrap().expect(200);
}

#[tokio::test]
async fn an_upstream_that_refuses_is_an_answer_503_and_one_that_is_silent_504() {
    let origin = Origin::echo().await;
    let gone = Origin::text("x").await.url();
    let gateway_gone = gateway(&origin, &gone, &asking("side", 10_000)).await;
    gateway_gone.get("/").await.expect(200);
    assert_eq!(origin.last().header("x-status"), "503");
    let silent = RawOrigin::start(|mut stream| async move {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.ok();
    })
    .await;
    let gateway_silent = gateway(&origin, &silent.url(), &asking("side", 100)).await;
    gateway_silent.get("/").await.expect(200);
    assert_eq!(origin.last().header("x-status"), "504");
}

#[tokio::test]
async fn an_unknown_upstream_and_one_that_is_not_granted_are_refused_at_the_call() {
    let origin = Origin::echo().await;
    for upstream in ["nobody", "origin"] {
        let config = json!({ "request_headers": [call(upstream, "/", 1000)] });
        let gateway = gateway(&origin, &origin.url(), &config).await;
        gateway.get("/").await.expect(200);
        gateway.wait_for_log("refused BadArgument").await;
        assert_eq!(origin.last().target, "/", "only the request itself reached the origin");
    }
}

#[tokio::test]
async fn a_response_waits_for_a_callout_too() {
    let origin = Origin::text("body").await;
    let side = Origin::text("checked").await;
    let config = json!({
        "response_headers": [call("side", "/", 10_000), "pause"],
        "call_response": [{ "set": ["response", "x-checked", { "body": "call" }] }, { "resume": "response" }],
    });
    let gateway = gateway(&origin, &side.url(), &config).await;
    let response = gateway.get("/").await.expect(200);
    assert_eq!((response.header("x-checked").as_str(), response.text().as_str()), ("checked", "body"));
}

#[tokio::test]
async fn a_reply_made_when_the_answer_comes_is_sent() {
    let origin = Origin::text("never").await;
    let side = Origin::start(|_| async { answer(403, "no") }).await;
    let config = json!({
        "request_headers": [call("side", "/", 10_000), "pause"],
        "call_response": [{ "reply": { "status": 403, "body": { "concat": ["asked: ", { "body": "call" }] } } }],
    });
    let gateway = gateway(&origin, &side.url(), &config).await;
    assert_eq!(gateway.post("/", "body").await.expect(403).text(), "asked: no");
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn several_calls_of_one_stream_are_answered_each_once() {
    let origin = Origin::text("ok").await;
    let side = Origin::start(|seen| async move { answer(200, seen.target) }).await;
    let config = json!({
        "trace": true,
        "request_headers": [call("side", "/1", 10_000), call("side", "/2", 10_000), call("side", "/3", 10_000), "pause"],
        "call_response": [{ "add": ["request", "x-answer", { "body": "call" }] }, { "resume": "request" }],
    });
    let gateway = gateway(&origin, &side.url(), &config).await;
    gateway.get("/").await.expect(200);
    gateway.log.wait_for_count("call_response", 3).await;
    side.wait_for(3).await;
    assert_eq!(gateway.log.count("call_response"), 3);
    assert!(!origin.last().header("x-answer").is_empty());
}

#[tokio::test]
async fn the_plugin_itself_calls_when_it_is_configured_and_when_it_ticks() {
    let origin = Origin::text("ok").await;
    let side = Origin::start(|seen| async move { answer(200, seen.target) }).await;
    let config = json!({
        "trace": true,
        "tick_ms": 50,
        "configure": [call("side", "/configured", 10_000)],
        "tick": [call("side", "/ticked", 10_000)],
        "call_response": [{ "log": { "concat": ["plugin got ", { "body": "call" }] } }],
    });
    let gateway = gateway(&origin, &side.url(), &config).await;
    gateway.wait_for_log("plugin got /configured").await;
    gateway.wait_for_log("plugin got /ticked").await;
}

#[tokio::test]
async fn an_answer_to_a_stream_that_is_over_goes_to_the_plugin() {
    let origin = Origin::text("ok").await;
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let side = Origin::start(move |_| {
        let gate = Arc::clone(&gate);
        async move {
            gate.notified().await;
            answer(200, "late")
        }
    })
    .await;
    let config = json!({ "trace": true, "request_headers": [{ "when": ["ask", [call("side", "/", 60_000)]] }] });
    let gateway = gateway(&origin, &side.url(), &config).await;
    gateway.asking("ask").await.expect(200);
    wait::within("the call goes out", side.wait_for(1)).await;
    gateway.wait_for_log("saw delete").await;
    release.notify_one();
    // Whatever the filter makes of it, it must not harm the instance.
    for _ in 0..10 {
        gateway.get("/").await.expect(200);
    }
    assert_eq!(gateway.log.count("trapped"), 0);
}
