//! The schema for editors against the checks: the same keys, the same defaults, the same samples.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::{good, read};
use crate::config::fields::asked;
use crate::config::load::syntax;
use crate::config::schema::{fill, plain, whole};
use crate::config::shown::plain as json_of;
use crate::config::{Environment, parse};

static PLAIN: LazyLock<jsonschema::Validator> = LazyLock::new(|| jsonschema::draft202012::new(&plain()).unwrap());

/// A text as JSON, comments, trailing commas and defaults of references aside.
fn value_of(text: &str) -> Value {
    match syntax(text) {
        Ok(Some(value)) => json_of(&value),
        _ => panic!("{text}"),
    }
}

/// Checks that the schema takes a text that is a configuration.
#[track_caller]
pub(super) fn fits(text: &str) {
    let value = value_of(text.trim_start_matches('\u{feff}'));
    if let Err(error) = PLAIN.validate(&value) {
        panic!("{}: {error}\nin {text}", error.instance_path());
    }
}

/// A configuration that has every object that there is.
const EVERYTHING: &str = r#"{
  "include": ["none.d/*.json"],
  "listeners": [{ "address": "127.0.0.1:0", "tls": { "certificates": [{ "certificate": "a", "key": "b", "hosts": ["a.example"] }],
                  "client": { "ca": "c" } } }, { "address": "127.0.0.2:0", "tcp": { "upstream": "u" } }],
  "admin": {
    "address": "127.0.0.1:0",
    "tls": { "certificates": [{ "certificate": "a", "key": "b" }], "client": { "ca": "c" } },
    "token": "0123456789abcdef"
  },
  "plugins": { "sha256": {}, "keys": [] },
  "upstreams": { "u": { "targets": ["http://127.0.0.1:1"], "balance": { "cookie": { "name": "a" } } },
                 "v": { "targets": [{ "url": "https://127.0.0.1:1" }], "balance": { "hash": { "header": "a" } }, "health": { "connect": true },
                        "eject": {}, "tls": { "ca": "c" }, "dns": {}, "pool": {} } },
  "filters": [{ "use": "log", "when": { "path": { "exact": "/" } }, "capabilities": { "hostcalls": ["log", "proxy_log"] }, "env": { "A": "b" } }],
  "routes": [
    { "upstream": "u", "match": { "headers": { "a": { "present": true } } }, "filters": [{ "use": "log" }], "mirrors": [{ "upstream": "v" }], "retry": { "on": ["timeout", 503] },
      "request_headers": { "set": { "a": "b" } }, "response_headers": { "remove": ["a"] } },
    { "upstreams": { "u": 1 }, "match": { "path": { "prefix": "/a" }, "query": { "q": { "regex": "x" } } },
      "rewrite": { "path": { "prefix": "/b" }, "host": "a.example" } },
    { "redirect": { "scheme": "https", "path": { "full": "/" } } },
    { "respond": { "headers": { "a": "b" } } },
  ],
  "limits": {},
}"#;

/// The schemas with keys of their own that speak of the object at a path such as `routes[0].match`.
fn at<'s>(root: &'s Value, path: &str) -> Vec<(String, &'s Value)> {
    let mut found = vec![(String::new(), root)];
    for step in path.replace('[', ".[").split('.').filter(|step| !step.is_empty()) {
        let down = |(_, schema): &(String, &'s Value)| -> Option<(String, &'s Value)> {
            if step.starts_with('[') {
                return Some((String::new(), schema.get("items")?));
            }
            let named = schema.get("properties").and_then(|properties| properties.get(step));
            Some((String::new(), named.or_else(|| schema.get("additionalProperties").filter(|all| all.is_object()))?))
        };
        found = spread(root, &found).iter().filter_map(down).collect();
    }
    spread(root, &found).into_iter().filter(|(_, schema)| schema.get("properties").is_some()).collect()
}

/// Follows references and forms; each schema with the pointer of its definition.
fn spread<'s>(root: &'s Value, schemas: &[(String, &'s Value)]) -> Vec<(String, &'s Value)> {
    let (mut all, mut waiting) = (Vec::new(), schemas.to_vec());
    while let Some((place, schema)) = waiting.pop() {
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            waiting.push((target.to_owned(), root.pointer(&target[1..]).unwrap()));
        }
        let forms = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        waiting.extend(forms.map(|form| (place.clone(), form)));
        all.push((place, schema));
    }
    all
}

