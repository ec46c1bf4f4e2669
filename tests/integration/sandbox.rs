//! Filters that loop, trap, or eat memory: what it costs the request, and that it costs nobody else anything.

use std::sync::Arc;

use http::{HeaderMap, Method};
use serde_json::{Map, Value, json};
use sluicegate_tests::load::Load;
use sluicegate_tests::origin::{answer, stream};
use sluicegate_tests::{Gateway, Origin, Site, Wat, body, one_route, process, wait};
use tokio::sync::Notify;

const MIB: u64 = 1 << 20;

/// One worker, so that everything happens on the same instance; the filter shows how many streams it has served.
async fn gateway(origin: &Origin, steps: &Value, more: &Value) -> Gateway {
    let mut config = steps.clone();
    config["request_headers"]
        .as_array_mut()
        .unwrap()
        .insert(0, json!({ "set": ["request", "x-streams", { "streams": null }] }));
    let mut filter = json!({ "use": "script", "config": config, "deadline": "50ms" });
    for (key, value) in more.as_object().unwrap() {
        filter[key] = value.clone();
    }
    let mut config = one_route(&origin.url(), &json!([filter]));
    config["limits"] = json!({ "workers": 1 });
    config["upstreams"]["origin"]["protocol"] = json!(origin.protocol());
    let plain = json!({ "name": "plain", "match": { "path": { "prefix": "/plain" } }, "upstream": "origin" });
    config["routes"].as_array_mut().unwrap().push(plain);
    Site::new(&config).script().start().await
}

/// The steps in the request's headers callback when the client asks for them.
fn on_request(steps: &Value) -> Value {
    json!({ "request_headers": [{ "when": ["go", steps] }] })
}

/// The next request is served, by an instance that has served none before.
async fn recovers(gateway: &Gateway, origin: &Origin) {
    wait::eventually("a fresh instance serves", || async { gateway.get("/").await.code() == 200 }).await;
    assert_eq!(origin.last().header("x-streams"), "1", "the instance is a fresh one");
}

#[tokio::test]
async fn a_loop_costs_its_request_503_while_others_on_the_worker_go_on() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &on_request(&json!(["loop"])), &json!({})).await;
    let check = |response: &sluicegate_tests::Response| {
        if response.code() == 200 { Ok(()) } else { Err(format!("{response:?}")) }
    };
    let load = Load::start(gateway.address(), 4, "/plain", check);
    for _ in 0..3 {
        gateway.asking("go").await.expect(503);
        load.advance(20).await;
    }
    load.stop().await;
    recovers(&gateway, &origin).await;
}

#[tokio::test]
async fn a_loop_in_an_open_filter_is_skipped_and_the_request_goes_on_unchanged() {
    let origin = Origin::echo().await;
    let gateway = gateway(&origin, &on_request(&json!(["loop"])), &json!({ "on_error": "open" })).await;
    let call = gateway.request(Method::POST, "/").header("x-do", "go").body("the body");
    call.send().await.expect(200);
    assert_eq!(origin.last().text(), "the body");
    gateway.wait_for_log("script").await;
    recovers(&gateway, &origin).await;
}

/// Every callback of a stream, with steps that trap in the one that the client names.
fn trap_anywhere() -> Value {
    let callbacks = [
        "request_headers",
        "request_body",
        "request_trailers",
        "response_headers",
        "response_body",
        "response_trailers",
        "done",
        "log",
        "delete",
    ];
    let steps = callbacks.iter().map(|name| ((*name).to_owned(), json!([{ "when": [name, ["trap"]] }])));
    Value::Object(steps.collect::<Map<_, _>>())
}

async fn origin_with_trailers() -> Origin {
    Origin::start_http2(|_| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        stream(200, body::with_trailers(["answer"], trailers))
    })
    .await
}

/// A request with everything, that asks for a trap.
fn full_request(gateway: &Gateway, callback: &str) -> sluicegate_tests::client::Call {
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    let call = gateway.request(Method::POST, "/").http2().header("x-do", callback);
    call.stream(body::with_trailers(["question"], trailers))
}

#[tokio::test]
async fn a_trap_in_the_request_is_503_and_the_next_request_is_served() {
    let origin = origin_with_trailers().await;
    let gateway = gateway(&origin, &trap_anywhere(), &json!({})).await;
    for callback in ["request_headers", "request_body", "request_trailers"] {
        full_request(&gateway, callback).send().await.expect(503);
        recovers(&gateway, &origin).await;
    }
}

#[tokio::test]
async fn a_trap_in_the_response_is_503_before_its_head_is_sent_and_a_reset_after() {
    let origin = origin_with_trailers().await;
    let gateway = gateway(&origin, &trap_anywhere(), &json!({})).await;
    full_request(&gateway, "response_headers").send().await.expect(503);
    recovers(&gateway, &origin).await;
    for callback in ["response_body", "response_trailers"] {
        let result = full_request(&gateway, callback).try_send().await;
        assert!(result.is_err(), "a response that breaks off does not look whole: {callback} {result:?}");
        recovers(&gateway, &origin).await;
    }
}

