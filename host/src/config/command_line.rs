//! A configuration made of a few words of the command line: one upstream, one route for everything, filters from files or built in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::interpolate::ProcessEnvironment;
use super::{Loaded, Problem, Problems, parse};

/// What problems are reported for.
const NAME: &str = "command line";
/// What is said of a word that can be no plugin.
const NO_NAME: &str = "expected a file such as \"my-filter.wasm\" (letters, digits, \"-\", \"_\", \".\"), or the name of a built-in plugin";

/// `sluicegate run --upstream URL --plugin PLUGIN --listen ADDRESS`
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// Where all requests go: a URL without a path.
    pub upstream: String,
    /// What every request passes, in order: a file, known by its stem, or the name of a built-in plugin; with a configuration behind
    /// `=` (JSON), where it has one.
    pub plugins: Vec<String>,
    /// Address and port.
    pub listen: String,
}

/// A plugin of the command line.
struct Named<'a> {
    name: Arc<str>,
    /// None for a built-in one.
    file: Option<&'a Path>,
    config: Option<Value>,
    /// For messages; without the configuration, which may hold secrets.
    word: &'a str,
}

impl CommandLine {
    /// The configuration that is meant.
    ///
    /// # Errors
    /// Every word that is wrong.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let (named, mut problems) = self.named();
        let mut sources: BTreeMap<&str, Option<&Path>> = BTreeMap::new();
        for Named { name, file, .. } in &named {
            let first = *sources.entry(name).or_insert(*file);
            if first != *file {
                let other = first.or(*file).unwrap_or(Path::new(&**name));
                let message = format!("another file is the plugin \"{name}\", too: {}", other.display());
                problems.push(Problem::of_file("--plugin", message));
            }
        }
        let filter = |named: &Named<'_>| match &named.config {
            Some(config) => json!({ "use": &*named.name, "config": config }),
            None => json!({ "use": &*named.name }),
        };
        let text = json!({
            "listeners": [{ "address": literal(&self.listen) }],
            "upstreams": { "upstream": { "targets": [literal(&self.upstream)] } },
            "filters": named.iter().map(filter).collect::<Vec<_>>(),
            "routes": [{ "name": "all", "upstream": "upstream" }],
        });
        let loaded = parse(NAME, &text.to_string(), Path::new(""), &ProcessEnvironment);
        match loaded {
            Ok(mut loaded) if problems.is_empty() => {
                // Files that nobody named take no part.
                loaded.config.plugins.dir = PathBuf::new();
                let files = named.into_iter().filter_map(|named| Some((named.name, named.file?.to_owned())));
                loaded.config.plugins.files = files.collect();
                Ok(loaded)
            }
            Ok(_) => Err(problems.into()),
            Err(more) => {
                problems.extend(more.into_iter().map(|problem| self.placed(problem)));
                Err(problems.into())
            }
        }
    }

    /// The plugins as far as their words are right, and what is wrong with the others.
    fn named(&self) -> (Vec<Named<'_>>, Vec<Problem>) {
        let (mut all, mut problems) = (Vec::new(), Vec::new());
        for word in &self.plugins {
            match named(word) {
                Ok(named) => all.push(named),
                Err((word, message)) => problems.push(Problem::of_file(&format!("--plugin {word}"), message)),
            }
        }
        (all, problems)
    }

    /// A problem of the configuration that was made of the words, at the word that it comes from.
    #[must_use]
    pub fn placed(&self, problem: Problem) -> Problem {
        let inside = problem.path.strip_prefix("filters[").and_then(|rest| rest.split_once(']'));
        let index = inside.and_then(|(index, _)| index.parse::<usize>().ok());
        let (named, _) = self.named();
        let word = match index.and_then(|index| named.get(index)) {
            Some(named) => format!("--plugin {}", named.word),
            None if problem.path.starts_with("listeners") => "--listen".to_owned(),
            None if problem.path.starts_with("upstreams") => "--upstream".to_owned(),
            None => NAME.to_owned(),
        };
        let message = match inside {
            Some((_, path)) if path.starts_with(".config") => format!("{}: {}", &path[1..], problem.message),
            _ => problem.message,
        };
        Problem::of_file(&word, message).suggest(problem.suggestion)
    }
}

/// `FILE`, `NAME`, `FILE=JSON` or `NAME=JSON`.
///
/// # Errors
/// The word without its configuration, and what is wrong with it.
fn named(text: &str) -> Result<Named<'_>, (&str, String)> {
    let (word, config) = text.split_once('=').map_or((text, None), |(word, config)| (word, Some(config)));
    let file = Some(Path::new(word)).filter(|file| file.extension().is_some() || word.contains('/'));
    let name = match file {
        Some(file) => name(file),
        None => (!word.is_empty() && word.chars().all(is_legal)).then(|| word.replace('_', "-").into()),
    };
    let name = name.ok_or_else(|| (word, NO_NAME.to_owned()))?;
    let config = config.map(serde_json::from_str::<Value>).transpose();
    let config = config.map_err(|error| (word, format!("expected JSON behind \"=\": {error}")))?;
    Ok(Named { name, file, config, word })
}

/// The name that a plugin's file gives it; `None` when it gives none that a configuration could use.
fn name(file: &Path) -> Option<Arc<str>> {
    let stem = file.file_stem()?.to_str().filter(|_| file.extension().is_some_and(|extension| extension == "wasm"))?;
    (!stem.starts_with('.') && stem.chars().all(|c| is_legal(c) || c == '.')).then(|| stem.replace('_', "-").into())
}

fn is_legal(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// A shell has filled in what was to be filled in.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}
