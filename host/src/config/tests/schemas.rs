//! Configurations of filters against the schemas of their plugins.

use std::collections::BTreeSet;

use super::{expected, filter, good};
use crate::config::schema::check_config;

/// What the SDK writes for a configuration of every kind.
const SCHEMA: &str = r#"{
  "type": "object",
  "properties": {
    "limit": {"type": "integer", "minimum": 1, "maximum": 1000},
    "per": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
    "key": {"oneOf": [{"const": "consumer"}, {"const": "client"}, {"type": "object", "properties": {"header": {"type": "string", "minLength": 1}},
            "required": ["header"], "additionalProperties": false}]},
    "mode": {"enum": ["exact", "local"]},
    "secret": {"type": "string", "minLength": 12, "maxLength": 64, "pattern": "^[a-z]+$", "writeOnly": true},
    "idp": {"$ref": "\#/$defs/upstream"},
    "fallback": {"anyOf": [{"type": "null"}, {"$ref": "\#/$defs/upstream"}]},
    "store": {"oneOf": [
      {"type": "object", "properties": {"kind": {"const": "memory"}, "entries": {"type": "integer"}}, "required": ["kind"], "additionalProperties": false},
      {"type": "object", "properties": {"kind": {"const": "redis"}, "url": {"type": "string"}}, "required": ["kind", "url"], "additionalProperties": false}]},
    "rules": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "object", "properties": {"a/b": {"type": ["string", "null"]}}, "additionalProperties": false}},
    "action": {"oneOf": [
      {"type": "object", "properties": {"reply": {"type": "integer"}}, "required": ["reply"], "additionalProperties": false},
      {"type": "object", "properties": {"redirect": {"type": "string"}}, "required": ["redirect"], "additionalProperties": false}]}
  },
  "required": ["limit"],
  "additionalProperties": false,
  "$defs": {"upstream": {"type": "string", "format": "sluicegate-upstream"}}
}"#;

/// Checks a filter that has `more` against [`SCHEMA`].
fn check(schema: &str, more: &str) -> (Vec<String>, BTreeSet<String>) {
    let loaded = good(&filter(more));
    let entry = &loaded.config.filters[0];
    let schema = schema.replace("\\#", "#");
    let (problems, used) = check_config(&schema, &entry.config, &loaded.origins, &entry.path);
    (problems.iter().map(ToString::to_string).collect(), used)
}

