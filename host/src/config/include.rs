//! `include`: the other files that a configuration is made of.
//!
//! Patterns are relative to the file in which they stand. Lists and objects at the top of the files are put together, those of a
//! file before those of the files that it includes; each file is taken once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern, glob_with};
use jsonc_parser::ast::{Object, ObjectProp, ObjectPropName, Value};
use jsonc_parser::common::Ranged;

use super::fields::is_note;
use super::interpolate::Environment;
use super::load::{CONFIG_FILE_BYTES, read, syntax, syntax_problem};
use super::node::{Document, Node};
use super::problem::{Problem, Problems};
use super::source::{Source, Span};

/// Most files of a configuration.
const FILES: usize = 1000;
/// Most patterns of all files.
const PATTERNS: usize = 1000;
/// How deep files may include others.
const DEPTH: usize = 8;

/// Hidden names, such as those of Kubernetes' own links in a mounted volume, are not meant by `*`.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// What a configuration includes: for whoever watches its files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Included {
    /// The files that were read.
    pub files: Vec<PathBuf>,
    /// The patterns, from where the process runs.
    pub patterns: Vec<String>,
}

/// The files that a pattern stands for now, in order. What cannot be looked into has none.
#[must_use]
pub fn matching(pattern: &str) -> Vec<PathBuf> {
    let paths = glob_with(pattern, MATCHING).into_iter().flatten();
    paths.filter_map(Result::ok).filter(|path| !path.is_dir()).take(FILES + 1).collect()
}

/// Reads what the source's file includes, and what that includes. Told are files that cannot be read, with the place where they are
/// named.
pub(super) fn gather(source: Source, env: &dyn Environment) -> (Source, Included, Vec<Problem>) {
    let mut gathering =
        Gathering { source, env, included: Included::default(), seen: BTreeSet::new(), problems: Vec::new() };
    let first = PathBuf::from(&**gathering.source.name());
    gathering.seen.extend(std::fs::canonicalize(&first).ok());
    gathering.follow(0, &mut vec![first]);
    (gathering.source, gathering.included, gathering.problems)
}

struct Gathering<'e> {
    source: Source,
    env: &'e dyn Environment,
    included: Included,
    /// Where the files that were read really are.
    seen: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
}

/// A pattern and where it stands.
struct Wanted {
    pattern: String,
    /// A file that has to be there.
    is_name: bool,
    span: Span,
    path: String,
}

impl Gathering<'_> {
    /// Reads what the file at that offset includes; `chain`: the files that led to it, itself included.
    fn follow(&mut self, offset: usize, chain: &mut Vec<PathBuf>) {
        for wanted in self.wanted(offset) {
            let files = matching(&wanted.pattern);
            if files.is_empty() && wanted.is_name {
                self.refuse(&wanted, "there is no such file".to_owned());
            }
            self.included.patterns.push(wanted.pattern.clone());
            for file in files {
                self.take(&wanted, file, chain);
            }
        }
    }

    fn take(&mut self, wanted: &Wanted, file: PathBuf, chain: &mut Vec<PathBuf>) {
        let name = file.display().to_string();
        let real = std::fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
        if let Some(first) = chain.iter().position(|before| std::fs::canonicalize(before).is_ok_and(|it| it == real)) {
            let names = chain[first..].iter().chain([&file]).map(|file| file.display().to_string());
            return self.refuse(wanted, format!("includes itself: {}", names.collect::<Vec<_>>().join(" → ")));
        }
        if !self.seen.insert(real) {
            return;
        }
        if self.included.files.len() == FILES {
            return self.refuse(wanted, format!("more than {FILES} files are included"));
        }
        if chain.len() > DEPTH {
            return self.refuse(wanted, format!("{name} is included more than {DEPTH} files deep"));
        }
        self.included.files.push(file.clone());
        let left = CONFIG_FILE_BYTES.saturating_sub(self.source.text.len() as u64);
        let text = match read(&file, left) {
            Ok(text) => text,
            Err(message) => return self.refuse(wanted, format!("{name}: {message}")),
        };
        let offset = self.source.add(&name, file.parent().unwrap_or(Path::new("")), &text);
        chain.push(file);
        self.follow(offset, chain);
        chain.pop();
    }

    /// The patterns of the file at that offset. What is wrong with them is told when everything is checked.
    fn wanted(&mut self, offset: usize) -> Vec<Wanted> {
        let text = self.source.texts().find(|(start, _)| *start == offset).map_or("", |(_, text)| text);
        let mut value = match syntax(text) {
            Ok(Some(value)) => value,
            Ok(None) => return Vec::new(),
            Err(error) => {
                let problem = syntax_problem(&self.source, &error, offset);
                self.problems.push(problem);
                return Vec::new();
            }
        };
        shift(&mut value, offset);
        let document = Document::new(&self.source, self.env);
        let root = Node::root(&document, &value);
        let patterns = root.member("include").and_then(|include| include.elements()).unwrap_or_default();
        let (mut wanted, mut problems) = (Vec::new(), Vec::new());
        for node in patterns {
            let Some(text) = node.text() else { continue };
            let (pattern, is_name) = pattern(node.base_dir(), &text.value);
            let message = if text.value.contains("**") {
                Some("\"**\" is not followed: name the directories".to_owned())
            } else if self.included.patterns.len() + wanted.len() >= PATTERNS {
                Some(format!("more than {PATTERNS} patterns"))
            } else {
                Pattern::new(&pattern).err().map(|error| format!("bad pattern {}: {}", text.shown, error.msg))
            };
            match message {
                Some(message) => problems.push(Problem::at(&self.source, node.span(), &node.path, message)),
                None => wanted.push(Wanted { pattern, is_name, span: node.span(), path: node.path.to_string() }),
            }
        }
        self.problems.extend(problems);
        wanted
    }

    fn refuse(&mut self, wanted: &Wanted, message: String) {
        self.problems.push(Problem::at(&self.source, wanted.span, &wanted.path, message));
    }
}

