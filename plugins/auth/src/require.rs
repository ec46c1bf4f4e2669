//! What a token's claims must say for it to be let through: authorisation, after the token has been found good.

use sluicegate_sdk::config::{At, ConfigError, Schema};
use sluicegate_sdk::prelude::*;

use crate::jwt::claim;

/// What one claim must be. Written as the value itself, or as a [`Test`].
#[derive(Debug, PartialEq)]
pub enum Condition {
    /// The claim is this text, number or truth value.
    Equals(Json),
    /// More than that.
    Is(Test),
}

/// A test of one claim.
#[derive(Config, Debug, PartialEq)]
pub enum Test {
    /// The claim is a list that has this, or a text with this among its words (as in "scope", RFC 8693 §4.2).
    Contains(String),
    /// The claim, or an element of it if it is a list, is one of these.
    Any(Vec<String>),
}

impl Config for Condition {
    const SCHEMA: Schema = Schema::Any;

    fn from_json(json: &Json, at: &At<'_>) -> Result<Self, ConfigError> {
        match json {
            Json::String(_) | Json::Number(_) | Json::Bool(_) => Ok(Self::Equals(json.clone())),
            Json::Object(_) => Test::from_json(json, at).map(Self::Is),
            Json::Null | Json::Array(_) => {
                Err(at.error("a condition is a value, {\"contains\": \"…\"} or {\"any\": […]}"))
            }
        }
    }
}

impl Condition {
    /// Whether the claims fulfil it. A claim that is not there fulfils nothing. A name that begins with `/` is a JSON Pointer.
    pub(crate) fn holds(&self, claims: &Json, name: &str) -> bool {
        let Some(found) = claim(claims, name) else { return false };
        match (self, found) {
            (Self::Equals(expected), found) => found == expected,
            (Self::Is(Test::Contains(wanted)), Json::Array(elements)) => {
                elements.iter().any(|element| element == wanted)
            }
            (Self::Is(Test::Contains(wanted)), Json::String(words)) => words.split(' ').any(|word| word == wanted),
            (Self::Is(Test::Contains(_)), _) => false,
            (Self::Is(Test::Any(these)), Json::Array(elements)) => {
                elements.iter().any(|element| these.iter().any(|this| element == this))
            }
            (Self::Is(Test::Any(these)), found) => these.iter().any(|this| found == this),
        }
    }
}
