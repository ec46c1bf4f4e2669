//! Configurations: what is read, what is said when it is wrong, and the schema.
#![allow(dead_code, reason = "most fields are only printed")]

use std::collections::BTreeMap;

use sluicegate_sdk::prelude::*;
use sluicegate_sdk::test::Harness;

/// Everything a configuration may have,
/// on "two" lines.
#[derive(Config, Debug)]
struct Everything {
    /// Who knows.
    idp: Upstream,
    /// Shared with it.
    secret: Secret,
    #[config(default = 30, min = 1, max = 3600)]
    leeway: u64,
    #[config(default = -1.5, min = -2)]
    factor: f64,
    #[config(default = "250ms")]
    wait: Duration,
    #[config(default = "on \"hold\"")]
    text: String,
    #[config(default = vec![80, 443])]
    ports: Vec<u16>,
    #[config(default, rename = "type")]
    kind: Kind,
    #[config(max = 10)]
    maybe: Option<i8>,
    #[config(default)]
    rules: Vec<Rule>,
    #[config(default)]
    by_name: BTreeMap<String, Rule>,
    anything: Json,
    #[config(default)]
    flag: bool,
}

/// One rule.
#[derive(Config, Debug)]
struct Rule {
    /// What it applies to.
    on: On,
    limit: u32,
}

#[derive(Config, Debug)]
enum On {
    /// Where the client is.
    ClientIp,
    /// A header's value.
    Header(String),
    #[config(rename = "both")]
    Two(Box<Pair>),
}

#[derive(Config, Debug)]
struct Pair {
    a: String,
    b: Option<String>,
}

#[derive(Config, Debug, Default, PartialEq)]
enum Kind {
    #[default]
    Plain,
    Fancy,
}

#[filter]
impl Filter for Everything {
    fn request(&self, req: &mut Request) -> Result {
        assert_eq!(self.secret.expose(), "s3cr3t");
        assert!(self.ports.len() == 2 && self.anything.is_null() && !self.flag && self.maybe.is_none());
        assert!(self.rules.is_empty() && self.by_name.is_empty() && self.kind == Kind::Plain);
        assert_eq!((self.leeway, self.factor, self.wait), (30, -1.5, Duration::from_millis(250)));
        req.headers().set("x-config", format!("{self:?}"));
        Ok(())
    }
}

