//! Where plugins come from: files of the drop-in directory first, else the modules built into the binary.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::rollback::Rollbacks;
use super::trust;
use crate::config::Plugins;
use crate::wasm::{CompileCache, Engine, Plugin, PluginError};

/// Largest module that is read from disk, bytes. Compilers write filters of a few megabytes at most; Go's reach 21.
const MODULE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// Finds modules by name and compiles each content once.
pub(super) struct Library {
    engine: Engine,
    plugins: Plugins,
    /// By digest: what the current and the previous generation use, so that going back costs nothing.
    compiled: HashMap<String, Arc<Plugin>>,
    /// What was compiled since the directory was last set, and not taken from `compiled`.
    fresh: Vec<Arc<Plugin>>,
    rollbacks: Rollbacks,
}

impl Library {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            engine,
            plugins: Plugins::default(),
            compiled: HashMap::new(),
            fresh: Vec::new(),
            rollbacks: Rollbacks::default(),
        }
    }

    /// Looks there from now on, and trusts what is trusted there.
    pub(super) fn look_in(&mut self, plugins: &Plugins) {
        if (&plugins.keys, &plugins.sha256) != (&self.plugins.keys, &self.plugins.sha256) {
            // Versions that were trusted before may not be any more.
            self.rollbacks = Rollbacks::default();
        }
        if plugins.cache != self.plugins.cache {
            self.engine = self.engine.clone().with_cache(plugins.cache.as_deref().and_then(open_cache));
        }
        plugins.clone_into(&mut self.plugins);
        self.fresh.clear();
    }

    /// One for looking elsewhere, which leaves this one as it is.
    pub(super) fn aside(&self) -> Self {
        Self { compiled: self.compiled.clone(), ..Self::new(self.engine.clone()) }
    }

    /// The names that exist, for suggestions.
    pub(super) fn names(&self) -> Vec<String> {
        names(&self.plugins)
    }

    /// The compiled plugin of that name as it is on disk now; `None` when there is none.
    ///
    /// # Errors
    /// The file cannot be read, is no plugin, or is not trusted.
    pub(super) fn load(&mut self, name: &str) -> Option<Result<Arc<Plugin>, PluginError>> {
        let Source { bytes, .. } = find(&self.plugins, name)?;
        Some(bytes.and_then(|bytes| self.compile(name, &bytes)))
    }

    /// A new version of a plugin serves.
    pub(super) fn swapped(&mut self, old: &Arc<Plugin>, new: &Plugin) {
        self.rollbacks.swapped(old, new);
    }

    /// Takes back a version that only dies; `false` when there is none to go back to. A pinned version is the only one that may run.
    pub(super) fn withdraw_failing(&mut self, plugin: &Plugin) -> bool {
        !self.plugins.sha256.contains_key(&plugin.name) && self.rollbacks.withdraw_failing(plugin)
    }

    /// Takes back a version, whenever it began to serve.
    ///
    /// # Errors
    /// There is none to go back to.
    pub(super) fn withdraw(&mut self, plugin: &Plugin) -> Result<(), String> {
        if self.plugins.sha256.contains_key(&plugin.name) {
            return Err("plugins.sha256 pins this version".to_owned());
        }
        self.rollbacks.withdraw(plugin)
    }

    /// Runs what is on disk again.
    pub(super) fn restore(&mut self, name: &str) {
        self.rollbacks.restore(name);
    }

    /// The digest that is on disk but not run, by plugin.
    pub(super) fn withdrawn(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        self.rollbacks.withdrawn()
    }

    /// Keeps what was compiled for this build for the next start.
    pub(super) fn keep_compiled(&self) {
        self.fresh.iter().for_each(|plugin| self.engine.keep(plugin));
    }

    /// How long a plugin took to compile for this build; nothing when it was known.
    pub(super) fn compile_time(&self, plugin: &Arc<Plugin>) -> Duration {
        let fresh = self.fresh.iter().any(|fresh| Arc::ptr_eq(fresh, plugin));
        if fresh { plugin.compile_time } else { Duration::ZERO }
    }

    /// Forgets what is not among `keep`.
    pub(super) fn retain(&mut self, keep: &[Arc<Plugin>]) {
        self.compiled.retain(|_, plugin| keep.iter().any(|kept| Arc::ptr_eq(kept, plugin)));
    }

    /// What is hashed is what is run: the digest is taken of the very bytes that are compiled.
    fn compile(&mut self, name: &str, bytes: &[u8]) -> Result<Arc<Plugin>, PluginError> {
        let digest = trust::hex(&Sha256::digest(bytes));
        if let Some(plugin) = self.rollbacks.instead_of(name, &digest) {
            return Ok(plugin);
        }
        let key = format!("{name}:{digest}");
        if let Some(plugin) = self.compiled.get(&key) {
            return Ok(Arc::clone(plugin));
        }
        let plugin = Arc::new(self.engine.load(name, bytes)?);
        self.compiled.insert(key, Arc::clone(&plugin));
        self.fresh.push(Arc::clone(&plugin));
        Ok(plugin)
    }
}

