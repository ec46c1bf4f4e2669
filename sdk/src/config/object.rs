//! Reads the members of a JSON object for `#[derive(Config)]`: which are missing, which nobody knows.

use super::{At, Config, ConfigError, Json, Number};

/// The members of a JSON object, all of them known names.
pub struct Object<'a> {
    members: &'a serde_json::Map<String, Json>,
    at: &'a At<'a>,
}

impl<'a> Object<'a> {
    /// Takes the object at `at`.
    ///
    /// # Errors
    /// Not an object, or a member that is none of `names`.
    pub fn new(json: &'a Json, at: &'a At<'a>, names: &[&str]) -> Result<Self, ConfigError> {
        let Json::Object(members) = json else { return Err(at.expected("an object", json)) };
        match members.keys().find(|key| !names.contains(&key.as_str())) {
            Some(unknown) => Err(at.error(format!("unknown field `{unknown}`{}", list("field", names)))),
            None => Ok(Self { members, at }),
        }
    }

    /// A field that has to be there, unless its type may be missing.
    ///
    /// # Errors
    /// It is missing, or wrong.
    pub fn required<T: Config>(&self, name: &str) -> Result<T, ConfigError> {
        match self.members.get(name) {
            Some(json) => T::from_json(json, &self.at.field(name)),
            None => T::absent().ok_or_else(|| self.at.error(format!("missing field `{name}`"))),
        }
    }

    /// A field with a default.
    ///
    /// # Errors
    /// It is wrong.
    pub fn or<T: Config>(&self, name: &str, default: impl FnOnce() -> T) -> Result<T, ConfigError> {
        self.members.get(name).map_or_else(|| Ok(default()), |json| T::from_json(json, &self.at.field(name)))
    }

    /// A field whose default is written as in the configuration, like `"30s"`.
    ///
    /// # Errors
    /// It, or the default, is wrong.
    pub fn or_text<T: Config>(&self, name: &str, default: &str) -> Result<T, ConfigError> {
        let at = self.at.field(name);
        match self.members.get(name) {
            Some(json) => T::from_json(json, &at),
            None => T::from_json(&Json::String(default.to_owned()), &at),
        }
    }

    /// Checks a lower bound, `text` as it was written.
    ///
    /// # Errors
    /// `value` is smaller.
    pub fn at_least<T: Number>(&self, name: &str, value: &T, min: f64, text: &str) -> Result<(), ConfigError> {
        match value.number() {
            Some(number) if number < min => Err(self.at.field(name).error(format!("must be at least {text}"))),
            _ => Ok(()),
        }
    }

    /// Checks an upper bound, `text` as it was written.
    ///
    /// # Errors
    /// `value` is larger.
    pub fn at_most<T: Number>(&self, name: &str, value: &T, max: f64, text: &str) -> Result<(), ConfigError> {
        match value.number() {
            Some(number) if number > max => Err(self.at.field(name).error(format!("must be at most {text}"))),
            _ => Ok(()),
        }
    }
}

/// The name and the value of an enum: `"name"`, or `{"name": value}`.
///
/// # Errors
/// Neither of the two.
pub fn variant<'a>(json: &'a Json, at: &At<'_>) -> Result<(&'a str, Option<&'a Json>), ConfigError> {
    match json {
        Json::String(name) => Ok((name, None)),
        Json::Object(members) if members.len() == 1 => {
            members.iter().next().map(|(name, value)| (name.as_str(), Some(value))).ok_or_else(|| at.error("empty"))
        }
        Json::Object(_) => Err(at.error("expected one member, which names the choice")),
        _ => Err(at.expected("a name, or an object of one member", json)),
    }
}

/// The error for a variant that does not exist, or not in this form.
#[must_use]
pub fn unknown_variant(at: &At<'_>, name: &str, has_value: bool, names: &[&str]) -> ConfigError {
    if names.contains(&name) {
        let problem = if has_value { "takes no value" } else { "needs a value" };
        return at.error(format!("`{name}` {problem}"));
    }
    at.error(format!("unknown name `{name}`{}", list("name", names)))
}

/// `; expected one of `a`, `b``
fn list(noun: &str, names: &[&str]) -> String {
    match names {
        [] => format!("; there is no {noun} here"),
        [only] => format!("; expected `{only}`"),
        _ => {
            format!("; expected one of {}", names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "))
        }
    }
}
