//! A checked configuration: changes with placeholders in them, and the same filled in for one message.

use crate::config::{FieldsConfig, JsonConfig};
use crate::json::{Edit, Pointer};
use crate::template::{Facts, Place, Template};

/// Changes to headers or to query parameters.
#[derive(Debug, Default)]
pub(crate) struct FieldEdits {
    remove: Vec<String>,
    rename: Vec<(String, String)>,
    set: Vec<(String, Template)>,
    add: Vec<(String, Template)>,
}

/// Changes to fields with everything filled in, in the order in which they are made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filled {
    /// Fields that go.
    pub(crate) remove: Vec<String>,
    /// Fields that get another name.
    pub(crate) rename: Vec<(String, String)>,
    /// Fields that have exactly this value.
    pub(crate) set: Vec<(String, String)>,
    /// Fields that come on top.
    pub(crate) add: Vec<(String, String)>,
}

/// Changes to a JSON document.
#[derive(Debug, Default)]
pub(crate) struct JsonEdits {
    /// Removals and moves, which have nothing to fill in.
    fixed: Vec<Edit>,
    set: Vec<(Pointer, Value)>,
    add: Vec<(Pointer, Value)>,
}

/// A JSON value whose strings may have placeholders.
#[derive(Debug)]
enum Value {
    Plain(serde_json::Value),
    Text(Template),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Fields that belong to the gateway: with them a message could be split or lose its end.
const FRAMING: [&str; 7] =
    ["content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "keep-alive"];

impl FieldEdits {
    /// Checks changes to query parameters.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn query(config: FieldsConfig) -> Result<Self, String> {
        let templates = |fields: std::collections::BTreeMap<String, String>| {
            fields
                .into_iter()
                .map(|(name, value)| Ok((name, Template::parse(&value)?)))
                .collect::<Result<Vec<_>, String>>()
        };
        Ok(Self {
            remove: config.remove,
            rename: config.rename.into_iter().collect(),
            set: templates(config.set)?,
            add: templates(config.add)?,
        })
    }

    /// Checks changes to headers.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn headers(config: FieldsConfig) -> Result<Self, String> {
        let mut edits = Self::query(config)?;
        let renamed = edits.rename.iter_mut().flat_map(|(from, to)| [from, to]);
        let valued = edits.set.iter_mut().chain(&mut edits.add).map(|(name, _)| name);
        for name in edits.remove.iter_mut().chain(renamed).chain(valued) {
            name.make_ascii_lowercase();
            let token = !name.is_empty()
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            if !token {
                return Err(format!("{name:?} is no header name"));
            }
            if FRAMING.contains(&name.as_str()) {
                return Err(format!("{name:?} belongs to the connection, which the gateway looks after"));
            }
        }
        Ok(edits)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.rename.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// The changes for one message.
    #[must_use]
    pub(crate) fn fill(&self, place: Place, facts: &impl Facts) -> Filled {
        let fill = |fields: &[(String, Template)]| {
            fields.iter().map(|(name, value)| (name.clone(), value.render(place, facts))).collect()
        };
        Filled { remove: self.remove.clone(), rename: self.rename.clone(), set: fill(&self.set), add: fill(&self.add) }
    }

    /// Whether a placeholder speaks of the response.
    #[must_use]
    pub(crate) fn needs_response(&self) -> bool {
        self.set.iter().chain(&self.add).any(|(_, value)| value.needs_response())
    }
}

impl JsonEdits {
    /// Checks changes to a document.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn new(config: JsonConfig) -> Result<Self, String> {
        let mut fixed = Vec::new();
        for at in &config.remove {
            fixed.push(Edit::Remove(Pointer::parse(at)?));
        }
        for (from, to) in &config.rename {
            fixed.push(Edit::Rename(Pointer::parse(from)?, Pointer::parse(to)?));
        }
        let values = |fields: std::collections::BTreeMap<String, serde_json::Value>| {
            fields
                .into_iter()
                .map(|(at, value)| Ok((Pointer::parse(&at)?, Value::new(value)?)))
                .collect::<Result<Vec<_>, String>>()
        };
        Ok(Self { fixed, set: values(config.set)?, add: values(config.add)? })
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.fixed.is_empty() && self.set.is_empty() && self.add.is_empty()
    }

    /// The changes for one document.
    #[must_use]
    pub(crate) fn fill(&self, facts: &impl Facts) -> Vec<Edit> {
        let set = self.set.iter().map(|(at, value)| Edit::Set(at.clone(), value.fill(facts)));
        let add = self.add.iter().map(|(at, value)| Edit::Add(at.clone(), value.fill(facts)));
        self.fixed.iter().cloned().chain(set).chain(add).collect()
    }

    /// Whether a placeholder speaks of the response.
    #[must_use]
    pub(crate) fn needs_response(&self) -> bool {
        self.set.iter().chain(&self.add).any(|(_, value)| value.needs_response())
    }
}

impl Value {
    fn new(value: serde_json::Value) -> Result<Self, String> {
        Ok(match value {
            serde_json::Value::String(text) => Self::Text(Template::parse(&text)?),
            serde_json::Value::Array(items) => Self::Array(items.into_iter().map(Self::new).collect::<Result<_, _>>()?),
            serde_json::Value::Object(members) => Self::Object(
                members
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::new(value)?)))
                    .collect::<Result<_, String>>()?,
            ),
            plain => Self::Plain(plain),
        })
    }

    fn fill(&self, facts: &impl Facts) -> serde_json::Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Text(template) => template.render(Place::Text, facts).into(),
            Self::Array(items) => items.iter().map(|item| item.fill(facts)).collect(),
            Self::Object(members) => members.iter().map(|(name, value)| (name.clone(), value.fill(facts))).collect(),
        }
    }

    fn needs_response(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Text(template) => template.needs_response(),
            Self::Array(items) => items.iter().any(Self::needs_response),
            Self::Object(members) => members.iter().any(|(_, value)| value.needs_response()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::Placeholder;
    use serde_json::json;

    struct Nobody;
    impl Facts for Nobody {
        fn value(&self, _placeholder: &Placeholder) -> String {
            "x\"\n".to_owned()
        }
    }

    #[test]
    fn strings_anywhere_in_a_json_value_are_filled_in() {
        let config = JsonConfig {
            set: [("/a".to_owned(), json!({"who": ["{consumer}", 1, true], "{{": null}))].into(),
            ..JsonConfig::default()
        };
        let edits = JsonEdits::new(config).unwrap().fill(&Nobody);
        let filled = crate::json::apply(b"{}", &edits).unwrap();
        let filled: serde_json::Value = serde_json::from_slice(&filled).unwrap();
        assert_eq!(filled, json!({"a": {"who": ["x\"\n", 1, true], "{{": null}}));
    }

    #[test]
    fn headers_of_the_connection_are_refused() {
        for name in ["Content-Length", "transfer-encoding", ":path", "a b", ""] {
            let config = FieldsConfig { remove: vec![name.to_owned()], ..FieldsConfig::default() };
            assert!(FieldEdits::headers(config).is_err(), "{name}");
            let config =
                FieldsConfig { rename: [("x-a".to_owned(), name.to_owned())].into(), ..FieldsConfig::default() };
            assert!(FieldEdits::headers(config).is_err(), "{name}");
        }
    }
}