/// A pattern from where the process runs, and whether it names one file.
fn pattern(base_dir: &Path, text: &str) -> (String, bool) {
    let is_name = !text.contains(['*', '?', '[']);
    if text.starts_with('/') || base_dir.as_os_str().is_empty() {
        return (text.to_owned(), is_name);
    }
    (format!("{}/{text}", Pattern::escape(&base_dir.to_string_lossy())), is_name)
}

/// The files of a source as one tree, whose places are those in the source; nothing when there is nothing in the first.
///
/// # Errors
/// The first mistake of syntax.
pub(super) fn tree(source: &Source) -> Result<Option<Value<'_>>, Problems> {
    let mut whole: Option<Value<'_>> = None;
    for (index, (offset, text)) in source.texts().enumerate() {
        let parsed = syntax(text).map_err(|error| syntax_problem(source, &error, offset))?;
        let Some(mut value) = parsed else {
            if index == 0 {
                return Ok(None);
            }
            continue;
        };
        shift(&mut value, offset);
        match &mut whole {
            None => whole = Some(value),
            Some(whole) => merge(whole, value).map_err(|span| {
                Problem::at(source, span, "", "expected an object, as in every file of a configuration".to_owned())
            })?,
        }
    }
    Ok(whole)
}

/// Puts what is at the top of another file to this; the span of what is no object.
fn merge<'a>(whole: &mut Value<'a>, other: Value<'a>) -> Result<(), Span> {
    match (whole, other) {
        (Value::Object(whole), Value::Object(other)) => {
            join(whole, other, &|_| true);
            Ok(())
        }
        (Value::Object(_), other) => Err(other.range()),
        // It is told as soon as it is read.
        (_, _) => Ok(()),
    }
}

/// Puts lists and objects of the same name together, where `together` says so; what else is there twice stays so, and is told when it
/// is read.
fn join<'a>(whole: &mut Object<'a>, other: Object<'a>, together: &dyn Fn(&str) -> bool) {
    for property in other.properties {
        let key = property.name.as_str().to_owned();
        if key == "$schema" || key.starts_with("x-") || is_note(&key) {
            continue;
        }
        let earlier = whole.properties.iter().position(|earlier| earlier.name.as_str() == key && together(&key));
        let Some(earlier) = earlier.and_then(|index| whole.properties.get_mut(index)) else {
            whole.properties.push(property);
            continue;
        };
        match (&mut earlier.value, property.value) {
            (Value::Array(earlier), Value::Array(more)) => earlier.elements.extend(more.elements),
            (Value::Object(earlier), Value::Object(more)) => {
                join(earlier, more, &|inner| key == "plugins" && matches!(inner, "sha256" | "keys"));
            }
            (_, value) => whole.properties.push(ObjectProp { value, ..property }),
        }
    }
}

/// Moves the places in a tree behind what comes before its file. The parser bounds the depth of nesting, and so of the recursion (512).
fn shift(value: &mut Value<'_>, by: usize) {
    let moved = |range: &mut Span| *range = Span::new(range.start + by, range.end + by);
    match value {
        Value::StringLit(literal) => moved(&mut literal.range),
        Value::NumberLit(literal) => moved(&mut literal.range),
        Value::BooleanLit(literal) => moved(&mut literal.range),
        Value::NullKeyword(literal) => moved(&mut literal.range),
        Value::Array(array) => {
            moved(&mut array.range);
            array.elements.iter_mut().for_each(|element| shift(element, by));
        }
        Value::Object(object) => {
            moved(&mut object.range);
            for property in &mut object.properties {
                moved(&mut property.range);
                match &mut property.name {
                    ObjectPropName::String(literal) => moved(&mut literal.range),
                    ObjectPropName::Word(word) => moved(&mut word.range),
                }
                shift(&mut property.value, by);
            }
        }
    }
}
