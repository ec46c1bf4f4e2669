//! What filters know and keep: properties, shared data, queues, metrics, clocks, foreign functions.

use std::time::{SystemTime, UNIX_EPOCH};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::{Gateway, Origin, Site, one_route};

async fn through(origin: &Origin, scripts: &[Value]) -> Gateway {
    let filters: Vec<Value> = scripts.iter().map(|config| json!({ "use": "script", "config": config })).collect();
    Site::new(&one_route(&origin.url(), &json!(filters))).script().start().await
}

/// A step that shows `value` in a request header.
fn show(name: &str, value: &Value) -> Value {
    json!({ "set": ["request", name, value] })
}

#[tokio::test]
async fn properties_tell_about_request_connection_and_configuration() {
    let origin = Origin::echo().await;
    let texts = [
        ("x-path", vec!["request", "path"]),
        ("x-url-path", vec!["request", "url_path"]),
        ("x-query", vec!["request", "query"]),
        ("x-host", vec!["request", "host"]),
        ("x-method", vec!["request", "method"]),
        ("x-scheme", vec!["request", "scheme"]),
        ("x-protocol", vec!["request", "protocol"]),
        ("x-id", vec!["request", "id"]),
        ("x-agent", vec!["request", "useragent"]),
        ("x-one-header", vec!["request", "headers", "user-agent"]),
        ("x-source", vec!["source", "address"]),
        ("x-destination", vec!["destination", "address"]),
        ("x-plugin", vec!["plugin_name"]),
        ("x-route", vec!["route_name"]),
        ("x-cluster", vec!["cluster_name"]),
        ("x-nothing", vec!["no", "such", "thing"]),
    ];
    let mut steps: Vec<Value> = texts.iter().map(|(name, path)| show(name, &json!({ "property": path }))).collect();
    steps.push(show("x-time", &json!({ "number": ["request", "time"] })));
    steps.push(show("x-port", &json!({ "number": ["source", "port"] })));
    let gateway = through(&origin, &[json!({ "request_headers": steps })]).await;
    gateway
        .request(Method::GET, "/a/b?c=d")
        .header("host", "h.example")
        .header("user-agent", "tests")
        .send()
        .await
        .expect(200);
    let seen = origin.last();
    for (name, expected) in [
        ("x-path", "/a/b?c=d"),
        ("x-url-path", "/a/b"),
        ("x-query", "c=d"),
        ("x-host", "h.example"),
        ("x-method", "GET"),
        ("x-scheme", "http"),
        ("x-protocol", "HTTP/1.1"),
        ("x-agent", "tests"),
        ("x-one-header", "tests"),
        ("x-plugin", "script"),
        ("x-route", "all"),
        ("x-cluster", "origin"),
        ("x-nothing", "(none)"),
    ] {
        assert_eq!(seen.header(name), expected, "{name}");
    }
    assert!(seen.header("x-source").starts_with("127.0.0.1:"));
    assert_eq!(seen.header("x-source"), format!("127.0.0.1:{}", seen.header("x-port")));
    assert_eq!(seen.header("x-destination"), gateway.address().to_string());
    assert_eq!(seen.header("x-id"), seen.header("x-request-id"));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let time: u64 = seen.header("x-time").parse().unwrap();
    assert!((now - 60..=now).contains(&(time / 1_000_000_000)), "{time} ns is not about now");
}

#[tokio::test]
async fn at_the_end_properties_tell_how_it_went() {
    let origin = Origin::text("twelve bytes").await;
    let parts = json!({ "concat": [
        "end code=", { "number": ["response", "code"] }, " size=", { "number": ["response", "size"] },
        " asked=", { "number": ["request", "size"] }, " details=", { "property": ["response", "code_details"] },
        " target=", { "property": ["upstream", "address"] },
    ] });
    let gateway = through(&origin, &[json!({ "log": [{ "log": parts }] })]).await;
    gateway.post("/", "hello").await.expect(200);
    let expected = format!("end code=200 size=12 asked=5 details=via_upstream target={}", origin.address());
    gateway.wait_for_log(&expected).await;
}

#[tokio::test]
async fn a_property_that_a_filter_sets_is_read_by_later_ones() {
    let origin = Origin::echo().await;
    let first = json!({ "request_headers": [
        { "set_property": [["consumer"], "alice"] }, { "set_property": [["my", "own", "path"], "deep"] },
    ] });
    let second = json!({ "request_headers": [
        show("x-consumer", &json!({ "property": ["consumer"] })), show("x-deep", &json!({ "property": ["my", "own", "path"] })),
    ] });
    let gateway = through(&origin, &[first, second]).await;
    gateway.get("/").await.expect(200);
    let seen = origin.last();
    assert_eq!((seen.header("x-consumer").as_str(), seen.header("x-deep").as_str()), ("alice", "deep"));
}

