//! A cursor over the syntax tree of a configuration: a value that knows its JSON path and its place, and reports what is
//! wrong with it.
//!
//! Every getter answers `None` after it has reported a problem, so that checks go on and find the others.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use jsonc_parser::ast::{ObjectPropName, Value};
use jsonc_parser::common::Ranged;

use super::interpolate::{Environment, interpolate};
use super::load::Heard;
use super::origins::{FilterOrigin, Place};
use super::problem::Problem;
use super::source::{Source, Span};
use super::{Plugins, duration, size};

/// Most characters of a value that a message repeats.
const SHOWN_CHARS: usize = 60;

/// What the nodes of one file share.
pub(super) struct Document<'a> {
    pub(super) source: &'a Source,
    pub(super) env: &'a dyn Environment,
    pub(super) problems: RefCell<Vec<Problem>>,
    /// What is right, and does not do what it seems to.
    pub(super) warnings: RefCell<Vec<Problem>>,
    /// Places of the filter entries, by their path.
    pub(super) origins: RefCell<HashMap<String, FilterOrigin>>,
    /// Places of the pins, by the plugin's name.
    pub(super) pins: RefCell<HashMap<Arc<str>, Place>>,
    /// Places of the names of files that are read later, by path.
    pub(super) files: RefCell<HashMap<String, Place>>,
    /// Filter entries as far as they are right, for what a file that is not right lets check all the same.
    pub(super) entries: RefCell<Vec<Heard>>,
    /// Where plugins come from, once it is known, and the names of upstreams with it.
    pub(super) plugins: RefCell<Option<Plugins>>,
    /// Places of the upstreams, by name.
    pub(super) upstreams: RefCell<HashMap<String, Place>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(source: &'a Source, env: &'a dyn Environment) -> Self {
        Self {
            source,
            env,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            origins: RefCell::default(),
            pins: RefCell::default(),
            files: RefCell::default(),
            entries: RefCell::default(),
            plugins: RefCell::default(),
            upstreams: RefCell::default(),
        }
    }
}

/// A value of the file.
#[derive(Clone)]
pub(super) struct Node<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) value: &'a Value<'a>,
    /// JSON path, as messages show it.
    pub(super) path: Rc<str>,
}

/// One key of an object with its value.
pub(super) struct Member<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) key_span: Span,
    pub(super) node: Node<'a>,
}

/// A string value with its references filled in.
pub(super) struct Text<'a> {
    /// What it means.
    pub(super) value: Cow<'a, str>,
    /// How it is written, quotes included: the only form for messages.
    pub(super) shown: String,
    /// It holds a reference, so that `value` may be a secret.
    pub(super) secret: bool,
}

