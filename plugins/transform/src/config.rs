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
    pub query: EditsConfig,
    /// Headers.
    #[config(default)]
    pub headers: EditsConfig,
    /// The body at JSON Pointers ("/user/name"), when its content type is JSON. What is not JSON then is refused with 400.
    #[config(default)]
    pub json: EditsConfig,
}

/// Changes to the response.
#[derive(Config, Default)]
pub struct ResponseConfig {
    /// Headers.
    #[config(default)]
    pub headers: EditsConfig,
    /// The body at JSON Pointers ("/user/name"), when its content type is JSON. What is not JSON then is answered with 502.
    #[config(default)]
    pub json: EditsConfig,
}

/// Changes, made in this order: remove, rename, set, add. Texts in the values of "set" and "add" may have placeholders.
#[derive(Config, Default)]
pub struct EditsConfig {
    /// What goes.
    #[config(default)]
    pub remove: Vec<String>,
    /// What gets another name: {"old": "new"}. One of the new name is replaced.
    #[config(default)]
    pub rename: BTreeMap<String, String>,
    /// What has exactly this value afterwards; in JSON, objects on the way are made.
    #[config(default)]
    pub set: BTreeMap<String, Json>,
    /// What comes on top of those of the same name; in JSON, members that are made when they are missing and elements that are
    /// inserted into an array ("/tags/-": at its end).
    #[config(default)]
    pub add: BTreeMap<String, Json>,
}

/// One way to change the path.
#[derive(Config)]
pub enum PathConfig {
    /// The whole path; may have placeholders.
    Set(String),
    /// A prefix of whole segments.
    Prefix(PrefixConfig),
    /// The first match of a regular expression.
    Regex(RegexConfig),
}

/// A prefix of whole segments.
#[derive(Config)]
pub struct PrefixConfig {
    /// "/api": matches "/api" and "/api/users", not "/apis".
    pub from: String,
    /// What stands there afterwards; may have placeholders.
    pub to: String,
}

/// A regular expression on the path.
#[derive(Config)]
pub struct RegexConfig {
    /// "^/users/([^/]+)$"
    pub pattern: String,
    /// "/accounts/$1"; "${name}" for a named capture, "$$" for a dollar sign.
    pub replacement: String,
}
