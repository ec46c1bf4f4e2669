//! The first-party filter `rate-limit` in the real gateway: every option.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::{Gateway, Origin, Site, one_route};

async fn limited(config: Value) -> (Gateway, Origin) {
    let origin = Origin::text("ok").await;
    let auth = json!({ "use": "auth", "config": { "api_keys": { "alice": "a", "bob": "b" }, "optional": true } });
    let filters = json!([auth, { "use": "rate-limit", "config": config }]);
    let gateway = Site::new(&one_route(&origin.url(), &filters)).start().await;
    (gateway, origin)
}

/// The statuses of as many requests.
async fn statuses(calls: impl IntoIterator<Item = Call>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for call in calls {
        statuses.push(call.send().await.code());
    }
    statuses
}

fn get(gateway: &Gateway, target: &str, header: (&str, &str)) -> Call {
    gateway.request(Method::GET, target).header(header.0, header.1)
}

#[tokio::test]
async fn what_is_over_the_limit_is_429_and_everybody_is_told_where_they_stand() {
    let (gateway, origin) = limited(json!({ "limit": 2, "per": "1h" })).await;
    let first = gateway.get("/").await.expect(200);
    assert_eq!(first.header("ratelimit-policy"), "\"default\";q=2;w=3600");
    assert!(first.header("ratelimit").starts_with("\"default\";r=1;t="), "{first:?}");
    gateway.get("/").await.expect(200);
    let over = gateway.get("/").await.expect(429);
    assert!(over.header("ratelimit").starts_with("\"default\";r=0;t="), "{over:?}");
    let wait: u64 = over.header("retry-after").parse().unwrap();
    assert!((1..=1800).contains(&wait), "a limit of two an hour lets one pass every half hour: {wait}");
    assert_eq!(over.header("content-type"), "application/problem+json");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn the_count_is_exact_across_workers() {
    let (gateway, origin) = limited(json!({ "limit": 50, "per": "1h", "key": "route" })).await;
    let tasks = (0..8).map(|_| {
        let calls: Vec<_> = (0..20).map(|_| gateway.request(Method::GET, "/")).collect();
        tokio::spawn(statuses(calls))
    });
    let mut passed = 0;
    for task in tasks.collect::<Vec<_>>() {
        passed += task.await.unwrap().into_iter().filter(|status| *status == 200).count();
    }
    assert_eq!((passed, origin.count()), (50, 50));
}

#[tokio::test]
async fn a_burst_is_smaller_than_the_limit() {
    let (gateway, _origin) = limited(json!({ "limit": 100, "per": "1h", "burst": 3 })).await;
    assert_eq!(statuses((0..5).map(|_| gateway.request(Method::GET, "/"))).await, [200, 200, 200, 429, 429]);
}

#[tokio::test]
async fn what_has_flowed_off_may_come_again() {
    let (gateway, _origin) = limited(json!({ "limit": 10, "per": "1s", "burst": 1 })).await;
    gateway.get("/").await.expect(200);
    sluicegate_tests::wait::eventually("the limit lets one pass again", || async {
        gateway.get("/").await.code() == 200
    })
    .await;
}

#[tokio::test]
async fn keys_keep_consumers_headers_paths_and_methods_apart() {
    let (gateway, _origin) = limited(json!({ "limit": 1, "per": "1h", "key": "consumer" })).await;
    let calls = [("x-api-key", "a"), ("x-api-key", "b"), ("x-api-key", "a"), ("x-none", "1"), ("x-none", "1")]
        .map(|header| get(&gateway, "/", header));
    assert_eq!(statuses(calls).await, [200, 200, 429, 200, 429]);
    let (gateway, _origin) = limited(json!({ "limit": 1, "per": "1h", "key": { "header": "x-tenant" } })).await;
    let calls = [("x-tenant", "1"), ("x-tenant", "2"), ("x-tenant", "1"), ("x-other", "")]
        .map(|header| get(&gateway, "/", header));
    assert_eq!(statuses(calls).await, [200, 200, 429, 200]);
    let (gateway, _origin) = limited(json!({ "limit": 1, "per": "1h", "key": "path" })).await;
    let calls = ["/a?x=1", "/b", "/a?x=2"].map(|target| gateway.request(Method::GET, target));
    assert_eq!(statuses(calls).await, [200, 200, 429]);
    let (gateway, _origin) = limited(json!({ "limit": 1, "per": "1h", "key": "method" })).await;
    let calls = [Method::GET, Method::PUT, Method::GET].map(|method| gateway.request(method, "/"));
    assert_eq!(statuses(calls).await, [200, 200, 429]);
}

#[tokio::test]
async fn keys_combine() {
    let (gateway, _origin) =
        limited(json!({ "limit": 1, "per": "1h", "key": ["ip", "path", { "header": "x-tenant" }] })).await;
    let calls = [("/a", "1"), ("/a", "2"), ("/b", "1"), ("/a", "1")]
        .map(|(target, tenant)| get(&gateway, target, ("x-tenant", tenant)));
    assert_eq!(statuses(calls).await, [200, 200, 200, 429]);
}

#[tokio::test]
async fn a_client_cannot_choose_its_own_address() {
    let (gateway, _origin) = limited(json!({ "limit": 1, "per": "1h", "key": "ip" })).await;
    let calls = ["1.1.1.1", "2.2.2.2"].map(|address| get(&gateway, "/", ("x-forwarded-for", address)));
    assert_eq!(statuses(calls).await, [200, 429]);
}

#[tokio::test]
async fn several_limits_hold_together_and_one_may_stay_unseen() {
    let limits = json!([
        { "name": "small", "limit": 2, "per": "1h", "key": "path" },
        { "name": "large", "limit": 3, "per": "24h", "key": "ip", "headers": false },
    ]);
    let (gateway, _origin) = limited(json!({ "limits": limits })).await;
    let response = gateway.get("/a").await.expect(200);
    assert_eq!(response.header("ratelimit-policy"), "\"small\";q=2;w=3600");
    let calls = ["/a", "/a", "/b", "/c"].map(|target| gateway.request(Method::GET, target));
    assert_eq!(statuses(calls).await, [200, 429, 200, 429]);
}

#[tokio::test]
async fn a_swap_does_not_forget_the_count() {
    let origin = Origin::text("ok").await;
    let config = one_route(&origin.url(), &json!([{ "use": "rate-limit", "config": { "limit": 1, "per": "1h" } }]));
    let gateway = Site::new(&config).start().await;
    gateway.get("/").await.expect(200);
    let mut other = config.clone();
    other["routes"][0]["timeout"] = json!("20s");
    gateway.reload(&other).await;
    gateway.get("/").await.expect(429);
}

#[tokio::test]
async fn half_a_limit_is_refused_as_a_configuration() {
    for config in [
        json!({}),
        json!({ "limit": 1 }),
        json!({ "limit": 0, "per": "1s" }),
        json!({ "limit": 1, "per": "1s", "limits": [{ "limit": 1, "per": "1s" }] }),
    ] {
        let site = Site::new(&one_route("http://127.0.0.1:9", &json!([{ "use": "rate-limit", "config": config }])));
        let output = tokio::task::spawn_blocking(move || site.check()).await.unwrap();
        assert_eq!(output.code, 1, "{config}: {}", output.text());
    }
}
