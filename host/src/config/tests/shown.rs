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
                        "env": {"API_TOKEN": "hunter2", "MODE": "fast"}}],
           "routes": [{"upstream": "idp", "request_headers": {"set": {"Authorization": "Basic hunter2", "x-plain": "seen"}},
                       "match": {"headers": {"cookie": {"exact": "hunter2"}}}, "filters": [{"use": "my-auth", "config": {"jwt": {"secret": "hunter2"}}}]}]"#,
    );
    assert!(!all.to_string().contains("hunter2"), "{all:#}");
    let config =
        json!({ "keys": { "alice": "***", "bob": "${ALICE_KEY}" }, "jwt": [{ "secret": "***", "issuer": "me" }] });
    assert_eq!(all["filters"][0]["config"], config);
    assert_eq!(all["filters"][0]["env"], json!({ "API_TOKEN": "***", "MODE": "fast" }));
    assert_eq!(all["routes"][0]["request_headers"]["set"], json!({ "Authorization": "***", "x-plain": "seen" }));
}

#[test]
fn defaults_and_addresses_are_shown_as_they_are_in_force() {
    let all = shown(
        r#""admin": {"address": "127.0.0.1:${PORT}"}, "filters": [{"use": "log"}], "routes": [{"upstream": "idp"}]"#,
    );
    assert_eq!(all["admin"]["address"], "127.0.0.1:8080");
    assert_eq!(
        all["upstreams"]["idp"],
        json!({ "targets": ["http://127.0.0.1:1"], "protocol": "http1", "connect_timeout": "5s" })
    );
    assert_eq!((&all["filters"][0]["deadline"], &all["filters"][0]["on_error"]), (&json!("100ms"), &json!("closed")));
    assert_eq!((&all["routes"][0]["name"], &all["routes"][0]["timeout"]), (&json!("routes[0]"), &json!("15s")));
    assert_eq!(all["plugins"]["dir"], "/etc/sluicegate/plugins");
    assert!(all["limits"]["workers"].is_u64() && all["limits"]["connections"] == 10_000);
}