fn open_cache(dir: &Path) -> Option<CompileCache> {
    CompileCache::open(dir)
        .inspect_err(|error| tracing::warn!(%error, dir = %dir.display(), "Compiled modules are not kept there."))
        .ok()
}

/// Where a plugin comes from.
pub(super) struct Source {
    /// Its file; `None` for one that is built in.
    pub(super) file: Option<PathBuf>,
    pub(super) bytes: Result<Vec<u8>, PluginError>,
}

/// The plugin of that name: a file that is named, a file of the directory, else a module of the binary; `None` when there is neither. Bytes that may not
/// run are not given.
pub(super) fn find(plugins: &Plugins, name: &str) -> Option<Source> {
    let file = plugins.files.get(name).cloned().or_else(|| files(&plugins.dir).remove(name));
    let bytes = match &file {
        Some(path) => read(path),
        None => Ok(sluicegate_bundle::plugin(name)?.to_vec()),
    };
    let bytes = bytes.and_then(|bytes| trust::check(plugins, name, file.as_deref(), &bytes).map(|()| bytes));
    Some(Source { file, bytes })
}

/// The names of all plugins that there are.
pub(super) fn names(plugins: &Plugins) -> Vec<String> {
    let mut names: Vec<String> = files(&plugins.dir).into_keys().collect();
    names.extend(plugins.files.keys().map(ToString::to_string));
    names.extend(sluicegate_bundle::plugins().iter().map(|(name, _)| (*name).to_owned()));
    names.sort();
    names.dedup();
    names
}

/// The `.wasm` files of a directory by plugin name; a directory that does not exist has none.
fn files(dir: &Path) -> BTreeMap<String, PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeMap::new() };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm") && path.is_file())
        .collect();
    paths.sort();
    let named = |path: PathBuf| Some((plugin_name(path.file_stem()?.to_str().filter(|stem| is_usable(stem))?), path));
    paths.into_iter().filter_map(named).collect()
}

/// Whether the configuration could name that file.
fn is_usable(stem: &str) -> bool {
    !stem.starts_with('.') && stem.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// A file's stem as a plugin's name: `_` and `-` are the same.
pub(super) fn plugin_name(stem: &str) -> String {
    stem.replace('_', "-")
}

/// Reads a regular file whole, once, within the bound.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, PluginError> {
    let failed = |error: std::io::Error| PluginError(format!("cannot read {}: {error}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(PluginError(format!("{} is not a file", path.display())));
    }
    if metadata.len() > MODULE_BYTES_MAX {
        let limit = MODULE_BYTES_MAX / (1024 * 1024);
        return Err(PluginError(format!("{} is larger than {limit} MiB", path.display())));
    }
    let mut bytes = Vec::new();
    file.take(MODULE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}
