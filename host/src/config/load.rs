//! A configuration file or text → a [`Config`], or everything that is wrong with it.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use jsonc_parser::ast::Value;
use jsonc_parser::errors::ParseError;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::include::{self, Gathered, Included};
use super::interpolate::{Environment, ProcessEnvironment};
use super::node::{Document, Node};
use super::origins::Origins;
use super::problem::{Problem, Problems};
use super::source::{Source, Span};
use super::{Config, FilterEntry, Plugins, check};

/// Most bytes of a configuration, over all its files: ten thousand routes with their filters take less than half of it.
pub(super) const CONFIG_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// JSON with comments and trailing commas, and nothing else beyond JSON (RFC 8259).
pub(super) const SYNTAX: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// A checked configuration, and where its filters stand in the file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// For problems that are found once plugins are loaded.
    pub origins: Origins,
    /// What is right, and does not do what it seems to.
    pub warnings: Vec<Problem>,
    /// The other files that it is made of.
    pub included: Included,
}

/// A file that is no configuration.
#[derive(Clone, Debug)]
pub struct Refused {
    /// What is wrong with it.
    pub problems: Problems,
    /// What it includes, as far as that could be read.
    pub included: Included,
    /// What plugins can judge all the same.
    pub rest: Option<Rest>,
}

/// What is known of the filters in a file that is no configuration.
#[derive(Clone, Debug)]
pub struct Rest {
    /// Where plugins come from.
    pub plugins: Plugins,
    /// The filters whose `use` and `config` are right.
    pub entries: Vec<Heard>,
    /// Where they stand.
    pub origins: Origins,
}

/// A filter entry, as far as it is right.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Where it stands: `routes[0].filters[2]`.
    pub path: Arc<str>,
    /// The plugin's name.
    pub plugin: Arc<str>,
    /// Its configuration, as in [`FilterEntry::config`].
    pub config: Arc<str>,
    /// All of it, when all of it is right.
    pub whole: Option<FilterEntry>,
}

impl From<Box<Refused>> for Problems {
    fn from(refused: Box<Refused>) -> Self {
        refused.problems
    }
}
impl From<Problems> for Box<Refused> {
    fn from(problems: Problems) -> Self {
        Self::new(Refused { problems, included: Included::default(), rest: None })
    }
}
impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problems.fmt(f)
    }
}

/// Reads a configuration file. Relative paths in it start at its directory; `${…}` is filled in from the environment of
/// the process.
///
/// # Errors
/// The file cannot be read, or its content is not a configuration: every problem at once.
pub fn load(path: &Path) -> Result<Loaded, Box<Refused>> {
    let name = path.display().to_string();
    let text = read(path, CONFIG_FILE_BYTES).map_err(|message| Problems::from(Problem::of_file(&name, message)))?;
    checked(&name, &text, path.parent().unwrap_or(Path::new("")), &ProcessEnvironment)
}

/// Reads a file of at most so many bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read the configuration: {error}");
    let metadata = std::fs::metadata(path).map_err(cannot)?;
    if metadata.is_dir() {
        return Err("cannot read the configuration: it is a directory".to_owned());
    }
    // Opening a named pipe would wait for a writer, perhaps for ever.
    if !metadata.is_file() {
        return Err("cannot read the configuration: it is not a file".to_owned());
    }
    let mut bytes = Vec::new();
    File::open(path).map_err(cannot)?.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > most {
        let all = if most < CONFIG_FILE_BYTES { ", all files together" } else { "" };
        return Err(format!("larger than {}{all}", super::size::display(CONFIG_FILE_BYTES)));
    }
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

/// The syntax tree of a text; `None` when there is nothing in it.
pub(super) fn syntax(text: &str) -> Result<Option<Value<'_>>, ParseError> {
    parse_to_ast(text, &CollectOptions::default(), &SYNTAX).map(|tree| tree.value)
}

/// A mistake of syntax in the text that stands at that offset.
pub(super) fn syntax_problem(source: &Source, error: &ParseError, offset: usize) -> Problem {
    let message = error.kind().to_string();
    let mut letters = message.chars();
    let message = letters.next().map(|first| first.to_lowercase().chain(letters).collect::<String>());
    let range = error.range();
    Problem::at(source, Span::new(range.start + offset, range.end + offset), "", message.unwrap_or_default())
}

/// Checks the text of a configuration. `file_name` is for messages, relative paths start at `base_dir`, `${…}` is filled in
/// from `env`.
///
/// # Errors
/// It is not a configuration: every problem at once, in the order of the text.
pub fn parse(file_name: &str, text: &str, base_dir: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
    checked(file_name, text, base_dir, env).map_err(Problems::from)
}

fn checked(file_name: &str, text: &str, base_dir: &Path, env: &dyn Environment) -> Result<Loaded, Box<Refused>> {
    let Gathered { source, included, mut problems, warnings } =
        include::gather(Source::new(file_name, base_dir, text), env);
    let refused = |problems: Problems| Box::new(Refused { problems, included: included.clone(), rest: None });
    let source = Arc::new(source);
    let mut misplaced = Vec::new();
    let value = include::tree(&source, &mut misplaced);
    if !problems.is_empty() {
        problems.extend(misplaced);
        return Err(refused(problems.into()));
    }
    let Some(value) = value.map_err(refused)? else {
        let message = "expected a configuration, found nothing".to_owned();
        return Err(refused(Problem::at(&source, Span::new(0, 0), "", message).into()));
    };
    let document = Document::new(&source, env);
    document.problems.replace(misplaced);
    document.warnings.replace(warnings);
    let config = check::config(&Node::root(&document, &value));
    let (problems, filters) = (document.problems.take(), document.origins.take());
    let (pins, files, upstreams) = (document.pins.take(), document.files.take(), document.upstreams.take());
    let (warnings, entries, plugins) = (document.warnings.take(), document.entries.take(), document.plugins.take());
    let origins = Origins { source: Arc::clone(&source), filters, pins, files, upstreams };
    match config {
        Some(config) if problems.is_empty() => Ok(Loaded { config, origins, warnings, included }),
        _ => {
            let rest = plugins.map(|plugins| Rest { plugins, entries, origins });
            Err(Box::new(Refused { problems: problems.into(), included, rest }))
        }
    }
}
