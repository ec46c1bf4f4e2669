//! Sessions that stay at their target by a cookie of the gateway's own: `balance.cookie`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::answer;
use sluicegate_tests::wait::eventually;
use sluicegate_tests::{DnsServer, Gateway, Origin, Response, Site};

use crate::names;

/// An origin that answers with its name, and fails its health check when it is told to.
async fn named(name: &'static str) -> (Origin, Arc<AtomicBool>) {
    let sick = Arc::new(AtomicBool::new(false));
    let ails = Arc::clone(&sick);
    let origin = Origin::start(move |seen| {
        let sick = seen.target == "/health" && ails.load(Ordering::SeqCst);
        async move { answer(if sick { 503 } else { 200 }, name) }
    })
    .await;
    (origin, sick)
}

fn config(origins: &[&Origin], cookie: &Value) -> Value {
    let targets: Vec<String> = origins.iter().map(|origin| origin.url()).collect();
    json!({
        "upstreams": { "all": { "targets": targets, "balance": { "cookie": cookie } } },
        "routes": [{ "name": "all", "match": { "path": "/" }, "upstream": "all" }],
    })
}

async fn ask(gateway: &Gateway, cookie: &str) -> Response {
    let call = gateway.request(Method::GET, "/").header("cookie", &format!("theme=dark; {cookie}; z=1"));
    call.send().await.expect(200)
}