#[tokio::test]
async fn a_trap_at_the_end_of_a_stream_is_nothing_to_the_client() {
    let origin = origin_with_trailers().await;
    let gateway = gateway(&origin, &trap_anywhere(), &json!({})).await;
    for callback in ["done", "log", "delete"] {
        let response = full_request(&gateway, callback).send().await.expect(200);
        assert_eq!(response.text(), "answer", "{callback}");
        recovers(&gateway, &origin).await;
    }
}

#[tokio::test]
async fn a_trap_in_an_open_filter_lets_the_exchange_go_on_whole() {
    let origin = origin_with_trailers().await;
    let gateway = gateway(&origin, &trap_anywhere(), &json!({ "on_error": "open" })).await;
    for callback in [
        "request_headers",
        "request_body",
        "request_trailers",
        "response_headers",
        "response_body",
        "response_trailers",
        "done",
        "log",
        "delete",
    ] {
        let response = full_request(&gateway, callback).send().await.expect(200);
        assert_eq!((response.text().as_str(), origin.last().text().as_str()), ("answer", "question"), "{callback}");
        recovers(&gateway, &origin).await;
    }
}

#[tokio::test]
async fn a_trap_when_a_callout_is_answered_or_a_tick_comes_leaves_nobody_hanging() {
    let origin = Origin::text("ok").await;
    let call = json!({ "call": { "upstream": "origin", "path": "/plain/side", "timeout_ms": 10_000 } });
    let mut steps = on_request(&json!([call, "pause"]));
    steps["call_response"] = json!(["trap"]);
    let answered = gateway(&origin, &steps, &json!({ "upstreams": ["origin"] })).await;
    answered.asking("go").await.expect(503);
    recovers(&answered, &origin).await;
    let mut steps = on_request(&json!([]));
    steps["tick"] = json!([{ "log": "about to trap" }, "trap"]);
    steps["tick_ms"] = json!(30);
    let ticking = gateway(&origin, &steps, &json!({ "on_error": "open" })).await;
    for ticks in 1..=2 {
        ticking.log.wait_for_count("about to trap", ticks).await;
        // The next stream gets a fresh instance, which ticks in its turn.
        ticking.get("/").await.expect(200);
    }
}

#[tokio::test]
async fn streams_that_wait_on_the_instance_that_dies_are_answered() {
    let release = Arc::new(Notify::new());
    let gate = Arc::clone(&release);
    let origin = Origin::start(move |seen| {
        let gate = Arc::clone(&gate);
        async move {
            if seen.target == "/plain/side" {
                gate.notified().await;
            }
            answer(200, "ok")
        }
    })
    .await;
    let call = json!({ "call": { "upstream": "origin", "path": "/plain/side", "timeout_ms": 60_000 } });
    for (on_error, status) in [("closed", 503), ("open", 200)] {
        let steps = json!({ "request_headers": [{ "when": ["wait", [call, "pause"]] }, { "when": ["go", ["trap"]] }] });
        let gateway = gateway(&origin, &steps, &json!({ "upstreams": ["origin"], "on_error": on_error })).await;
        let before = origin.count();
        let calls = (0..3).map(|_| tokio::spawn(gateway.request(Method::GET, "/").header("x-do", "wait").send()));
        let waiting: Vec<_> = calls.collect();
        origin.wait_for(before + 3).await;
        gateway.asking("go").await.expect(status);
        for call in waiting {
            call.await.unwrap().expect(status);
        }
        recovers(&gateway, &origin).await;
        release.notify_waiters();
    }
}

#[tokio::test]
async fn a_memory_bomb_dies_at_its_ceiling() {
    let origin = Origin::text("ok").await;
    let gateway =
        gateway(&origin, &on_request(&json!(["allocate"])), &json!({ "memory": "32MiB", "deadline": "5s" })).await;
    gateway.get("/").await.expect(200);
    let before = gateway.resident();
    process::forget_peak(gateway.pid());
    gateway.asking("go").await.expect(503);
    let grown = process::peak(gateway.pid()).saturating_sub(before);
    assert!(grown < 48 * MIB, "the gateway grew by {} MiB", grown / MIB);
    recovers(&gateway, &origin).await;
}

#[tokio::test]
async fn endless_recursion_ends_in_the_guest_alone() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &on_request(&json!(["recurse"])), &json!({ "deadline": "5s" })).await;
    gateway.asking("go").await.expect(503);
    recovers(&gateway, &origin).await;
}

