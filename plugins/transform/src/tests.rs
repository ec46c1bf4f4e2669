//! The filter through its harness: every option.

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::{Harness, Received, TestReply};

use crate::Transform;

fn transform(config: Json) -> Harness<Transform> {
    Harness::new(config)
        .unwrap()
        .client_ip("10.0.0.7")
        .property(&["consumer"], "alice")
        .property(&["xds", "route_name"], "users")
}
fn refusal(config: Json) -> String {
    Harness::<Transform>::new(config).unwrap_err().to_string()
}
/// All values of a header.
fn all<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
}
fn got(out: &sluicegate_sdk::test::Outcome) -> &Received {
    out.upstream_request().unwrap()
}

#[test]
fn request_headers_are_removed_renamed_set_and_added() {
    let harness = transform(json!({"request": {"headers": {
        "remove": ["X-Secret"], "rename": {"x-old": "X-New"}, "set": {"x-set": "a"}, "add": {"x-add": "b", "x-old": "again"}
    }}}));
    let request =
        harness.get("/a").header("x-secret", "1").header("x-secret", "2").header("x-old", "1").header("x-old", "2");
    let out = request.header("x-new", "0").header("x-set", "1").header("x-set", "2").header("x-add", "a").send();
    let headers = &got(&out).headers;
    assert!(all(headers, "x-secret").is_empty());
    assert_eq!(all(headers, "x-new"), ["1", "2"]);
    assert_eq!(all(headers, "x-old"), ["again"]);
    assert_eq!(all(headers, "x-set"), ["a"]);
    assert_eq!(all(headers, "x-add"), ["a", "b"]);
}

#[test]
fn a_rename_without_a_source_leaves_the_target_alone() {
    let harness = transform(json!({"request": {"headers": {"rename": {"x-old": "x-new"}}}}));
    assert_eq!(got(&harness.get("/a").header("x-new", "1").send()).header("x-new"), Some("1"));
}

#[test]
fn response_headers_are_changed_too() {
    let harness = transform(json!({"response": {"headers": {
        "remove": ["server"], "set": {"x-status": "{response.status} {response.header.etag}"}, "add": {"x-who": "{consumer}"}
    }}}));
    let out =
        harness.get("/a").upstream_reply(TestReply::new(404).header("server", "nginx").header("etag", "e1")).send();
    assert_eq!(
        (out.header("server"), out.header("x-status"), out.header("x-who")),
        (None, Some("404 e1"), Some("alice"))
    );
}

#[test]
fn every_placeholder_stands_for_the_request_as_it_came() {
    let harness = transform(json!({"request": {
        "path": {"set": "/changed"},
        "query": {"remove": ["q"]},
        "headers": {"remove": ["x-a"], "set": {
            "x-all": "{request.header.x-a}|{request.query.q}|{request.path}|{request.method}|{request.host}|{request.id}|{client.ip}|{consumer}|{route}|{request.header.none}"
        }}
    }}));
    let out =
        harness.post("/was/here?q=a%20b").header("x-a", "1").header("x-a", "2").header("host", "api.example").send();
    let expected = "1, 2|a b|/was/here|POST|api.example|test-2|10.0.0.7|alice|users|";
    assert_eq!(got(&out).header("x-all"), Some(expected));
    assert_eq!(got(&out).path, "/changed");
}

#[test]
fn what_a_client_sends_cannot_leave_its_header() {
    let harness = transform(json!({"request": {"headers": {"set": {"x-a": "{request.query.q}"}}}}));
    let out = harness.get("/?q=a%0d%0ax-admin:%201%00").send();
    assert_eq!(got(&out).header("x-a"), Some("ax-admin: 1"));
}

#[test]
fn query_parameters_are_removed_renamed_set_and_added() {
    let harness = transform(json!({"request": {"query": {
        "remove": ["debug"], "rename": {"q": "query"}, "set": {"user": "{consumer}"}, "add": {"tag": "a&b"}
    }}}));
    assert_eq!(
        got(&harness.get("/a?debug=1&q=x%20y&user=eve&user=mallory").send()).path,
        "/a?query=x%20y&user=alice&tag=a%26b"
    );
    let emptied = transform(json!({"request": {"query": {"remove": ["debug"]}}}));
    assert_eq!(got(&emptied.get("/a?debug=1").send()).path, "/a");
    assert_eq!(got(&emptied.get("/a").send()).path, "/a");
}

