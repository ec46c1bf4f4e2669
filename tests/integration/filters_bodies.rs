//! Filters and bodies: whole, by chunk, edited, held and too long. Lengths are always true.

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use sluicegate_tests::origin::{answer, stream};
use sluicegate_tests::{Gateway, Origin, Site, body, one_route};

/// As many bytes as a body can have, in a step.
const ALL: u64 = 0x7fff_ffff;

async fn through(origin: &Origin, scripts: &[Value]) -> Gateway {
    let filters: Vec<Value> = scripts.iter().map(|config| json!({ "use": "script", "config": config })).collect();
    Site::new(&one_route(&origin.url(), &json!(filters))).script().start().await
}

/// Steps that hold a body until it is whole and then put `value` in place of some of it.
fn whole(way: &str, start: u64, length: u64, value: &Value) -> Value {
    json!([{ "before_end": ["pause"] }, { "at_end": [{ "set_body": [way, start, length, value] }] }])
}

#[tokio::test]
async fn a_request_body_is_replaced_whole_with_a_true_length() {
    let origin = Origin::echo().await;
    let long = "x".repeat(5000);
    for new in ["", "s", long.as_str()] {
        let gateway = through(&origin, &[json!({ "request_body": whole("request", 0, ALL, &json!(new)) })]).await;
        for pieces in [vec!["hello"], vec!["he", "l", "lo"]] {
            let call = gateway.request(Method::POST, "/");
            let call = if pieces.len() == 1 { call.body("hello") } else { call.stream(body::chunks(pieces)) };
            call.send().await.expect(200);
            let seen = origin.last();
            assert_eq!(seen.text(), new);
            if seen.has("content-length") {
                assert_eq!(seen.header("content-length"), new.len().to_string());
            }
        }
    }
}

#[tokio::test]
async fn a_response_body_is_replaced_whole_with_a_true_length() {
    let origin = Origin::start(|seen| async move {
        if seen.target == "/stream" { stream(200, body::chunks(["he", "l", "lo"])) } else { answer(200, "hello") }
    })
    .await;
    let long = "x".repeat(5000);
    for new in ["", "s", long.as_str()] {
        let gateway = through(&origin, &[json!({ "response_body": whole("response", 0, ALL, &json!(new)) })]).await;
        let mut connection = sluicegate_tests::Connection::http1(gateway.address()).await.unwrap();
        for target in ["/length", "/stream", "/length"] {
            let response = connection.get(target).await.expect(200);
            assert_eq!(response.text(), new, "{target}");
        }
        let response = connection.get("/length").await;
        assert_eq!(
            response.header("content-length"),
            new.len().to_string(),
            "the whole body is known: its length is said"
        );
    }
}

#[tokio::test]
async fn bytes_are_inserted_appended_and_cut_anywhere() {
    let origin = Origin::echo().await;
    for (start, length, value, expected) in [
        (0, 0, ">", ">hello"),
        (5, 0, "<", "hello<"),
        (ALL, 0, "<", "hello<"),
        (1, 3, "ipp", "hippo"),
        (1, 3, "", "ho"),
        (2, ALL, "!", "he!"),
    ] {
        let gateway =
            through(&origin, &[json!({ "request_body": whole("request", start, length, &json!(value)) })]).await;
        gateway.post("/", "hello").await.expect(200);
        assert_eq!(origin.last().text(), expected, "{start}+{length} → {value:?}");
    }
}

#[tokio::test]
async fn each_filter_sees_what_the_one_before_it_made() {
    let origin = Origin::text("answer").await;
    let wrap = |name: &str| {
        let quoted = |way: &str| json!({ "concat": [name, "(", { "body": way }, ")"] });
        json!({
            "request_body": whole("request", 0, ALL, &quoted("request")),
            "response_body": whole("response", 0, ALL, &quoted("response")),
        })
    };
    let gateway = through(&origin, &[wrap("a"), wrap("b")]).await;
    let response = gateway.post("/", "q").await.expect(200);
    assert_eq!(origin.last().text(), "b(a(q))");
    assert_eq!(response.text(), "a(b(answer))");
}

#[tokio::test]
async fn a_filter_edits_each_chunk_as_it_passes() {
    let origin = Origin::start(|_| async { stream(200, body::chunks(["one", "two"])) }).await;
    let edit =
        json!([{ "set_body": ["response", 0, 0, "<"] }, { "at_end": [{ "set_body": ["response", ALL, 0, ">"] }] }]);
    let gateway = through(&origin, &[json!({ "response_body": edit })]).await;
    let text = gateway.get("/").await.expect(200).text();
    assert_eq!(text.replace('<', ""), "onetwo>");
    assert!(text.starts_with('<'), "{text}");
}

#[tokio::test]
async fn a_filter_reads_the_body_before_it_lets_the_headers_go() {
    let origin = Origin::echo().await;
    let config = json!({
        "request_headers": ["pause"],
        "request_body": [
            { "before_end": ["pause"] },
            { "at_end": [{ "set": ["request", "x-body", { "body": "request" }] }] },
        ],
    });
    let filter = json!({ "use": "script", "config": config, "pause": "stop_iteration" });
    let gateway = Site::new(&one_route(&origin.url(), &json!([filter]))).script().start().await;
    gateway.request(Method::POST, "/").stream(body::chunks(["read ", "me"])).send().await.expect(200);
    assert_eq!(origin.last().header("x-body"), "read me");
    assert_eq!(origin.last().text(), "read me");
}

