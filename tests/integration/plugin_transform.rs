//! The first-party filter `transform` in the real gateway: every option.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::{answer, json_answer, with};
use sluicegate_tests::{Gateway, Origin, Site, one_route};

async fn through(origin: &Origin, config: Value) -> Gateway {
    let auth = json!({ "use": "auth", "config": { "api_keys": { "alice": "a" }, "optional": true } });
    Site::new(&one_route(&origin.url(), &json!([auth, { "use": "transform", "config": config }]))).start().await
}

#[tokio::test]
async fn request_headers_are_removed_renamed_set_and_added() {
    let origin = Origin::echo().await;
    let headers = json!({
        "remove": ["x-gone"], "rename": { "x-old": "x-new" }, "set": { "x-set": "1", "x-user": "{consumer}" }, "add": { "x-more": "2" },
    });
    let gateway = through(&origin, json!({ "request": { "headers": headers } })).await;
    let call = gateway
        .request(Method::GET, "/")
        .header("x-gone", "1")
        .header("x-old", "v")
        .header("x-set", "0")
        .header("x-more", "1");
    call.header("x-api-key", "a").send().await.expect(200);
    let seen = origin.last();
    let shown = ["x-gone", "x-old", "x-new", "x-set", "x-user", "x-more"].map(|name| seen.header(name));
    assert_eq!(shown, ["", "", "v", "1", "alice", "1, 2"]);
}

#[tokio::test]
async fn response_headers_are_too_and_know_the_request() {
    let origin = Origin::start(|_| async { with(answer(201, "ok"), &[("x-internal", "1"), ("x-old", "v")]) }).await;
    let headers = json!({
        "remove": ["x-internal"], "rename": { "x-old": "x-new" },
        "set": { "x-status": "{response.status}", "x-path": "{request.path}", "x-tenant": "{request.header.x-tenant}" },
    });
    let gateway = through(&origin, json!({ "response": { "headers": headers } })).await;
    let response = gateway.request(Method::GET, "/a/b?c").header("x-tenant", "t1").send().await.expect(201);
    let shown = ["x-internal", "x-old", "x-new", "x-status", "x-path", "x-tenant"].map(|name| response.header(name));
    assert_eq!(shown, ["", "", "v", "201", "/a/b", "t1"]);
}

#[tokio::test]
async fn the_query_is_edited_and_stays_escaped() {
    let origin = Origin::echo().await;
    let query = json!({ "remove": ["debug"], "rename": { "q": "query" }, "set": { "user": "{consumer}&admin=1" }, "add": { "tag": "x y" } });
    let gateway = through(&origin, json!({ "request": { "query": query } })).await;
    gateway.request(Method::GET, "/s?debug=1&q=a%20b&tag=1").header("x-api-key", "a").send().await.expect(200);
    let target = origin.last().target;
    let pairs: Vec<&str> = target.split_once('?').unwrap().1.split('&').collect();
    assert!(pairs.contains(&"tag=1") && !target.contains("debug"), "{target}");
    assert!(pairs.iter().any(|pair| ["query=a%20b", "query=a+b"].contains(pair)), "{target}");
    assert!(
        pairs.iter().any(|pair| pair.starts_with("user=alice%26admin")),
        "what is filled in cannot add a parameter: {target}"
    );
}

#[tokio::test]
async fn the_path_is_set_cut_or_rewritten_by_expression() {
    let origin = Origin::echo().await;
    for (path, target, expected) in [
        (json!({ "set": "/fixed/{request.method}" }), "/x?q=1", "/fixed/GET?q=1"),
        (json!({ "prefix": { "from": "/api", "to": "/v2" } }), "/api/users?q=1", "/v2/users?q=1"),
        (json!({ "prefix": { "from": "/api", "to": "/v2" } }), "/apis", "/apis"),
        (
            json!({ "regex": { "pattern": "^/users/([^/]+)$", "replacement": "/accounts/$1" } }),
            "/users/7",
            "/accounts/7",
        ),
    ] {
        let gateway = through(&origin, json!({ "request": { "path": path } })).await;
        gateway.get(target).await.expect(200);
        assert_eq!(origin.last().target, expected, "{path}");
    }
}

#[tokio::test]
async fn a_json_request_is_edited_with_a_true_length() {
    let origin = Origin::echo().await;
    let edits = json!({
        "remove": ["/password", "/items/0"], "rename": { "/name": "/user/name" },
        "set": { "/meta/ip": "{client.ip}", "/version": 2 }, "add": { "/items/-": "last", "/version": 3 },
    });
    let gateway = through(&origin, json!({ "request": { "json": edits } })).await;
    let body = json!({ "name": "Ann", "password": "secret", "items": ["first", "second"] });
    gateway.request(Method::POST, "/").json(&body).send().await.expect(200);
    let seen = origin.last();
    let edited: Value = serde_json::from_slice(&seen.body).unwrap();
    let expected =
        json!({ "items": ["second", "last"], "user": { "name": "Ann" }, "meta": { "ip": "127.0.0.1" }, "version": 2 });
    assert_eq!(edited, expected);
    assert_eq!(seen.header("content-length"), seen.body.len().to_string());
    gateway
        .request(Method::POST, "/")
        .header("content-type", "application/json")
        .body("not json")
        .send()
        .await
        .expect(400);
    gateway.post("/", "no json, and does not say so").await.expect(200);
}

#[tokio::test]
async fn a_json_response_is_edited_and_what_cannot_be_read_is_held_back() {
    let origin = Origin::start(|seen| async move {
        match seen.target.as_str() {
            "/bad" => with(answer(200, "not json"), &[("content-type", "application/json")]),
            "/text" => with(answer(200, "plain"), &[("content-type", "text/plain")]),
            _ => json_answer(
                &json!({ "id": 1, "internal": { "cost": 5 }, "asked_encoding": seen.header("accept-encoding") }),
            ),
        }
    })
    .await;
    let response = json!({ "json": { "remove": ["/internal"], "set": { "/by": "gateway" } } });
    let gateway = through(&origin, json!({ "response": response })).await;
    let good = gateway.request(Method::GET, "/").header("accept-encoding", "gzip").send().await.expect(200);
    assert_eq!(good.json(), json!({ "id": 1, "asked_encoding": "identity", "by": "gateway" }));
    assert_eq!(good.header("content-length"), good.body.len().to_string());
    assert_eq!(gateway.get("/text").await.expect(200).text(), "plain");
    gateway.get("/bad").await.expect(502);
}

#[tokio::test]
async fn a_pointer_or_a_placeholder_that_is_none_is_refused_as_a_configuration() {
    for config in [
        json!({ "request": { "json": { "set": { "no-slash": 1 } } } }),
        json!({ "request": { "headers": { "set": { "x": "{no.such}" } } } }),
        json!({ "request": { "headers": { "set": { "x": "{response.status}" } } } }),
        json!({ "request": { "path": { "regex": { "pattern": "(", "replacement": "" } } } }),
    ] {
        let site = Site::new(&one_route("http://127.0.0.1:9", &json!([{ "use": "transform", "config": config }])));
        let output = tokio::task::spawn_blocking(move || site.check()).await.unwrap();
        assert_eq!(output.code, 1, "{config}: {}", output.text());
    }
}
