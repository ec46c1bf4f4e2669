//! The first-party filter `auth` in the real gateway: every option.

use http::Method;
use serde_json::{Value, json};
use sluicegate_tests::client::Call;
use sluicegate_tests::origin::{answer, json_answer};
use sluicegate_tests::tokens::{bearer, jwks, pem, secret, token};
use sluicegate_tests::{Gateway, Origin, Site, body, one_route};

/// `wonderland`, by bcrypt.
const BCRYPT: &str = "$2b$05$mZGbHQ9UMjoiRPbXxYCheu2aEP3leeldOxW/XZK8eC2ppMBSqHOaO";

async fn guarded(config: Value) -> (Gateway, Origin) {
    let origin = Origin::echo().await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([{ "use": "auth", "config": config }]))).start().await;
    (gateway, origin)
}

fn with(gateway: &Gateway, header: &str, value: &str) -> Call {
    gateway.request(Method::GET, "/").header(header, value)
}

/// The consumer that the upstream was told, if the request passed.
async fn consumer(call: Call) -> Result<String, u16> {
    let response = call.send().await;
    match response.code() {
        200 => Ok(response.json()["headers"]["x-consumer"].as_str().unwrap_or_default().to_owned()),
        status => Err(status),
    }
}

fn named(name: &str) -> Result<String, u16> {
    Ok(name.to_owned())
}

fn jwt(more: &Value) -> Value {
    let mut jwt = json!({ "keys": [{ "secret": secret() }] });
    for (key, value) in more.as_object().unwrap() {
        jwt[key] = value.clone();
    }
    json!({ "jwt": jwt })
}

#[tokio::test]
async fn an_api_key_names_its_consumer_and_does_not_reach_the_upstream() {
    let (gateway, origin) = guarded(json!({ "api_keys": { "alice": "key-a", "bob": "key-b" }, "realm": "shop" })).await;
    assert_eq!(consumer(with(&gateway, "x-api-key", "key-a")).await, named("alice"));
    assert!(!origin.last().has("x-api-key"));
    assert_eq!(consumer(with(&gateway, "x-api-key", "key-b")).await, named("bob"));
    let response = with(&gateway, "x-api-key", "wrong").send().await.expect(401);
    assert_eq!(response.header("www-authenticate"), "ApiKey realm=\"shop\"");
    assert_eq!(response.header("content-type"), "application/problem+json");
    gateway.get("/").await.expect(401);
    let twice = with(&gateway, "x-api-key", "key-a").header("x-api-key", "key-b");
    assert_eq!(consumer(twice).await, Err(401), "which of two keys counts would be a guess");
    assert_eq!(origin.count(), 2);
}

#[tokio::test]
async fn api_keys_are_found_in_query_cookie_and_bearer() {
    let places = json!([{ "query": "key" }, { "cookie": "session" }, "bearer", { "header": "x-other" }]);
    let (gateway, origin) = guarded(json!({ "api_keys": { "alice": "key-a" }, "api_key_from": places })).await;
    assert_eq!(consumer(gateway.request(Method::GET, "/?a=1&key=key-a&b=2")).await, named("alice"));
    assert_eq!(origin.last().target, "/?a=1&b=2");
    assert_eq!(consumer(with(&gateway, "cookie", "theme=dark; session=key-a")).await, named("alice"));
    assert_eq!(origin.last().header("cookie"), "theme=dark");
    assert_eq!(consumer(with(&gateway, "authorization", "Bearer key-a")).await, named("alice"));
    assert_eq!(consumer(with(&gateway, "x-other", "key-a")).await, named("alice"));
    assert_eq!(consumer(with(&gateway, "x-api-key", "key-a")).await, Err(401));
}

#[tokio::test]
async fn the_credential_reaches_the_upstream_when_that_is_asked_for() {
    let (gateway, origin) = guarded(json!({ "api_keys": { "alice": "key-a" }, "forward_credentials": true })).await;
    with(&gateway, "x-api-key", "key-a").send().await.expect(200);
    assert_eq!(origin.last().header("x-api-key"), "key-a");
}

#[tokio::test]
async fn identity_headers_of_clients_never_pass() {
    let claims = json!({ "claims_to_headers": { "email": "x-user-email" } });
    let mut config = jwt(&claims);
    config["optional"] = json!(true);
    let (gateway, origin) = guarded(config).await;
    let call =
        with(&gateway, "x-consumer", "root").header("x-user-email", "root@example.com").header("X-Consumer", "admin");
    call.send().await.expect(200);
    assert!(!origin.last().has("x-consumer") && !origin.last().has("x-user-email"));
    let call = with(&gateway, "x-consumer", "root").header("authorization", &bearer("HS256"));
    assert_eq!(consumer(call).await, named("alice"));
    assert_eq!(origin.last().header("x-user-email"), "alice@example.com");
}

#[tokio::test]
async fn optional_lets_the_nameless_pass_but_not_the_wrong() {
    let (gateway, _origin) = guarded(json!({ "api_keys": { "alice": "key-a" }, "optional": true })).await;
    assert_eq!(consumer(gateway.request(Method::GET, "/")).await, named(""));
    assert_eq!(consumer(with(&gateway, "x-api-key", "wrong")).await, Err(401));
}