#[track_caller]
fn violates(config: &str, messages: &[&str]) {
    let marked = format!(r#""config": {config}"#);
    let (found, _) = check(SCHEMA, &marked.replace('§', ""));
    assert_eq!(found, expected(&filter(&marked), messages), "{config}");
}

#[test]
fn a_configuration_that_fits_names_its_upstreams() {
    let config = r#""config": {"limit": 1, "per": "1m", "key": {"header": "x"}, "mode": "exact", "idp": "idp", "fallback": null,
        "store": {"kind": "redis", "url": "redis://a"}, "rules": [{"a/b": null}], "action": {"reply": 403}}"#;
    assert_eq!(check(SCHEMA, config), (vec![], BTreeSet::from(["idp".to_owned()])));
    assert_eq!(check(SCHEMA, r#""config": {"limit": 1, "mode": "${NO:-exact}"}"#), (vec![], BTreeSet::new()));
}

#[test]
fn violations_are_told_in_our_words_where_they_stand() {
    violates(r#"{"limit": §0}"#, &["filters[0].config.limit: must be at least 1"]);
    violates(r#"{"limit": §2000}"#, &["filters[0].config.limit: must be at most 1000"]);
    violates(r#"{"limit": §1.5}"#, &["filters[0].config.limit: expected a whole number, found a fraction"]);
    violates(r#"{"limit": §"1"}"#, &["filters[0].config.limit: expected a whole number, found a string"]);
    violates(r#"§{"per": "1m"}"#, &[r#"filters[0].config: missing key "limit""#]);
    violates(r#"§[]"#, &["filters[0].config: expected an object, found an array"]);
    violates(r#"{"limit": 1, §"pre": "1m"}"#, &[r#"filters[0].config.pre: unknown key; did you mean "per"?"#]);
    violates(
        r#"{"limit": 1, "per": §"fast"}"#,
        &["filters[0].config.per: does not match the pattern ^[0-9]+(ms|s|m|h)$"],
    );
    violates(
        r#"{"limit": 1, "mode": §"exakt"}"#,
        &[r#"filters[0].config.mode: expected one of "exact", "local", found "exakt"; did you mean "exact"?"#],
    );
    violates(r#"{"limit": 1, "rules": §[]}"#, &["filters[0].config.rules: must not be empty"]);
    violates(r#"{"limit": 1, "rules": §[{}, {}]}"#, &["filters[0].config.rules: has the same element twice"]);
    violates(
        r#"{"limit": 1, "rules": [{"a/b": §1}]}"#,
        &[r#"filters[0].config.rules[0]["a/b"]: expected null or a string, found a number"#],
    );
    violates(
        r#"{"limit": 1, "rules": [{§"a/c": "x"}]}"#,
        &[r#"filters[0].config.rules[0]["a/c"]: unknown key; did you mean "a/b"?"#],
    );
}

#[test]
fn unknown_upstreams_are_reported_with_what_was_meant() {
    violates(
        r#"{"limit": 1, "idp": §"ipd"}"#,
        &[r#"filters[0].config.idp: unknown upstream "ipd"; did you mean "idp"?"#],
    );
    violates(
        r#"{"limit": 1, "fallback": §"ipd"}"#,
        &[r#"filters[0].config.fallback: unknown upstream "ipd"; did you mean "idp"?"#],
    );
    violates(r#"{"limit": 1, "idp": §"${NAME}"}"#, &[r#"filters[0].config.idp: unknown upstream "${NAME}""#]);
}

#[test]
fn of_several_forms_the_one_that_was_meant_is_explained() {
    violates(
        r#"{"limit": 1, "key": §"consumr"}"#,
        &[r#"filters[0].config.key: expected one of "consumer", "client", found "consumr"; did you mean "consumer"?"#],
    );
    violates(r#"{"limit": 1, "key": {"header": §""}}"#, &["filters[0].config.key.header: must not be empty"]);
    violates(r#"{"limit": 1, "key": §7}"#, &["filters[0].config.key: expected a string or an object, found a number"]);
    violates(
        r#"{"limit": 1, "store": {"kind": §"rediss"}}"#,
        &[r#"filters[0].config.store.kind: expected one of "memory", "redis", found "rediss"; did you mean "redis"?"#],
    );
    violates(
        r#"{"limit": 1, "store": {"kind": "memory", "entries": §"many"}}"#,
        &["filters[0].config.store.entries: expected a whole number, found a string"],
    );
    violates(
        r#"{"limit": 1, "action": {§"redirct": "/"}}"#,
        &[r#"filters[0].config.action.redirct: unknown key; did you mean "redirect"?"#],
    );
    violates(
        r#"{"limit": 1, "action": §{}}"#,
        &[r#"filters[0].config.action: expected exactly one of "reply", "redirect""#],
    );
}

#[test]
fn a_secret_is_never_repeated() {
    for config in [
        r#"{"limit": 1, "secret": "${ALICE_KEY}"}"#,
        r#"{"limit": 1, "mode": "${ALICE_KEY}", "per": "${ALICE_KEY}", "key": "${ALICE_KEY}"}"#,
    ] {
        let (problems, _) = check(SCHEMA, &format!(r#""config": {config}"#));
        assert!(!problems.is_empty() && !problems.concat().contains("hunter2"), "{problems:?}");
    }
    let (problems, _) = check(SCHEMA, r#""config": {"limit": 1, "secret": "Literal"}"#);
    assert!(problems.len() == 2 && !problems.concat().contains("Literal"), "{problems:?}");
}

#[test]
fn a_filter_without_a_configuration_is_checked_as_an_empty_one() {
    let (problems, _) = check(SCHEMA, r#""on_error": "closed""#);
    assert_eq!(problems, [r#"gateway.json:1:116: filters[0].config: missing key "limit" (there is no "config")"#]);
    assert!(check(r#"{"type": "object"}"#, r#""on_error": "closed""#).0.is_empty());
}

#[test]
fn a_bare_string_is_checked_as_a_string() {
    assert!(check(r#"{"type": "string"}"#, r#""config": "any text""#).0.is_empty());
    assert!(check(r#"{"type": "string"}"#, r#""config": """#).0.is_empty());
    let (problems, _) = check(r#"{"type": "object"}"#, r#""config": "{}""#);
    assert_eq!(problems, ["gateway.json:1:141: filters[0].config: expected an object, found a string"]);
}

#[test]
fn a_schema_that_cannot_be_used_is_the_plugins_fault() {
    let refused = |schema: &str, reason: &str| {
        let (problems, _) = check(schema, r#""config": {}"#);
        let start = "gateway.json:1:124: filters[0].use: the plugin's schema cannot be used: ";
        assert!(problems.len() == 1 && problems[0].starts_with(start) && problems[0].contains(reason), "{problems:?}");
    };
    refused("{", "EOF while parsing");
    refused(r#"{"type": "text"}"#, "text");
    refused(r#"{"$ref": "file:///etc/passwd"}"#, "file:///etc/passwd");
    refused(r#"{"pattern": "("}"#, "(");
}

#[test]
fn problems_found_later_are_placed_too() {
    let loaded = good(&filter(r#""config": {"a": {"b": 1}}"#));
    let origins = &loaded.origins;
    let said = |pointer| origins.problem("filters[0]", pointer, "no", None).to_string();
    assert_eq!(said(""), "gateway.json:1:141: filters[0].config: no");
    assert_eq!(said("/a/b"), "gateway.json:1:153: filters[0].config.a.b: no");
    assert_eq!(said("/a/c/d"), "gateway.json:1:147: filters[0].config.a: no");
    let plugin = origins.plugin_problem("filters[0]", "unknown plugin \"lgo\"", Some("log".into())).to_string();
    assert_eq!(plugin, r#"gateway.json:1:124: filters[0].use: unknown plugin "lgo"; did you mean "log"?"#);
    assert_eq!(origins.problem("filters[9]", "", "no", None).to_string(), "gateway.json: filters[9]: no");
}
