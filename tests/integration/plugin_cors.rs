//! The first-party filter `cors` in the real gateway: every option.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::origin::{answer, with};
use sluicegate_tests::{Gateway, Origin, Response, Site, one_route};

const APP: &str = "https://app.example";

async fn shared(config: Value) -> (Gateway, Origin) {
    // The upstream has an opinion of its own, which does not count.
    let origin = Origin::start(|_| async {
        with(answer(200, "ok"), &[("access-control-allow-origin", "https://other.example")])
    })
    .await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([{ "use": "cors", "config": config }]))).start().await;
    (gateway, origin)
}

async fn from(gateway: &Gateway, origin: &str) -> Response {
    gateway.request(Method::GET, "/").header("origin", origin).send().await.expect(200)
}

async fn preflight(gateway: &Gateway, origin: &str, method: &str, more: &[(&str, &str)]) -> Response {
    let call =
        gateway.request(Method::OPTIONS, "/").header("origin", origin).header("access-control-request-method", method);
    more.iter().fold(call, |call, (name, value)| call.header(name, value)).send().await
}

fn allowed(response: &Response) -> String {
    response.header("access-control-allow-origin")
}

#[tokio::test]
async fn listed_origins_may_call_and_others_learn_nothing() {
    let (gateway, upstream) =
        shared(json!({ "origins": [APP, "https://*.shop.example", "http://localhost:*", "null"] })).await;
    for origin in [APP, "https://a.shop.example", "https://a.b.shop.example", "http://localhost:3000", "null"] {
        let response = from(&gateway, origin).await;
        assert_eq!(allowed(&response), origin);
        assert!(response.header("vary").contains("Origin"));
    }
    for origin in [
        "https://shop.example",
        "https://evil-app.example",
        "https://app.example.evil",
        "http://app.example",
        "https://app.example:444",
    ] {
        assert_eq!(allowed(&from(&gateway, origin).await), "", "{origin}");
    }
    assert_eq!(upstream.count(), 10, "actual requests go on; the browser keeps the answer");
    assert_eq!(allowed(&gateway.get("/").await), "", "what the upstream says about CORS does not count");
}

#[tokio::test]
async fn a_preflight_is_answered_here() {
    let (gateway, upstream) =
        shared(json!({ "origins": [APP], "methods": ["GET", "PUT"], "headers": ["x-token"], "max_age": "2m", "expose_headers": ["x-total"] })).await;
    let response = preflight(&gateway, APP, "PUT", &[("access-control-request-headers", "x-token")]).await.expect(204);
    assert_eq!(allowed(&response), APP);
    assert!(response.header("access-control-allow-methods").contains("PUT"));
    assert_eq!(response.header("access-control-allow-headers").to_lowercase(), "x-token");
    assert_eq!(response.header("access-control-max-age"), "120");
    assert!(response.header("vary").contains("Access-Control-Request-Method"));
    let denied = preflight(&gateway, "https://evil.example", "PUT", &[]).await.expect(204);
    assert_eq!(allowed(&denied), "");
    assert_eq!(upstream.count(), 0);
    gateway.request(Method::OPTIONS, "/").send().await.expect(200);
    assert_eq!(upstream.count(), 1, "OPTIONS that is no preflight is the upstream's");
    assert_eq!(from(&gateway, APP).await.header("access-control-expose-headers").to_lowercase(), "x-total");
}

#[tokio::test]
async fn everybody_is_a_star_and_with_credentials_it_is_a_name() {
    let (gateway, _upstream) = shared(json!({ "origins": ["*"], "methods": ["*"] })).await;
    assert_eq!(allowed(&from(&gateway, APP).await), "*");
    assert_eq!(preflight(&gateway, APP, "DELETE", &[]).await.header("access-control-allow-methods"), "*");
    let (gateway, _upstream) = shared(json!({ "origins": [APP], "credentials": true, "methods": ["*"] })).await;
    let response = from(&gateway, APP).await;
    assert_eq!(response.header("access-control-allow-credentials"), "true");
    assert_eq!(preflight(&gateway, APP, "DELETE", &[]).await.header("access-control-allow-methods"), "DELETE");
}

#[tokio::test]
async fn private_networks_are_opened_only_when_that_is_asked_for() {
    let asked = [("access-control-request-private-network", "true")];
    for (opened, expected) in [(true, "true"), (false, "")] {
        let (gateway, _upstream) = shared(json!({ "origins": [APP], "private_network": opened })).await;
        let response = preflight(&gateway, APP, "GET", &asked).await;
        assert_eq!(response.header("access-control-allow-private-network"), expected);
    }
}

#[tokio::test]
async fn replies_of_later_filters_and_of_the_gateway_carry_it_too() {
    let origin = Origin::text("never").await;
    let cors = json!({ "use": "cors", "config": { "origins": [APP] } });
    let auth = json!({ "use": "auth", "config": { "api_keys": { "alice": "key-a" } } });
    let mut config = one_route(&origin.url(), &json!([auth]));
    config["filters"] = json!([cors]);
    config["routes"][0]["match"]["path"] = json!({ "prefix": "/guarded" });
    let gateway = Site::new(&config).start().await;
    for (target, status) in [("/guarded", 401), ("/nowhere", 404)] {
        let response = gateway.request(Method::GET, target).header("origin", APP).send().await.expect(status);
        assert_eq!(allowed(&response), APP, "{target}");
    }
    let preflight = gateway
        .request(Method::OPTIONS, "/guarded")
        .header("origin", APP)
        .header("access-control-request-method", "GET");
    preflight.send().await.expect(204);
}

#[tokio::test]
async fn credentials_for_everybody_are_refused_as_a_configuration() {
    let config = json!({ "origins": ["*"], "credentials": true });
    let site = Site::new(&one_route("http://127.0.0.1:9", &json!([{ "use": "cors", "config": config }])));
    let output = tokio::task::spawn_blocking(move || site.check()).await.unwrap();
    assert_eq!(output.code, 1, "{}", output.text());
}
