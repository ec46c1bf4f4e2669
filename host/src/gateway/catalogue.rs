//! The plugins that a configuration could use, and those that it does use: for people, without serving anything.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::StartError;
use super::generation::entries;
use super::library::{Source, find, names, plugin_name};
use crate::config;
use crate::wasm::{Engine, Report};

/// One plugin.
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its file; `None` for one that is built in.
    pub file: Option<PathBuf>,
    /// What it is.
    pub report: Report,
    /// The filter entries that use it: `routes[0].filters[2]`.
    pub used_by: Vec<String>,
}

/// Every plugin of the directory and of the binary, by name, with its uses in the configuration at `path`.
///
/// # Errors
/// The configuration is not valid, or the engine does not start.
pub fn list(path: &Path) -> Result<Vec<Listed>, StartError> {
    let engine = Engine::new().map_err(anyhow::Error::from)?;
    let loaded = config::load(path)?;
    let plugins = &loaded.config.plugins;
    let list = names(plugins).into_iter().filter_map(|name| {
        let Source { file, bytes } = find(plugins, &name)?;
        let report = match &bytes {
            Ok(bytes) => Report::new(&engine, &name, bytes),
            Err(error) => Report { problem: Some(error.to_string()), ..Report::new(&engine, &name, &[]) },
        };
        let uses = entries(&loaded.config).filter(|entry| *entry.plugin == *name);
        let used_by = uses.map(|entry| entry.path.to_string()).collect();
        Some(Listed { name, file, report, used_by })
    });
    Ok(list.collect())
}

/// One module: the file at `what`, or the plugin of that name that is built in.
///
/// # Errors
/// There is none, it cannot be read, or the engine does not start.
pub fn inspect(what: &str) -> anyhow::Result<Report> {
    let engine = Engine::new()?;
    let path = Path::new(what);
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(what);
    let name = plugin_name(stem);
    let bytes = match sluicegate_bundle::plugin(what) {
        Some(bytes) if !path.exists() => bytes.to_vec(),
        _ => super::library::read(path)?,
    };
    Ok(Report::new(&engine, &name, &bytes))
}

impl Listed {
    /// For `-o json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut json = self.report.to_json();
        json["name"] = json!(self.name);
        json["file"] = json!(self.file.as_ref().map(|file| file.display().to_string()));
        json["used_by"] = json!(self.used_by);
        json
    }
}
