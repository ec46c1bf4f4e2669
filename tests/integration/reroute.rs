//! A route chosen again, because a filter has changed the request: `clear_route_cache`.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::{Gateway, Origin, Site};

/// A filter that leads the request where `x-do` says, and has the route chosen again; it tells which route there is at the end.
fn leader() -> Value {
    let places = ["second", "guarded", "open", "answer", "away", "nowhere", "slow"];
    let mut steps: Vec<Value> = places
        .iter()
        .map(|place| json!({ "when": [place, [{ "set": ["request", ":path", format!("/{place}/x?q=1")] }]] }))
        .collect();
    steps.push(json!({ "when": ["host", [{ "set": ["request", ":authority", "Other.Example:81"] }]] }));
    steps.push(json!({ "when": ["method", [{ "set": ["request", ":method", "PUT"] }]] }));
    steps.push(json!({ "when": ["header", [{ "set": ["request", "x-tier", "gold"] }]] }));
    steps.push(json!({ "log": { "foreign": ["clear_route_cache", ""] } }));
    let tell = json!([
        { "set": ["response", "x-route", { "property": ["route_name"] }] },
        { "set": ["response", "x-cluster", { "property": ["cluster_name"] }] },
    ]);
    json!({ "use": "script", "config": { "request_headers": steps, "response_headers": tell, "log": [{ "log": { "concat": ["ended on ", { "property": ["xds", "route_name"] }] } }] } })
}

/// A filter that lets pass who has a key.
fn guard(word: &str) -> Value {
    let refuse = json!([{ "when": ["refuse", [{ "reply": { "status": 403, "body": "no" } }]] }]);
    json!({ "use": "script", "config": { "request_headers": refuse, "response_headers": [{ "add": ["response", "x-guard", word] }] } })
}

fn config(first: &Origin, second: &Origin) -> Value {
    json!({
        "upstreams": { "first": { "targets": [first.url()] }, "second": { "targets": [second.url()] } },
        "routes": [
            { "name": "first", "match": { "path": "/first" }, "filters": [leader()], "upstream": "first" },
            { "name": "passed", "match": { "path": "/passed" }, "filters": [guard("a"), leader()], "upstream": "first" },
            { "name": "other", "match": { "path": "/other" }, "filters": [guard("b"), leader()], "upstream": "first" },
            { "name": "second", "match": { "path": "/second" }, "upstream": "second", "rewrite": { "path": { "prefix": "/v2" } },
              "request_headers": { "set": { "x-way": "second" } }, "response_headers": { "set": { "x-answer": "second" } } },
            { "name": "guarded", "match": { "path": "/guarded" }, "filters": [guard("a")], "upstream": "second" },
            { "name": "open", "match": { "path": "/open" }, "filters": [guard("a")], "upstream": "second", "reroute": "any" },
            { "name": "answer", "match": { "path": "/answer" }, "respond": { "status": 418, "body": "teapot" } },
            { "name": "away", "match": { "path": "/away" }, "redirect": { "host": "away.example" } },
            { "name": "slow", "match": { "path": "/slow" }, "upstream": "second", "timeout": "50ms" },
            { "name": "host", "match": { "host": "other.example" }, "upstream": "second" },
            { "name": "method", "match": { "path": "/first", "methods": ["PUT"] }, "upstream": "second" },
            { "name": "header", "match": { "path": "/first", "headers": { "x-tier": "gold" } }, "upstream": "second" },
        ],
    })
}

struct Bench {
    gateway: Gateway,
    first: Origin,
    second: Origin,
}

impl Bench {
    async fn start() -> Self {
        let first = Origin::echo().await;
        let second = Origin::start(|seen| async move {
            if seen.target.starts_with("/slow") {
                std::future::pending::<()>().await;
            }
            sluicegate_tests::origin::json_answer(&seen.to_json())
        })
        .await;
        let gateway = Site::new(&config(&first, &second)).script().start().await;
        Self { gateway, first, second }
    }
    async fn ask(&self, target: &str, word: &str) -> sluicegate_tests::Response {
        self.gateway.request(Method::GET, target).header("x-do", word).send().await
    }
}

#[tokio::test]
async fn a_filter_that_changes_the_path_gets_the_route_chosen_again() {
    let bench = Bench::start().await;
    let answer = bench.ask("/first", "second").await.expect(200);
    let seen = answer.json();
    assert_eq!((&seen["target"], &seen["headers"]["x-way"]), (&json!("/v2/x?q=1"), &json!("second")));
    assert_eq!((answer.header("x-answer"), answer.header("x-route")), ("second".to_owned(), "second".to_owned()));
    assert_eq!(answer.header("x-cluster"), "second");
    assert_eq!((bench.first.count(), bench.second.count()), (0, 1));
    bench.gateway.wait_for_log("ended on second").await;
    // The request is counted for the route that it ended on, and begins on none for ever.
    let ended = "sluicegate_http_server_request_duration_seconds_count";
    let active = "sluicegate_http_server_active_requests";
    for (name, route, count) in [(ended, "first", 0.0), (ended, "second", 1.0), (active, "first", 0.0)] {
        assert_eq!(bench.gateway.metric(name, &[("route", route)]).await, count, "{name} of {route}");
    }
}

