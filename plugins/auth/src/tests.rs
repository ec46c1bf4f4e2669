//! The filter through its harness: every option.

mod allowed;
mod forged;
mod remote;
pub(crate) mod tokens;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{Harness, Outcome};

use crate::Auth;
use tokens::{FAR, RS256, RSA_PEM, SECRET, ed25519_jwk, eddsa, es256, hs256, p256_jwk, token};

pub(crate) fn auth(config: Json) -> Harness<Auth> {
    Harness::new(config).unwrap()
}
fn secret(more: &Json) -> Harness<Auth> {
    let mut jwt = json!({"keys": [{"secret": SECRET}]});
    jwt.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    auth(json!({"jwt": jwt}))
}
fn bearer(harness: &Harness<Auth>, token: &str) -> Outcome {
    harness.get("/a").bearer(token).send()
}
fn upstream_header<'a>(out: &'a Outcome, name: &str) -> Option<&'a str> {
    out.upstream_request().unwrap().header(name)
}
/// The consumer that the upstream was told, or the status.
pub(crate) fn who(out: &Outcome) -> Result<Option<&str>, u16> {
    match out.upstream_request() {
        Some(request) => {
            assert_eq!(out.consumer(), request.header("x-consumer"));
            Ok(out.consumer())
        }
        None => Err(out.status()),
    }
}

#[test]
fn an_api_key_names_its_consumer() {
    let keys = auth(json!({"api_keys": {"alice": "k1", "bob": "k2"}}));
    assert_eq!(who(&keys.get("/a").header("x-api-key", "k1").send()), Ok(Some("alice")));
    assert_eq!(who(&keys.get("/a").header("X-API-Key", "k2").send()), Ok(Some("bob")));
    for wrong in ["k3", "K1", "k1,k1", "k1\0", ""] {
        assert_eq!(who(&keys.get("/a").header("x-api-key", wrong).send()), Err(401), "{wrong:?}");
    }
    assert_eq!(who(&keys.get("/a?x-api-key=k1").send()), Err(401));
}

