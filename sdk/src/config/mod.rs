//! A filter's configuration: JSON on the outside, a checked type on the inside, and a JSON Schema for whoever writes it.
//!
//! `#[derive(Config)]` implements [`Config`]; the types that fields may have are in `values`. Errors name the place:
//! `rules[2].limit: expected a whole number, found a string`.

mod duration;
mod object;
mod one_or_many;
mod schema;
mod secret;
mod values;

use std::fmt;

pub use duration::{parse as parse_duration, period};
pub use object::{Object, unknown_variant, variant};
pub use one_or_many::OneOrMany;
pub use schema::{Field, Schema, Variant};
pub use secret::Secret;
pub use values::Number;

/// Any JSON value; as a field of a configuration it takes whatever stands there.
pub type Json = serde_json::Value;

/// A type that can be read from the JSON of a configuration and describes itself by a schema.
///
/// Derive it for structs with named fields and for enums. Implement it by hand for a value with rules of its own:
/// `SCHEMA` from the nearest type, `from_json` from that type plus a check that ends in [`At::error`].
pub trait Config: Sized {
    /// The JSON Schema of the values that [`Config::from_json`] takes.
    const SCHEMA: Schema;

    /// Whether a field of this type may be missing.
    const OPTIONAL: bool = false;

    /// The value of a missing field, if it may be missing.
    #[must_use]
    fn absent() -> Option<Self> {
        None
    }

    /// Reads a value that stands at `at`.
    ///
    /// # Errors
    /// What is wrong and where; for the person who writes the configuration.
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError>;
}

/// What is wrong in a configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The place, like `rules[2].limit`; empty for the whole.
    pub path: String,
    /// One sentence, without a trailing full stop.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("configuration: ")?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ConfigError {}

/// A place in a configuration. Costs nothing until an error asks for its name.
#[derive(Clone, Copy)]
pub struct At<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Index(usize),
}

impl At<'static> {
    /// The whole configuration.
    pub const ROOT: Self = Self { parent: None, step: Step::Root };
}

impl<'a> At<'a> {
    /// The member `name` of the object here.
    #[must_use]
    pub fn field(&'a self, name: &'a str) -> Self {
        At { parent: Some(self), step: Step::Field(name) }
    }

    /// The element `index` of the array here.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        At { parent: Some(self), step: Step::Index(index) }
    }

    /// An error at this place.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        let mut path = String::new();
        self.write(&mut path);
        ConfigError { path, message: message.into() }
    }

    /// An error about the wrong kind of value.
    pub(crate) fn expected(&self, what: &str, found: &Json) -> ConfigError {
        self.error(format!("expected {what}, found {}", kind(found)))
    }

    fn write(&self, path: &mut String) {
        if let Some(parent) = self.parent {
            parent.write(path);
        }
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index(index) => {
                path.push('[');
                path.push_str(&index.to_string());
                path.push(']');
            }
        }
    }
}

/// What a JSON value is, for a sentence. Values themselves are never shown: they may be secrets.
fn kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

/// Reads a whole configuration; no bytes at all mean `{}`.
///
/// # Errors
/// Not JSON, or not what `C` wants.
pub fn read<C: Config>(bytes: &[u8]) -> Result<C, ConfigError> {
    let bytes = if bytes.trim_ascii().is_empty() { b"{}" } else { bytes };
    let json: Json = serde_json::from_slice(bytes).map_err(|error| At::ROOT.error(error.to_string()))?;
    C::from_json(&json, &At::ROOT)
}
