//! What ties an answer of the gateway to its line in the log.

use http::Method;
use serde_json::json;
use sluicegate_tests::raw::{Raw, exchange};
use sluicegate_tests::wat::Wat;
use sluicegate_tests::{Gateway, Origin, Site, one_route, wait};

async fn gateway(filters: &serde_json::Value) -> Gateway {
    // Nobody listens on port 9.
    let mut config = one_route("http://127.0.0.1:9", filters);
    config["routes"][0]["match"]["path"]["prefix"] = json!("/down");
    config["limits"] = json!({ "workers": 1 });
    let dies = Wat::new().on("proxy_on_request_headers", "unreachable").build();
    Site::new(&config).plugin("dies", dies).script().start().await
}

#[tokio::test]
async fn an_error_of_the_gateway_names_the_request_and_so_does_the_log() {
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let gateway = gateway(&filters).await;
        let failed = gateway.get("/down").await.expect(503);
        let line = gateway.wait_for_log("Request failed.").await;
        let id = failed.header("x-request-id");
        assert_eq!(id.len(), 36, "{id}");
        assert!(line.contains(&format!("request_id={id}")), "{id}: {line}");
        let refused = gateway.request(Method::GET, "/none").header("x-request-id", "mine-7").send().await.expect(404);
        assert_eq!(refused.header("x-request-id"), "mine-7");
        gateway.wait_for_log("request_id=mine-7").await;
    }
}

#[tokio::test]
async fn what_is_refused_before_routing_is_logged_with_reason_and_client() {
    let gateway = gateway(&json!([])).await;
    let answer = exchange(gateway.address(), "GET /a%2fb HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let id = answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap_or_else(|| panic!("{answer}"));
    let line = gateway.wait_for_log(&format!("request_id={id}")).await;
    for said in ["INFO", "Request refused.", "invalid path", "reason=\"bad_request\"", "client=127.0.0.1:"] {
        assert!(line.contains(said), "{said:?} is not in {line}");
    }
}

#[tokio::test]
async fn a_fault_of_a_filter_names_the_request_and_a_filters_own_answer_is_its_own() {
    let gateway = gateway(&json!([{ "use": "dies" }])).await;
    let id = gateway.get("/down").await.expect(503).header("x-request-id");
    assert_eq!(id.len(), 36);
    let line = gateway.wait_for_log("Filter faulted.").await;
    assert!(line.contains(&format!("request_id=\"{id}\"")), "{id}: {line}");
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&one_route(
        &origin.url(),
        &json!([{ "use": "auth", "config": { "api_keys": { "a": "0123456789abcdef" } } }]),
    ));
    let gateway = gateway.start().await;
    assert!(!gateway.get("/").await.expect(401).has("x-request-id"));
}

#[tokio::test]
async fn what_is_no_http_is_logged_with_its_client_and_counted() {
    let gateway = gateway(&json!([])).await;
    let long = format!("GET /down HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n", "x".repeat(100_000));
    for (bytes, status, reason) in
        [("\x16\x03\x01 HTTP\r\n\r\n", "400", "bad_request"), (&*long, "431", "headers_too_large")]
    {
        let answer = String::from_utf8_lossy(&exchange(gateway.address(), bytes).await).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        let line = gateway.wait_for_log(&format!("reason={reason} client=127.0.0.1:")).await;
        assert!(line.contains("INFO") && line.contains("Request refused."), "{line}");
    }
}

#[tokio::test]
async fn the_log_is_not_flooded_by_refusals_and_counts_what_it_leaves_out() {
    const BURST: usize = 300;
    let gateway = gateway(&json!([])).await;
    let mut raw = Raw::connect(gateway.address()).await;
    raw.write("GET /none HTTP/1.1\r\nhost: a\r\n\r\n".repeat(BURST)).await;
    for _ in 0..BURST {
        assert_eq!(raw.response().await.status, 404);
    }
    let left_out = |line: &String| line.split_once("left_out=")?.1.split(' ').next()?.parse::<usize>().ok();
    let asked = std::cell::Cell::new(BURST);
    wait::eventually("every request was told or counted", || async {
        gateway.get("/none").await.expect(404);
        asked.set(asked.get() + 1);
        let lines: Vec<_> = gateway.log.all().iter().filter_map(left_out).collect();
        lines.len() + lines.iter().sum::<usize>() == asked.get() && lines.iter().any(|left_out| *left_out > 0)
    })
    .await;
    let lines = gateway.log.count("Request refused.");
    assert!(lines < BURST / 2, "{lines} lines");
}
