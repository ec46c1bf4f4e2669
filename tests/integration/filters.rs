//! The chain as filters and clients see it: callbacks, order, headers and local replies.

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use sluicegate_tests::origin::{answer, stream, with};
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Gateway, Origin, Site, Wat, body, one_route};

/// One use of the scripted filter.
fn script(config: &Value) -> Value {
    json!({ "use": "script", "config": config })
}

async fn through(origin: &Origin, filters: Value) -> Gateway {
    Site::new(&one_route(&origin.url(), &filters)).script().start().await
}

/// What the filters of this gateway have been called with, in order.
async fn seen(gateway: &Gateway, streams: usize) -> Vec<String> {
    gateway.log.wait_for_count("saw delete", streams).await;
    let words =
        |line: String| line.split_once("saw ").map(|(_, what)| what.split(" \u{1b}").next().unwrap_or(what).to_owned());
    let all = gateway.log.all().into_iter().filter_map(words);
    // What follows a callback's arguments in the line are the log's own fields.
    let own = |what: String| {
        let arguments = |word: &&str| !word.contains('=') && !word.contains(':');
        what.split(' ').take_while(arguments).collect::<Vec<_>>().join(" ")
    };
    all.map(own).filter(|what| !what.starts_with("configure") && !what.starts_with("root")).collect()
}

#[tokio::test]
async fn a_filter_sees_headers_body_and_trailers_of_both_messages_and_the_end() {
    let origin = Origin::start_http2(|_| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "1".parse().unwrap());
        stream(200, body::with_trailers(["answer"], trailers))
    })
    .await;
    let mut config = one_route(&origin.url(), &json!([script(&json!({ "trace": true }))]));
    config["upstreams"]["origin"]["protocol"] = json!("http2");
    let gateway = Site::new(&config).script().start().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", "1".parse().unwrap());
    let call = gateway.request(Method::POST, "/").http2().stream(body::with_trailers(["question"], trailers));
    call.send().await.expect(200);
    let seen = seen(&gateway, 1).await;
    let names: Vec<&str> = seen.iter().filter_map(|what| what.split(' ').next()).collect();
    let expected = [
        "context_create",
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
    assert_eq!(names, expected);
    assert!(seen[1].ends_with(" false"), "a body follows: {seen:?}");
    assert_eq!(seen[2], "request_body 8 false", "trailers follow");
    assert_eq!(seen[3], "request_trailers 1");
}

#[tokio::test]
async fn a_message_without_a_body_ends_with_its_headers() {
    let origin = Origin::start(|_| async { answer(204, "") }).await;
    let gateway = through(&origin, json!([script(&json!({ "trace": true }))])).await;
    gateway.get("/").await.expect(204);
    let seen = seen(&gateway, 1).await;
    assert!(seen[1].starts_with("request_headers ") && seen[1].ends_with(" true"), "{seen:?}");
    assert!(seen[2].starts_with("response_headers ") && seen[2].ends_with(" true"), "{seen:?}");
    assert_eq!(seen[3..], ["done", "log", "delete"]);
}

#[tokio::test]
async fn requests_run_through_the_chain_forwards_and_responses_backwards() {
    let origin = Origin::text("ok").await;
    let filter = |name: &str| {
        let add = |map: &str| json!({ "add": [map, "x-order", name] });
        script(&json!({ "request_headers": [add("request")], "response_headers": [add("response")] }))
    };
    let mut config = one_route(&origin.url(), &json!([filter("b"), filter("c")]));
    config["filters"] = json!([filter("a")]);
    let gateway = Site::new(&config).script().start().await;
    let response = gateway.get("/").await.expect(200);
    assert_eq!(origin.last().header("x-order"), "a, b, c");
    assert_eq!(response.header("x-order"), "c, b, a");
}

#[tokio::test]
async fn headers_are_set_added_and_removed_in_both_directions() {
    let origin =
        Origin::start(|_| async { with(answer(200, "ok"), &[("x-gone", "1"), ("x-same", "old"), ("x-more", "1")]) })
            .await;
    let steps = |map: &str| {
        json!([
            { "remove": [map, "x-gone"] }, { "set": [map, "x-same", "new"] }, { "add": [map, "x-more", "2"] },
            { "set": [map, "X-Upper", "made"] }, { "remove": [map, "x-never-there"] },
        ])
    };
    let gateway = through(
        &origin,
        json!([script(&json!({ "request_headers": steps("request"), "response_headers": steps("response") }))]),
    )
    .await;
    let call = gateway.request(Method::GET, "/").header("x-gone", "1").header("x-same", "a").header("x-same", "b");
    let response = call.header("x-more", "1").send().await.expect(200);
    let seen = origin.last();
    for (request, reply) in
        [seen.header("x-gone"), seen.header("x-same"), seen.header("x-more"), seen.header("x-upper")].into_iter().zip([
            response.header("x-gone"),
            response.header("x-same"),
            response.header("x-more"),
            response.header("x-upper"),
        ])
    {
        assert_eq!(request, reply);
    }
    assert_eq!((seen.header("x-same").as_str(), seen.header("x-more").as_str()), ("new", "1, 2"));
    assert!(!seen.has("x-gone") && seen.header("x-upper") == "made");
}

