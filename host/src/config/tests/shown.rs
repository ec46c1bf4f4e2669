//! A configuration as it is shown: in full, and without what is secret.

use serde_json::{Value, json};

use super::{good, top};
use crate::config::interpolate::names_only;

const SCHEMA: &str = r#"{"type": "object", "properties": {"keys": {"type": "object", "additionalProperties": {"type": "string", "writeOnly": true}},
    "jwt": {"anyOf": [{"$ref": "\#/$defs/one"}, {"type": "array", "items": {"$ref": "\#/$defs/one"}}]}},
    "$defs": {"one": {"type": "object", "properties": {"secret": {"type": "string", "writeOnly": true}, "issuer": {"type": "string"}}}}}"#;

fn shown(more: &str) -> Value {
    let loaded = good(&top(more));
    let schema = SCHEMA.replace("\\#", "#");
    loaded.origins.shown(&loaded.config, |plugin| (plugin == "my-auth").then_some(schema.as_str()))
}

#[test]
fn of_references_the_names_are_shown_and_nothing_else() {
    for (text, told) in [
        ("${ALICE_KEY}", "${ALICE_KEY}"),
        ("${ALICE_KEY:-hunter2}", "${ALICE_KEY}"),
        ("a ${A:-x} b ${B:-} c", "a ${A} b ${B} c"),
        ("${file:/run/secrets/x}", "${file:/run/secrets/x}"),
        ("$${A:-x} ${A:-x}", "$${A:-x} ${A}"),
        ("plain", "plain"),
    ] {
        assert_eq!(names_only(text), told);
    }
    let all = shown(
        r#""filters": [{"use": "log", "config": {"a": ["${ALICE_KEY}", 1, null, true]}, "env": {"A": "${ALICE_KEY}"}, "vm_config": "${ALICE_KEY}"}],
           "routes": [{"upstream": "idp", "match": {"headers": {"x-a": "${ALICE_KEY}"}, "query": {"q": {"exact": "${ALICE_KEY:-hunter2}"}}},
                       "request_headers": {"set": {"x-b": "Bearer ${ALICE_KEY}"}}},
                      {"respond": {"body": "${ALICE_KEY}", "headers": {"x-c": "${ALICE_KEY}"}}, "name": "second"}]"#,
    );
    assert!(!all.to_string().contains("hunter2"), "{all:#}");
    assert_eq!(all["filters"][0]["config"], json!({ "a": ["${ALICE_KEY}", 1, null, true] }));
    assert_eq!(all["routes"][0]["request_headers"]["set"]["x-b"], "Bearer ${ALICE_KEY}");
}

#[test]
fn what_a_schema_or_a_headers_name_says_is_secret_is_covered() {
    let all = shown(
        r#""filters": [{"use": "my_auth", "config": {"keys": {"alice": "hunter2", "bob": "${ALICE_KEY}"}, "jwt": [{"secret": "hunter2", "issuer": "me"}]},
                        "env": {"API_TOKEN": "hunter2", "MODE": "${MODE_NAME:-fast}"}, "vm_config": "hunter2"}],
           "routes": [{"upstream": "idp", "request_headers": {"set": {"Authorization": "Basic hunter2", "x-plain": "seen"}},
                       "match": {"query": {"access_token": "hunter2"}, "headers": {"cookie": {"exact": "hunter2"}}}, "filters": [{"use": "${NO:-my-auth}", "config": {"jwt": {"secret": "hunter2"}}}]}]"#,
    );
    assert!(!all.to_string().contains("hunter2"), "{all:#}");
    let config =
        json!({ "keys": { "alice": "***", "bob": "${ALICE_KEY}" }, "jwt": [{ "secret": "***", "issuer": "me" }] });
    assert_eq!(all["filters"][0]["config"], config);
    assert_eq!(all["filters"][0]["env"], json!({ "API_TOKEN": "***", "MODE": "${MODE_NAME}" }));
    assert_eq!(all["routes"][0]["request_headers"]["set"], json!({ "Authorization": "***", "x-plain": "seen" }));
}

#[test]
fn defaults_and_addresses_are_shown_as_they_are_in_force() {
    let all = shown(
        r#""admin": {"address": "127.0.0.1:${PORT}"}, "filters": [{"use": "log"}], "routes": [{"upstream": "idp"}]"#,
    );
    assert_eq!(all["admin"]["address"], "127.0.0.1:8080");
    let idp = &all["upstreams"]["idp"];
    assert_eq!((&idp["targets"], &idp["protocol"]), (&json!(["http://127.0.0.1:1"]), &json!("http1")));
    assert_eq!((&idp["connect_timeout"], &idp["balance"]), (&json!("5s"), &json!("round_robin")));
    assert_eq!((&all["filters"][0]["deadline"], &all["filters"][0]["on_error"]), (&json!("100ms"), &json!("closed")));
    assert_eq!((&all["routes"][0]["name"], &all["routes"][0]["timeout"]), (&json!("routes[0]"), &json!("15s")));
    assert_eq!(all["plugins"]["dir"], "/etc/sluicegate/plugins");
    assert!(all["limits"]["workers"].is_u64() && all["limits"]["connections"] == 10_000);
}

#[test]
fn listeners_and_upstreams_for_tcp_are_shown_without_what_is_about_http() {
    let tls = r#""tls": {"certificates": [{"certificate": "a", "key": "b"}]}"#;
    let text = format!(
        r#"{{"listeners": [{{"address": "127.0.0.1:0", {tls}, "tcp": {{"upstream": "db", "filters": [
            {{"use": "my_auth", "config": {{"keys": {{"a": "hunter2", "b": "${{ALICE_KEY}}"}}}}}}]}}}}],
            "upstreams": {{"db": {{"targets": [{{"url": "tcp://127.0.0.1:${{PORT}}", "weight": 2}}, "tcp://[::1]:5432"]}}}}}}"#
    );
    let loaded = good(&text);
    let schema = SCHEMA.replace("\\#", "#");
    let all = loaded.origins.shown(&loaded.config, |_| Some(schema.as_str()));
    assert!(!all.to_string().contains("hunter2"), "{all:#}");
    let targets = json!([{ "url": "tcp://127.0.0.1:8080", "weight": 2, "priority": 0 }, "tcp://[::1]:5432"]);
    assert_eq!(all["upstreams"]["db"]["targets"], targets);
    assert!(all["upstreams"]["db"].get("protocol").is_none() && all["listeners"][0]["tls"].get("alpn").is_none());
    assert_eq!(all["listeners"][0]["tcp"]["idle_timeout"], "1h");
    good(&all.to_string().replace("***", "x"));
}

#[test]
fn of_the_cookie_of_sessions_only_the_secret_is_covered() {
    let target = r#""targets": ["http://127.0.0.1:1"]"#;
    let text = format!(
        r#"{{"listeners": [{{"address": "127.0.0.1:0"}}], "routes": [{{"upstreams": {{"cookie": 1, "b": 1}}}}], "upstreams": {{
            "cookie": {{{target}, "balance": {{"cookie": {{"name": "gw", "ttl": "1h", "secret": "hunter2hunter2hunter2"}}}}}},
            "b": {{{target}, "balance": {{"hash": {{"cookie": "sid"}}}}}}}}}}"#
    );
    let loaded = good(&text);
    let all = loaded.origins.shown(&loaded.config, |_| None);
    let cookie = json!({ "name": "gw", "ttl": "1h", "path": "/", "secret": "***" });
    assert_eq!(all["upstreams"]["cookie"]["balance"]["cookie"], cookie);
    assert_eq!(all["upstreams"]["b"]["balance"]["hash"]["cookie"], "sid");
}
