//! One immutable, fully built configuration, and how it is built beside the one that serves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;

use super::library::Library;
use super::proof::{self, load_plugins};
use super::tls::{self, ListenersTls, OwnTls};
use super::unused;
use super::vms::KnownVms;
use super::watch::{self, Snapshot, Watched};
use crate::config::{
    self, CommandLine, Config, FilterEntry, Included, Listener, Loaded, Origins, Problem, Problems, Refused,
};
use crate::observe::GatewayLedger;
use crate::route::Router;
use crate::state::State;
use crate::upstream::Tls;
use crate::wasm::{Engine, FilterSpec, Plugin, VmSpec};

/// Everything that a worker needs to serve: checked, compiled, and proven to start.
pub(super) struct Generation {
    /// Counts up from 1.
    pub(super) number: u64,
    pub(super) config: Arc<Config>,
    /// Where it stands in the file, and how it is written there.
    pub(super) origins: Origins,
    pub(super) router: Arc<Router>,
    /// The filters of every request, before those of its route.
    pub(super) global: Vec<Arc<FilterSpec>>,
    /// The filters of each route, in the order of the configuration's routes.
    pub(super) routes: Vec<Vec<Arc<FilterSpec>>>,
    /// The filters of each listener's TCP connections, in the order of the configuration's listeners; none for HTTP.
    pub(super) tcp: Vec<Vec<Arc<FilterSpec>>>,
    /// Which of all those share an instance.
    pub(super) vms: Vec<Arc<VmSpec>>,
    /// Plugins in use, by name.
    pub(super) plugins: BTreeMap<Arc<str>, Arc<Plugin>>,
    /// What building it took, per plugin that was not in use before or changed.
    pub(super) changes: Vec<Change>,
    /// Versions that are on disk and not run, because they only died: digest by plugin.
    pub(super) withdrawn: BTreeMap<Arc<str>, Arc<str>>,
    /// TLS of the listeners.
    pub(super) tls: ListenersTls,
    /// TLS towards upstreams that have none of their own.
    pub(super) usual_tls: Arc<Tls>,
    pub(super) upstream_tls: OwnTls,
    /// What is right in the configuration, and does not do what it seems to.
    pub(super) warnings: Problems,
}

/// A plugin that is not the same in this generation as in the one before.
pub(super) struct Change {
    pub(super) plugin: Arc<str>,
    /// Digest in the previous generation; `None` for a plugin that was not in use.
    pub(super) old: Option<Arc<str>>,
    /// Digest now; `None` when it is no longer in use.
    pub(super) new: Option<Arc<str>>,
    pub(super) compile: Duration,
    pub(super) configure: Duration,
}

impl Generation {
    /// Every filter entry: the global ones, then those of the routes and of TCP listeners.
    pub(super) fn specs(&self) -> impl Iterator<Item = &Arc<FilterSpec>> {
        self.global.iter().chain(self.routes.iter().flatten()).chain(self.tcp.iter().flatten())
    }
}

/// The filter entries of the generation before, by place, of which each has one: there may be thousands.
pub(super) type Known<'a> = HashMap<&'a str, &'a Arc<FilterSpec>>;

/// Where a configuration comes from.
pub enum Origin {
    /// A file, which is watched.
    File(PathBuf),
    /// Words of the command line; the plugins' files are watched.
    CommandLine(CommandLine),
}

impl Origin {
    fn load(&self) -> Result<Loaded, Box<Refused>> {
        match self {
            Self::File(path) => config::load(path),
            Self::CommandLine(words) => words.load().map_err(Box::from),
        }
    }

    /// The file to be watched.
    fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::CommandLine(_) => None,
        }
    }

    /// Problems that were found after loading, at the places that people know.
    fn placed(&self, problems: Vec<Problem>) -> Problems {
        match self {
            Self::File(_) => problems.into(),
            Self::CommandLine(words) => {
                problems.into_iter().map(|problem| words.placed(problem)).collect::<Vec<_>>().into()
            }
        }
    }
}

