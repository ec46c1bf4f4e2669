//! What can be written in the configuration.

use std::collections::BTreeMap;

use sluicegate_sdk::prelude::*;

/// What is changed on the way to the upstream and on the way back.
#[derive(Config)]
pub struct TransformConfig {
    /// Changes to the request.
    #[config(default)]
    pub request: RequestConfig,
    /// Changes to the response, replies of later filters included.
    #[config(default)]
    pub response: ResponseConfig,
}

/// Changes to the request.
#[derive(Config, Default)]
pub struct RequestConfig {
    /// The path; the query stays.
    pub path: Option<PathConfig>,
    /// Query parameters.
    #[config(default)]
    pub query: FieldsConfig,
    /// Headers.
    #[config(default)]
    pub headers: FieldsConfig,
    /// The body, when its content type is JSON. What is not JSON then is refused with 400.
    #[config(default)]
    pub json: JsonConfig,
}

/// Changes to the response.
#[derive(Config, Default)]
pub struct ResponseConfig {
    /// Headers.
    #[config(default)]
    pub headers: FieldsConfig,
    /// The body, when its content type is JSON.
    #[config(default)]
    pub json: JsonConfig,
    /// What becomes of a response that says it is JSON and is not: "fail" (502, the default: nothing that was to be removed
    /// gets out) or "pass" (it goes on unchanged).
    #[config(default)]
    pub invalid_json: InvalidJson,
}

/// Changes to named fields, made in this order: remove, rename, set, add. Values of "set" and "add" may have placeholders.
#[derive(Config, Default)]
pub struct FieldsConfig {
    /// Fields that go.
    #[config(default)]
    pub remove: Vec<String>,
    /// Fields that get another name: {"old": "new"}. One of the new name is replaced.
    #[config(default)]
    pub rename: BTreeMap<String, String>,
    /// Fields that have exactly this value afterwards.
    #[config(default)]
    pub set: BTreeMap<String, String>,
    /// Fields that come on top of those of the same name.
    #[config(default)]
    pub add: BTreeMap<String, String>,
}

/// Changes to a JSON document at JSON Pointers ("/user/name"), made in this order: remove, rename, set, add. Strings in the values
/// of "set" and "add" may have placeholders.
#[derive(Config, Default)]
pub struct JsonConfig {
    /// Values that go.
    #[config(default)]
    pub remove: Vec<String>,
    /// Values that move: {"/old": "/new"}.
    #[config(default)]
    pub rename: BTreeMap<String, String>,
    /// Values that are these afterwards; objects on the way are made.
    #[config(default)]
    pub set: BTreeMap<String, Json>,
    /// Members that are made when they are missing, elements that are inserted into an array ("/tags/-": at its end).
    #[config(default)]
    pub add: BTreeMap<String, Json>,
}

/// One way to change the path.
#[derive(Config, Debug)]
pub enum PathConfig {
    /// The whole path; may have placeholders.
    Set(String),
    /// A prefix of whole segments.
    Prefix(PrefixConfig),
    /// The first match of a regular expression.
    Regex(RegexConfig),
}

/// A prefix of whole segments.
#[derive(Config, Debug)]
pub struct PrefixConfig {
    /// "/api": matches "/api" and "/api/users", not "/apis".
    pub from: String,
    /// What stands there afterwards; may have placeholders.
    pub to: String,
}

/// A regular expression on the path.
#[derive(Config, Debug)]
pub struct RegexConfig {
    /// "^/users/([^/]+)$"
    pub pattern: String,
    /// "/accounts/$1"; "${name}" for a named capture, "$$" for a dollar sign.
    pub replacement: String,
}

/// What becomes of a response that says it is JSON and is not.
#[derive(Config, Clone, Copy, Default, PartialEq, Eq)]
pub enum InvalidJson {
    /// 502.
    #[default]
    Fail,
    /// It goes on unchanged.
    Pass,
}