#[tokio::test]
async fn a_panic_tells_filter_file_and_line_to_the_log_and_nothing_to_the_client() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &on_request(&json!([{ "panic": "the secret reason" }])), &json!({})).await;
    let response = gateway.asking("go").await.expect(503);
    assert!(!response.text().contains("secret") && !response.text().contains("script"), "{}", response.text());
    let line = gateway.wait_for_log("the secret reason").await;
    assert!(line.contains("script"), "the line names the filter: {line}");
    gateway.wait_for_log("steps.rs").await;
    let filters: serde_json::Value = serde_json::from_str(&gateway.admin_get("/api/v1/filters").await.text()).unwrap();
    let trap = &filters["filters"][0]["last_traps"][0];
    assert!(trap["detail"].as_str().is_some_and(|detail| detail.contains("the secret reason")), "{filters:#}");
    assert!(trap["request_id"].is_string() && trap["kind"] == "trap", "{trap}");
    let (_, frames) = trap["detail"].as_str().and_then(|detail| detail.rsplit_once("; in ")).unwrap();
    assert!(!frames.contains("_ZN") && !frames.contains("_R") && !frames.contains("17h"), "no mangled names: {frames}");
    assert!(!frames.contains("panicking") && !frames.contains("begin_unwind"), "what panicked, not how: {frames}");
}

#[tokio::test]
async fn a_storm_of_traps_harms_no_other_route_and_leaves_no_memory_behind() {
    let origin = Origin::text("ok").await;
    let gateway = gateway(&origin, &on_request(&json!(["trap"])), &json!({})).await;
    let check = |response: &sluicegate_tests::Response| {
        if response.code() == 200 { Ok(()) } else { Err(format!("{response:?}")) }
    };
    let load = Load::start(gateway.address(), 2, "/plain", check);
    for _ in 0..100 {
        gateway.asking("go").await.expect(503);
    }
    let before = gateway.resident();
    for _ in 0..400 {
        gateway.asking("go").await.expect(503);
    }
    load.advance(20).await;
    load.stop().await;
    let grown = gateway.resident().saturating_sub(before);
    assert!(grown < 16 * MIB, "400 traps left {} MiB behind", grown / MIB);
    recovers_in_time(&gateway).await;
}

/// After many traps the plugin rests for a while; then it serves again.
async fn recovers_in_time(gateway: &Gateway) {
    wait::eventually("the plugin serves again", || async { gateway.get("/").await.code() == 200 }).await;
}

#[tokio::test]
async fn output_without_bounds_is_cut_not_collected() {
    let origin = Origin::text("ok").await;
    let huge = json!({ "set": ["request", "x-huge", { "repeat": 2_000_000 }] });
    let shout = json!({ "log": { "repeat": 1_000_000 } });
    let mut steps = on_request(&json!([shout, huge]));
    steps["response_headers"] = json!([]);
    let gateway = gateway(&origin, &steps, &json!({ "deadline": "5s" })).await;
    let status = gateway.asking("go").await.code();
    assert!([200, 431, 500, 502, 503].contains(&status), "{status}");
    assert!(origin.requests().iter().all(|seen| seen.header("x-huge").len() < 1_000_000));
    assert!(gateway.log.all().iter().all(|line| line.len() < 200_000), "a log line has a bound");
    gateway.get("/").await.expect(200);
}

#[tokio::test]
async fn what_a_filter_logs_stays_one_line() {
    let origin = Origin::text("ok").await;
    let gateway =
        gateway(&origin, &on_request(&json!([{ "log": "first\nERROR forged line\u{1b}[31m" }])), &json!({})).await;
    gateway.asking("go").await.expect(200);
    let line = gateway.wait_for_log("first").await;
    assert!(line.contains("forged line"), "the break is escaped, not made: {line}");
    assert!(!line.contains('\u{1b}'), "so are control characters");
}

#[tokio::test]
async fn an_assertion_that_fails_in_assemblyscript_is_logged_with_its_words_and_place() {
    let origin = Origin::text("ok").await;
    let text = |text: &str| {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let bytes = [&u32::try_from(units.len()).unwrap().to_le_bytes(), &units[..]].concat();
        bytes.iter().map(|byte| format!("\\{byte:02x}")).collect::<String>()
    };
    let guest = Wat::new()
        .import(r#"(import "env" "abort" (func $abort (param i32 i32 i32 i32)))"#)
        .with(&format!(
            "(data (i32.const 200000) \"{}\") (data (i32.const 201000) \"{}\")",
            text("no \u{fc}ser"),
            text("filter.ts")
        ))
        .doing(
            "proxy_on_request_headers",
            "(call $abort (i32.const 200004) (i32.const 201004) (i32.const 7) (i32.const 3))",
        )
        .build();
    let gateway =
        Site::new(&one_route(&origin.url(), &json!([{ "use": "script" }]))).plugin("script", guest).start().await;
    gateway.get("/").await.expect(503);
    gateway.wait_for_log("abort: no \u{fc}ser in filter.ts:7:3").await;
}
