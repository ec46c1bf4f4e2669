//! What routes do beside sending everything to one upstream: shares, redirections, answers, changes to heads, retries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::{RawOrigin, answer, with};
use sluicegate_tests::{Gateway, Origin, Site};

/// A gateway with one route that has these keys; `filters` too where they are given.
async fn gateway(upstreams: &Value, route: &Value) -> Gateway {
    let mut route = route.clone();
    route["name"] = json!("all");
    Site::new(&json!({ "upstreams": upstreams, "routes": [route] })).script().start().await
}

#[tokio::test]
async fn upstreams_get_their_shares_to_the_request() {
    let (one, two, three) = (Origin::text("one").await, Origin::text("two").await, Origin::text("three").await);
    let upstreams = json!({
        "one": { "targets": [one.url()] }, "two": { "targets": [two.url()] }, "three": { "targets": [three.url()] },
    });
    let mut config = json!({ "upstreams": upstreams, "limits": { "workers": 1 } });
    config["routes"] = json!([{ "upstreams": { "one": 7, "two": 3, "three": 0 } }]);
    let gateway = Site::new(&config).start().await;
    let mut counts = BTreeMap::new();
    for _ in 0..20 {
        *counts.entry(gateway.get("/").await.expect(200).text()).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("one".to_owned(), 14), ("two".to_owned(), 6)]));
    assert_eq!(three.count(), 0);
}

#[tokio::test]
async fn a_redirection_changes_what_it_says_and_keeps_the_rest() {
    let cases = [
        (json!({ "scheme": "https" }), 302, "https://api.example/a/b?q=1"),
        (json!({ "scheme": "https", "status": 301, "port": 8443 }), 301, "https://api.example:8443/a/b?q=1"),
        (json!({ "host": "other.example", "status": 307 }), 307, "http://other.example:8080/a/b?q=1"),
        (json!({ "port": 80, "status": 308 }), 308, "http://api.example/a/b?q=1"),
        (json!({ "path": { "full": "/x" }, "status": 303 }), 303, "http://api.example:8080/x?q=1"),
        (json!({ "path": { "prefix": "/new" } }), 302, "http://api.example:8080/new/b?q=1"),
    ];
    for filters in [json!([]), json!([{ "use": "script" }])] {
        for (redirect, status, location) in &cases {
            let route = json!({ "match": { "path": "/a" }, "redirect": redirect, "filters": filters });
            let gateway = gateway(&json!({}), &route).await;
            let call = gateway.request(Method::GET, "/a//b?q=1").header("host", "api.example:8080");
            let response = call.send().await.expect(*status);
            assert_eq!(response.header("location"), *location, "{redirect}");
            assert_eq!(response.text(), "");
        }
    }
}

#[tokio::test]
async fn a_redirection_sees_what_the_filters_made_of_the_request_and_they_see_the_answer() {
    let script = json!({
        "request_headers": [{ "set": ["request", ":path", "/elsewhere?r=2"] }],
        "response_headers": [{ "set": ["response", "x-seen", { "header": ["response", ":status"] }] }],
    });
    let route = json!({ "redirect": { "host": "b.example" }, "filters": [{ "use": "script", "config": script }] });
    let gateway = gateway(&json!({}), &route).await;
    let response = gateway.request(Method::GET, "/").header("host", "a.example").send().await.expect(302);
    assert_eq!(response.header("location"), "http://b.example/elsewhere?r=2");
    assert_eq!(response.header("x-seen"), "302");
}

#[tokio::test]
async fn a_route_may_answer_by_itself() {
    let respond = json!({ "status": 503, "body": "{\"closed\":true}", "headers": { "content-type": "application/json", "retry-after": "60" } });
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let gateway = gateway(&json!({}), &json!({ "respond": respond, "filters": filters })).await;
        let response = gateway.post("/", "anything").await.expect(503);
        assert_eq!(response.text(), "{\"closed\":true}");
        assert_eq!(
            (response.header("content-type"), response.header("retry-after")),
            ("application/json".into(), "60".into())
        );
        assert_eq!(gateway.metric("sluicegate_replies_total", &[("reason", "no_route")]).await, 0.0);
    }
}

