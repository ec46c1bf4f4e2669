//! A secret: a string that never prints.

use std::fmt;

use super::{At, Config, ConfigError, Json, Schema};

/// A configured secret. It prints as `***`; who needs it says [`Secret::expose`]. Marked `writeOnly` in the schema, so that
/// hosts and editors hide it too.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// A secret that does not come from a configuration.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself. It must not reach a log, a reply or a metric.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Config for Secret {
    const SCHEMA: Schema = Schema::String { format: "", pattern: "", write_only: true };
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        String::from_json(json, at).map(Self)
    }
}
