//! The filter through its harness: every option.

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{Harness, Outcome, TestReply};

use crate::Log;

fn log(config: Json) -> Harness<Log> {
    Harness::new(config).unwrap().client_ip("10.0.0.7")
}
/// The one record of an exchange.
fn record(out: &Outcome) -> Json {
    assert_eq!(out.printed().len(), 1);
    serde_json::from_str(&out.printed()[0]).unwrap()
}
fn answer(harness: &Harness<Log>, status: u16) -> Outcome {
    harness.get("/a").upstream_reply(TestReply::new(status)).send()
}

#[test]
fn a_request_is_one_json_object() {
    let harness = log(json!({}))
        .property(&["xds", "route_name"], "users")
        .property(&["consumer"], "alice")
        .property(&["request", "protocol"], "HTTP/1.1")
        .property(&["request", "scheme"], "https")
        .property(&["request", "host"], "api.example")
        .property(&["cluster_name"], "backend")
        .property(&["upstream", "address"], "10.1.0.1:80")
        .property(&["request", "time"], 1_700_000_000_123_456_000_u64.to_le_bytes());
    let request =
        harness.post("/a/b?x=1").header("user-agent", "curl/8").header("referer", "https://app.example/p?q=1");
    let out = request.body("hello").upstream_reply(TestReply::new(201).body("created")).send();
    assert_eq!(
        record(&out),
        json!({
            "time": "2023-11-14T22:13:20.123456Z", "method": "POST", "scheme": "https", "host": "api.example", "path": "/a/b",
            "query": "x=1", "route": "users", "protocol": "HTTP/1.1", "status": 201, "duration_ms": 0.0, "request_size": 5,
            "response_size": 7, "client_ip": "10.0.0.7", "user_agent": "curl/8", "referer": "https://app.example/p?q=1",
            "request_id": "test-2", "consumer": "alice", "upstream": "backend", "upstream_address": "10.1.0.1:80"
        })
    );
    assert_eq!(out.status(), 201);
}

#[test]
fn the_target_is_the_one_that_was_asked_for() {
    let harness = log(json!({}))
        .property(&["request", "original_path"], "/old?token=s&a=1")
        .property(&["upstream", "path"], "/new?token=s");
    let record = record(&harness.get("/changed").send());
    let shown = ["path", "query", "upstream_path"].map(|key| record[key].as_str().unwrap());
    assert_eq!(shown, ["/old", "token=[redacted]&a=1", "/new?token=[redacted]"]);
}

