//! The types that fields of a configuration may have, beside derived ones.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{At, Config, ConfigError, Json, Schema, duration};

impl Config for bool {
    const SCHEMA: Schema = Schema::Boolean;
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        json.as_bool().ok_or_else(|| at.expected("true or false", json))
    }
}

impl Config for String {
    const SCHEMA: Schema = Schema::String { format: "", pattern: "", write_only: false };
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        json.as_str().map(Self::from).ok_or_else(|| at.expected("a string", json))
    }
}

/// A number that `min` and `max` can be checked for.
pub trait Number {
    /// The value; none when it is absent.
    fn number(&self) -> Option<f64>;
}

impl<T: Number> Number for Option<T> {
    fn number(&self) -> Option<f64> {
        self.as_ref().and_then(Number::number)
    }
}

macro_rules! integer {
    ($($type:ty, $min:literal, $max:literal, $to:ident);*) => {$(
        impl Config for $type {
            const SCHEMA: Schema = Schema::Integer { min: $min, max: $max };
            fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
                match json {
                    Json::Number(number) if number.is_f64() => Err(at.error("expected a whole number")),
                    Json::Number(number) => number.$to().and_then(|value| Self::try_from(value).ok())
                        .ok_or_else(|| at.error(format!("must be between {} and {}", Self::MIN, Self::MAX))),
                    _ => Err(at.expected("a whole number", json)),
                }
            }
        }
        impl Number for $type {
            #[allow(clippy::cast_precision_loss, clippy::cast_lossless, reason = "bounds are small literals")]
            fn number(&self) -> Option<f64> {
                Some(*self as f64)
            }
        }
    )*};
}

integer! {
    u8, "0", "255", as_u64; u16, "0", "65535", as_u64; u32, "0", "4294967295", as_u64; u64, "0", "", as_u64; usize, "0", "", as_u64;
    i8, "-128", "127", as_i64; i16, "-32768", "32767", as_i64; i32, "-2147483648", "2147483647", as_i64; i64, "", "", as_i64
}

impl Config for f64 {
    const SCHEMA: Schema = Schema::Number;
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        json.as_f64().ok_or_else(|| at.expected("a number", json))
    }
}

impl Number for f64 {
    fn number(&self) -> Option<f64> {
        Some(*self)
    }
}

impl Config for Duration {
    const SCHEMA: Schema = Schema::String { format: "", pattern: duration::PATTERN, write_only: false };
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        let Json::String(text) = json else { return Err(at.expected("a duration like \"250ms\" or \"1m30s\"", json)) };
        duration::parse(text)
            .ok_or_else(|| at.error(format!("`{text}` is no duration; write it like \"250ms\" or \"1m30s\"")))
    }
}

impl Config for Json {
    const SCHEMA: Schema = Schema::Any;
    const OPTIONAL: bool = true;
    fn absent() -> Option<Self> {
        Some(Self::Null)
    }
    fn from_json(json: &Json, _at: &At<'_>) -> Result<Self, ConfigError> {
        Ok(json.clone())
    }
}

impl<T: Config> Config for Option<T> {
    const SCHEMA: Schema = T::SCHEMA;
    const OPTIONAL: bool = true;
    fn absent() -> Option<Self> {
        Some(None)
    }
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        T::from_json(json, at).map(Some)
    }
}

impl<T: Config> Config for Vec<T> {
    const SCHEMA: Schema = Schema::Array(&T::SCHEMA);
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        let Json::Array(elements) = json else { return Err(at.expected("an array", json)) };
        elements.iter().enumerate().map(|(index, element)| T::from_json(element, &at.index(index))).collect()
    }
}

impl<T: Config> Config for BTreeMap<String, T> {
    const SCHEMA: Schema = Schema::Map(&T::SCHEMA);
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        let Json::Object(members) = json else { return Err(at.expected("an object", json)) };
        members.iter().map(|(name, value)| Ok((name.clone(), T::from_json(value, &at.field(name))?))).collect()
    }
}

impl<T: Config> Config for Box<T> {
    const SCHEMA: Schema = T::SCHEMA;
    const OPTIONAL: bool = T::OPTIONAL;
    fn absent() -> Option<Self> {
        T::absent().map(Self::new)
    }
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        T::from_json(json, at).map(Self::new)
    }
}
