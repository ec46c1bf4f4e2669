//! One JSON Schema (draft 2020-12) of the whole file, for editors: `gateway.schema.json` beside this, with the schemas of the
//! plugins put in. It also knows the default of every key, which is how a configuration is shown in full.
//!
//! The checks decide; the schema says at most what they say. Tests compare the two, key by key and default by default.

use serde_json::{Map, Value, json};

use crate::config::capabilities::AREAS;

const DOCUMENT: &str = include_str!("gateway.schema.json");
/// How deep `$ref`s may lead without a step into the value.
const REFERENCES: usize = 32;
/// A string that some value is filled into may be anything afterwards.
const REFERENCE: &str = "#/$defs/reference";

/// The schema without plugins.
#[must_use]
pub fn plain() -> Value {
    // A test reads it.
    let mut schema: Value = serde_json::from_str(DOCUMENT).unwrap_or_default();
    let hostcalls = AREAS.iter().flat_map(|(area, hostcalls)| std::iter::once(area).chain(hostcalls.iter()));
    if let Some(known) = schema.pointer_mut("/$defs/hostcall/enum") {
        *known = hostcalls.map(|name| json!(name)).collect();
    }
    schema
}

/// The schema with those of plugins: the configuration of a filter that uses one has to fit.
///
/// `plugins`: names with the texts of their schemas. Those that are none are left out, and named in the answer.
#[must_use]
pub fn whole<'a>(plugins: impl IntoIterator<Item = (&'a str, &'a str)>) -> (Value, Vec<String>) {
    let (mut schema, mut unusable) = (plain(), Vec::new());
    let (mut uses, mut definitions) = (Vec::new(), Map::new());
    for (name, text) in plugins {
        let parsed = serde_json::from_str::<Value>(text).ok();
        let parsed = parsed.filter(|parsed| !leads_elsewhere(parsed));
        let usable = parsed.and_then(|parsed| Some((jsonschema::options().offline().build(&parsed).ok()?, parsed)));
        let Some((validator, mut own)) = usable else {
            unusable.push(name.to_owned());
            continue;
        };
        let definition = format!("plugin:{name}");
        // A filter without a configuration is checked as `{}`.
        let needed = !validator.is_valid(&json!({}));
        let pattern = format!("^{}$", regex::escape(name).replace("\\-", "[-_]"));
        uses.push(json!({
            "if": { "properties": { "use": { "pattern": pattern } }, "required": ["use"] },
            "then": {
                "properties": { "config": { "$ref": format!("#/$defs/{definition}") } },
                "required": if needed { json!(["config"]) } else { json!([]) },
            },
        }));
        embed(&mut own, &definition);
        definitions.insert(definition, own);
    }
    if let Some(Value::Object(filter)) = schema.pointer_mut("/$defs/filter").filter(|_| !uses.is_empty()) {
        filter.insert("allOf".to_owned(), uses.into());
    }
    if let Some(known) = schema.pointer_mut("/$defs").and_then(Value::as_object_mut) {
        known.append(&mut definitions);
    }
    (schema, unusable)
}

/// Whether some reference is not a pointer into the schema itself, and so would be lost when that has another place.
fn leads_elsewhere(schema: &Value) -> bool {
    match schema {
        Value::Object(keywords) => {
            let named =
                ["$anchor", "$dynamicRef", "$recursiveRef"].iter().any(|keyword| keywords.contains_key(*keyword));
            let reference = keywords.get("$ref").and_then(Value::as_str);
            let far = reference.is_some_and(|target| target != "#" && !target.starts_with("#/"));
            named || far || keywords.values().any(leads_elsewhere)
        }
        Value::Array(elements) => elements.iter().any(leads_elsewhere),
        _ => false,
    }
}