#[test]
fn a_template_is_filled_in() {
    let harness = log(
        json!({"template": "{client_ip} \"{method} {path}\" {status} {consumer} {request.header.X-A} {response.header.etag} {{}}"}),
    );
    let request =
        harness.get("/a?b=1").header("x-a", "say \"hi\"").upstream_reply(TestReply::new(200).header("etag", "e1"));
    assert_eq!(request.send().printed(), [r#"10.0.0.7 "GET /a" 200 - say \"hi\" e1 {}"#]);
}

#[test]
fn configured_headers_are_logged_too() {
    let harness = log(json!({"request_headers": ["X-Tenant", "absent"], "response_headers": ["etag"]}));
    let out =
        harness.get("/a").header("x-tenant", "t1").upstream_reply(TestReply::new(200).header("etag", "e1")).send();
    let record = record(&out);
    assert_eq!((&record["request.header.x-tenant"], &record["response.header.etag"]), (&json!("t1"), &json!("e1")));
    assert_eq!(record.get("request.header.absent"), None);
}

#[test]
fn hostile_input_stays_on_its_line() {
    let harness = log(json!({"request_headers": ["x-a"]}));
    let hostile = b"\xff\"},\n{\"status\":200}\r\n\x1b[2J\xe2\x80\xa8".as_slice();
    let out = harness.get("/%0a\"\\?q=\u{2028}\"").header("user-agent", hostile).header("x-a", hostile).send();
    let line = &out.printed()[0];
    assert!(!line.chars().any(|char| char.is_control() || char == '\u{2028}'), "{line}");
    let record = record(&out);
    assert_eq!((&record["path"], &record["query"]), (&json!("/%0a\"\\"), &json!("q=\u{2028}\"")));
    assert_eq!(record["user_agent"], json!(String::from_utf8_lossy(hostile)));
}

#[test]
fn a_long_value_is_cut_at_a_character() {
    let out = log(json!({"template": "{user_agent}"})).get("/a").header("user-agent", "é".repeat(5000)).send();
    assert_eq!(out.printed()[0], "é".repeat(2048) + "…");
}

#[test]
fn a_template_stays_on_its_line_too() {
    let out = log(json!({"template": "{user_agent}"})).get("/a").header("user-agent", "a\r\n\u{1b}[31m\u{202e}").send();
    assert_eq!(out.printed(), ["a\\r\\n\\u001b[31m\\u202e"]);
}

#[test]
fn a_sample_takes_always_the_same_requests_and_no_client_chooses_which() {
    // All with the same id, as a client can send it.
    let is_logged = |share: f64, arrival: u64| {
        let harness = log(json!({"sample": share})).property(&["request", "time"], arrival.to_le_bytes());
        !answer(&harness, 200).printed().is_empty()
    };
    let of = |share: f64| (0..100).filter(|arrival| is_logged(share, *arrival)).collect::<Vec<_>>();
    let some = of(0.5);
    assert!((25..75).contains(&some.len()), "{some:?}");
    assert_eq!(of(0.5), some);
    let more = of(0.8);
    assert!(some.iter().all(|arrival| more.contains(arrival)));
}

#[test]
fn credentials_are_never_logged() {
    let config = json!({
        "request_headers": ["authorization", "cookie", "x-api-key", "x-pin", "accept"], "response_headers": ["set-cookie"],
        "redact": {"headers": ["X-Pin"], "query": ["session"]}
    });
    let harness = log(config);
    let request = harness
        .get("/a?token=s3cret&session=s3cret&a=1")
        .bearer("s3cret")
        .header("cookie", "k=s3cret")
        .header("x-api-key", "s3cret")
        .header("x-pin", "s3cret")
        .header("accept", "text/plain")
        .header("referer", "https://app.example/?code=s3cret");
    let out = request.upstream_reply(TestReply::new(200).header("set-cookie", "k=s3cret")).send();
    let line = &out.printed()[0];
    assert!(!line.contains("s3cret"), "{line}");
    let record = record(&out);
    assert_eq!(record["query"], "token=[redacted]&session=[redacted]&a=1");
    assert_eq!(
        (&record["request.header.authorization"], &record["request.header.accept"]),
        (&json!("[redacted]"), &json!("text/plain"))
    );
}

#[test]
fn only_the_chosen_statuses_are_logged() {
    let errors = log(json!({"only": ["5xx", "404"]}));
    assert_eq!([200, 404, 403, 500].map(|status| answer(&errors, status).printed().len()), [0, 1, 0, 1]);
}

#[test]
fn a_sample_is_logged() {
    let half = log(json!({"sample": 0.5}));
    let logged: usize = (0..200).map(|_| answer(&half, 200).printed().len()).sum();
    assert!((50..150).contains(&logged), "{logged}");
    assert_eq!((0..20).map(|_| answer(&log(json!({"sample": 0})), 200).printed().len()).sum::<usize>(), 0);
}

#[test]
fn without_the_extension_a_record_is_a_log_line() {
    let out = log(json!({"template": "{status}"})).without_extensions().get("/a").send();
    assert!(out.logs().iter().any(|line| line.ends_with("200")), "{:?}", out.logs());
}

#[test]
fn a_bad_configuration_is_refused() {
    for (config, hint) in [
        (json!({"template": "{stauts}"}), "{stauts}"),
        (json!({"sample": 2}), "sample"),
        (json!({"only": ["9xx"]}), "9xx"),
        (json!({"only": ["xx"]}), "xx"),
        (json!({"only": ["600"]}), "600"),
        (json!({"template": "{status"}), "lone"),
        (json!({"template": "status}"}), "lone"),
        (json!({"template": "a\nb"}), "one line"),
        (json!({"template": "{request.header.}"}), "{request.header.}"),
        (json!({"keys": "otel"}), "keys"),
        (json!({"redact": {"cookies": []}}), "cookies"),
    ] {
        let error = Harness::<Log>::new(config).unwrap_err().to_string();
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
        assert!(Harness::<Log>::new(config.clone()).is_ok(), "{config}");
    }
}
