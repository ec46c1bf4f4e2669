//! A configuration made of a few words of the command line: one upstream, one route for everything, filters from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use super::interpolate::ProcessEnvironment;
use super::{Loaded, Problem, Problems, parse};

/// What problems are reported for.
const NAME: &str = "command line";
/// What is said of a file that can be no plugin.
const NO_NAME: &str = "expected a file such as \"my-filter.wasm\" (letters, digits, \"-\", \"_\", \".\")";

/// `sluicegate run --upstream URL --plugin FILE --listen ADDRESS`
#[derive(Clone, Debug)]
pub struct CommandLine {
    /// Where all requests go: a URL without a path.
    pub upstream: String,
    /// Modules that every request passes, in order; named by their stems.
    pub plugins: Vec<PathBuf>,
    /// Address and port.
    pub listen: String,
}

impl CommandLine {
    /// The configuration that is meant.
    ///
    /// # Errors
    /// Every word that is wrong.
    pub fn load(&self) -> Result<Loaded, Problems> {
        let (mut named, mut problems) = (Vec::<(Arc<str>, &PathBuf)>::new(), Vec::new());
        for file in &self.plugins {
            match name(file) {
                Some(name) => named.push((name, file)),
                None => problems.push(Problem::of_file(&format!("--plugin {}", file.display()), NO_NAME)),
            }
        }
        let twice = |(name, file): &&(Arc<str>, &PathBuf)| named.iter().any(|(other, at)| other == name && at != file);
        if let Some((name, file)) = named.iter().find(twice) {
            let message = format!("another file is the plugin \"{name}\", too: {}", file.display());
            problems.push(Problem::of_file("--plugin", message));
        }
        let filters: Vec<_> = named.iter().map(|(name, _)| json!({ "use": &**name })).collect();
        let text = json!({
            "listeners": [{ "address": literal(&self.listen) }],
            "upstreams": { "upstream": { "targets": [literal(&self.upstream)] } },
            "filters": filters,
            "routes": [{ "name": "all", "upstream": "upstream" }],
        });
        let loaded = parse(NAME, &text.to_string(), Path::new(""), &ProcessEnvironment);
        match loaded {
            Ok(mut loaded) if problems.is_empty() => {
                // Files that nobody named take no part.
                loaded.config.plugins.dir = PathBuf::new();
                loaded.config.plugins.files = named.into_iter().map(|(name, file)| (name, file.clone())).collect();
                Ok(loaded)
            }
            Ok(_) => Err(problems.into()),
            Err(more) => {
                problems.extend(more.into_iter().map(|problem| self.placed(problem)));
                Err(problems.into())
            }
        }
    }

    /// A problem of the configuration that was made of the words, at the word that it comes from.
    #[must_use]
    pub fn placed(&self, problem: Problem) -> Problem {
        let index =
            problem.path.strip_prefix("filters[").and_then(|rest| rest.split(']').next()?.parse::<usize>().ok());
        let word = match index.and_then(|index| self.plugins.get(index)) {
            Some(file) => format!("--plugin {}", file.display()),
            None if problem.path.starts_with("listeners") => "--listen".to_owned(),
            None if problem.path.starts_with("upstreams") => "--upstream".to_owned(),
            None => NAME.to_owned(),
        };
        Problem::of_file(&word, problem.message).suggest(problem.suggestion)
    }
}

/// The name that a plugin's file gives it; `None` when it gives none that a configuration could use.
fn name(file: &Path) -> Option<Arc<str>> {
    let stem = file.file_stem()?.to_str().filter(|_| file.extension().is_some_and(|extension| extension == "wasm"))?;
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!stem.starts_with('.') && stem.chars().all(legal)).then(|| stem.replace('_', "-").into())
}

/// A shell has filled in what was to be filled in.
fn literal(text: &str) -> String {
    text.replace("${", "$${")
}