#[test]
fn what_is_left_out_has_its_default_and_secrets_do_not_print() {
    let gateway = Harness::<Everything>::new(json!({ "idp": "idp", "secret": "s3cr3t" })).unwrap();
    let out = gateway.get("/").send();
    let text = out.upstream_request().unwrap().header("x-config").unwrap();
    assert!(text.contains("secret: ***") && !text.contains("s3cr3t"), "{text}");
    assert!(text.contains(r#"text: "on \"hold\"""#), "{text}");
}

#[test]
fn errors_name_the_place_and_what_was_expected() {
    let cases = [
        (json!({ "secret": "" }), "missing field `idp`"),
        (json!({ "idp": 5, "secret": "" }), "idp: expected the name of an upstream, found a number"),
        (json!({ "idp": "", "secret": "" }), "idp: expected the name of an upstream, found nothing"),
        (json!({ "idp": "i", "secret": 7 }), "secret: expected a string, found a number"),
        (json!({ "leeway": 0 }), "leeway: must be at least 1"),
        (json!({ "leeway": 4000 }), "leeway: must be at most 3600"),
        (json!({ "leeway": -1 }), "leeway: must be between 0 and 18446744073709551615"),
        (json!({ "leeway": 1.5 }), "leeway: expected a whole number"),
        (json!({ "leeway": "5" }), "leeway: expected a whole number, found a string"),
        (json!({ "factor": -3 }), "factor: must be at least -2"),
        (json!({ "wait": "5 minutes" }), "wait: `5 minutes` is no duration; write it like \"250ms\" or \"1m30s\""),
        (json!({ "wait": 5 }), "wait: expected a duration like \"250ms\" or \"1m30s\", found a number"),
        (json!({ "ports": [80, 70000] }), "ports[1]: must be between 0 and 65535"),
        (json!({ "ports": 80 }), "ports: expected an array, found a number"),
        (json!({ "type": "simple" }), "type: unknown name `simple`; expected one of `plain`, `fancy`"),
        (json!({ "type": true }), "type: expected a name, or an object of one member, found true or false"),
        (json!({ "maybe": 11 }), "maybe: must be at most 10"),
        (json!({ "flag": "yes" }), "flag: expected true or false, found a string"),
        (json!({ "rules": [{ "on": "client_ip" }] }), "rules[0]: missing field `limit`"),
        (json!({ "rules": [{ "on": "header", "limit": 1 }] }), "rules[0].on: `header` needs a value"),
        (json!({ "rules": [{ "on": { "client_ip": 1 }, "limit": 1 }] }), "rules[0].on: `client_ip` takes no value"),
        (
            json!({ "rules": [{ "on": { "header": 1 }, "limit": 1 }] }),
            "rules[0].on.header: expected a string, found a number",
        ),
        (json!({ "rules": [{ "on": {}, "limit": 1 }] }), "rules[0].on: expected one member, which names the choice"),
        (
            json!({ "by_name": { "x": { "on": { "both": { "a": "1", "c": "2" } } } } }),
            "by_name.x.on.both: unknown field `c`; expected one of `a`, `b`",
        ),
        (json!([]), "expected an object, found an array"),
    ];
    for (mut config, expected) in cases {
        if let (Some(fields), false) = (config.as_object_mut(), expected.contains("idp") || expected.contains("secret"))
        {
            fields.insert("idp".into(), "idp".into());
            fields.insert("secret".into(), "s3cr3t".into());
        }
        let error = Harness::<Everything>::new(config).unwrap_err();
        assert_eq!(error.to_string(), format!("configuration: {expected}"));
    }
}

#[test]
fn an_unknown_field_is_answered_with_the_known_ones() {
    let error = Harness::<Only>::new(json!({ "limits": 1 })).unwrap_err();
    assert_eq!(error.to_string(), "configuration: unknown field `limits`; expected `limit`");
    let error = Harness::<Nothing>::new(json!({ "limit": 1 })).unwrap_err();
    assert_eq!(error.to_string(), "configuration: unknown field `limit`; there is no field here");
}

#[test]
fn what_is_not_json_is_said_with_its_position_and_nothing_at_all_is_an_empty_object() {
    let error = Harness::<Only>::from_bytes(b"{\"limit\": }").unwrap_err();
    assert_eq!(error.to_string(), "configuration: expected value at line 1 column 11");
    assert!(Harness::<Nothing>::from_bytes(b"").is_ok());
    assert!(Harness::<Nothing>::from_bytes(b" \n").is_ok());
}

#[derive(Config)]
struct Only {
    #[config(default)]
    limit: u8,
}

#[filter]
impl Filter for Only {
    fn done(&self, _end: &End) {
        info!("{}", self.limit);
    }
}

#[derive(Config)]
struct Nothing;

#[filter]
impl Filter for Nothing {}

#[test]
fn the_schema_says_what_the_reader_takes() {
    let rule = json!({
        "description": "One rule.",
        "type": "object",
        "properties": {
            "on": {
                "description": "What it applies to.",
                "oneOf": [
                    { "description": "Where the client is.", "const": "client_ip" },
                    { "description": "A header's value.", "type": "object", "properties": { "header": { "type": "string" } },
                      "required": ["header"], "additionalProperties": false },
                    { "type": "object", "properties": { "both": {
                        "type": "object", "properties": { "a": { "type": "string" }, "b": { "type": "string" } },
                        "required": ["a"], "additionalProperties": false } },
                      "required": ["both"], "additionalProperties": false }
                ]
            },
            "limit": { "type": "integer", "minimum": 0, "maximum": 4_294_967_295_u32 }
        },
        "required": ["on", "limit"],
        "additionalProperties": false
    });
    let expected = json!({
        "description": "Everything a configuration may have,\non \"two\" lines.",
        "type": "object",
        "properties": {
            "idp": { "description": "Who knows.", "type": "string", "format": "sluicegate-upstream" },
            "secret": { "description": "Shared with it.", "type": "string", "writeOnly": true },
            "leeway": { "type": "integer", "minimum": 1, "maximum": 3600, "default": 30 },
            "factor": { "type": "number", "minimum": -2, "default": -1.5 },
            "wait": { "type": "string", "pattern": "^([0-9]+(ms|s|m|h|d))+$", "default": "250ms" },
            "text": { "type": "string", "default": "on \"hold\"" },
            "ports": { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 65535 } },
            "type": { "oneOf": [{ "const": "plain" }, { "const": "fancy" }] },
            "maybe": { "type": "integer", "minimum": -128, "maximum": 10 },
            "rules": { "type": "array", "items": rule },
            "by_name": { "type": "object", "additionalProperties": rule },
            "anything": {},
            "flag": { "type": "boolean" }
        },
        "required": ["idp", "secret"],
        "additionalProperties": false
    });
    assert_eq!(Harness::<Everything>::schema(), expected);
    let empty = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    assert_eq!(Harness::<Nothing>::schema(), empty);
}

#[test]
fn the_schema_is_rendered_at_compile_time() {
    const LENGTH: usize = <Rule as Config>::SCHEMA.length();
    const TEXT: [u8; LENGTH] = <Rule as Config>::SCHEMA.render();
    assert_eq!(std::str::from_utf8(&TEXT).unwrap(), <Rule as Config>::SCHEMA.to_json());
}