#[tokio::test]
async fn pause_from_headers_means_that_nothing_more_is_called() {
    let origin = Origin::echo().await;
    let call = json!({ "call": { "upstream": "origin", "path": "/call", "timeout_ms": 10_000 } });
    let config = json!({
        "trace": true,
        "request_headers": [call, "pause"],
        "call_response": [{ "log": "answered" }, { "resume": "request" }],
    });
    let filter = json!({ "use": "script", "config": config, "upstreams": ["origin"] });
    let gateway = Site::new(&one_route(&origin.url(), &json!([filter]))).script().start().await;
    gateway.post("/", "body").await.expect(200);
    gateway.wait_for_log("saw delete").await;
    let log = gateway.log.all();
    let place = |text: &str| log.iter().position(|line| line.contains(text));
    assert!(
        place("answered").is_some() && place("answered") < place("saw request_body"),
        "the body was shown before the filter was resumed"
    );
    assert_eq!(origin.last().text(), "body");
}

#[tokio::test]
async fn a_body_too_long_to_hold_is_413_or_502() {
    let origin = Origin::start(|seen| async move {
        answer(200, if seen.target == "/long" { "x".repeat(2_000_000) } else { "short".into() })
    })
    .await;
    let hold = json!([{ "before_end": ["pause"] }]);
    let script = json!({ "use": "script", "config": { "request_body": hold, "response_body": hold, "trace": true } });
    let mut config = one_route(&origin.url(), &json!([script]));
    config["limits"] = json!({ "buffer_bytes": "4KiB" });
    let gateway = Site::new(&config).script().start().await;
    gateway.post("/", "x".repeat(4000)).await.expect(200);
    let count = origin.count();
    for stream in [false, true] {
        let call = gateway.request(Method::POST, "/");
        let piece = "x".repeat(200_000);
        let call = if stream { call.stream(body::chunks(vec![piece; 5])) } else { call.body("x".repeat(2_000_000)) };
        call.send().await.expect(413);
    }
    assert_eq!(origin.count(), count);
    gateway.get("/long").await.expect(502);
    gateway.log.wait_for_count("saw delete", 4).await;
}

#[tokio::test]
async fn without_a_filter_that_holds_it_a_body_may_have_any_length() {
    let origin = Origin::start(|seen| async move { answer(200, seen.body.len().to_string()) }).await;
    let script = json!({ "use": "script", "config": { "request_body": [] } });
    let mut config = one_route(&origin.url(), &json!([script]));
    config["limits"] = json!({ "buffer_bytes": "4KiB" });
    let gateway = Site::new(&config).script().start().await;
    assert_eq!(gateway.post("/", vec![b'x'; 3_000_000]).await.expect(200).text(), "3000000");
}

#[tokio::test]
async fn trailers_are_read_changed_and_made() {
    let origin = Origin::start_http2(|seen| async move {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-origin", "1".parse().unwrap());
        if seen.target == "/none" {
            answer(200, "no trailers")
        } else {
            stream(200, body::with_trailers(["body"], trailers))
        }
    })
    .await;
    let config = json!({
        "request_trailers": [{ "set": ["request_trailers", "x-seen", { "header": ["request_trailers", "x-client"] }] }],
        "response_trailers": [{ "remove": ["response_trailers", "x-origin"] }, { "set": ["response_trailers", "x-new", "2"] }],
        "response_body": [{ "at_end": [{ "add": ["response_trailers", "x-made", "3"] }] }],
    });
    let mut config = one_route(&origin.url(), &json!([{ "use": "script", "config": config }]));
    config["upstreams"]["origin"]["protocol"] = json!("http2");
    let gateway = Site::new(&config).script().start().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-client", "hello".parse().unwrap());
    let call = gateway.request(Method::POST, "/").http2().stream(body::with_trailers(["body"], trailers));
    let response = call.send().await.expect(200);
    assert_eq!(origin.last().trailers.unwrap()["x-seen"], "hello");
    let got = response.trailers.unwrap();
    assert!(!got.contains_key("x-origin"));
    assert_eq!(got["x-new"], "2");
    let response = gateway.request(Method::GET, "/none").http2().send().await.expect(200);
    assert_eq!(response.trailers.unwrap()["x-made"], "3");
}

#[tokio::test]
async fn a_local_reply_with_a_body_passes_the_response_filters_as_a_body() {
    let origin = Origin::text("never").await;
    let outer = json!({ "response_body": whole("response", ALL, 0, &json!(" (edited)")) });
    let inner = json!({ "request_headers": [{ "reply": { "status": 403, "body": "denied" } }, "pause"] });
    let gateway = through(&origin, &[outer, inner]).await;
    let response = gateway.get("/").await.expect(403);
    assert_eq!(response.text(), "denied (edited)");
    assert_eq!(response.header("content-length"), response.body.len().to_string());
}

#[tokio::test]
async fn head_requests_keep_their_length_through_body_filters() {
    let origin = Origin::text("twelve bytes").await;
    let gateway = through(&origin, &[json!({ "response_body": [] })]).await;
    let response = gateway.request(Method::HEAD, "/").send().await.expect(200);
    assert_eq!(response.header("content-length"), "12");
}