/// The `name=value` that a response sets.
fn given(response: &Response) -> String {
    let field = response.header("set-cookie");
    field.split(';').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_session_stays_where_its_first_request_went_through_reloads_and_restarts() {
    let ((a, _), (b, _), (c, _)) = (named("a").await, named("b").await, named("c").await);
    let mut config = config(&[&a, &b], &json!({ "name": "gw", "secret": "${TESTS_SECRET}" }));
    let site = |config: &Value| Site::new(config).env("TESTS_SECRET", "0123456789abcdef").script();
    let mut gateway = site(&config).start().await;
    let first = gateway.get("/").await.expect(200);
    let (home, cookie) = (first.text(), given(&first));
    assert_eq!(first.header("set-cookie"), format!("{cookie}; Path=/; HttpOnly; SameSite=Lax"));
    let value = cookie.strip_prefix("gw=").unwrap();
    assert!(value.len() == 32 && !cookie.contains("127"), "{cookie}");
    let stays = |response: &Response| response.text() == home && !response.has("set-cookie");
    for _ in 0..4 {
        assert!(stays(&ask(&gateway, &cookie).await), "a session stays, and its cookie with it");
    }
    // Another order and another target, and filters that see the head, which makes another path through the gateway.
    config["upstreams"]["all"]["targets"] = json!([c.url(), b.url(), a.url()]);
    config["routes"][0]["filters"] = json!([{ "use": "script" }]);
    gateway.reload(&config).await;
    for _ in 0..4 {
        assert!(stays(&ask(&gateway, &cookie).await), "a reload moves nobody");
    }
    let fresh = gateway.get("/").await.expect(200);
    assert!(given(&fresh).starts_with("gw="), "{fresh:?}");
    gateway.stop().await;
    gateway = site(&config).start().await;
    assert!(stays(&ask(&gateway, &cookie).await), "nor does a restart");
}

#[tokio::test]
async fn new_sessions_are_spread_and_values_that_are_none_choose_nothing() {
    let ((a, _), (b, _)) = (named("a").await, named("b").await);
    let mut config = config(&[&a, &b], &json!({ "name": "gw" }));
    config["limits"]["workers"] = json!(1);
    let gateway = Site::new(&config).start().await;
    let mut sessions = BTreeSet::new();
    for _ in 0..4 {
        let response = ask(&gateway, "gw=made-up").await;
        sessions.insert((response.text(), given(&response)));
    }
    assert_eq!(sessions.len(), 2, "two targets, each with one value: {sessions:?}");
    // Under another secret they are worth nothing.
    config["upstreams"]["all"]["balance"]["cookie"]["secret"] = json!("0123456789abcdef");
    gateway.reload(&config).await;
    for (_, cookie) in sessions {
        assert_ne!(given(&ask(&gateway, &cookie).await), "", "{cookie} is not known any more");
    }
}

#[tokio::test]
async fn a_session_moves_when_its_target_is_not_well_and_its_cookie_is_set_anew() {
    let ((a, a_sick), (b, b_sick)) = (named("a").await, named("b").await);
    let mut config = config(&[&a, &b], &json!({ "name": "gw" }));
    config["upstreams"]["all"]["health"] =
        json!({ "path": "/health", "interval": "50ms", "healthy": 1, "unhealthy": 1 });
    let gateway = Site::new(&config).start().await;
    let first = gateway.get("/").await.expect(200);
    let (home, cookie) = (first.text(), given(&first));
    let (sick, other) = if home == "a" { (&a_sick, "b") } else { (&b_sick, "a") };
    sick.store(true, Ordering::SeqCst);
    eventually("the session has moved", || async { ask(&gateway, &cookie).await.text() == other }).await;
    let moved = given(&ask(&gateway, &cookie).await);
    assert!(!moved.is_empty() && moved != cookie, "{moved}");
    assert!(!ask(&gateway, &moved).await.has("set-cookie"), "it belongs there now");
    sick.store(false, Ordering::SeqCst);
    eventually("the target is well", || async { ask(&gateway, &cookie).await.text() == home }).await;
    assert_eq!(ask(&gateway, &moved).await.text(), other, "who has moved stays");
}

#[tokio::test]
async fn a_target_of_no_weight_keeps_its_sessions_and_gets_no_new_ones() {
    let ((a, _), (b, _)) = (named("a").await, named("b").await);
    let mut config = config(&[&a, &b], &json!({ "name": "gw", "ttl": "1h", "path": "/app" }));
    config["upstreams"]["all"]["targets"] = json!([a.url()]);
    config["listeners"] = json!([{ "address": "127.0.0.1:0", "trusted_proxies": ["127.0.0.1"] }]);
    let gateway = Site::new(&config).start().await;
    let first = gateway.request(Method::GET, "/").header("x-forwarded-proto", "https").send().await.expect(200);
    let cookie = given(&first);
    let attributes = "; Path=/app; Max-Age=3600; HttpOnly; SameSite=Lax; Secure";
    assert_eq!(first.header("set-cookie"), format!("{cookie}{attributes}"));
    config["upstreams"]["all"]["targets"] = json!([{ "url": a.url(), "weight": 0 }, b.url()]);
    gateway.reload(&config).await;
    assert_eq!(ask(&gateway, &cookie).await.text(), "a");
    for _ in 0..3 {
        assert_eq!(gateway.get("/").await.expect(200).text(), "b");
    }
}

#[tokio::test]
async fn a_session_stays_at_an_address_of_a_name_as_long_as_the_name_has_it() {
    let (_origins, port) = names::at(["127.0.0.1", "127.0.0.2", "127.0.0.3"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1", "127.0.0.2"]);
    let config = names::config(&dns, port, &json!({ "balance": { "cookie": { "name": "gw" } } }));
    let mut gateway = Site::new(&config).start().await;
    let first = gateway.get("/").await.expect(200);
    let (home, cookie) = (first.text(), given(&first));
    let other = if home == "127.0.0.1" { "127.0.0.2" } else { "127.0.0.1" };
    assert!(!cookie.is_empty() && !cookie.contains("127"), "{cookie}");
    let stays = |response: &Response| response.text() == home && !response.has("set-cookie");
    let fresh = async |gateway: &Gateway| gateway.get("/").await.expect(200).text();
    // More addresses, then none of those that were there beside it.
    for addresses in [["127.0.0.3", home.as_str(), other].as_slice(), &["127.0.0.3", &home]] {
        dns.has("users.test", addresses);
        eventually("the addresses are known", || async { names::known(&gateway).await.len() == addresses.len() }).await;
        eventually("the worker knows the new one", || async { fresh(&gateway).await == "127.0.0.3" }).await;
        for _ in 0..4 {
            assert!(stays(&ask(&gateway, &cookie).await), "an answer that has its address moves nobody");
        }
    }
    gateway.stop().await;
    gateway = Site::new(&config).start().await;
    eventually("the new one is known", || async { fresh(&gateway).await == "127.0.0.3" }).await;
    assert!(stays(&ask(&gateway, &cookie).await), "nor does a restart");
    dns.has("users.test", &["127.0.0.3"]);
    eventually("the session has moved", || async { ask(&gateway, &cookie).await.text() == "127.0.0.3" }).await;
    let moved = given(&ask(&gateway, &cookie).await);
    assert!(!moved.is_empty() && moved != cookie, "{moved}");
    dns.has("users.test", &["127.0.0.3", &home]);
    eventually("its address is back", || async { fresh(&gateway).await == home }).await;
    assert_eq!(ask(&gateway, &moved).await.text(), "127.0.0.3", "who has moved stays");
}

#[tokio::test]
async fn a_session_moves_without_losing_a_request_when_its_address_refuses() {
    let ([one, other], port) = names::at(["127.0.0.1", "127.0.0.2"]).await;
    let dns = DnsServer::start().await;
    dns.has("users.test", &["127.0.0.1", "127.0.0.2"]);
    let config = names::config(&dns, port, &json!({ "balance": { "cookie": { "name": "gw" } } }));
    let mut gateway = Site::new(&config).start().await;
    let first = gateway.get("/").await.expect(200);
    let (home, cookie) = (first.text(), given(&first));
    let (gone, left) = if home == "127.0.0.1" { (one, other) } else { (other, one) };
    drop(gone);
    // Without a connection that was there before.
    gateway.stop().await;
    gateway = Site::new(&config).start().await;
    let moved = ask(&gateway, &cookie).await;
    assert_eq!(moved.text(), left.address().ip().to_string());
    assert!(!given(&moved).is_empty() && given(&moved) != cookie, "{moved:?}");
    assert!(!ask(&gateway, &given(&moved)).await.has("set-cookie"), "it belongs there now");
}
