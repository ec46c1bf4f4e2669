//! Secrets in the configuration of a filter: what its plugin's schema marks `writeOnly` is covered before it is shown.

use serde_json::{Map, Value};

use super::document::applying;

/// What is written in a secret's place.
const COVER: &str = "***";

/// Writes `***` over every value that the schema of a plugin marks as a secret (`writeOnly`).
pub(in crate::config) fn hide(schema: &Value, value: &mut Value) {
    hide_with(schema, schema, value);
}

fn hide_with(root: &Value, schema: &Value, value: &mut Value) {
    let applying = applying(root, schema, value);
    if applying.iter().any(|schema| schema.get("writeOnly") == Some(&Value::Bool(true))) {
        return cover(value);
    }
    for schema in applying {
        match &mut *value {
            Value::Object(members) => {
                let named = schema.get("properties").and_then(Value::as_object);
                let patterns = schema.get("patternProperties").and_then(Value::as_object);
                for (key, member) in members {
                    let own = named.and_then(|named| named.get(key));
                    let other = schema.get("additionalProperties").filter(|_| own.is_none());
                    // Whatever pattern a key meets: too much is hidden rather than too little.
                    let by_pattern = patterns.into_iter().flat_map(Map::values);
                    own.into_iter().chain(other).chain(by_pattern).for_each(|schema| hide_with(root, schema, member));
                }
            }
            Value::Array(elements) => {
                let places = schema.get("prefixItems").and_then(Value::as_array).into_iter().flatten();
                let all = schema.get("items").into_iter().chain(places).collect::<Vec<_>>();
                for element in elements {
                    all.iter().for_each(|schema| hide_with(root, schema, element));
                }
            }
            _ => {}
        }
    }
}

/// Covers every text and number in a value; a reference, whose value is not here, stays.
pub(in crate::config) fn cover(value: &mut Value) {
    match value {
        Value::String(text) if text.starts_with("${") && text.find('}') == Some(text.len() - 1) => {}
        Value::String(_) | Value::Number(_) => *value = COVER.into(),
        Value::Array(elements) => elements.iter_mut().for_each(cover),
        Value::Object(members) => members.values_mut().for_each(cover),
        Value::Bool(_) | Value::Null => {}
    }
}