#[tokio::test]
async fn heads_are_changed_in_both_directions() {
    let origin = Origin::start(|seen| async move {
        let headers = [("x-a", seen.header("x-a")), ("x-b", seen.header("x-b")), ("x-c", seen.header("x-c"))];
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let more = [("server", "origin"), ("vary", "accept")];
        with(answer(200, ""), &[&headers[..], &more[..]].concat())
    })
    .await;
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let route = json!({
            "upstream": "origin", "filters": filters,
            "request_headers": { "set": { "x-a": "new" }, "add": { "x-b": "second" }, "remove": ["x-c"] },
            "response_headers": { "set": { "server": "gateway" }, "add": { "vary": "origin" }, "remove": ["x-c"] },
        });
        let gateway = gateway(&json!({ "origin": { "targets": [origin.url()] } }), &route).await;
        let call = gateway.request(Method::GET, "/").header("x-a", "old").header("x-b", "first").header("x-c", "gone");
        let response = call.send().await.expect(200);
        let seen = ["x-a", "x-b", "server", "vary"].map(|name| response.header(name));
        assert_eq!(seen, ["new", "first, second", "gateway", "accept, origin"]);
        assert!(!response.has("x-c"));
    }
}

/// An origin that fails the first tries of each request: by its answer, or by closing.
async fn failing(tries: usize, how: &'static str) -> (RawOrigin, Arc<AtomicUsize>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let origin = RawOrigin::start(move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let good = count.fetch_add(1, Ordering::SeqCst) >= tries;
            let bytes = match how {
                _ if good => "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\ngood",
                "busy" => "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbusy",
                "silent" => {
                    stream.read_u8().await.ok();
                    return;
                }
                _ => return,
            };
            stream.write_all(bytes.as_bytes()).await.ok();
        }
    })
    .await;
    (origin, seen)
}