#[test]
fn who_is_refused_learns_how_to_authenticate() {
    let all = auth(json!({
        "api_keys": {"a": "k"}, "basic": {"users": {"b": bcrypt("pw")}}, "jwt": {"keys": [{"secret": SECRET}]}, "realm": "orders"
    }));
    let out = all.get("/a").send();
    assert_eq!((out.status(), out.reached_upstream()), (401, false));
    let challenges: Vec<_> =
        out.headers().iter().filter(|(name, _)| name == "www-authenticate").map(|(_, value)| value.as_str()).collect();
    assert_eq!(
        challenges,
        [r#"Bearer realm="orders""#, r#"Basic realm="orders", charset="UTF-8""#, r#"ApiKey realm="orders""#]
    );
    assert_eq!(out.header("content-type"), Some("application/problem+json"));
    assert_eq!(
        out.json::<Json>(),
        json!({"title": "Unauthorized", "status": 401, "detail": "Authentication is required."})
    );
    assert_eq!((out.details(), out.metric("denied{reason=missing}")), ("missing", 1));
}

#[test]
fn api_keys_are_looked_for_where_they_are_configured() {
    let anywhere = json!({"api_keys": {"a": "k"}, "api_key_from": ["bearer", {"header": "X-Key"}, {"query": "key"}, {"cookie": "key"}]});
    let harness = auth(anywhere);
    for request in [
        harness.get("/a").bearer("k"),
        harness.get("/a").header("x-key", "k"),
        harness.get("/a?b=1&%6bey=k"),
        harness.get("/a").header("cookie", "x=1; key=k"),
    ] {
        assert_eq!(who(&request.send()), Ok(Some("a")));
    }
    assert_eq!(who(&harness.get("/a").header("x-api-key", "k").send()), Err(401));
}

#[test]
fn a_credential_goes_no_further_unless_it_is_asked_for() {
    let config = |forward: bool| json!({"api_keys": {"a": "k"}, "api_key_from": [{"header": "x-key"}, {"query": "key"}, {"cookie": "key"}], "forward_credentials": forward});
    let (strip, forward) = (auth(config(false)), auth(config(true)));
    let header = |harness: &Harness<Auth>| {
        upstream_header(&harness.get("/a").header("x-key", "k").send(), "x-key").map(str::to_owned)
    };
    assert_eq!((header(&strip), header(&forward).as_deref()), (None, Some("k")));
    let query =
        |harness: &Harness<Auth>| harness.get("/a?b=%7e&%6bey=k&c").send().upstream_request().unwrap().path.clone();
    assert_eq!((query(&strip).as_str(), query(&forward).as_str()), ("/a?b=%7e&c", "/a?b=%7e&%6bey=k&c"));
    let cookie = |harness: &Harness<Auth>, value: &str| {
        upstream_header(&harness.get("/a").header("cookie", value).send(), "cookie").map(str::to_owned)
    };
    assert_eq!(cookie(&strip, "x=1; key=k; y=2").as_deref(), Some("x=1; y=2"));
    assert_eq!(cookie(&strip, "key=k"), None);
    assert_eq!(cookie(&forward, "key=k").as_deref(), Some("key=k"));
    let out = bearer(&secret(&json!({})), &token(&json!({"sub": "a", "exp": FAR})));
    assert_eq!(upstream_header(&out, "authorization"), None);
}

#[test]
fn identity_cannot_be_sent_by_clients() {
    let config = json!({
        "optional": true, "api_keys": {"alice": "k"},
        "jwt": {"keys": [{"secret": SECRET}], "claims_to_headers": {"email": "X-Email", "role": "x-role"}}
    });
    let harness = auth(config);
    let forged = || {
        harness
            .get("/a")
            .header("x-consumer", "root")
            .header("x-consumer", "root")
            .header("x-email", "root@x")
            .header("x-role", "root")
    };
    let anonymous = forged().send();
    assert_eq!(who(&anonymous), Ok(None));
    assert_eq!((upstream_header(&anonymous, "x-email"), upstream_header(&anonymous, "x-role")), (None, None));
    let alice = forged().header("x-api-key", "k").send();
    assert_eq!(who(&alice), Ok(Some("alice")));
    assert_eq!(upstream_header(&alice, "x-role"), None);
    let claims = token(&json!({"sub": "carol", "exp": FAR, "email": "c@x"}));
    let carol = forged().bearer(&claims).send();
    assert_eq!((who(&carol), upstream_header(&carol, "x-email")), (Ok(Some("carol")), Some("c@x")));
    assert_eq!(upstream_header(&carol, "x-role"), None);
    let consumers = &carol.upstream_request().unwrap().headers;
    assert_eq!(consumers.iter().filter(|(name, _)| name == "x-consumer").count(), 1);
}

#[test]
fn optional_lets_nobody_pass_with_a_wrong_credential() {
    let harness = auth(json!({"optional": true, "api_keys": {"alice": "k"}}));
    assert_eq!(who(&harness.get("/a").send()), Ok(None));
    assert_eq!(who(&harness.get("/a").header("x-api-key", "wrong").send()), Err(401));
}

#[test]
fn several_credentials_are_refused() {
    let keys = auth(json!({"api_keys": {"alice": "k"}}));
    assert_eq!(who(&keys.get("/a").header("x-api-key", "k").header("x-api-key", "k").send()), Err(401));
    let jwt = secret(&json!({}));
    let good = token(&json!({"sub": "a", "exp": FAR}));
    assert_eq!(who(&jwt.get("/a").bearer(&good).bearer("x").send()), Err(401));
    assert_eq!(who(&jwt.get("/a").bearer(&good).header("authorization", "Basic eDp5").send()), Err(401));
    let out = jwt.get("/a").bearer(&good).bearer(&good).send();
    assert_eq!((who(&out), out.details()), (Err(401), "ambiguous"));
}

#[test]
fn the_first_kind_of_credential_decides() {
    let harness = auth(json!({"api_keys": {"alice": "k"}, "jwt": {"keys": [{"secret": SECRET}]}}));
    let request = harness.get("/a").header("x-api-key", "k").bearer("not a token");
    assert_eq!(who(&request.send()), Err(401));
    let good = token(&json!({"sub": "carol", "exp": FAR}));
    assert_eq!(who(&harness.get("/a").header("x-api-key", "k").bearer(&good).send()), Ok(Some("carol")));
    assert_eq!(who(&harness.get("/a").header("x-api-key", "k").send()), Ok(Some("alice")));
}

#[test]
fn a_user_has_a_password() {
    let harness = auth(json!({"basic": {"users": {"bob": bcrypt("open sesame"), "eve": bcrypt("x")}}}));
    let login = |credentials: &str| {
        harness.get("/a").header("authorization", format!("bAsIc {}", STANDARD.encode(credentials))).send()
    };
    let out = login("bob:open sesame");
    assert_eq!((who(&out), upstream_header(&out, "authorization")), (Ok(Some("bob")), None));
    assert_eq!(who(&login("bob:open sesame")), Ok(Some("bob")));
    for wrong in ["bob:open", "bob:", "mallory:open sesame", "bob", ":", "eve:open sesame"] {
        assert_eq!(who(&login(wrong)), Err(401), "{wrong}");
    }
    assert_eq!(who(&harness.get("/a").bearer("x").send()), Err(401));
}

#[test]
fn a_hash_that_a_request_cannot_wait_for_is_refused() {
    for hash in [
        "secret",
        "$2y$10$abcdefghijklmnopqrstuuRzHvKAzJyg8Vd4JNGqAhZKZ4p0v7YVq",
        "$2y$05$short",
        "$argon2id$v=19$m=1,t=2,p=1$c2FsdA$aaaa",
    ] {
        let error = Harness::<Auth>::new(json!({"basic": {"users": {"alice": hash}}})).err().unwrap().to_string();
        assert!(error.contains("bcrypt with a cost up to 8"), "{error}");
    }
    let hash = bcrypt("x");
    assert!(Harness::<Auth>::new(json!({"basic": {"users": {"a:b": hash}}})).is_err());
}

#[test]
fn a_token_of_every_algorithm_passes() {
    let claims = json!({"sub": "alice", "exp": FAR});
    let keys =
        json!([{"pem": RSA_PEM}, {"jwks": {"keys": [p256_jwk(1, "e1"), ed25519_jwk(1, "d1")]}}, {"secret": SECRET}]);
    let harness = auth(json!({"jwt": {"keys": keys}}));
    let tokens = [
        token(&claims),
        RS256.to_owned(),
        es256(&json!({"alg": "ES256", "kid": "e1"}), &claims, 1),
        eddsa(&json!({"alg": "EdDSA", "kid": "d1"}), &claims, 1),
    ];
    for token in &tokens {
        assert_eq!(who(&bearer(&harness, token)), Ok(Some("alice")));
    }
    let only = auth(json!({"jwt": {"keys": keys, "algorithms": ["ES256", "EdDSA"]}}));
    assert_eq!([0, 1, 2, 3].map(|index| who(&bearer(&only, &tokens[index])).is_ok()), [false, false, true, true]);
}

#[test]
fn a_bad_token_is_refused_with_a_reason_for_the_log() {
    let harness = secret(
        &json!({"issuer": "https://idp.example", "audience": ["orders", "users"], "required_claims": ["exp", "sub"]}),
    );
    let good = json!({"iss": "https://idp.example", "aud": "users", "sub": "alice", "exp": FAR});
    assert_eq!(who(&bearer(&harness, &token(&good))), Ok(Some("alice")));
    let with = |name: &str, value: Json| {
        let mut claims = good.clone();
        claims[name] = value;
        token(&claims)
    };
    for (text, reason) in [
        ("nonsense".to_owned(), "malformed"),
        ("a.b.c".to_owned(), "malformed"),
        (with("iss", json!("https://evil.example")), "issuer"),
        (with("aud", json!(["other"])), "audience"),
        (with("sub", json!(null)), "claims"),
        (with("exp", json!(null)), "claims"),
        (with("exp", json!("tomorrow")), "claims"),
        (with("exp", json!(1)), "expired"),
        (with("nbf", json!(FAR)), "early"),
        (hs256(&json!({"alg": "none"}), &good, SECRET.as_bytes()), "malformed"),
        (hs256(&json!({"alg": "HS256", "crit": ["b64"], "b64": false}), &good, SECRET.as_bytes()), "algorithm"),
        (hs256(&json!({"alg": "HS256"}), &good, b"another secret of thirty-two bytes"), "signature"),
    ] {
        let out = bearer(&harness, &text);
        assert_eq!(who(&out), Err(401), "{reason}");
        assert_eq!(out.details(), reason);
        let detail = match reason {
            "expired" => "The token has expired.",
            "early" => "The token is not valid yet.",
            _ => "The token is not valid.",
        };
        let challenge = format!(r#"Bearer realm="api", error="invalid_token", error_description="{detail}""#);
        assert_eq!(out.header("www-authenticate"), Some(challenge.as_str()));
    }
}

#[test]
fn the_clocks_may_be_apart_by_the_leeway() {
    let start = harness_time(&secret(&json!({})));
    let expiring = token(&json!({"sub": "a", "exp": start + 60}));
    for (leeway, passes_until) in [("0s", 60), ("10s", 70), ("30s", 90)] {
        let harness = secret(&json!({"leeway": leeway}));
        harness.advance(Duration::from_secs(passes_until - 1));
        assert!(who(&bearer(&harness, &expiring)).is_ok(), "{leeway}");
        harness.advance(Duration::from_secs(1));
        assert_eq!(who(&bearer(&harness, &expiring)), Err(401), "{leeway}");
    }
}

#[test]
fn a_remembered_signature_expires_with_its_token() {
    let harness = auth(json!({"jwt": {"keys": [{"jwks": {"keys": [p256_jwk(1, "e1")]}}], "leeway": "0s"}}));
    let expiring = es256(&json!({"alg": "ES256"}), &json!({"sub": "a", "exp": harness_time(&harness) + 30}), 1);
    assert!(who(&bearer(&harness, &expiring)).is_ok());
    harness.advance(Duration::from_secs(30));
    assert_eq!(who(&bearer(&harness, &expiring)), Err(401));
}

#[test]
fn claims_reach_the_upstream_as_headers() {
    let harness = secret(&json!({
        "consumer_claim": "/realm/user",
        "claims_to_headers": {"email": "X-Email", "groups": "x-groups", "/realm/id": "x-realm", "evil": "x-evil", "none": "x-none"}
    }));
    let claims = json!({"exp": FAR, "sub": "s", "email": "a@b", "groups": ["x", "y"], "realm": {"id": 7, "user": "carol"}, "evil": "a\r\nb"});
    let out = bearer(&harness, &token(&claims));
    assert_eq!(who(&out), Ok(Some("carol")));
    let headers = ["x-email", "x-groups", "x-realm", "x-evil", "x-none"].map(|name| upstream_header(&out, name));
    assert_eq!(headers, [Some("a@b"), Some(r#"["x","y"]"#), Some("7"), None, None]);
    let nameless = bearer(&harness, &token(&json!({"exp": FAR})));
    assert_eq!(who(&nameless), Ok(None));
}

#[test]
fn tokens_are_looked_for_where_they_are_configured() {
    let harness = secret(&json!({"from": [{"header": "x-token"}, {"cookie": "token"}, {"query": "token"}]}));
    let good = token(&json!({"sub": "a", "exp": FAR}));
    let requests = [
        harness.get("/a").header("x-token", &good),
        harness.get("/a").header("cookie", format!("token={good}")),
        harness.get(&format!("/a?token={good}")),
    ];
    for request in requests {
        assert_eq!(who(&request.send()), Ok(Some("a")));
    }
    assert_eq!(who(&bearer(&harness, &good)), Err(401));
}

#[test]
fn several_issuers_have_keys_of_their_own() {
    let other = "another secret of thirty-two bytes";
    let harness = auth(json!({"jwt": [
        {"keys": [{"secret": SECRET}], "issuer": "https://one.example"},
        {"keys": [{"secret": other}], "issuer": "https://two.example", "claims_to_headers": {"tier": "x-tier"}}
    ]}));
    let claims = |issuer: &str| json!({"sub": "a", "exp": FAR, "iss": issuer, "tier": "gold"});
    let signed = |issuer: &str, secret: &str| hs256(&json!({"alg": "HS256"}), &claims(issuer), secret.as_bytes());
    let two = bearer(&harness, &signed("https://two.example", other));
    assert_eq!((who(&two), upstream_header(&two, "x-tier")), (Ok(Some("a")), Some("gold")));
    let one = bearer(&harness, &signed("https://one.example", SECRET));
    assert_eq!((who(&one), upstream_header(&one, "x-tier")), (Ok(Some("a")), None));
    assert_eq!(who(&bearer(&harness, &signed("https://one.example", other))), Err(401));
    assert_eq!(who(&bearer(&harness, &signed("https://three.example", SECRET))), Err(401));
}

#[test]
fn a_configuration_that_protects_nothing_is_refused() {
    for (config, hint) in [
        (json!({}), "nobody"),
        (json!({"api_keys": {"a": ""}}), "empty"),
        (json!({"api_keys": {"a": "k", "b": "k"}}), "same key"),
        (json!({"api_keys": {"a\n": "k"}}), "consumer"),
        (json!({"api_keys": {"a": "k"}, "api_key_from": []}), "nobody"),
        (json!({"api_keys": {"a": "k"}, "api_key_from": [{"header": "a b"}]}), "header"),
        (json!({"api_keys": {"a": "k"}, "realm": "a\"b"}), "realm"),
        (json!({"basic": {"users": {"a": "plain"}}}), "hashed by bcrypt"),
        (json!({"jwt": {}}), "keys"),
        (json!({"jwt": {"keys": []}}), "keys"),
        (json!({"jwt": {"keys": [{"secret": "short"}]}}), "32 bytes"),
        (json!({"jwt": {"keys": [{"pem": "x"}]}}), "PEM"),
        (json!({"jwt": {"keys": [{"jwks": {"keys": []}}]}}), "Key Set"),
        (json!({"jwt": {"keys": [{"secret": SECRET}], "algorithms": []}}), "algorithms"),
        (json!({"jwt": {"keys": [{"secret": SECRET}], "algorithms": ["none"]}}), "none"),
        (json!({"jwt": {"keys": [{"secret": SECRET}], "claims_to_headers": {"a": "host"}}}), "host"),
        (json!({"jwt": {"keys": [{"secret": SECRET}], "from": []}}), "nobody"),
        (json!({"jwt": {"jwks": {"upstream": "idp", "refresh": "1s"}}}), "refresh"),
    ] {
        let error = Harness::<Auth>::new(config.clone()).map(|_| config).unwrap_err().to_string();
        assert!(error.contains(hint), "{hint}: {error}");
        assert!(!error.contains("short") && !error.contains("plain"), "{error}");
    }
}

fn bcrypt(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, [7; 16]).unwrap().to_string()
}

/// The harness's time, seconds since 1970.
fn harness_time(harness: &Harness<Auth>) -> u64 {
    drop(harness.get("/time").send());
    now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn the_documented_examples_are_accepted() {
    let documents = [include_str!("lib.rs").replace("//! ", ""), include_str!("../README.md").to_owned()];
    let blocks =
        documents.iter().flat_map(|text| text.split("```json").skip(1)).filter_map(|rest| rest.split("```").next());
    let examples: Vec<Json> = blocks.map(|block| serde_json::from_str(block).unwrap()).collect();
    assert!(examples.len() >= 2);
    for example in examples {
        let config =
            if example.get("use").is_some() { example.get("config").cloned().unwrap_or(json!({})) } else { example };
        assert!(Harness::<Auth>::new(config.clone()).is_ok(), "{config}");
    }
}