/// Makes a schema part of another: references lead into its new place, and a string may hold a `${…}` instead of what is asked for.
fn embed(schema: &mut Value, definition: &str) {
    let Value::Object(keywords) = schema else { return };
    keywords.remove("$schema");
    keywords.remove("$id");
    if let Some(Value::String(target)) = keywords.get_mut("$ref")
        && let Some(pointer) = target.strip_prefix('#')
    {
        *target = format!("#/$defs/{definition}{pointer}");
    }
    // More than one form takes a reference.
    if let Some(forms) = keywords.remove("oneOf") {
        keywords.entry("anyOf").or_insert(forms);
    }
    for (keyword, inner) in keywords.iter_mut() {
        match (keyword.as_str(), inner) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(named),
            ) => {
                named.values_mut().for_each(|schema| embed(schema, definition));
            }
            ("allOf" | "anyOf" | "prefixItems", Value::Array(forms)) => {
                forms.iter_mut().for_each(|schema| embed(schema, definition));
            }
            (
                "items" | "additionalProperties" | "unevaluatedProperties" | "contains" | "if" | "then" | "else",
                inner,
            ) => {
                embed(inner, definition);
            }
            _ => {}
        }
    }
    if narrows_strings(keywords) {
        let description = keywords.remove("description");
        let narrow = std::mem::take(schema);
        *schema = json!({ "anyOf": [narrow, { "$ref": REFERENCE }] });
        schema.as_object_mut().zip(description).map(|(keywords, text)| keywords.insert("description".into(), text));
    }
}

/// Whether a schema takes some strings only.
fn narrows_strings(keywords: &Map<String, Value>) -> bool {
    let chosen = ["const", "enum"].iter().filter_map(|keyword| keywords.get(*keyword));
    let chosen = chosen.flat_map(|value| value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice));
    let bounds = ["pattern", "format", "minLength", "maxLength"].iter().any(|keyword| keywords.contains_key(*keyword));
    bounds || chosen.into_iter().any(Value::is_string)
}

/// Puts every default into a configuration, where it says nothing.
pub(in crate::config) fn fill(config: &mut Value) {
    let schema = plain();
    fill_with(&schema, &schema, config);
}

fn fill_with(root: &Value, schema: &Value, value: &mut Value) {
    for schema in applying(root, schema, value) {
        if let (Some(Value::Object(properties)), Value::Object(members)) = (schema.get("properties"), &mut *value) {
            for (key, property) in properties {
                if let Some(default) = property.get("default").filter(|_| !members.contains_key(key)) {
                    members.insert(key.clone(), default.clone());
                }
                if let Some(member) = members.get_mut(key) {
                    fill_with(root, property, member);
                }
            }
        }
        if let (Some(entry @ Value::Object(_)), Value::Object(members)) =
            (schema.get("additionalProperties"), &mut *value)
        {
            let entries = members.iter_mut().filter(|(key, _)| !key.starts_with("//"));
            entries.for_each(|(_, member)| fill_with(root, entry, member));
        }
        if let (Some(items), Value::Array(elements)) = (schema.get("items"), &mut *value) {
            elements.iter_mut().for_each(|element| fill_with(root, items, element));
        }
    }
}

/// The schemas that speak of a value: this one, those that it refers to, and its forms for values of that type.
pub(super) fn applying<'s>(root: &'s Value, schema: &'s Value, value: &Value) -> Vec<&'s Value> {
    let (mut found, mut waiting) = (Vec::new(), vec![(schema, 0)]);
    while let Some((schema, depth)) = waiting.pop() {
        if depth > REFERENCES || !takes(schema, value) {
            continue;
        }
        found.push(schema);
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
        let target = target.and_then(|pointer| root.pointer(pointer));
        let forms = ["anyOf", "oneOf", "allOf"].iter().filter_map(|keyword| schema.get(*keyword)?.as_array()).flatten();
        let branches = ["if", "then", "else"].iter().filter_map(|keyword| schema.get(*keyword));
        waiting.extend(target.into_iter().chain(forms).chain(branches).map(|schema| (schema, depth + 1)));
    }
    found
}

/// Whether a schema is about values of that type.
fn takes(schema: &Value, value: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_kind = |named: &Value| named == kind || (named == "integer" && kind == "number");
    match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.iter().any(is_kind),
        Some(named) => is_kind(named),
        None => true,
    }
}