#[tokio::test]
async fn method_path_authority_and_status_are_headers_too() {
    let origin = Origin::text("ok").await;
    let set = |map: &str, name: &str, value: &str| json!({ "set": [map, name, value] });
    let gateway = through(
        &origin,
        json!([script(&json!({
            "request_headers": [
                set("request", ":method", "PUT"), set("request", ":path", "/other?x=1"), set("request", ":authority", "inner.example"),
            ],
            "response_headers": [set("response", ":status", "203")],
        }))]),
    )
    .await;
    gateway.get("/here").await.expect(203);
    let seen = origin.last();
    assert_eq!((seen.method.as_str(), seen.target.as_str()), ("PUT", "/other?x=1"));
    assert_eq!(seen.header("host"), "inner.example");
}

#[tokio::test]
async fn the_request_stays_readable_to_the_end_and_late_changes_are_ignored() {
    let origin = Origin::text("ok").await;
    let copy = json!({ "set": ["response", "x-path", { "header": ["request", ":path"] }] });
    let late = json!({ "set": ["request", "x-late", "1"] });
    let both = json!({ "log": { "concat": ["path ", { "header": ["request", ":path"] }, " status ", { "header": ["response", ":status"] }] } });
    let gateway = through(&origin, json!([script(&json!({ "response_headers": [copy, late], "log": [both] }))])).await;
    let response = gateway.get("/here").await.expect(200);
    assert_eq!(response.header("x-path"), "/here");
    assert!(!origin.last().has("x-late"));
    gateway.wait_for_log("path /here status 200").await;
    assert_eq!(gateway.log.count("refused"), 0);
}

#[tokio::test]
async fn what_a_filter_writes_cannot_break_the_framing() {
    let origin = Origin::text("ok").await;
    let evil = "a\r\nx-split: 1";
    let set = |map: &str, name: &str, value: &str| json!({ "set": [map, name, value] });
    let gateway = through(
        &origin,
        json!([script(&json!({
            "request_headers": [
                set("request", "x-evil", evil), set("request", "transfer-encoding", "chunked"),
                set("request", "content-length", "50"), set("request", "connection", "close"), set("request", "bad name", "1"),
            ],
            "response_headers": [
                set("response", "x-evil", evil), set("response", "transfer-encoding", "gzip"), set("response", "content-length", "50"),
            ],
        }))]),
    )
    .await;
    let mut raw = Raw::connect(gateway.address()).await;
    for _ in 0..2 {
        raw.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let response = raw.response().await;
        assert_eq!((response.status, response.body.as_slice()), (200, b"ok".as_slice()));
        assert!(!response.has_line("x-split: 1") && response.has_line("content-length: 2"), "{}", response.head);
        let seen = origin.last();
        assert!(!seen.has("x-split") && !seen.has("content-length") && !seen.has("transfer-encoding"), "{seen:?}");
    }
}

fn reply(status: u16, text: &str) -> Value {
    json!({ "reply": { "status": status, "headers": [["x-by", text]], "body": text } })
}

fn mark(name: &str) -> Value {
    json!([{ "add": ["response", "x-passed", name] }])
}

#[tokio::test]
async fn a_local_reply_runs_back_through_the_filters_that_saw_the_request() {
    let origin = Origin::text("never").await;
    let gateway = through(
        &origin,
        json!([
            script(&json!({ "response_headers": mark("1") })),
            script(&json!({ "request_headers": [reply(403, "no"), "pause"], "response_headers": mark("2") })),
            script(&json!({ "trace": true, "response_headers": mark("3") })),
        ]),
    )
    .await;
    let response = gateway.get("/").await.expect(403);
    assert_eq!((response.text().as_str(), response.header("x-by").as_str()), ("no", "no"));
    assert_eq!(response.header("x-passed"), "2, 1");
    assert_eq!(response.header("content-length"), "2");
    assert!(response.header("content-type").starts_with("text/plain"));
    assert_eq!(origin.count(), 0);
    assert_eq!(gateway.log.count("saw request_headers"), 0, "the third filter never saw it");
}