#[tokio::test]
async fn basic_passwords_are_checked_against_their_hashes() {
    let (gateway, _origin) = guarded(json!({ "basic": { "users": { "alice": BCRYPT } } })).await;
    // alice:wonderland, alice:builder, carol:x
    for (credentials, expected) in [
        ("YWxpY2U6d29uZGVybGFuZA==", named("alice")),
        ("YWxpY2U6YnVpbGRlcg==", Err(401)),
        ("Y2Fyb2w6eA==", Err(401)),
        ("%%%", Err(401)),
    ] {
        assert_eq!(
            consumer(with(&gateway, "authorization", &format!("Basic {credentials}"))).await,
            expected,
            "{credentials}"
        );
    }
    let response = gateway.get("/").await.expect(401);
    assert_eq!(response.header("www-authenticate"), "Basic realm=\"api\", charset=\"UTF-8\"");
}

#[tokio::test]
async fn tokens_of_every_algorithm_are_verified() {
    for (algorithm, key) in [
        ("HS256", json!({ "secret": secret() })),
        ("RS256", json!({ "pem": pem("RS256") })),
        ("ES256", json!({ "pem": pem("ES256") })),
        ("EdDSA", json!({ "pem": pem("EdDSA") })),
    ] {
        let (gateway, _origin) = guarded(json!({ "jwt": { "keys": [key] } })).await;
        for (name, expected) in ["HS256", "RS256", "ES256", "EdDSA"].map(|name| (name, name == algorithm)) {
            let result = consumer(with(&gateway, "authorization", &bearer(name))).await;
            assert_eq!(result.is_ok(), expected, "a {name} token with a key for {algorithm}: {result:?}");
        }
        for name in ["none", "confused", "tampered"] {
            assert_eq!(
                consumer(with(&gateway, "authorization", &bearer(name))).await,
                Err(401),
                "{name} with {algorithm}"
            );
        }
    }
}

#[tokio::test]
async fn claims_decide_within_the_leeway() {
    let (gateway, _origin) =
        guarded(jwt(&json!({ "issuer": "https://idp.example", "audience": ["api", "shop"] }))).await;
    for (name, expected) in [
        ("HS256", named("alice")),
        ("bob", named("bob")),
        ("audiences", named("alice")),
        ("expired", Err(401)),
        ("eternal", Err(401)),
        ("future", Err(401)),
        ("issuer", Err(401)),
        ("audience", Err(401)),
    ] {
        assert_eq!(consumer(with(&gateway, "authorization", &bearer(name))).await, expected, "{name}");
    }
    let response = with(&gateway, "authorization", &bearer("expired")).send().await.expect(401);
    assert!(response.header("www-authenticate").contains("error=\"invalid_token\""), "{response:?}");
    let (gateway, _origin) = guarded(jwt(&json!({ "leeway": "1000000h", "required_claims": [] }))).await;
    for name in ["expired", "eternal", "future"] {
        assert_eq!(consumer(with(&gateway, "authorization", &bearer(name))).await, named("alice"), "{name}");
    }
}

#[tokio::test]
async fn the_consumer_may_be_any_claim_and_the_token_anywhere() {
    let places = json!([{ "header": "x-token" }, { "cookie": "token" }, { "query": "token" }]);
    let (gateway, _origin) = guarded(jwt(&json!({ "consumer_claim": "/realm/name", "from": places }))).await;
    let nested = token("nested");
    assert_eq!(consumer(with(&gateway, "x-token", nested)).await, named("carol"));
    assert_eq!(consumer(with(&gateway, "cookie", &format!("token={nested}"))).await, named("carol"));
    assert_eq!(consumer(gateway.request(Method::GET, &format!("/?token={nested}"))).await, named("carol"));
    assert_eq!(consumer(with(&gateway, "authorization", &bearer("nested"))).await, Err(401));
}

#[tokio::test]
async fn algorithms_can_be_narrowed() {
    let keys = json!([{ "pem": pem("RS256") }, { "jwks": jwks() }]);
    let (gateway, _origin) = guarded(json!({ "jwt": { "keys": keys, "algorithms": ["ES256", "EdDSA"] } })).await;
    assert_eq!(consumer(with(&gateway, "authorization", &bearer("ES256"))).await, named("alice"));
    assert_eq!(consumer(with(&gateway, "authorization", &bearer("EdDSA"))).await, named("alice"));
    assert_eq!(consumer(with(&gateway, "authorization", &bearer("RS256"))).await, Err(401));
}