/// Most times that a configuration is read for one generation, until the files are known that it includes.
const READS: usize = 3;

/// Builds generations. Lives on a thread of its own, away from the workers.
pub(super) struct Builder {
    origin: Origin,
    /// What was read last: of a configuration that was refused, too, for its files may still come.
    pub(super) watched: Watched,
    /// What those files were like just before they were read.
    pub(super) seen: Snapshot,
    /// The files that the configuration includes, as it was read last.
    included: Included,
    pub(super) library: Library,
    /// The usual TLS towards upstreams.
    tls: Arc<Tls>,
    state: Arc<State>,
    ledgers: Arc<GatewayLedger>,
}

impl Builder {
    /// # Errors
    /// The certificates of the public authorities, or those that `SSL_CERT_FILE` names, cannot be read.
    pub(super) fn new(
        origin: Origin,
        engine: Engine,
        state: Arc<State>,
        ledgers: Arc<GatewayLedger>,
    ) -> anyhow::Result<Self> {
        let tls = Arc::new(Tls::new().context("cannot load the certificates of authorities")?);
        let watched = Watched { config: origin.file().cloned(), ..Watched::default() };
        let library = Library::new(engine);
        Ok(Self {
            origin,
            watched,
            seen: Snapshot::default(),
            included: Included::default(),
            library,
            tls,
            state,
            ledgers,
        })
    }

    /// Reads everything from disk and builds a whole generation, or says everything that is wrong and changes nothing.
    /// Filters that are the same as in `previous` keep their identity, and so their instances.
    ///
    /// # Errors
    /// Every problem found, with its place.
    pub(super) fn build(&mut self, previous: Option<&Generation>) -> Result<Generation, Problems> {
        let (outcome, seen) = self.read();
        let loaded = match outcome {
            Ok(loaded) => loaded,
            Err(refused) => {
                // What was watched before may be mended, too.
                self.seen.extend(seen);
                self.watched.included.clone_from(&self.included.patterns);
                return Err(self.with_those_of_plugins(*refused));
            }
        };
        self.look_at(&loaded.config, seen);
        self.library.look_in(&loaded.config.plugins);
        let mut problems = Vec::new();
        self.check_pins(&loaded, &mut problems);
        let uses = entries(&loaded.config).map(|entry| (&entry.plugin, &*entry.path));
        let plugins = load_plugins(&mut self.library, uses, &loaded.config.plugins, &loaded.origins, &mut problems);
        if previous.is_none() {
            self.library.keep_compiled();
        }
        let tls = tls::load(&loaded, previous, &mut problems);
        let upstream_tls = tls::load_upstreams(&loaded, &self.tls, previous, &mut problems);
        let known: Known<'_> = previous.iter().flat_map(|old| old.specs()).map(|spec| (&*spec.path, spec)).collect();
        let (ledgers, known) = (&*self.ledgers, &known);
        let mut assembly = Assembly { origins: &loaded.origins, plugins: &plugins, known, ledgers, problems };
        let global = assembly.specs(&loaded.config.filters);
        let routes: Vec<_> = loaded.config.routes.iter().map(|route| assembly.specs(&route.filters)).collect();
        let tcp: Vec<_> = loaded.config.listeners.iter().map(|listener| assembly.tcp_specs(listener)).collect();
        let mut problems = assembly.problems;
        let known_vms = KnownVms::of(previous);
        let vms = known_vms.group(global.iter().chain(routes.iter().flatten()).chain(tcp.iter().flatten()));
        let mut configure = BTreeMap::new();
        let unknown = vms.iter().filter(|vm| !known_vms.has(vm));
        proof::prove(unknown, &self.state, &loaded.origins, &mut configure, &mut problems);
        if !problems.is_empty() {
            return Err(self.origin.placed(problems));
        }
        let mut warnings = loaded.warnings.clone();
        let specs = global.iter().chain(routes.iter().flatten()).chain(tcp.iter().flatten());
        warnings.extend(unused::upstreams(&loaded, specs));
        let kept: Vec<_> =
            plugins.values().chain(previous.iter().flat_map(|old| old.plugins.values())).cloned().collect();
        self.library.retain(&kept);
        Ok(Generation {
            number: previous.map_or(1, |old| old.number + 1),
            router: Arc::new(Router::new(&loaded.config.routes)),
            changes: changes(previous, &plugins, &configure, &self.library),
            config: Arc::new(loaded.config),
            origins: loaded.origins,
            global,
            routes,
            tcp,
            vms,
            plugins,
            withdrawn: self.library.withdrawn(),
            tls,
            usual_tls: Arc::clone(&self.tls),
            upstream_tls,
            warnings: self.origin.placed(warnings),
        })
    }