#[tokio::test]
async fn the_first_reply_wins_and_the_filters_answer_does_not_matter() {
    let origin = Origin::text("never").await;
    let gateway =
        through(&origin, json!([script(&json!({ "request_headers": [reply(401, "first"), reply(500, "second")] }))]))
            .await;
    assert_eq!(gateway.get("/").await.expect(401).text(), "first");
    assert_eq!(gateway.post("/", "body").await.expect(401).text(), "first");
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn a_reply_to_an_unread_request_leaves_no_byte_of_it_for_the_next_one() {
    let origin = Origin::text("never").await;
    let gateway = through(&origin, json!([script(&json!({ "request_headers": [reply(403, "no"), "pause"] }))])).await;
    let mut raw = Raw::connect(gateway.address()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n";
    raw.write(format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{smuggled}", smuggled.len())).await;
    let response = raw.response().await;
    assert_eq!(response.status, 403);
    if response.has_line("connection: close") {
        assert!(raw.rest().await.is_empty(), "something was answered after the last answer");
    } else {
        raw.write("GET /next HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(raw.response().await.status, 403);
        raw.shut().await;
        assert!(raw.rest().await.is_empty(), "there were more answers than requests");
    }
}

#[tokio::test]
async fn a_reply_from_the_request_body_or_its_trailers_is_sent_too() {
    let origin = Origin::echo().await;
    for callback in ["request_body", "request_trailers"] {
        let gateway = through(
            &origin,
            json!([script(
                &json!({ "request_headers": [], "request_body": ["pause"], callback: [reply(422, "no"), "pause"] })
            )]),
        )
        .await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-end", "1".parse().unwrap());
        let call = gateway.request(Method::POST, "/").http2().stream(body::with_trailers(["body"], trailers));
        assert_eq!(call.send().await.expect(422).text(), "no", "{callback}");
    }
}

#[tokio::test]
async fn a_reply_replaces_the_response_while_its_head_is_not_sent() {
    let origin = Origin::text("the real answer").await;
    let gateway = through(
        &origin,
        json!([
            script(&json!({ "response_headers": mark("1") })),
            script(&json!({ "response_headers": [reply(502, "replaced")] })),
        ]),
    )
    .await;
    let response = gateway.get("/").await.expect(502);
    assert_eq!(response.text(), "replaced");
    assert!(!response.has("x-passed"), "it goes straight to the client");
}

#[tokio::test]
async fn a_reply_after_the_head_was_sent_resets_the_stream() {
    let (feed, answer_body) = body::fed();
    let answer_body = std::sync::Mutex::new(Some(answer_body));
    let origin = Origin::start(move |_| {
        let body = answer_body.lock().unwrap().take().unwrap_or_else(body::empty);
        async move { stream(200, body) }
    })
    .await;
    let gateway =
        through(&origin, json!([script(&json!({ "response_body": [{ "when": ["reply", [reply(500, "late")]] }] }))]))
            .await;
    let (_connection, response) = gateway.request(Method::GET, "/").header("x-do", "reply").open().await;
    assert_eq!(response.status(), 200);
    feed.send(Ok(hyper_frame("late"))).await.unwrap();
    assert!(sluicegate_tests::Response::read(response).await.is_err(), "the stream does not end as if it were whole");
}

fn hyper_frame(text: &'static str) -> hyper::body::Frame<bytes::Bytes> {
    hyper::body::Frame::data(text.into())
}

#[tokio::test]
async fn a_filter_runs_only_for_the_requests_that_its_entry_names() {
    let origin = Origin::text("ok").await;
    let mut filter = script(&json!({ "response_headers": mark("1") }));
    filter["when"] = json!({ "path": { "prefix": "/a" }, "methods": ["GET"] });
    let gateway = through(&origin, json!([filter])).await;
    assert!(gateway.get("/a/b").await.expect(200).has("x-passed"));
    assert!(!gateway.get("/b").await.expect(200).has("x-passed"));
    assert!(!gateway.post("/a", "x").await.expect(200).has("x-passed"));
}

#[tokio::test]
async fn global_filters_run_for_requests_without_a_route_too() {
    let origin = Origin::text("never").await;
    let mut config = one_route(&origin.url(), &json!([]));
    config["routes"][0]["match"]["path"] = json!({ "exact": "/only" });
    config["filters"] = json!([script(&json!({ "response_headers": mark("global") }))]);
    let gateway = Site::new(&config).script().start().await;
    assert_eq!(gateway.get("/elsewhere").await.expect(404).header("x-passed"), "global");
}

#[tokio::test]
async fn the_finer_actions_of_the_abi_are_understood() {
    let origin = Origin::echo().await;
    // StopIterationNoBuffer: the chunk is the filter's, nothing of it goes on. The end goes on, emptied.
    let empty = "(drop (call $set_body (i32.const 0) (i32.const 0) (i32.const 0x7fffffff) (text \"\")))";
    let drops = Wat::new().on(
        "proxy_on_request_body",
        &format!("(if (local.get 2) (then {empty})) (select (i32.const 0) (i32.const 3) (local.get 2))"),
    );
    // ContinueAndEndStream from a headers callback means Continue.
    let two = Wat::new().on("proxy_on_request_headers", "(i32.const 2)");
    let site = Site::new(&one_route(&origin.url(), &json!([{ "use": "two" }, { "use": "drops" }])));
    let gateway = site.plugin("drops", drops.build()).plugin("two", two.build()).start().await;
    gateway.request(Method::POST, "/").stream(body::chunks(["one", "two"])).send().await.expect(200);
    assert_eq!(origin.last().text(), "");
}

#[tokio::test]
async fn a_filter_that_closes_its_stream_resets_it_and_only_it() {
    let origin = Origin::text("ok").await;
    let gateway = through(
        &origin,
        json!([script(&json!({ "request_headers": [{ "when": ["reset", [{ "reset": "request" }, "pause"]] }] }))]),
    )
    .await;
    let call = gateway.request(Method::GET, "/").header("x-do", "reset");
    assert!(call.try_send().await.is_err(), "a reset stream has no answer");
    gateway.get("/").await.expect(200);
}