#[test]
fn the_path_is_set_or_its_prefix_or_a_match_replaced() {
    let path =
        |config: Json, path: &str| got(&transform(json!({"request": {"path": config}})).get(path).send()).path.clone();
    assert_eq!(path(json!({"set": "/users/{consumer}"}), "/me?x=1"), "/users/alice?x=1");
    let prefix = json!({"prefix": {"from": "/api", "to": "/v2"}});
    assert_eq!(path(prefix.clone(), "/api/users?x=1"), "/v2/users?x=1");
    assert_eq!(path(prefix, "/apis?x=1"), "/apis?x=1");
    let regex = json!({"regex": {"pattern": "^/u/([0-9]+)$", "replacement": "/users/$1/profile"}});
    assert_eq!(path(regex, "/u/7?x=1"), "/users/7/profile?x=1");
}

#[test]
fn a_prefix_is_replaced_by_whole_segments() {
    for (from, to, path, expected) in [
        ("/api/", "/v2/", "/api/users", "/v2/users"),
        ("/api", "/v2", "/api", "/v2"),
        ("/api", "/", "/api/users", "/users"),
        ("/api", "/", "/api", "/"),
        ("/", "/v2", "/users", "/v2/users"),
        ("/api", "/{request.method}{request.path}", "/api/a", "/GET/api/a/a"),
    ] {
        let harness = transform(json!({"request": {"path": {"prefix": {"from": from, "to": to}}}}));
        assert_eq!(got(&harness.get(path).send()).path, expected, "{from} {to} {path}");
    }
}

#[test]
fn parameters_that_are_not_named_stay_byte_for_byte() {
    let harness = transform(json!({"request": {"query": {
        "remove": ["debug"], "rename": {"q": "q u"}, "set": {"page": 1}, "add": {"tag": "a b&c=d"}
    }}}));
    let out = harness.get("/?x=%7e+&debug&q=a%20b&q&page=7&y&page=8&&de%62ug=1").send();
    assert_eq!(got(&out).path, "/?x=%7e+&q%20u=a%20b&q%20u&page=1&y&tag=a%20b%26c%3Dd");
}

#[test]
fn texts_anywhere_in_a_json_value_are_filled_in() {
    let harness =
        transform(json!({"request": {"json": {"set": {"/a": {"who": ["{consumer}", 1, true], "{{": null}}}}}));
    let out = harness.post("/a").json(&json!({})).send();
    assert_eq!(got(&out).json::<Json>(), json!({"a": {"who": ["alice", 1, true], "{{": null}}));
}

#[test]
fn a_placeholder_cannot_climb_out_of_its_path() {
    let harness = transform(json!({"request": {"path": {"set": "/public/{request.query.file}/x"}}}));
    for file in ["..", "%2e%2e", ".", "%2E"] {
        let out = harness.get(&format!("/?file={file}")).send();
        assert_eq!((out.status(), out.reached_upstream()), (400, false), "{file}");
    }
    assert_eq!(got(&harness.get("/?file=../a?b").send()).path, "/public/..%2Fa%3Fb/x?file=../a?b");
}

#[test]
fn a_json_request_is_edited() {
    let harness = transform(json!({"request": {"json": {
        "remove": ["/password"], "rename": {"/nick": "/user/name"}, "set": {"/meta": {"ip": "{client.ip}", "n": 1}}, "add": {"/tags/-": "new", "/nick": "none"}
    }}}));
    for pieces in [0, 7] {
        let body = json!({"password": "x", "nick": "al", "tags": ["old"]});
        let out = harness.post("/a").json(&body).chunked(pieces).send();
        let expected =
            json!({"tags": ["old", "new"], "user": {"name": "al"}, "meta": {"ip": "10.0.0.7", "n": 1}, "nick": "none"});
        assert_eq!(got(&out).json::<Json>(), expected);
        assert_eq!(got(&out).header("content-length").unwrap(), got(&out).body.len().to_string());
    }
}

