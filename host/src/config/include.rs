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

/// What only the file has that includes the others: whoever may write an included file shall not open ports, and not decide for all
/// which plugins run and how much everything may take.
const FIRST_ONLY: [&str; 4] = ["listeners", "admin", "plugins", "limits"];

/// Hidden names, such as those of Kubernetes' own links in a mounted volume, are not meant by `*`.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// The files of a configuration, as far as they could be read.
pub(super) struct Gathered {
    pub(super) source: Source,
    pub(super) included: Included,
    /// Files that cannot be read, with the place where they are named.
    pub(super) problems: Vec<Problem>,
    /// Patterns that match nothing.
    pub(super) warnings: Vec<Problem>,
}

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

/// Reads what the source's file includes, and what that includes.
pub(super) fn gather(source: Source, env: &dyn Environment) -> Gathered {
    let (included, seen) = (Included::default(), BTreeSet::new());
    let mut gathering = Gathering { source, env, included, seen, problems: Vec::new(), warnings: Vec::new() };
    let first = PathBuf::from(&**gathering.source.name());
    gathering.seen.extend(std::fs::canonicalize(&first).ok());
    gathering.follow(0, &mut vec![first]);
    let Gathering { source, included, problems, warnings, .. } = gathering;
    Gathered { source, included, problems, warnings }
}

struct Gathering<'e> {
    source: Source,
    env: &'e dyn Environment,
    included: Included,
    /// Where the files that were read really are.
    seen: BTreeSet<PathBuf>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
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
            match (files.is_empty(), wanted.is_name) {
                (true, true) => self.refuse(&wanted, "there is no such file".to_owned()),
                (true, false) => {
                    let message = "matches no file, so that nothing is included".to_owned();
                    self.warnings.push(Problem::at(&self.source, wanted.span, &wanted.path, message));
                }
                (false, _) => {}
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

/// The files of a source as one tree, whose places are those in the source; nothing when there is nothing in the first. What stands
/// in an included file and belongs in the first is left out, and told in `problems`.
///
/// # Errors
/// The first mistake of syntax.
pub(super) fn tree<'s>(source: &'s Source, problems: &mut Vec<Problem>) -> Result<Option<Value<'s>>, Problems> {
    let mut whole: Option<Value<'s>> = None;
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
            Some(whole) => {
                problems.extend(leave_out_misplaced(source, &mut value));
                merge(whole, value).map_err(|span| {
                    Problem::at(source, span, "", "expected an object, as in every file of a configuration".to_owned())
                })?;
            }
        }
    }
    Ok(whole)
}

/// Takes out of an included file what belongs in the first; a problem for each.
fn leave_out_misplaced(source: &Source, value: &mut Value<'_>) -> Vec<Problem> {
    let Value::Object(object) = value else { return Vec::new() };
    let misplaced = object.properties.extract_if(.., |property| FIRST_ONLY.contains(&property.name.as_str()));
    let problem = |property: ObjectProp<'_>| {
        let message = format!("belongs in {}: an included file has upstreams, filters and routes", source.name());
        Problem::at(source, property.name.range(), property.name.as_str(), message)
    };
    misplaced.map(problem).collect()
}

/// Puts what is at the top of another file to this; the span of what is no object.
fn merge<'a>(whole: &mut Value<'a>, other: Value<'a>) -> Result<(), Span> {
    match (whole, other) {
        (Value::Object(whole), Value::Object(other)) => {
            join(whole, other);
            Ok(())
        }
        (Value::Object(_), other) => Err(other.range()),
        // It is told as soon as it is read.
        (_, _) => Ok(()),
    }
}

/// Puts lists and objects of the same name together; what else is there twice stays so, as do names of upstreams, and is told when it is
/// read.
fn join<'a>(whole: &mut Object<'a>, other: Object<'a>) {
    for property in other.properties {
        let key = property.name.as_str();
        if key == "$schema" || key.starts_with("x-") || is_note(key) {
            continue;
        }
        let earlier = whole.properties.iter_mut().find(|earlier| earlier.name.as_str() == key);
        match (earlier.map(|earlier| &mut earlier.value), property.value) {
            (Some(Value::Array(earlier)), Value::Array(more)) => earlier.elements.extend(more.elements),
            (Some(Value::Object(earlier)), Value::Object(more)) => earlier.properties.extend(more.properties),
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
