//! The filter through its harness: every option.

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{Harness, Outcome, TestReply};

use crate::Cors;

const APP: &str = "https://app.example";

fn cors(config: Json) -> Harness<Cors> {
    Harness::new(config).unwrap()
}
fn app() -> Harness<Cors> {
    cors(json!({"origins": [APP]}))
}
fn refusal(config: Json) -> String {
    Harness::<Cors>::new(config).unwrap_err().to_string()
}
fn preflight(cors: &Harness<Cors>, origin: &str, method: &str, headers: Option<&str>) -> Outcome {
    let mut request = cors.options("/a").header("origin", origin).header("access-control-request-method", method);
    if let Some(headers) = headers {
        request = request.header("access-control-request-headers", headers);
    }
    request.send()
}
/// All CORS fields of an answer.
fn fields(out: &Outcome) -> Vec<(&str, &str)> {
    let ours = |name: &str| name.starts_with("access-control-") || name == "vary";
    let mut fields: Vec<_> = out
        .headers()
        .iter()
        .filter(|(name, _)| ours(name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    fields.sort_unstable();
    fields
}

#[test]
fn an_actual_request_is_passed_on_and_its_answer_allowed() {
    let out = app().get("/a").header("origin", APP).send();
    assert!(out.reached_upstream());
    assert_eq!(fields(&out), [("access-control-allow-origin", APP), ("vary", "Origin")]);
}

#[test]
fn another_origin_is_served_but_its_page_may_not_read() {
    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil",
        "http://app.example",
        "https://app.example, https://app.example",
    ] {
        let out = app().get("/a").header("origin", origin).send();
        assert!(out.reached_upstream());
        assert_eq!(fields(&out), [("vary", "Origin")], "{origin}");
    }
}

#[test]
fn an_answer_varies_by_origin_also_without_one() {
    assert_eq!(fields(&app().get("/a").send()), [("vary", "Origin")]);
    let upstream = |vary: &str| TestReply::new(200).header("vary", vary);
    let vary = |vary: &str| app().get("/a").upstream_reply(upstream(vary)).send().headers().to_vec();
    assert_eq!(vary("Accept, origin").len(), 1);
    assert_eq!(vary("*").len(), 1);
    assert_eq!(vary("Accept").iter().filter(|(name, _)| name == "vary").count(), 2);
    assert_eq!(vary("X-Origin").iter().filter(|(name, _)| name == "vary").count(), 2);
}

#[test]
fn what_the_upstream_says_about_cors_is_replaced() {
    let upstream = TestReply::new(200)
        .header("access-control-allow-origin", "*")
        .header("access-control-allow-origin", "https://evil.example")
        .header("access-control-allow-credentials", "true")
        .header("access-control-allow-methods", "DELETE")
        .header("access-control-allow-headers", "*")
        .header("access-control-expose-headers", "x-secret")
        .header("access-control-max-age", "86400")
        .header("access-control-allow-private-network", "true");
    let allowed = app().get("/a").header("origin", APP).upstream_reply(upstream.clone()).send();
    assert_eq!(fields(&allowed), [("access-control-allow-origin", APP), ("vary", "Origin")]);
    let refused = app().get("/a").header("origin", "https://evil.example").upstream_reply(upstream).send();
    assert_eq!(fields(&refused), [("vary", "Origin")]);
}

#[test]
fn an_error_of_the_upstream_can_be_read_too() {
    let out = app().get("/a").header("origin", APP).upstream_reply(TestReply::new(500)).send();
    assert_eq!((out.status(), out.header("access-control-allow-origin")), (500, Some(APP)));
}

#[test]
fn a_preflight_is_answered_here() {
    let out = preflight(&app(), APP, "PUT", Some("content-type, X-Trace"));
    assert!(!out.reached_upstream());
    assert_eq!((out.status(), out.body().len()), (204, 0));
    assert_eq!(
        fields(&out),
        [
            ("access-control-allow-headers", "content-type, X-Trace"),
            ("access-control-allow-methods", "GET, HEAD, POST, PUT, PATCH, DELETE"),
            ("access-control-allow-origin", APP),
            ("access-control-max-age", "600"),
            ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        ]
    );
}

#[test]
fn a_refused_preflight_says_nothing() {
    let out = preflight(&app(), "https://evil.example", "PUT", None);
    assert!(!out.reached_upstream());
    assert_eq!(out.status(), 204);
    assert_eq!(fields(&out), [("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]);
}

#[test]
fn options_that_are_no_preflight_are_passed_on() {
    for request in [
        app().options("/a"),
        app().options("/a").header("origin", APP),
        app().options("/a").header("access-control-request-method", "PUT"),
        app().get("/a").header("origin", APP).header("access-control-request-method", "PUT"),
    ] {
        assert!(request.send().reached_upstream());
    }
}

#[test]
fn methods_are_as_configured() {
    let some = cors(json!({"origins": [APP], "methods": ["GET", "QUERY"]}));
    assert_eq!(preflight(&some, APP, "DELETE", None).header("access-control-allow-methods"), Some("GET, QUERY"));
    let any = cors(json!({"origins": [APP], "methods": ["*"]}));
    assert_eq!(preflight(&any, APP, "DELETE", None).header("access-control-allow-methods"), Some("*"));
    let credentials = cors(json!({"origins": [APP], "methods": ["*"], "credentials": true}));
    assert_eq!(preflight(&credentials, APP, "DELETE", None).header("access-control-allow-methods"), Some("DELETE"));
    assert_eq!(preflight(&credentials, APP, "DE LETE", None).header("access-control-allow-methods"), None);
}

#[test]
fn headers_are_as_configured() {
    let some = cors(json!({"origins": [APP], "headers": ["content-type", "x-a"]}));
    let asked = |cors: &Harness<Cors>, headers| {
        preflight(cors, APP, "GET", headers).header("access-control-allow-headers").map(str::to_owned)
    };
    assert_eq!(asked(&some, Some("x-b")).as_deref(), Some("content-type, x-a"));
    let none = cors(json!({"origins": [APP], "headers": []}));
    assert_eq!(asked(&none, Some("x-b")), None);
    // `*` does not cover authorization, so what is asked for is named.
    let any = cors(json!({"origins": [APP], "headers": ["*"], "credentials": true}));
    assert_eq!(asked(&any, Some("authorization,x-b")).as_deref(), Some("authorization, x-b"));
    assert_eq!(asked(&any, None), None);
    for bad in ["", ",", "a b", "x\u{e9}", "a;b"] {
        assert_eq!(asked(&any, Some(bad)), None, "{bad}");
    }
    assert_eq!(asked(&any, Some("x-long,".repeat(1000).as_str())), None);
}

#[test]
fn exposed_headers_are_listed_on_actual_answers_only() {
    let exposing = cors(json!({"origins": [APP], "expose_headers": ["x-a", "x-b"]}));
    let out = exposing.get("/a").header("origin", APP).send();
    assert_eq!(out.header("access-control-expose-headers"), Some("x-a, x-b"));
    assert_eq!(preflight(&exposing, APP, "GET", None).header("access-control-expose-headers"), None);
    let all = cors(json!({"origins": [APP], "expose_headers": ["*"]}));
    assert_eq!(all.get("/a").header("origin", APP).send().header("access-control-expose-headers"), Some("*"));
}

#[test]
fn credentials_name_the_origin() {
    let credentials = cors(json!({"origins": [APP, "https://*.example.com"], "credentials": true}));
    for origin in [APP, "https://a.example.com"] {
        for out in [credentials.get("/a").header("origin", origin).send(), preflight(&credentials, origin, "GET", None)]
        {
            assert_eq!(out.header("access-control-allow-origin"), Some(origin));
            assert_eq!(out.header("access-control-allow-credentials"), Some("true"));
        }
    }
    let out = credentials.get("/a").header("origin", "https://evil-example.com").send();
    assert_eq!(out.header("access-control-allow-credentials"), None);
}

#[test]
fn all_origins_get_the_same_answer() {
    let public = cors(json!({"origins": ["*"]}));
    for origin in [None, Some(APP), Some("null")] {
        let request = public.get("/a");
        let out = origin.map_or_else(|| public.get("/a"), |origin| request.header("origin", origin)).send();
        assert_eq!(fields(&out), [("access-control-allow-origin", "*")]);
    }
    let out = preflight(&public, APP, "GET", None);
    assert_eq!(out.header("vary"), Some("Access-Control-Request-Method, Access-Control-Request-Headers"));
    assert_eq!(out.header("access-control-allow-origin"), Some("*"));
}

#[test]
fn a_preflight_may_be_remembered() {
    let short = cors(json!({"origins": [APP], "max_age": "1m30s"}));
    assert_eq!(preflight(&short, APP, "GET", None).header("access-control-max-age"), Some("90"));
}

#[test]
fn a_private_network_is_opened_by_name() {
    let ask = |cors: &Harness<Cors>, value: &str| {
        let request = cors.options("/a").header("origin", APP).header("access-control-request-method", "GET");
        request.header("access-control-request-private-network", value).send()
    };
    let open = cors(json!({"origins": [APP], "private_network": true}));
    let out = ask(&open, "true");
    assert_eq!(out.header("access-control-allow-private-network"), Some("true"));
    assert!(out.header("vary").unwrap().ends_with("Access-Control-Request-Private-Network"));
    assert_eq!(ask(&open, "false").header("access-control-allow-private-network"), None);
    assert_eq!(ask(&app(), "true").header("access-control-allow-private-network"), None);
}

#[test]
fn a_configuration_that_would_open_too_much_is_refused() {
    for (config, hint) in [
        (json!({"origins": []}), "origins is empty"),
        (json!({"origins": ["*"], "credentials": true}), "every site"),
        (json!({"origins": [APP], "credentials": true, "expose_headers": ["*"]}), "expose_headers"),
        (json!({"origins": ["app.example"]}), "https://app.example"),
        (json!({"origins": [APP], "methods": []}), "methods"),
        (json!({"origins": [APP], "methods": ["A B"]}), "methods"),
        (json!({"origins": [APP], "headers": ["x:y"]}), "headers"),
        (json!({"origins": [APP], "max_age": "soon"}), "max_age"),
        (json!({"origin": [APP]}), "origin"),
    ] {
        let error = refusal(config);
        assert!(error.contains(hint), "{error}");
    }
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
        assert!(Harness::<Cors>::new(config.clone()).is_ok(), "{config}");
    }
}