#[tokio::test]
async fn published_keys_are_fetched_once_and_kept() {
    let (origin, idp) = (Origin::echo().await, Origin::start(|_| async { json_answer(jwks()) }).await);
    let jwt = json!({ "jwks": { "upstream": "idp", "path": "/keys", "refresh": "1h" } });
    let mut config = one_route(&origin.url(), &json!([{ "use": "auth", "config": { "jwt": jwt } }]));
    config["upstreams"]["idp"] = json!({ "targets": [idp.url()] });
    config["limits"] = json!({ "workers": 1 });
    let gateway = Site::new(&config).start().await;
    for name in ["RS256", "ES256", "EdDSA", "RS256"] {
        assert_eq!(consumer(with(&gateway, "authorization", &bearer(name))).await, named("alice"), "{name}");
    }
    assert_eq!(idp.last().target, "/keys");
    let fetched = idp.count();
    for _ in 0..10 {
        assert_eq!(consumer(with(&gateway, "authorization", &bearer("stranger"))).await, Err(401));
    }
    assert!(idp.count() <= fetched + 1, "unknown keys made {} fetches", idp.count() - fetched);
}

#[tokio::test]
async fn without_the_issuers_keys_nobody_passes_and_nothing_breaks() {
    let (origin, idp) = (Origin::echo().await, Origin::start(|_| async { answer(500, "broken") }).await);
    let jwt = json!({ "jwks": { "upstream": "idp" } });
    let mut config = one_route(&origin.url(), &json!([{ "use": "auth", "config": { "jwt": jwt } }]));
    config["upstreams"]["idp"] = json!({ "targets": [idp.url()] });
    let gateway = Site::new(&config).start().await;
    let status = consumer(with(&gateway, "authorization", &bearer("RS256"))).await;
    assert!(matches!(status, Err(401 | 503)), "{status:?}");
    assert_eq!(origin.count(), 0);
}

#[tokio::test]
async fn several_issuers_each_have_their_keys() {
    let issuers = json!([
        { "keys": [{ "secret": secret() }], "issuer": "https://evil.example" },
        { "keys": [{ "pem": pem("ES256") }], "issuer": "https://idp.example" },
    ]);
    let (gateway, _origin) = guarded(json!({ "jwt": issuers })).await;
    assert_eq!(consumer(with(&gateway, "authorization", &bearer("issuer"))).await, named("alice"));
    assert_eq!(consumer(with(&gateway, "authorization", &bearer("ES256"))).await, named("alice"));
    assert_eq!(
        consumer(with(&gateway, "authorization", &bearer("HS256"))).await,
        Err(401),
        "the right key of the wrong issuer"
    );
}

#[tokio::test]
async fn a_configuration_that_lets_nobody_pass_is_refused() {
    for config in [json!({}), json!({ "jwt": { "keys": [] } }), json!({ "basic": { "users": { "a": "plain" } } })] {
        let site = Site::new(&one_route("http://127.0.0.1:9", &json!([{ "use": "auth", "config": config }])));
        let output = tokio::task::spawn_blocking(move || site.check()).await.unwrap();
        assert_eq!(output.code, 1, "{config}: {}", output.text());
    }
}

#[tokio::test]
async fn identity_is_not_for_trailers_to_claim_either() {
    let origin = Origin::echo().await;
    for optional in [true, false] {
        let config = json!({ "api_keys": { "alice": "key-of-alice" }, "optional": optional });
        let gateway = Site::new(&one_route(&origin.url(), &json!([{ "use": "auth", "config": config }]))).start().await;
        let mut trailers = http::HeaderMap::new();
        trailers.insert("x-consumer", "root".parse().unwrap());
        trailers.insert("x-api-key", "another".parse().unwrap());
        trailers.insert("x-checksum", "abc".parse().unwrap());
        let call = gateway.request(Method::POST, "/").header("trailer", "x-consumer, x-api-key, x-checksum");
        let call = if optional { call } else { call.header("x-api-key", "key-of-alice") };
        call.stream(body::with_trailers(["body"], trailers)).send().await.expect(200);
        let seen = origin.last();
        assert_eq!(seen.header("x-consumer"), if optional { "" } else { "alice" });
        let seen = seen.trailers.unwrap_or_default();
        assert!(!seen.contains_key("x-consumer"), "{seen:?}");
        assert!(optional || !seen.contains_key("x-api-key"), "a credential that was taken ends here: {seen:?}");
        assert_eq!(seen["x-checksum"], "abc");
    }
}

#[tokio::test]
async fn who_is_known_and_may_not_pass_gets_403() {
    let may = |require: Value| {
        let mut config = jwt(&json!({ "keys": { "secret": secret() }, "require": require }));
        config["api_keys"] = json!({ "alice": "key-a", "bob": "key-b" });
        config["allow"] = json!(["alice"]);
        config
    };
    let (gateway, origin) =
        guarded(may(json!({ "email": "alice@example.com", "aud": { "any": ["shop", "api"] } }))).await;
    assert_eq!(consumer(with(&gateway, "authorization", &bearer("HS256"))).await, named("alice"));
    assert_eq!(consumer(with(&gateway, "x-api-key", "key-a")).await, named("alice"));
    let response = with(&gateway, "x-api-key", "key-b").send().await.expect(403);
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(origin.count(), 2);
    let (gateway, origin) = guarded(may(json!({ "scope": { "contains": "orders:read" } }))).await;
    let response = with(&gateway, "authorization", &bearer("HS256")).send().await.expect(403);
    assert_eq!(response.header("www-authenticate"), "Bearer realm=\"api\", error=\"insufficient_scope\"");
    assert_eq!(origin.count(), 0);
}