#[tokio::test]
async fn what_failed_is_sent_again_as_often_and_for_what_the_route_says() {
    for (how, on) in [("busy", json!([503])), ("closing", json!(["reset"])), ("silent", json!(["timeout"]))] {
        for filters in [json!([]), json!([{ "use": "script" }])] {
            let (origin, seen) = failing(2, how).await;
            let retry = json!({ "attempts": 2, "on": on, "per_try": "300ms", "backoff": "1ms" });
            let route = json!({ "upstream": "origin", "retry": retry, "filters": filters });
            let gateway = gateway(&json!({ "origin": { "targets": [origin.url()] } }), &route).await;
            assert_eq!(gateway.get("/").await.expect(200).text(), "good", "{how}");
            assert_eq!(seen.load(Ordering::SeqCst), 3, "{how}");
            assert_eq!(gateway.metric("sluicegate_upstream_retries_total", &[("upstream", "origin")]).await, 2.0);
        }
    }
    let (origin, seen) = failing(9, "busy").await;
    let upstreams = json!({ "origin": { "targets": [origin.url()] } });
    let retry = |on: Value| json!({ "upstream": "origin", "retry": { "attempts": 2, "on": on, "backoff": "1ms" } });
    let other = gateway(&upstreams, &retry(json!([502, "reset"]))).await;
    assert_eq!(other.get("/").await.expect(503).text(), "busy", "it is not said of 503");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
    let gateway = gateway(&upstreams, &retry(json!([503]))).await;
    assert_eq!(gateway.get("/").await.expect(503).text(), "busy", "the last answer is handed on");
    assert_eq!(seen.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn requests_that_may_have_done_something_are_not_repeated() {
    let (origin, seen) = failing(1, "busy").await;
    let route = json!({ "upstream": "origin", "retry": { "attempts": 3, "on": [503, "reset", "connect"] } });
    let gateway = gateway(&json!({ "origin": { "targets": [origin.url()] } }), &route).await;
    gateway.post("/", "body").await.expect(503);
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn failures_of_upstreams_are_counted_by_reason() {
    let (origin, _) = failing(9, "closing").await;
    let gateway = gateway(&json!({ "origin": { "targets": [origin.url()] } }), &json!({ "upstream": "origin" })).await;
    gateway.post("/", "x").await.expect(502);
    let labels = [("upstream", "origin"), ("reason", "upstream_reset")];
    assert_eq!(gateway.metric("sluicegate_upstream_errors_total", &labels).await, 1.0);
}

#[tokio::test]
async fn copies_go_to_other_upstreams_and_nobody_waits_for_their_answers() {
    let (origin, shadow) = (Origin::echo().await, Origin::start(|_| async { answer(500, "ignored") }).await);
    let gone = format!("http://{}", sluicegate_tests::process::free_address());
    let upstreams = json!({
        "origin": { "targets": [origin.url()] }, "shadow": { "targets": [shadow.url()] }, "gone": { "targets": [gone] },
    });
    let mirrors = json!([{ "upstream": "shadow" }, { "upstream": "gone" }, { "upstream": "origin", "percent": 0 }]);
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let route = json!({ "upstream": "origin", "mirrors": mirrors, "filters": filters });
        let gateway = gateway(&upstreams, &route).await;
        let (before, copied) = (origin.count(), shadow.count());
        gateway.get("/a?b=1").await.expect(200);
        let body = "x".repeat(300_000);
        gateway.post("/c", body.clone()).await.expect(200);
        shadow.wait_for(copied + 2).await;
        assert_eq!(origin.count(), before + 2);
        let mut seen: Vec<_> =
            shadow.requests()[copied..].iter().map(|seen| (seen.target.clone(), seen.body.len())).collect();
        seen.sort();
        assert_eq!(seen, [("/a?b=1".to_owned(), 0), ("/c".to_owned(), body.len())]);
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_its_copies_gets_no_more_than_it_may_have() {
    let origin = Origin::text("ok").await;
    let shadow = Origin::start(|_| async {
        std::future::pending::<()>().await;
        answer(200, "never")
    })
    .await;
    let upstreams = json!({ "origin": { "targets": [origin.url()] }, "shadow": { "targets": [shadow.url()] } });
    let mut config = json!({ "upstreams": upstreams, "limits": { "workers": 1 } });
    config["routes"] = json!([{ "name": "all", "upstream": "origin", "mirrors": [{ "upstream": "shadow" }] }]);
    let gateway = Site::new(&config).start().await;
    for _ in 0..150 {
        gateway.get("/").await.expect(200);
    }
    assert_eq!(shadow.connections(), 100);
}

#[tokio::test]
async fn an_upstream_cannot_nominate_away_what_the_route_sets() {
    let nominated = "Connection: close, x-frame-options, x-own, x-gone\r\nX-Frame-Options: SAMEORIGIN\r\nX-Own: upstream\r\nX-Gone: 1";
    let origin = RawOrigin::saying(format!("HTTP/1.1 200 OK\r\n{nominated}\r\nContent-Length: 2\r\n\r\nok")).await;
    let changes = json!({ "set": { "x-frame-options": "DENY" }, "add": { "x-own": "gateway" }, "remove": ["x-gone"] });
    for filters in [json!([]), json!([{ "use": "script" }])] {
        let upstreams = json!({ "origin": { "targets": [origin.url()] } });
        let route = json!({ "upstream": "origin", "filters": filters, "response_headers": changes });
        let answer = gateway(&upstreams, &route).await.get("/").await.expect(200);
        assert_eq!((answer.header("x-frame-options"), answer.header("x-own")), ("DENY".into(), "gateway".into()));
        assert!(!answer.has("x-gone"), "{answer:?}");
    }
}
