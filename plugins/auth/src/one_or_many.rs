//! A configuration value that may be written alone or as a list of several.

use sluicegate_sdk::config::{At, ConfigError, Schema};
use sluicegate_sdk::prelude::*;

/// `"a"`, or `["a", "b"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(Vec<T>);

impl<T: Config> Config for OneOrMany<T> {
    const SCHEMA: Schema = Schema::Any;
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        match json {
            Json::Array(_) => Vec::from_json(json, at).map(Self),
            one => Ok(Self(vec![T::from_json(one, at)?])),
        }
    }
}

impl<T> IntoIterator for OneOrMany<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