    /// Reads the configuration, and what its files were like just before. Which these are is known when they have been read: then they
    /// are read once more, so that no change falls in between.
    fn read(&mut self) -> (Result<Loaded, Box<Refused>>, Snapshot) {
        let mut rounds = READS;
        loop {
            let included = self.included.patterns.clone();
            let watched = Watched { config: self.origin.file().cloned(), included, ..Watched::default() };
            let seen = watch::snapshot(&watched);
            let outcome = self.origin.load();
            let included = outcome.as_ref().map_or_else(|refused| &refused.included, |loaded| &loaded.included);
            let known = included.patterns == self.included.patterns;
            included.clone_into(&mut self.included);
            rounds -= 1;
            if known || rounds == 0 {
                return (outcome, seen);
            }
        }
    }

    /// Remembers what the files of a configuration are like before they are read; `seen`: what the configuration was like.
    fn look_at(&mut self, config: &Config, seen: Snapshot) {
        let named = config.plugins.files.values().cloned();
        let files = tls::files(config).into_iter().chain(named).collect();
        let files = Watched { plugins: config.plugins.dir.clone(), files, ..Watched::default() };
        self.seen = seen;
        self.seen.extend(watch::snapshot(&files));
        let included = self.included.patterns.clone();
        self.watched = Watched { config: self.origin.file().cloned(), included, ..files };
    }

    /// A pin of a plugin that does not exist protects nothing.
    fn check_pins(&self, loaded: &Loaded, problems: &mut Vec<Problem>) {
        let names = self.library.names();
        for pinned in loaded.config.plugins.sha256.keys().filter(|pinned| !names.iter().any(|name| **name == ***pinned))
        {
            let meant = config::closest(pinned, names.iter().map(String::as_str));
            problems.push(loaded.origins.pin_problem(pinned, format!("there is no plugin \"{pinned}\""), meant));
        }
    }
}

/// Filter entries → specs, against one loaded configuration.
pub(super) struct Assembly<'a> {
    pub(super) origins: &'a Origins,
    pub(super) plugins: &'a BTreeMap<Arc<str>, Arc<Plugin>>,
    pub(super) known: &'a Known<'a>,
    pub(super) ledgers: &'a GatewayLedger,
    pub(super) problems: Vec<Problem>,
}