#[tokio::test]
async fn host_method_and_headers_count_as_they_are_when_the_request_leaves_the_chain() {
    let bench = Bench::start().await;
    for word in ["host", "method", "header"] {
        assert_eq!(bench.ask("/first", word).await.expect(200).header("x-route"), word);
    }
    assert_eq!(bench.ask("/first", "nothing").await.expect(200).header("x-route"), "first", "the same route again");
    assert_eq!((bench.first.count(), bench.second.count()), (1, 3));
}

#[tokio::test]
async fn redirects_answers_and_timeouts_are_those_of_the_new_route() {
    let bench = Bench::start().await;
    let teapot = bench.ask("/first", "answer").await.expect(418);
    assert_eq!((teapot.text(), teapot.header("x-route")), ("teapot".to_owned(), "answer".to_owned()));
    let away = bench.ask("/first", "away").await.expect(302);
    let location = away.header("location");
    assert!(location.starts_with("http://away.example") && location.ends_with("/away/x?q=1"), "{location}");
    bench.ask("/first", "slow").await.expect(504);
}

#[tokio::test]
async fn a_request_that_no_route_takes_any_more_is_answered_404_with_the_reason() {
    let bench = Bench::start().await;
    bench.ask("/first", "nowhere").await.expect(404);
    assert_eq!(bench.first.count() + bench.second.count(), 0);
    assert_eq!(bench.gateway.metric("sluicegate_replies_total", &[("reason", "no_route")]).await, 1.0);
}

#[tokio::test]
async fn no_filter_leads_a_request_around_what_guards_another_route() {
    let bench = Bench::start().await;
    bench.ask("/first", "guarded").await.expect(500);
    bench.ask("/other", "guarded").await.expect(500);
    assert_eq!(bench.second.count(), 0, "nothing has reached what is guarded");
    bench.gateway.wait_for_log("reroute_refused").await;
    let passed = bench.ask("/passed", "guarded").await.expect(200);
    assert_eq!((passed.header("x-route"), passed.header("x-guard")), ("guarded".to_owned(), "a".to_owned()));
    let open = bench.ask("/first", "open").await.expect(200);
    assert_eq!((open.header("x-route"), open.has("x-guard")), ("open".to_owned(), false));
}

#[tokio::test]
async fn a_guard_for_some_requests_counts_by_the_request_as_it_is_now() {
    let (first, second) = (Origin::echo().await, Origin::echo().await);
    let mut config = config(&first, &second);
    let mut only = guard("global");
    only["when"] = json!({ "path": "/second" });
    config["filters"] = json!([only]);
    let gateway = Site::new(&config).script().start().await;
    let ask = |target: &'static str, word| gateway.request(Method::GET, target).header("x-do", word).send();
    ask("/first", "second").await.expect(500);
    ask("/first", "header").await.expect(200);
    ask("/second/x", "nothing").await.expect(200);
    assert_eq!(second.count(), 2);
}

#[tokio::test]
async fn what_is_asked_for_after_the_head_has_left_changes_nothing() {
    let origin = Origin::echo().await;
    let late = json!({ "use": "script", "config": { "response_headers": [{ "log": { "foreign": ["clear_route_cache", ""] } }] } });
    let mut config = config(&origin, &origin);
    config["routes"][0]["filters"] = json!([late]);
    let gateway = Site::new(&config).script().start().await;
    gateway.get("/first").await.expect(200);
    // A global filter may find a route for a request that none took.
    config["filters"] = json!([leader()]);
    gateway.reload(&config).await;
    let answer = gateway.request(Method::GET, "/lost").header("x-do", "second").send().await.expect(200);
    assert_eq!(answer.json()["target"], "/v2/x?q=1");
}

#[tokio::test]
async fn a_guard_that_looks_at_the_framing_is_not_led_around() {
    let (first, second) = (Origin::echo().await, Origin::echo().await);
    let mut config = config(&first, &second);
    let mut only = guard("global");
    only["when"] = json!({ "path": "/second", "headers": { "content-length": { "present": true } } });
    config["filters"] = json!([only]);
    let gateway = Site::new(&config).script().start().await;
    let ask = || gateway.request(Method::GET, "/first").header("x-do", "second");
    ask().send().await.expect(200);
    ask().body("a body").send().await.expect(500);
    assert_eq!(second.count(), 1);
}

#[tokio::test]
async fn a_trace_is_not_led_to_a_route_that_takes_none() {
    let (first, second) = (Origin::echo().await, Origin::echo().await);
    let mut config = config(&first, &second);
    config["routes"][0]["match"]["methods"] = json!(["GET", "TRACE"]);
    let gateway = Site::new(&config).script().start().await;
    let ask = |method| gateway.request(method, "/first").header("x-do", "second").send();
    ask(Method::GET).await.expect(200);
    ask(Method::TRACE).await.expect(500);
    assert_eq!(second.count(), 1);
}
