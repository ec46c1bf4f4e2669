//! A filter's configuration against its plugin's JSON Schema, with problems placed in the configuration file.
//!
//! A string with `"format": "sluicegate-upstream"` names an upstream: it has to exist, and is reported for the filter's callouts
//! to be granted. Messages repeat what the file says, never a value that was filled in. Schemas cannot load others.

mod document;
mod forms;
mod secrets;
mod words;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

pub(super) use self::document::fill;
pub use self::document::{plain, whole};
pub(super) use self::secrets::{cover, hide};
use self::words::Report;
use super::{Origins, Problem};

/// The format of a string that names an upstream.
const UPSTREAM_FORMAT: &str = "sluicegate-upstream";

/// Checks the configuration of the filter entry at `path` (its text, [`super::FilterEntry::config`]) against a schema. A filter
/// without a configuration is checked as `{}`.
///
/// Answers every problem, and the upstreams that the configuration names.
#[must_use]
pub fn check_config(schema: &str, config: &str, origins: &Origins, path: &str) -> (Vec<Problem>, BTreeSet<String>) {
    let names: Arc<BTreeSet<String>> = Arc::new(origins.upstreams.keys().cloned().collect());
    let used = Arc::new(Mutex::new(BTreeSet::new()));
    let validator = match validator(schema, &names, &used) {
        Ok(validator) => validator,
        Err(error) => {
            let message = format!("the plugin's schema cannot be used: {}", error.message);
            return (vec![origins.plugin_problem(path, message, None)], BTreeSet::new());
        }
    };
    let value = match instance(config, origins, path) {
        Ok(value) => value,
        Err(message) => return (vec![origins.problem(path, "", message, None)], BTreeSet::new()),
    };
    let report = Report { schema: &validator.schema, upstreams: &names, origins, path, absent: config.is_empty() };
    let problems = validator.validator.iter_errors(&value).flat_map(|error| report.problems(&error)).collect();
    let used = std::mem::take(&mut *used.lock().unwrap_or_else(PoisonError::into_inner));
    (problems, used)
}

/// The value that a configuration's text stands for.
fn instance(config: &str, origins: &Origins, path: &str) -> Result<Value, String> {
    if config.is_empty() && !origins.is_bare(path) {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    if origins.is_bare(path) {
        return Ok(Value::from(config));
    }
    // The text was JSON when it was read; what is left to fail is the depth. The error does not repeat the text.
    serde_json::from_str(config).map_err(|error| format!("cannot be checked against the plugin's schema: {error}"))
}

/// A schema, compiled and as it is written.
struct Compiled {
    schema: Value,
    validator: jsonschema::Validator,
}

/// Why a schema cannot be used; the plugin's author must act.
struct BadSchema {
    message: String,
}

fn validator(
    schema: &str,
    names: &Arc<BTreeSet<String>>,
    used: &Arc<Mutex<BTreeSet<String>>>,
) -> Result<Compiled, BadSchema> {
    let schema: Value = serde_json::from_str(schema).map_err(|error| BadSchema { message: error.to_string() })?;
    let (names, used) = (Arc::clone(names), Arc::clone(used));
    let is_upstream = move |name: &str| {
        let known = names.contains(name);
        if known {
            used.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        }
        known
    };
    let validator = jsonschema::options()
        .with_format(UPSTREAM_FORMAT, is_upstream)
        .should_validate_formats(true)
        .offline()
        .build(&schema)
        .map_err(|error| BadSchema { message: error.to_string() })?;
    Ok(Compiled { schema, validator })
}