impl<'a> Node<'a> {
    pub(super) fn root(document: &'a Document<'a>, value: &'a Value<'a>) -> Self {
        Self { document, value, path: "".into() }
    }
    pub(super) fn span(&self) -> Span {
        self.value.range()
    }
    /// Reports a problem with this value.
    pub(super) fn problem(&self, message: impl Into<String>) {
        self.problem_suggesting(message, None);
    }
    /// Reports a problem with this value and what was probably meant.
    pub(super) fn problem_suggesting(&self, message: impl Into<String>, suggestion: Option<String>) {
        self.problem_at(self.span(), &self.path, message.into(), suggestion);
    }
    pub(super) fn problem_at(&self, span: Span, path: &str, message: String, suggestion: Option<String>) {
        let problem = Problem::at(self.document.source, span, path, message).suggest(suggestion);
        self.document.problems.borrow_mut().push(problem);
    }
    /// The member of an object that has it.
    pub(super) fn member(&self, key: &str) -> Option<Self> {
        let Value::Object(_) = self.value else { return None };
        self.members()?.into_iter().find(|member| member.key == key).map(|member| member.node)
    }
    /// Where it stands, as another value speaks of it: `12:5`, `routes.d/a.json:12:5`.
    pub(super) fn place_seen_from(&self, other: &Self) -> String {
        self.document.source.place_seen_from(self.span().start, other.span().start)
    }
    /// Where relative paths start.
    pub(super) fn base_dir(&self) -> &'a Path {
        self.document.source.dir_at(self.span().start)
    }
    /// Warns about this value: it is right, and does not do what it seems to.
    pub(super) fn warning(&self, message: impl Into<String>) {
        self.warning_at(self.span(), &self.path, message.into());
    }
    pub(super) fn warning_at(&self, span: Span, path: &str, message: String) {
        self.document.warnings.borrow_mut().push(Problem::at(self.document.source, span, path, message));
    }
    pub(super) fn expected<T>(&self, what: impl Display) -> Option<T> {
        self.problem(format!("expected {what}, found {}", kind(self.value)));
        None
    }

    /// A string, its references filled in.
    pub(super) fn text(&self) -> Option<Text<'a>> {
        let Value::StringLit(literal) = self.value else {
            return self.expected("a string");
        };
        match interpolate(&literal.value, self.base_dir(), self.document.env) {
            Ok(value) => {
                let secret = literal.value.contains("${");
                Some(Text { value, shown: shown(self.document.source.slice(literal.range)), secret })
            }
            Err(unresolved) => {
                for fault in unresolved {
                    // Without escapes the literal's bytes are the text's, one quote further on.
                    let first = literal.range.start + 1;
                    let span = match literal.value {
                        Cow::Borrowed(_) => Span::new(first + fault.start, first + fault.end),
                        Cow::Owned(_) => literal.range,
                    };
                    self.problem_at(span, &self.path, fault.message, None);
                }
                None
            }
        }
    }
    /// A string as it stands, references and all.
    pub(super) fn plain_text(&self) -> Option<&'a str> {
        match self.value {
            Value::StringLit(literal) => Some(&literal.value),
            _ => self.expected("a string"),
        }
    }
    /// A string that `parse` understands; `what` describes one for the message.
    pub(super) fn parsed<T>(&self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.text()?;
        let parsed = parse(&text.value);
        if parsed.is_none() {
            self.problem(format!("expected {what}, found {}", text.shown));
        }
        parsed
    }
    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value {
            Value::BooleanLit(literal) => Some(literal.value),
            _ => self.expected("true or false"),
        }
    }
    /// A whole number within bounds.
    pub(super) fn integer(&self, bounds: RangeInclusive<u64>) -> Option<u64> {
        let Value::NumberLit(literal) = self.value else {
            return self.expected("a number");
        };
        match literal.value.parse::<u64>() {
            Ok(number) => self.within(number, bounds, |number| number.to_string()),
            Err(_) if literal.value.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => {
                self.problem(format!("expected a whole number, found {}", shown(literal.value)));
                None
            }
            Err(_) => self.out_of_bounds(&bounds, literal.value, |number| number.to_string()),
        }
    }
    /// A whole number within bounds, for a count.
    pub(super) fn count(&self, bounds: RangeInclusive<u64>) -> Option<usize> {
        self.integer(bounds).and_then(|number| usize::try_from(number).ok())
    }
    /// A duration (`"250ms"`) within bounds.
    pub(super) fn duration(&self, bounds: RangeInclusive<Duration>) -> Option<Duration> {
        let what = duration::EXAMPLES;
        if !matches!(self.value, Value::StringLit(_)) {
            return self.expected(what);
        }
        let parsed = self.parsed(what, duration::parse)?;
        self.within(parsed, bounds, |value| format!("\"{}\"", duration::display(*value)))
    }
    /// A size (`"64KiB"`, or a number of bytes) within bounds.
    pub(super) fn size(&self, bounds: RangeInclusive<u64>) -> Option<usize> {
        let what = "a size such as \"64KiB\" or \"1MiB\"";
        let bytes = match self.value {
            Value::NumberLit(_) => self.integer(bounds.clone())?,
            Value::StringLit(_) => {
                let text = self.text()?;
                let Some(bytes) = size::parse(&text.value) else {
                    let suggestion = if text.secret { None } else { size::suggest(&text.value) };
                    self.problem_suggesting(format!("expected {what}, found {}", text.shown), suggestion);
                    return None;
                };
                bytes
            }
            _ => return self.expected(what),
        };
        let bytes = self.within(bytes, bounds, |bytes| format!("\"{}\"", size::display(*bytes)))?;
        usize::try_from(bytes).ok()
    }
    /// The elements of an array.
    pub(super) fn elements(&self) -> Option<Vec<Self>> {
        let Value::Array(array) = self.value else {
            return self.expected("an array");
        };
        let element =
            |(index, value)| Self { document: self.document, value, path: format!("{}[{index}]", self.path).into() };
        Some(array.elements.iter().enumerate().map(element).collect())
    }
    /// The elements of an array that must have some.
    pub(super) fn some_elements(&self) -> Option<Vec<Self>> {
        let elements = self.elements()?;
        if elements.is_empty() {
            self.problem("must not be empty");
        }
        Some(elements)
    }
    /// The members of an object; a second one of the same key is reported and left out.
    pub(super) fn members(&self) -> Option<Vec<Member<'a>>> {
        let Value::Object(object) = self.value else {
            return self.expected("an object");
        };
        let mut members: Vec<Member<'a>> = Vec::with_capacity(object.properties.len());
        let mut first: HashMap<&str, Span> = HashMap::new();
        for property in &object.properties {
            let (key, key_span): (Cow<'a, str>, Span) = match &property.name {
                ObjectPropName::String(literal) => (Cow::Borrowed(&*literal.value), literal.range),
                ObjectPropName::Word(word) => (Cow::Borrowed(word.value), word.range),
            };
            let path = join(&self.path, &key);
            if let Some(earlier) = first.get(property.name.as_str()) {
                let place = self.document.source.place_seen_from(earlier.start, key_span.start);
                let message = format!("duplicate key; the first is at {place}");
                self.problem_at(key_span, &path, message, None);
                continue;
            }
            first.insert(property.name.as_str(), key_span);
            let node = Self { document: self.document, value: &property.value, path: path.into() };
            members.push(Member { key, key_span, node });
        }
        Some(members)
    }

    fn within<T: PartialOrd>(&self, value: T, bounds: RangeInclusive<T>, display: impl Fn(&T) -> String) -> Option<T> {
        if bounds.contains(&value) {
            return Some(value);
        }
        let found = shown(self.document.source.slice(self.span()));
        self.out_of_bounds(&bounds, &found, display)
    }
    fn out_of_bounds<T, U>(
        &self,
        bounds: &RangeInclusive<T>,
        found: &str,
        display: impl Fn(&T) -> String,
    ) -> Option<U> {
        let (least, most) = (display(bounds.start()), display(bounds.end()));
        self.problem(format!("must be between {least} and {most}, found {found}"));
        None
    }
}

/// The kind of a value as messages name it.
fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "an array",
        Value::NullKeyword(_) => "null",
    }
}

/// A piece of the file as a message repeats it: one line, not too long.
pub(super) fn shown(written: &str) -> String {
    if written.chars().nth(SHOWN_CHARS).is_none() {
        return written.to_owned();
    }
    written.chars().take(SHOWN_CHARS).chain(std::iter::once('…')).collect()
}

/// The path of a member: `parent.key`, or `parent["odd key"]`.
pub(super) fn join(parent: &str, key: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '$');
    if key.is_empty() || !key.chars().all(plain) {
        format!("{parent}[{key:?}]")
    } else if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}
