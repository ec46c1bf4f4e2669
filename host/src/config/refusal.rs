//! What a plugin says about its configuration → the place that it speaks of.
//!
//! A line that begins with `configuration: rules[2].limit: ` (our SDK's), or with the path of something that is there, is placed
//! there; so is a message of a JSON reader, which tells lines and columns of the text that was handed over.

use std::collections::HashMap;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;

use super::load::syntax;
use super::origins::Place;
use super::{Origins, Problem};

/// What our SDK's messages about a configuration begin with.
const PREFIX: &str = "configuration: ";

impl Origins {
    /// The problems that a plugin has told of the configuration of the entry at `path`. `config`: the text that it was handed;
    /// `lines`: its words, of which each is a problem where places are known; `whole`: what is said otherwise.
    #[must_use]
    pub fn refusal(&self, path: &str, config: &str, lines: &[String], whole: &str) -> Vec<Problem> {
        let Some(filter) = self.filters.get(path).filter(|filter| !filter.bare) else {
            return vec![self.problem(path, "", whole, None)];
        };
        let placed: Vec<_> = lines.iter().map(|line| placed(&filter.places, config, line)).collect();
        if placed.iter().all(Option::is_none) {
            let at = reader_place(config, whole).unwrap_or_default();
            return vec![self.key_or_value_problem(path, &at, whole)];
        }
        let told = lines.iter().zip(placed).map(|(line, placed)| match placed {
            Some((pointer, message)) => self.key_or_value_problem(path, &pointer, &message),
            None => self.problem(path, "", line.as_str(), None),
        });
        told.collect()
    }

    fn key_or_value_problem(&self, path: &str, pointer: &str, message: &str) -> Problem {
        if message.starts_with("unknown field") {
            self.key_problem(path, pointer, message, None)
        } else {
            self.problem(path, pointer, message, None)
        }
    }
}

/// The JSON pointer that a line speaks of, and the message without what told it.
fn placed(places: &HashMap<String, Place>, config: &str, line: &str) -> Option<(String, String)> {
    let (ours, line) = match line.strip_prefix(PREFIX) {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let end = line.find(|c: char| c.is_whitespace() || c == ':').unwrap_or(line.len());
    let (pointer, rest) = resolve(places, &line[..end]);
    // Words that happen to be there are no path, unless all of them lead somewhere; our SDK's always are one.
    let known = !pointer.is_empty() && (rest.is_empty() || ours);
    if known {
        // What is not there is not in the place, and so has to be in the message.
        let message = line[end..].strip_prefix(": ").filter(|_| rest.is_empty()).unwrap_or(line);
        // A field that is named in the message stands below the object that is placed.
        let field = message.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next());
        let below = field.map(|field| child(&pointer, field)).filter(|below| places.contains_key(below));
        return Some((below.unwrap_or(pointer), message.to_owned()));
    }
    if let Some(pointer) = reader_place(config, line) {
        let cut = line.find(" at line ").unwrap_or(line.len());
        return Some((pointer, line[..cut].to_owned()));
    }
    if let Some(field) = line.strip_prefix("unknown field `").and_then(|rest| rest.split('`').next()) {
        return Some((child("", field), line.to_owned()));
    }
    ours.then(|| (String::new(), line.to_owned()))
}

/// Follows a path (`rules[2].limit`) as far as there is something; the pointer of that, and what is left. Keys may have dots.
fn resolve<'p>(places: &HashMap<String, Place>, path: &'p str) -> (String, &'p str) {
    let (mut pointer, mut rest) = (String::new(), path);
    while !rest.is_empty() {
        let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let step = match index {
            Some((index, after)) => Some((child(&pointer, index), after)),
            None => longest_key(places, &pointer, rest.strip_prefix('.').unwrap_or(rest)),
        };
        match step.filter(|(below, _)| places.contains_key(below)) {
            Some((below, after)) => (pointer, rest) = (below, after),
            None => break,
        }
    }
    (pointer, rest)
}

/// The member with the longest key that the path goes on with.
fn longest_key<'p>(places: &HashMap<String, Place>, parent: &str, path: &'p str) -> Option<(String, &'p str)> {
    let ends = path.match_indices(['.', '[']).map(|(end, _)| end).chain([path.len()]);
    let mut steps = ends.map(|end| (child(parent, &path[..end]), &path[end..]));
    steps.rfind(|(below, _)| places.contains_key(below))
}

/// The pointer of an object's member, or of an array's element.
fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// What stands at the place in the configuration's text (one line) that a JSON reader names: `… at line 1 column 17`.
fn reader_place(config: &str, message: &str) -> Option<String> {
    let (_, after) = message.rsplit_once("line")?;
    let mut numbers = after.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    let (line, column) = (numbers.next()?, numbers.next()?);
    let is_place = after.trim_start_matches([' ', ':', '1', ',']).starts_with("column");
    let last = column.parse::<usize>().ok()?.checked_sub(1).filter(|_| line == "1" && is_place)?;
    let tree = syntax(config).ok()??;
    Some(deepest(&tree, last))
}

/// The pointer of the innermost value, or key, that has the byte at `offset`.
fn deepest(value: &Value<'_>, offset: usize) -> String {
    let (mut value, mut pointer) = (value, String::new());
    loop {
        let below = match value {
            Value::Object(object) => object.properties.iter().find(|it| has(&it.range, offset)).map(|property| {
                let key: &str = match &property.name {
                    ObjectPropName::String(literal) => &literal.value,
                    ObjectPropName::Word(word) => word.value,
                };
                (child(&pointer, key), &property.value)
            }),
            Value::Array(array) => {
                let mut elements = array.elements.iter().enumerate();
                let found = elements.find(|(_, element)| has(&element.range(), offset));
                found.map(|(index, element)| (child(&pointer, &index.to_string()), element))
            }
            _ => None,
        };
        match below {
            Some(below) => (pointer, value) = below,
            None => return pointer,
        }
    }
}

fn has(range: &jsonc_parser::common::Range, offset: usize) -> bool {
    (range.start..range.end).contains(&offset)
}
