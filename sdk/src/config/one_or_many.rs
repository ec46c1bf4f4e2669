//! A value that may be written alone, or as a list of several.

use super::{At, Config, ConfigError, Json, Schema};

/// `"a"`, or `["a", "b"]`; the list may be empty. Not for types that are written as arrays themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneOrMany<T>(Vec<T>);

impl<T> OneOrMany<T> {
    /// The values, in order.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> IntoIterator for OneOrMany<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<T: Config> Config for OneOrMany<T> {
    const SCHEMA: Schema = Schema::OneOrMany(&T::SCHEMA);
    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        match json {
            Json::Array(_) => Vec::from_json(json, at).map(Self),
            one => Ok(Self(vec![T::from_json(one, at)?])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_a_list_of_one() {
        let read = |json: Json| OneOrMany::<u8>::from_json(&json, &At::ROOT).map(|values| values.as_slice().to_vec());
        assert_eq!(read(5.into()), Ok(vec![5]));
        assert_eq!(read(vec![5, 6].into()), Ok(vec![5, 6]));
        assert!(read("5".into()).is_err());
        assert!(read(vec!["5"].into()).is_err());
    }

    #[test]
    fn its_schema_offers_both_forms() {
        let schema: Json = serde_json::from_str(&OneOrMany::<bool>::SCHEMA.to_json()).unwrap();
        let both = serde_json::json!({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "boolean"}}]});
        assert_eq!(schema, both);
    }
}