#[test]
fn every_key_that_the_checks_accept_is_in_the_schema_and_no_other() {
    asked::take();
    good(EVERYTHING);
    let schema = plain();
    let mut visited = BTreeSet::new();
    for (path, keys) in asked::take() {
        let (mut known, mut closed) = (BTreeSet::new(), true);
        for (place, object) in at(&schema, &path) {
            visited.insert(place);
            closed &= object["additionalProperties"] == json!(false);
            known.extend(object["properties"].as_object().unwrap().keys().map(String::as_str));
        }
        assert_eq!(known, keys, "the keys of {path:?}: the schema's, then those of the checks");
        assert!(closed, "{path:?} takes unknown keys");
    }
    let all = schema["$defs"].as_object().unwrap().iter().filter(|(_, schema)| schema.get("properties").is_some());
    let all: BTreeSet<String> = all.map(|(name, _)| format!("#/$defs/{name}")).chain([String::new()]).collect();
    assert_eq!(visited, all, "an object of the schema that the checks do not have, or that this test does not");
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_checks() {
    for text in [r#"{"listeners": [{"address": "127.0.0.1:0"}]}"#, EVERYTHING] {
        let mut filled = value_of(text);
        fill(&mut filled);
        let told = good(&filled.to_string()).config;
        let config = good(text).config;
        assert_eq!(format!("{config:?}"), format!("{told:?}"));
        for (entry, told) in config.filters.iter().zip(&told.filters) {
            assert_eq!((entry.on_error, entry.deadline, entry.memory), (told.on_error, told.deadline, told.memory));
            assert_eq!((entry.pause, &entry.env, &entry.vm), (told.pause, &told.env, &told.vm));
            assert_eq!((entry.ticks, &entry.capabilities), (told.ticks, &told.capabilities));
        }
        assert_eq!(filled["limits"]["buffer_bytes"], "1MiB");
    }
}

#[test]
fn unknown_keys_and_wrong_values_are_refused() {
    let sample = value_of(EVERYTHING);
    for (pointer, key) in [
        ("", "routs"),
        ("/listeners/0", "adress"),
        ("/listeners/0/tls", "x"),
        ("/listeners/0/tls/certificates/0", "x"),
        ("/upstreams/u", "target"),
        ("/filters/0", "confg"),
        ("/filters/0/when", "paths"),
        ("/filters/0/when/path", "suffix"),
        ("/routes/0", "matches"),
        ("/routes/0/retry", "x"),
        ("/routes/2/redirect", "x"),
        ("/limits", "worker"),
    ] {
        let mut wrong = sample.clone();
        wrong.pointer_mut(pointer).unwrap().as_object_mut().unwrap().insert(key.to_owned(), json!(1));
        assert!(!PLAIN.is_valid(&wrong), "{pointer}/{key}");
        assert!(read(&wrong.to_string()).is_err(), "{pointer}/{key}");
    }
    for (pointer, value) in [
        ("/listeners", json!([])),
        ("/upstreams/u/targets", json!([])),
        ("/routes/0/retry/attempts", json!(0)),
        ("/routes/0/retry/on", json!(["conect"])),
        ("/filters/0/capabilities/hostcalls", json!(["hedders"])),
        ("/limits/workers", json!("2")),
        ("/limits/idle_timeout", json!("5 seconds")),
    ] {
        let mut wrong = sample.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        wrong.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(key.to_owned(), value);
        assert!(!PLAIN.is_valid(&wrong), "{pointer}");
        assert!(read(&wrong.to_string()).is_err(), "{pointer}");
    }
}

/// Every variable has some value.
struct Anything;

impl Environment for Anything {
    fn variable(&self, _name: &str) -> Option<String> {
        Some(String::new())
    }
}

#[test]
fn the_repositorys_samples_fit() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut samples = vec![std::fs::read_to_string(root.join("gateway.json")).unwrap()];
    for readme in ["README.md", "host/src/config/README.md"] {
        let text = std::fs::read_to_string(root.join(readme)).unwrap();
        let blocks = text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("json\n"));
        // A sample may be a whole configuration or some of its keys.
        samples.extend(
            blocks.map(
                |block| if block.trim_start().starts_with('{') { block.to_owned() } else { format!("{{{block}}}") },
            ),
        );
    }
    assert!(samples.len() > 1, "the README has samples");
    for sample in samples {
        fits(&sample);
        parse("sample", &sample, root, &Anything).unwrap();
    }
}

/// A schema as the SDK writes them.
const PLUGIN: &str = r##"{"type": "object", "properties": {"idp": {"$ref": "#/$defs/upstream"}, "mode": {"oneOf": [{"const": "exact"}, {"const": "local"}]},
    "per": {"type": "string", "pattern": "^[0-9]+s$"}}, "required": ["mode"], "additionalProperties": false,
    "$defs": {"upstream": {"type": "string", "format": "sluicegate-upstream"}}}"##;

#[test]
fn a_filters_configuration_has_to_fit_its_plugins_schema() {
    let plugins = BTreeMap::from([
        ("rate-limit", PLUGIN),
        ("broken", r#"{"type": 7}"#),
        ("far", r#"{"$ref": "https://a.example"}"#),
    ]);
    let (schema, unusable) = whole(plugins);
    assert_eq!(unusable, ["broken", "far"]);
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let fits = |filter: Value| validator.is_valid(&json!({ "listeners": [{ "address": "a:1" }], "filters": [filter] }));
    assert!(fits(json!({ "use": "rate-limit", "config": { "mode": "exact", "idp": "users", "per": "1s" } })));
    assert!(fits(json!({ "use": "rate_limit", "config": { "mode": "${MODE}", "per": "${PER:-1s}" } })));
    assert!(fits(json!({ "use": "other", "config": { "any": "thing" } })));
    assert!(fits(json!({ "use": "broken" })));
    for wrong in [
        json!({ "use": "rate-limit" }),
        json!({ "use": "rate_limit", "config": { "mode": "other" } }),
        json!({ "use": "rate-limit", "config": { "mode": "exact", "idp": 7 } }),
        json!({ "use": "rate-limit", "config": { "mode": "exact", "per": "1m" } }),
        json!({ "use": "rate-limit", "config": { "mode": "exact", "mod": 1 } }),
    ] {
        assert!(!fits(wrong.clone()), "{wrong}");
    }
}
