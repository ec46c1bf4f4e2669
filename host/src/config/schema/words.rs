//! What a validator found, in our words: one problem per fault, at the key or value that has to change.

use std::collections::BTreeSet;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::UPSTREAM_FORMAT;
use crate::config::duration;
use crate::config::suggest::closest;
use crate::config::{Origins, Problem};

/// Most choices that a message lists.
const LISTED_CHOICES: usize = 12;

/// The pattern of a duration in schemas of the SDK.
const DURATION: &str = "^([0-9]+(ms|s|m|h|d))+$";

/// Writes the problems of one configuration.
pub(super) struct Report<'a> {
    pub(super) schema: &'a Value,
    pub(super) upstreams: &'a BTreeSet<String>,
    pub(super) origins: &'a Origins,
    /// The filter entry's path.
    pub(super) path: &'a str,
    /// The entry has no `config`.
    pub(super) absent: bool,
}

impl Report<'_> {
    /// The problems that one error of the validator stands for.
    pub(super) fn problems(&self, error: &ValidationError<'_>) -> Vec<Problem> {
        let pointer = error.instance_path().as_str();
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.known_keys(error);
                unexpected.iter().map(|key| self.unknown_key(pointer, key, &known)).collect()
            }
            ValidationErrorKind::AnyOf { context }
            | ValidationErrorKind::OneOfNotValid { context }
            | ValidationErrorKind::OneOfMultipleValid { context } => self.form(error, context),
            ValidationErrorKind::Enum { options } => {
                let choices = options.as_array().cloned().unwrap_or_default();
                vec![self.choice(pointer, error.instance(), &choices)]
            }
            ValidationErrorKind::Constant { expected_value } => {
                vec![self.choice(pointer, error.instance(), std::slice::from_ref(&**expected_value))]
            }
            ValidationErrorKind::Format { format } if format == UPSTREAM_FORMAT => vec![self.unknown_upstream(error)],
            ValidationErrorKind::PropertyNames { error } => {
                let key = error.instance().as_str().unwrap_or_default();
                let message = format!("bad key: {}", words(error));
                vec![self.origins.key_problem(self.path, &child(pointer, key), message, None)]
            }
            ValidationErrorKind::Pattern { pattern } if pattern == DURATION => {
                let found = self.found(pointer, error.instance());
                vec![self.problem(pointer, format!("expected {}, found {found}", duration::EXAMPLES), None)]
            }
            _ => vec![self.problem(pointer, words(error), None)],
        }
    }
    /// A problem with the value at a pointer.
    pub(super) fn problem(&self, pointer: &str, message: String, suggestion: Option<String>) -> Problem {
        let message = if self.absent { format!("{message} (there is no \"config\")") } else { message };
        self.origins.problem(self.path, pointer, message, suggestion)
    }
    pub(super) fn unknown_key(&self, pointer: &str, key: &str, known: &[String]) -> Problem {
        let suggestion = closest(key, known.iter().map(String::as_str));
        self.origins.key_problem(self.path, &child(pointer, key), "unknown key", suggestion)
    }
    /// A value that is none of those allowed.
    pub(super) fn choice(&self, pointer: &str, instance: &Value, choices: &[Value]) -> Problem {
        let listed: Vec<String> = choices.iter().take(LISTED_CHOICES).map(Value::to_string).collect();
        let one_of = if listed.len() == 1 { "" } else { "one of " };
        let more = if choices.len() > LISTED_CHOICES { ", …" } else { "" };
        let found = self.found(pointer, instance);
        let message = format!("expected {one_of}{}{more}, found {found}", listed.join(", "));
        let suggestion = self.suggest(pointer, instance, choices.iter().filter_map(Value::as_str));
        self.problem(pointer, message, suggestion)
    }
    fn unknown_upstream(&self, error: &ValidationError<'_>) -> Problem {
        let (pointer, instance) = (error.instance_path().as_str(), error.instance());
        let message = format!("unknown upstream {}", self.found(pointer, instance));
        let suggestion = self.suggest(pointer, instance, self.upstreams.iter().map(String::as_str));
        self.problem(pointer, message, suggestion)
    }
    /// A value as the file has it; large ones by their kind.
    fn found(&self, pointer: &str, instance: &Value) -> String {
        match instance {
            Value::Array(_) | Value::Object(_) => kind(instance).to_owned(),
            _ => self.origins.written(self.path, pointer).unwrap_or_else(|| kind(instance).to_owned()),
        }
    }
    /// The closest choice; none for a value that was filled in.
    fn suggest<'c>(&self, pointer: &str, value: &Value, choices: impl Iterator<Item = &'c str>) -> Option<String> {
        let written = self.origins.written(self.path, pointer)?;
        if written.contains("${") { None } else { closest(value.as_str()?, choices) }
    }
    /// The keys that the object's schema names.
    fn known_keys(&self, error: &ValidationError<'_>) -> Vec<String> {
        let location = error.schema_path().as_str();
        let object = location.rsplit_once('/').map_or("", |(object, _)| object);
        let properties = self.schema.pointer(&format!("{object}/properties")).and_then(Value::as_object);
        properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
    }
}

/// The pointer of an object's member.
fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// What is wrong, without the value.
fn words(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Type { kind } => type_words(kind, error.instance()),
        Kind::Required { property } => format!("missing key {property}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("must be a multiple of {multiple_of}"),
        Kind::MinLength { limit: 1 } | Kind::MinItems { limit: 1 } | Kind::MinProperties { limit: 1 } => {
            "must not be empty".to_owned()
        }
        Kind::MinLength { limit } => format!("must have at least {limit} characters"),
        Kind::MaxLength { limit } => format!("must have at most {limit} characters"),
        Kind::MinItems { limit } => format!("must have at least {limit} elements"),
        Kind::MaxItems { limit } => format!("must have at most {limit} elements"),
        Kind::AdditionalItems { limit } => format!("must have at most {limit} elements"),
        Kind::MinProperties { limit } => format!("must have at least {limit} keys"),
        Kind::MaxProperties { limit } => format!("must have at most {limit} keys"),
        Kind::UniqueItems => "has the same element twice".to_owned(),
        Kind::Pattern { pattern } => format!("does not match the pattern {pattern}"),
        Kind::Format { format } => format!("not a valid {format}"),
        Kind::Not { .. } | Kind::FalseSchema => "is not allowed here".to_owned(),
        kind => format!("does not meet \"{}\" of the plugin's schema", kind.keyword()),
    }
}

fn type_words(expected: &TypeKind, instance: &Value) -> String {
    let names: Vec<&str> = match expected {
        TypeKind::Single(expected) => vec![type_name(*expected)],
        TypeKind::Multiple(types) => types.iter().map(type_name).collect(),
    };
    expected_words(&names, instance)
}

/// `expected a string or null, found a number`
pub(super) fn expected_words(names: &[&str], instance: &Value) -> String {
    let fraction = names.contains(&type_name(JsonType::Integer)) && instance.is_number();
    let found = if fraction { "a fraction" } else { kind(instance) };
    format!("expected {}, found {found}", names.join(" or "))
}

pub(super) fn type_name(kind: JsonType) -> &'static str {
    match kind {
        JsonType::Null => "null",
        JsonType::Boolean => "true or false",
        JsonType::Integer => "a whole number",
        JsonType::Number => "a number",
        JsonType::String => "a string",
        JsonType::Array => "an array",
        JsonType::Object => "an object",
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
