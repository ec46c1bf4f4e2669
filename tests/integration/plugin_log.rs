//! The first-party filter `log` in the real gateway: every option.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::{answer, with};
use sluicegate_tests::{Gateway, Origin, RawOrigin, Site, one_route};

async fn logged(config: Value) -> (Gateway, Origin) {
    let origin = Origin::start(|seen| async move {
        let status = seen.target.trim_start_matches('/').parse().unwrap_or(200);
        with(answer(status, "twelve bytes"), &[("x-answer", "42"), ("set-cookie", "session=secret")])
    })
    .await;
    let auth = json!({ "use": "auth", "config": { "api_keys": { "alice": "key-a" }, "optional": true } });
    let gateway =
        Site::new(&one_route(&origin.url(), &json!([{ "use": "log", "config": config }, auth]))).start().await;
    (gateway, origin)
}

/// The first record of what is printed.
async fn record(gateway: &Gateway) -> Value {
    let line = gateway.output.wait_for("{\"").await;
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

#[tokio::test]
async fn a_request_is_one_line_of_json() {
    let (gateway, origin) = logged(json!({ "request_headers": ["x-tenant"], "response_headers": ["x-answer"] })).await;
    let call = gateway.request(Method::POST, "/a?b=c").header("host", "shop.example").header("user-agent", "tests");
    call.header("x-tenant", "t1").header("x-api-key", "key-a").body("hello").send().await.expect(200);
    let record = record(&gateway).await;
    for (key, expected) in [
        ("method", json!("POST")),
        ("scheme", json!("http")),
        ("host", json!("shop.example")),
        ("path", json!("/a")),
        ("query", json!("b=c")),
        ("route", json!("all")),
        ("protocol", json!("HTTP/1.1")),
        ("status", json!(200)),
        ("request_size", json!(5)),
        ("response_size", json!(12)),
        ("client_ip", json!("127.0.0.1")),
        ("user_agent", json!("tests")),
        ("consumer", json!("alice")),
        ("upstream", json!("origin")),
        ("upstream_address", json!(origin.address().to_string())),
        ("details", json!("via_upstream")),
        ("request.header.x-tenant", json!("t1")),
        ("response.header.x-answer", json!("42")),
    ] {
        assert_eq!(record[key], expected, "{key} in {record}");
    }
    assert_eq!(record["request_id"], json!(origin.last().header("x-request-id")));
    assert!(
        record["duration_ms"].is_number() && record["time"].as_str().is_some_and(|time| time.ends_with('Z')),
        "{record}"
    );
}

#[tokio::test]
async fn a_target_is_logged_as_received_and_beside_it_what_was_made_of_it() {
    let origin = Origin::text("ok").await;
    let change = json!({ "request": { "query": { "set": { "tenant": "t1" }, "remove": ["debug"] } } });
    let filters = json!([{ "use": "log" }, { "use": "transform", "config": change }]);
    let mut config = one_route(&origin.url(), &filters);
    config["routes"][0]["match"]["path"]["prefix"] = json!("/plain");
    let mut rewritten = config["routes"][0].clone();
    rewritten["name"] = json!("rewritten");
    rewritten["match"]["path"]["prefix"] = json!("/old");
    rewritten["rewrite"] = json!({ "path": { "prefix": "/new" } });
    rewritten["filters"] = json!([{ "use": "log" }]);
    config["routes"].as_array_mut().unwrap().push(rewritten);
    let gateway = Site::new(&config).start().await;
    for (asked, path, query, upstream) in [
        ("/plain?debug=1&a=b", "/plain", "debug=1&a=b", json!("/plain?a=b&tenant=t1")),
        ("/plain?a=c&tenant=t1", "/plain", "a=c&tenant=t1", Value::Null),
        ("/old/x?a=d", "/old/x", "a=d", json!("/new/x?a=d")),
    ] {
        gateway.get(asked).await.expect(200);
        let line = gateway.output.wait_for(query).await;
        let record: Value = serde_json::from_str(&line).unwrap();
        assert_eq!((&record["path"], &record["query"]), (&json!(path), &json!(query)), "{record}");
        assert_eq!(record["upstream_path"], upstream, "{record}");
    }
}

#[tokio::test]
async fn a_line_may_be_a_template() {
    let template = "{client_ip} \"{method} {path}\" {status} {response_size} {request.header.x-tenant} {{}}";
    let (gateway, _origin) = logged(json!({ "template": template })).await;
    gateway.request(Method::GET, "/a").header("x-tenant", "t1").send().await.expect(200);
    let line = gateway.output.wait_for("GET /a").await;
    assert!(line.starts_with("127.0.0.1 \"GET /a\" 200 12 t1 {}"), "{line}");
}

#[tokio::test]
async fn only_some_statuses_are_logged() {
    let (gateway, _origin) = logged(json!({ "only": ["404", "5xx"] })).await;
    for target in ["/200", "/302", "/404", "/503"] {
        gateway.get(target).await;
    }
    gateway.output.wait_for("503").await;
    assert_eq!(gateway.output.count("\"method\""), 2);
}

#[tokio::test]
async fn a_share_of_the_requests_is_logged() {
    let (gateway, _origin) = logged(json!({ "sample": 0.2 })).await;
    for _ in 0..400 {
        // Whatever id a client gives: it does not choose whether it is logged.
        gateway.request(Method::GET, "/").header("x-request-id", "chosen").send().await.expect(200);
    }
    let count = || gateway.output.count("\"method\"");
    sluicegate_tests::wait::eventually("some are logged", || std::future::ready(count() >= 30)).await;
    assert!(count() <= 150, "{} of 400 at a share of 0.2", count());
    let (none, _origin) = logged(json!({ "sample": 0 })).await;
    none.get("/").await.expect(200);
    none.get("/").await.expect(200);
    assert_eq!(none.output.count("\"method\""), 0);
}

#[tokio::test]
async fn credentials_are_never_written() {
    let config = json!({
        "request_headers": ["authorization", "cookie", "x-mine"], "response_headers": ["set-cookie"],
        "redact": { "headers": ["x-mine"], "query": ["session"] },
    });
    let (gateway, _origin) = logged(config).await;
    let call = gateway
        .request(Method::GET, "/?token=hunter2&session=hunter2&page=7")
        .header("cookie", "a=hunter2")
        .header("x-mine", "hunter2");
    call.header("referer", "https://a.example/?password=hunter2").send().await.expect(200);
    let line = gateway.output.wait_for("\"method\"").await;
    assert!(!line.contains("hunter2") && !line.contains("session=secret"), "{line}");
    assert!(line.contains("page=7") && line.contains("[redacted]"), "{line}");
}

#[tokio::test]
async fn whatever_a_client_sends_a_record_stays_one_line() {
    let (gateway, _origin) = logged(json!({ "request_headers": ["x-evil"] })).await;
    let mut raw = sluicegate_tests::raw::Raw::connect(gateway.address()).await;
    raw.write(b"GET /a%0d%0aforged HTTP/1.1\r\nhost: a\r\nuser-agent: \"},{\\\r\nx-evil: \x80\t\"\r\n\r\n".as_slice())
        .await;
    let status = raw.response().await.status;
    assert!(status == 200 || status == 400, "{status}");
    gateway.get("/next").await.expect(200);
    gateway.output.wait_for("/next").await;
    for line in gateway.output.all().iter().filter(|line| line.starts_with('{')) {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[tokio::test]
async fn replies_of_filters_are_logged_with_who_made_them() {
    let (gateway, _origin) = logged(json!({})).await;
    gateway.request(Method::GET, "/").header("x-api-key", "wrong").send().await.expect(401);
    let record = record(&gateway).await;
    assert_eq!(record["status"], json!(401));
    assert!(record["details"].as_str().is_some_and(|details| details.contains("auth")), "{record}");
}

#[tokio::test]
async fn the_status_is_the_one_that_the_client_got() {
    let origin = Origin::text("ok").await;
    let script = json!({ "response_headers": ["trap"] });
    for order in [[0, 1], [1, 0]] {
        let filters = [json!({ "use": "log" }), json!({ "use": "script", "config": script })];
        let filters: Vec<_> = order.iter().map(|place: &usize| filters[*place].clone()).collect();
        let gateway = Site::new(&one_route(&origin.url(), &json!(filters))).script().start().await;
        gateway.get("/").await.expect(503);
        let record = record(&gateway).await;
        assert_eq!((&record["status"], &record["details"]), (&json!(503), &json!("script: trap")));
        assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "filter_fault")]).await, 1.0);
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_is_told_as_such() {
    let origin = RawOrigin::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    for filters in [json!([{ "use": "log" }]), json!([])] {
        let gateway = Site::new(&one_route(&origin.url(), &filters)).start().await;
        assert!(gateway.request(Method::GET, "/").try_send().await.is_err());
        gateway.wait_for_log("Response broken off").await;
        if !filters.as_array().unwrap().is_empty() {
            let details = record(&gateway).await["details"].as_str().unwrap().to_owned();
            assert!(details.starts_with("gateway: broken off: "), "{details}");
        }
        assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "upstream_reset")]).await, 1.0);
    }
}