#[test]
fn only_what_says_that_it_is_json_is_read() {
    let harness = transform(json!({"request": {"json": {"set": {"/a": 1}}}}));
    let send = |content_type: &str, body: &'static str| {
        harness.post("/a").header("content-type", content_type).body(body).send()
    };
    assert_eq!(got(&send("text/plain", "{")).text(), "{");
    assert_eq!(got(&send("application/merge-patch+json; charset=utf-8", "{}")).text(), r#"{"a":1}"#);
    assert_eq!(got(&harness.post("/a").header("content-type", "application/json").send()).text(), "");
    let bad = send("application/json", "{");
    assert_eq!((bad.status(), bad.reached_upstream()), (400, false));
    let encoded = harness.post("/a").header("content-encoding", "gzip").json(&json!({})).send();
    assert_eq!((encoded.status(), encoded.reached_upstream()), (415, false));
}

#[test]
fn a_json_response_is_edited() {
    let harness =
        transform(json!({"response": {"json": {"remove": ["/internal"], "set": {"/status": "{response.status}"}}}}));
    let request = harness.get("/a").header("accept-encoding", "gzip").header("range", "bytes=0-9");
    let out = request.upstream_reply(TestReply::json(201, json!({"internal": 1, "ok": true})).chunked(5)).send();
    assert_eq!(out.json::<Json>(), json!({"ok": true, "status": "201"}));
    assert_eq!((got(&out).header("accept-encoding"), got(&out).header("range")), (Some("identity"), None));
    let other =
        harness.get("/a").upstream_reply(TestReply::new(200).header("content-type", "text/html").body("<p>")).send();
    assert_eq!(other.text(), "<p>");
    let empty = harness.get("/a").upstream_reply(TestReply::new(204).header("content-type", "application/json")).send();
    assert_eq!((empty.status(), empty.body().len()), (204, 0));
}

#[test]
fn a_response_that_is_not_the_json_it_says_is_held_back() {
    let reply = TestReply::new(200).header("content-type", "application/json").body("{\"internal\":");
    let harness = transform(json!({"response": {"json": {"remove": ["/internal"]}}}));
    let out = harness.get("/a").upstream_reply(reply).send();
    assert_eq!(out.status(), 502);
    assert!(!out.text().contains("internal\""));
}

#[test]
fn nothing_is_changed_that_is_not_configured() {
    let body = "{ \"n\" : 1e400 }";
    let out = transform(json!({})).post("/a?b=%7e").header("content-type", "application/json").body(body).send();
    assert_eq!((got(&out).path.as_str(), got(&out).text().as_str()), ("/a?b=%7e", body));
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    for (config, hint) in [
        (json!({"request": {"headers": {"set": {"x-a": "{user}"}}}}), "{user}"),
        (json!({"request": {"headers": {"set": {"x-a": "{response.status}"}}}}), "response"),
        (json!({"request": {"json": {"set": {"/a": ["{response.status}"]}}}}), "response"),
        (json!({"request": {"headers": {"set": {"content-length": "5"}}}}), "content-length"),
        (json!({"response": {"headers": {"remove": [":status"]}}}), ":status"),
        (json!({"request": {"path": {"set": "a"}}}), "begin"),
        (json!({"request": {"path": {"regex": {"pattern": "(", "replacement": ""}}}}), "path"),
        (json!({"request": {"json": {"remove": ["a"]}}}), "/a"),
        (json!({"response": {"query": {}}}), "query"),
        (json!({"request": {"headers": {"set": {"x-a": "a}"}}}}), "lone"),
        (json!({"request": {"headers": {"rename": {"x-a": "Transfer-Encoding"}}}}), "transfer-encoding"),
        (json!({"request": {"path": {"prefix": {"from": "api", "to": "/v2"}}}}), "begin"),
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
        assert!(Harness::<Transform>::new(config.clone()).is_ok(), "{config}");
    }
}