impl Assembly<'_> {
    fn specs(&mut self, entries: &[FilterEntry]) -> Vec<Arc<FilterSpec>> {
        entries.iter().filter_map(|entry| self.spec(entry)).collect()
    }

    /// Checks a configuration against its plugin's schema; the upstreams that it names.
    pub(super) fn fits_schema(&mut self, plugin: &Plugin, config: &str, path: &str) -> BTreeSet<String> {
        let Some(schema) = &plugin.schema else { return BTreeSet::new() };
        let (problems, named) = config::schema::check_config(schema, config, self.origins, path);
        self.problems.extend(problems);
        named
    }

    fn tcp_specs(&mut self, listener: &Listener) -> Vec<Arc<FilterSpec>> {
        let entries = listener.tcp.as_ref().map_or(&[][..], |tcp| &tcp.filters);
        for entry in entries {
            let Some(plugin) = self.plugins.get(&entry.plugin).filter(|plugin| !plugin.takes_connections()) else {
                continue;
            };
            let message =
                format!("plugin \"{}\" is no filter for TCP: it has no callback for connections", plugin.name);
            self.problems.push(self.origins.plugin_problem(&entry.path, message, None));
        }
        self.specs(entries)
    }

    /// `None` when the plugin is not there, which has been reported.
    pub(super) fn spec(&mut self, entry: &FilterEntry) -> Option<Arc<FilterSpec>> {
        let plugin = self.plugins.get(&entry.plugin)?;
        let mut upstreams = entry.upstreams.clone();
        upstreams.extend(self.fits_schema(plugin, &entry.config, &entry.path));
        let refused = plugin.not_granted(&entry.capabilities);
        if !refused.is_empty() {
            let message = format!(
                "plugin \"{}\" imports what its capabilities.hostcalls do not grant: {}",
                entry.plugin,
                refused.join(", ")
            );
            self.problems.push(self.origins.plugin_problem(&entry.path, message, None));
        }
        let same = |known: &&Arc<FilterSpec>| {
            Arc::ptr_eq(&known.plugin, plugin)
                && known.config == entry.config
                && known.upstreams == upstreams
                && (known.on_error, known.deadline, known.memory) == (entry.on_error, entry.deadline, entry.memory)
                && (known.pause, &known.env) == (entry.pause, &entry.env)
                && known.capabilities == entry.capabilities
                && (&known.vm, known.ticks) == (&entry.vm, entry.ticks)
        };
        if let Some(known) = self.known.get(&*entry.path).copied().filter(same) {
            return Some(Arc::clone(known));
        }
        Some(Arc::new(FilterSpec {
            name: Arc::clone(&entry.plugin),
            path: Arc::clone(&entry.path),
            plugin: Arc::clone(plugin),
            config: Arc::clone(&entry.config),
            on_error: entry.on_error,
            deadline: entry.deadline,
            memory: entry.memory,
            upstreams,
            pause: entry.pause,
            env: entry.env.clone(),
            capabilities: entry.capabilities.clone(),
            vm: entry.vm.clone(),
            ticks: entry.ticks,
            ledger: self.ledgers.filter(&entry.plugin, &entry.path, &plugin.digest),
        }))
    }
}

/// All filter entries of a configuration.
pub(super) fn entries(config: &Config) -> impl Iterator<Item = &FilterEntry> {
    let tcp = config.listeners.iter().filter_map(|listener| listener.tcp.as_ref());
    let routed = config.routes.iter().flat_map(|route| &route.filters);
    config.filters.iter().chain(routed).chain(tcp.flat_map(|tcp| &tcp.filters))
}

fn changes(
    previous: Option<&Generation>,
    plugins: &BTreeMap<Arc<str>, Arc<Plugin>>,
    configure: &BTreeMap<Arc<str>, Duration>,
    library: &Library,
) -> Vec<Change> {
    let empty = BTreeMap::new();
    let before = previous.map_or(&empty, |old| &old.plugins);
    let changed = plugins.iter().filter_map(|(name, plugin)| {
        let old = before.get(name);
        if old.is_some_and(|old| old.digest == plugin.digest) {
            return None;
        }
        Some(Change {
            plugin: Arc::clone(name),
            old: old.map(|old| Arc::clone(&old.digest)),
            new: Some(Arc::clone(&plugin.digest)),
            compile: library.compile_time(plugin),
            configure: configure.get(name).copied().unwrap_or_default(),
        })
    });
    let gone = before.iter().filter(|(name, _)| !plugins.contains_key(*name)).map(|(name, plugin)| Change {
        plugin: Arc::clone(name),
        old: Some(Arc::clone(&plugin.digest)),
        new: None,
        compile: Duration::ZERO,
        configure: Duration::ZERO,
    });
    changed.chain(gone).collect()
}