#[tokio::test]
async fn shared_data_counts_exactly_across_workers() {
    let origin = Origin::echo().await;
    let config = json!({ "request_headers": [
        { "when": ["count", [{ "count_shared": "total" }, { "set_property": [["counted"], "1"] }]] },
        show("x-total", &json!({ "shared": "total" })),
    ] });
    let gateway = through(&origin, &[config]).await;
    // The ABI has no compare and swap for a key that is not there: the first write of two would win or lose as a whole.
    gateway.asking("count").await.expect(200);
    let tasks = (0..16).map(|_| {
        let calls: Vec<_> = (0..25).map(|_| gateway.request(Method::GET, "/").header("x-do", "count")).collect();
        tokio::spawn(async move {
            for call in calls {
                call.send().await.expect(200);
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    gateway.get("/").await.expect(200);
    assert_eq!(origin.last().header("x-total"), "401");
}

#[tokio::test]
async fn plugins_do_not_see_each_others_shared_data() {
    let origin = Origin::echo().await;
    let write = json!({ "use": "script", "config": { "request_headers": [{ "share": ["key", "secret"] }] } });
    let read =
        json!({ "use": "other", "config": { "request_headers": [show("x-value", &json!({ "shared": "key" }))] } });
    let site = Site::new(&one_route(&origin.url(), &json!([write, read]))).script();
    let gateway = site.plugin("other", sluicegate_tests::guests::script()).start().await;
    gateway.get("/").await.expect(200);
    assert_eq!(origin.last().header("x-value"), "(none)");
}

#[tokio::test]
async fn a_queue_hands_on_in_order_and_tells_when_something_is_there() {
    let origin = Origin::echo().await;
    let config = json!({
        "queue": "jobs",
        "request_headers": [{ "enqueue": ["jobs", { "header": ["request", ":path"] }] }],
        "queue_ready": [{ "log": { "concat": ["took ", { "dequeue": "jobs" }] } }],
    });
    let gateway = through(&origin, &[config]).await;
    for path in ["/1", "/2", "/3"] {
        gateway.get(path).await.expect(200);
    }
    gateway.wait_for_log("took /3").await;
    let log = gateway.log.all();
    let took: Vec<_> = log.iter().filter_map(|line| line.split_once("took ")?.1.split(' ').next()).collect();
    assert_eq!(took, ["/1", "/2", "/3"]);
}

#[tokio::test]
async fn metrics_of_filters_are_summed_over_workers_and_published() {
    let origin = Origin::echo().await;
    let config = json!({ "request_headers": [{ "count": ["tests_asked", 2] }, { "gauge": ["tests_level", 7] }, show("x-count", &json!({ "metric": "tests_asked" }))] });
    let gateway = through(&origin, &[config]).await;
    for _ in 0..10 {
        gateway.get("/").await.expect(200);
    }
    assert_eq!(origin.last().header("x-count"), "20");
    let text = gateway.admin_get("/metrics").await.expect(200).text();
    let value = |name: &str| {
        let line = text.lines().find(|line| !line.starts_with('#') && line.contains(name));
        line.and_then(|line| line.rsplit(' ').next())
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("no {name} in {text}"))
    };
    assert_eq!(value("tests_asked"), "20");
    assert_eq!(value("tests_level"), "7");
}

#[tokio::test]
async fn ticks_come_again_and_again() {
    let origin = Origin::echo().await;
    let gateway = through(&origin, &[json!({ "trace": true, "tick_ms": 20 })]).await;
    gateway.log.wait_for_count("saw tick", 10).await;
}

#[tokio::test]
async fn the_clock_is_the_worlds_and_the_environment_is_what_is_configured() {
    let origin = Origin::echo().await;
    let steps = json!([
        show("x-now", &json!({ "seconds": null })),
        show("x-given", &json!({ "env": "GIVEN" })),
        show("x-path", &json!({ "env": "PATH" })),
    ]);
    let filter = json!({ "use": "script", "config": { "request_headers": steps }, "env": { "GIVEN": "this" } });
    let gateway = Site::new(&one_route(&origin.url(), &json!([filter]))).script().start().await;
    gateway.get("/").await.expect(200);
    let seen = origin.last();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let shown: u64 = seen.header("x-now").parse().unwrap();
    assert!((now - 60..=now + 1).contains(&shown));
    assert_eq!((seen.header("x-given").as_str(), seen.header("x-path").as_str()), ("this", "(none)"));
}

#[tokio::test]
async fn an_unknown_foreign_function_is_not_found_and_harms_nobody() {
    let origin = Origin::echo().await;
    let gateway =
        through(&origin, &[json!({ "request_headers": [show("x-f", &json!({ "foreign": ["no.such", "x"] }))] })]).await;
    gateway.get("/").await.expect(200);
    assert!(!origin.last().has("x-f"));
    gateway.wait_for_log("refused NotFound").await;
}
