//! A configuration file or text → a [`Config`], or everything that is wrong with it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use jsonc_parser::ast::Value;
use jsonc_parser::errors::ParseError;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::interpolate::{Environment, ProcessEnvironment};
use super::node::{Document, Node};
use super::origins::Origins;
use super::problem::{Problem, Problems};
use super::source::{Source, Span};
use super::{Config, check};

/// Most bytes of a configuration file: ten thousand routes with their filters take less than half of it.
const CONFIG_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// JSON with comments and trailing commas, and nothing else beyond JSON (RFC 8259).
const SYNTAX: ParseOptions = ParseOptions {
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
}

/// Reads a configuration file. Relative paths in it start at its directory; `${…}` is filled in from the environment of
/// the process.
///
/// # Errors
/// The file cannot be read, or its content is not a configuration: every problem at once.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let name = path.display().to_string();
    let text = read(path).map_err(|message| Problem::of_file(&name, message))?;
    parse(&name, &text, path.parent().unwrap_or(Path::new("")), &ProcessEnvironment)
}

fn read(path: &Path) -> Result<String, String> {
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
    File::open(path).map_err(cannot)?.take(CONFIG_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > CONFIG_FILE_BYTES {
        return Err(format!("larger than {}", super::size::display(CONFIG_FILE_BYTES)));
    }
    String::from_utf8(bytes).map_err(|error| format!("not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}

/// The syntax tree of a text; `None` when there is nothing in it.
pub(super) fn syntax(text: &str) -> Result<Option<Value<'_>>, ParseError> {
    parse_to_ast(text, &CollectOptions::default(), &SYNTAX).map(|tree| tree.value)
}

/// Checks the text of a configuration. `file_name` is for messages, relative paths start at `base_dir`, `${…}` is filled in
/// from `env`.
///
/// # Errors
/// It is not a configuration: every problem at once, in the order of the text.
pub fn parse(file_name: &str, text: &str, base_dir: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
    let source = Arc::new(Source::new(file_name, text));
    let value = syntax(&source.text).map_err(|error| {
        let message = error.kind().to_string();
        let mut letters = message.chars();
        let message = letters.next().map(|first| first.to_lowercase().chain(letters).collect::<String>());
        Problem::at(&source, error.range(), "", message.unwrap_or_default())
    })?;
    let Some(value) = value else {
        let message = "expected a configuration, found nothing".to_owned();
        return Err(Problem::at(&source, Span::new(0, 0), "", message).into());
    };
    let document = Document {
        source: &source,
        base_dir,
        env,
        problems: RefCell::default(),
        origins: RefCell::new(HashMap::new()),
        pins: RefCell::new(HashMap::new()),
        files: RefCell::new(HashMap::new()),
    };
    let config = check::config(&Node::root(&document, &value));
    let (problems, filters) = (document.problems.take(), document.origins.take());
    let (pins, files) = (document.pins.take(), document.files.take());
    match config {
        Some(config) if problems.is_empty() => {
            Ok(Loaded { config, origins: Origins { source: Arc::clone(&source), filters, pins, files } })
        }
        _ => Err(problems.into()),
    }
}
