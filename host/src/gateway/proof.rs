//! What plugins say of the filters that use them, before any worker sees them: whether a module loads, whether a configuration fits
//! its schema, whether an instance starts. What is wrong is told where it stands, for all filters at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::generation::{Assembly, Builder};
use super::library::Library;
use super::vms::KnownVms;
use crate::config::{self, Heard, Origins, Plugins, Problem, Problems, Refused, Rest};
use crate::observe::GatewayLedger;
use crate::state::State;
use crate::wasm::{self, Blame, FilterSpec, Plugin, StartFailure, VmSpec};

/// Bytes of the unit in which memory is suggested.
const MIB: usize = 1 << 20;

/// Compiles every plugin that some filter uses. `uses`: plugins by name, with the path of an entry.
pub(super) fn load_plugins<'a>(
    library: &mut Library,
    uses: impl Iterator<Item = (&'a Arc<str>, &'a str)>,
    places: &Plugins,
    origins: &Origins,
    problems: &mut Vec<Problem>,
) -> BTreeMap<Arc<str>, Arc<Plugin>> {
    let mut plugins: BTreeMap<Arc<str>, Option<Arc<Plugin>>> = BTreeMap::new();
    for (name, path) in uses {
        if plugins.contains_key(name) {
            continue;
        }
        let found = match library.load(name) {
            Some(Ok(plugin)) => Some(plugin),
            Some(Err(error)) => {
                let message = format!("plugin \"{name}\": {error}");
                problems.push(origins.plugin_problem(path, message, None));
                None
            }
            None => {
                let message = format!("unknown plugin \"{name}\": not in {}, not built in", places.dir.display());
                let names = library.names();
                let meant = config::closest(name, names.iter().map(String::as_str));
                problems.push(origins.plugin_problem(path, message, meant));
                None
            }
        };
        plugins.insert(Arc::clone(name), found);
    }
    plugins.into_iter().filter_map(|(name, plugin)| Some((name, plugin?))).collect()
}

/// Starts VMs once, away from traffic: those of whose entries nothing wrong is known. Words about a broken entry would mislead.
pub(super) fn prove<'a>(
    vms: impl Iterator<Item = &'a Arc<VmSpec>>,
    state: &Arc<State>,
    origins: &Origins,
    configure: &mut BTreeMap<Arc<str>, Duration>,
    problems: &mut Vec<Problem>,
) {
    let broken: HashSet<String> = problems.iter().flat_map(|problem| entries_of(&problem.path)).collect();
    for vm in vms.filter(|vm| !vm.entries().any(|spec| broken.contains(&*spec.path))) {
        let started = Instant::now();
        if let Err(failure) = wasm::canary(vm, state) {
            problems.extend(placed(origins, &failure));
        }
        let names: BTreeSet<_> = vm.entries().map(|spec| &spec.name).collect();
        for name in names {
            *configure.entry(Arc::clone(name)).or_default() += started.elapsed();
        }
    }
}

/// Every element of a list that a path leads through: `routes[0]` and `routes[0].filters[2]` of `routes[0].filters[2].config.a`.
fn entries_of(path: &str) -> impl Iterator<Item = String> {
    path.match_indices(']').map(|(end, _)| path[..=end].to_owned())
}

/// The problems of a filter that does not start, where they are to be mended.
fn placed(origins: &Origins, failure: &StartFailure) -> Vec<Problem> {
    let spec = &failure.entry;
    let (path, detail) = (&*spec.path, failure.detail.as_str());
    match &failure.blame {
        Blame::Plugin => vec![origins.plugin_problem(path, detail, None)],
        Blame::VmConfig => vec![origins.setting_problem(path, "vm_config", detail, None)],
        Blame::Config(said) => origins.refusal(path, &spec.config, said, detail),
        Blame::Memory(bytes) => {
            let enough = format!("{}MiB", bytes.div_ceil(MIB).saturating_add(1));
            let message = format!("too little for plugin \"{}\" to start: {detail}", spec.name);
            vec![origins.setting_problem(path, "memory", message, Some(enough))]
        }
    }
}

impl Builder {
    /// The problems of a file that is no configuration, with what plugins say of its filters as far as those are known.
    pub(super) fn with_those_of_plugins(&self, refused: Refused) -> Problems {
        let Refused { problems, rest, .. } = refused;
        let Some(Rest { plugins: places, entries, origins }) = rest else { return problems };
        let mut problems: Vec<Problem> = problems.into_iter().collect();
        // What serves keeps its library: nothing comes of this file.
        let mut library = self.library.aside();
        library.look_in(&places);
        let uses = entries.iter().map(|entry| (&entry.plugin, &*entry.path));
        let plugins = load_plugins(&mut library, uses, &places, &origins, &mut problems);
        let (known, ledgers) = (&HashMap::new(), &GatewayLedger::default());
        let mut assembly = Assembly { origins: &origins, plugins: &plugins, known, ledgers, problems };
        let specs: Vec<_> = entries.iter().filter_map(|entry| assembly.heard(entry)).collect();
        let mut problems = assembly.problems;
        let vms = KnownVms::of(None).group(specs.iter());
        prove(vms.iter(), &Arc::default(), &origins, &mut BTreeMap::new(), &mut problems);
        problems.into()
    }
}

impl Assembly<'_> {
    /// Of an entry that is wrong elsewhere, the configuration can be checked, but nothing can be started.
    fn heard(&mut self, entry: &Heard) -> Option<Arc<FilterSpec>> {
        if let Some(whole) = &entry.whole {
            return self.spec(whole);
        }
        let plugin = self.plugins.get(&entry.plugin)?;
        self.fits_schema(plugin, &entry.config, &entry.path);
        None
    }
}
