//! A value that has none of several allowed forms (`anyOf`, `oneOf`): which form was probably meant, and what it lacks.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{JsonType, ValidationError};
use serde_json::Value;

use super::words::{Report, expected_words, type_name};
use crate::config::Problem;

/// The errors of a value against one of the forms.
type Form = Vec<ValidationError<'static>>;

impl Report<'_> {
    /// The problems of a value that was checked against `forms`.
    ///
    /// Where the forms differ in one word, that word is wrong, unless a form has it right. Otherwise the form whose faults all
    /// lie deeper than the value itself is the one that was meant. Otherwise the message lists the types or keys to choose from.
    pub(super) fn form(&self, error: &ValidationError<'_>, forms: &[Form]) -> Vec<Problem> {
        let (pointer, instance) = (error.instance_path().as_str(), &**error.instance());
        let suitable: Vec<&Form> = forms.iter().filter(|form| !is_other_type(form, pointer)).collect();
        if suitable.len() > 1
            && let Some(choices) = choices(&suitable)
        {
            return vec![self.choice(&choices.pointer, &choices.found, &choices.values)];
        }
        let mut deeper =
            suitable.iter().filter(|form| form.iter().all(|error| error.instance_path().as_str() != pointer));
        if let (Some(form), None) = (deeper.next(), deeper.next()) {
            return self.of_form(form);
        }
        if let [form] = suitable[..] {
            return self.of_form(form);
        }
        if suitable.is_empty() {
            let names: Vec<&str> = forms.iter().flatten().flat_map(expected_types).collect();
            return vec![self.problem(pointer, expected_words(&distinct(names), instance), None)];
        }
        if let (Some(object), Some(keys)) = (instance.as_object(), variant_keys(&suitable, pointer)) {
            if let [key] = &object.keys().collect::<Vec<_>>()[..] {
                return vec![self.unknown_key(pointer, key, &keys)];
            }
            let keys: Vec<String> = keys.iter().map(|key| format!("\"{key}\"")).collect();
            return vec![self.problem(pointer, format!("expected exactly one of {}", keys.join(", ")), None)];
        }
        let message = match error.kind() {
            ValidationErrorKind::OneOfMultipleValid { .. } => "has several of the forms of which it may have one",
            _ => "has none of the allowed forms",
        };
        vec![self.problem(pointer, message.to_owned(), None)]
    }
    fn of_form(&self, form: &Form) -> Vec<Problem> {
        form.iter().flat_map(|error| self.problems(error)).collect()
    }
}

/// Whether a form is for another type of value.
fn is_other_type(form: &Form, pointer: &str) -> bool {
    form.iter().any(|error| {
        let here = error.instance_path().as_str() == pointer;
        let constant = match error.kind() {
            ValidationErrorKind::Type { .. } => return here,
            ValidationErrorKind::Constant { expected_value } => expected_value,
            _ => return false,
        };
        here && JsonType::from(&**constant) != JsonType::from(&**error.instance())
    })
}

/// The types that a form asks for.
fn expected_types(error: &ValidationError<'_>) -> Vec<&'static str> {
    match error.kind() {
        ValidationErrorKind::Type { kind: TypeKind::Single(kind) } => vec![type_name(*kind)],
        ValidationErrorKind::Type { kind: TypeKind::Multiple(kinds) } => kinds.iter().map(type_name).collect(),
        ValidationErrorKind::Constant { expected_value } => vec![type_name(JsonType::from(&**expected_value))],
        _ => Vec::new(),
    }
}

fn distinct(names: Vec<&'static str>) -> Vec<&'static str> {
    let mut distinct = Vec::new();
    for name in names {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    }
    distinct
}

/// A place where each form wants another constant.
struct Choices {
    pointer: String,
    found: Value,
    values: Vec<Value>,
}

/// The constants between which the forms differ: the value itself, or the key that tells the forms apart.
fn choices(forms: &[&Form]) -> Option<Choices> {
    let mut choices: Option<Choices> = None;
    for form in forms {
        let (error, mut wanted) = form.iter().find_map(|error| match error.kind() {
            ValidationErrorKind::Constant { expected_value } => Some((error, vec![Value::clone(expected_value)])),
            ValidationErrorKind::Enum { options } => Some((error, options.as_array()?.clone())),
            _ => None,
        })?;
        let pointer = error.instance_path().as_str();
        let choices = choices.get_or_insert_with(|| Choices {
            pointer: pointer.to_owned(),
            found: Value::clone(error.instance()),
            values: Vec::new(),
        });
        if choices.pointer != pointer {
            return None;
        }
        choices.values.append(&mut wanted);
    }
    choices
}

/// The keys of forms that are objects with one key each, as an enum of the SDK has them.
fn variant_keys(forms: &[&Form], pointer: &str) -> Option<Vec<String>> {
    let key = |form: &&Form| {
        form.iter().find_map(|error| match error.kind() {
            ValidationErrorKind::Required { property } if error.instance_path().as_str() == pointer => {
                property.as_str().map(str::to_owned)
            }
            _ => None,
        })
    };
    forms.iter().map(key).collect()
}
