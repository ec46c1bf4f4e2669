//! What is wrong with a configuration: one [`Problem`] per fault, all of them at once.
//!
//! A problem shows what stands in the file, never what a `${…}` in it was replaced with.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::source::{Excerpt, Source, Span};

/// Most problems that a list prints; further ones are counted.
const PRINTED_PROBLEMS: usize = 100;

/// One fault of a configuration, with its place.
///
/// `Display` is one line: `gateway.json:31:22: routes[2].upstream: unknown upstream "ipd"; did you mean "idp"?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column in characters, from 1; 0 when the file as a whole is meant.
    pub column: usize,
    /// The JSON path (`routes[2].upstream`); empty at the top.
    pub path: String,
    /// What is wrong, in lower case and without a full stop.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
    pub(super) excerpt: Option<Excerpt>,
}

impl Problem {
    /// A fault of a whole file: it cannot be read, it is too large.
    #[must_use]
    pub fn of_file(file: &str, message: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            path: String::new(),
            message: message.into(),
            suggestion: None,
            excerpt: None,
        }
    }
    /// A fault at a place in a source.
    pub(super) fn at(source: &Source, span: Span, path: &str, message: String) -> Self {
        let position = source.position(span.start);
        Self {
            file: Arc::clone(source.name_at(span.start)),
            line: position.line,
            column: position.column,
            path: path.to_owned(),
            message,
            suggestion: None,
            excerpt: Some(source.excerpt(span)),
        }
    }
    /// The same problem with what was probably meant.
    #[must_use]
    pub fn suggest(self, suggestion: Option<String>) -> Self {
        Self { suggestion, ..self }
    }
    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "file": &*self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "message": self.message,
            "suggestion": self.suggestion,
        })
    }
    /// For terminals: the message, the place, and the source line with a mark below it. Ends with a line break.
    #[must_use]
    pub fn render(&self) -> String {
        let mut lines = format!("error: {}\n", self.statement());
        let margin = " ".repeat(self.line.to_string().len() + 1);
        let place =
            if self.line == 0 { self.file.to_string() } else { format!("{}:{}:{}", self.file, self.line, self.column) };
        let gap = if self.path.is_empty() { "" } else { "  " };
        lines.push_str(&format!("{margin}┌ {place}{gap}{}\n", self.path));
        if let Some(Excerpt { text, indent, width }) = &self.excerpt {
            let mark = format!("{}{}", " ".repeat(*indent), "^".repeat(*width));
            lines.push_str(&format!("{} │ {text}\n{margin}│ {mark}\n", self.line));
        }
        lines
    }
    /// The message with its suggestion.
    fn statement(&self) -> String {
        match &self.suggestion {
            Some(suggestion) => format!("{}; did you mean \"{suggestion}\"?", self.message),
            None => self.message.clone(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.statement())
    }
}

/// Everything that is wrong with a configuration, file by file in the order of the text; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Every problem for a terminal, an empty line between two; see [`Problem::render`].
    #[must_use]
    pub fn render(&self) -> String {
        let shown: Vec<String> = self.0.iter().take(PRINTED_PROBLEMS).map(Problem::render).collect();
        format!("{}{}", shown.join("\n"), self.rest())
    }
    /// A line about the problems that are not printed.
    fn rest(&self) -> String {
        match self.0.len().saturating_sub(PRINTED_PROBLEMS) {
            0 => String::new(),
            more => format!("\n… and {more} more"),
        }
    }
}

impl From<Vec<Problem>> for Problems {
    fn from(mut problems: Vec<Problem>) -> Self {
        let mut files: HashMap<Arc<str>, usize> = HashMap::new();
        for problem in &problems {
            let next = files.len();
            files.entry(Arc::clone(&problem.file)).or_insert(next);
        }
        problems.sort_by_key(|problem| (files.get(&problem.file).copied(), problem.line, problem.column));
        Self(problems)
    }
}
impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}
impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().take(PRINTED_PROBLEMS).enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{problem}")?;
        }
        f.write_str(&self.rest())
    }
}
impl std::error::Error for Problems {}
