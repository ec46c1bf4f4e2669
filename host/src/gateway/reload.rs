//! From one generation to the next: builds what is on disk beside what serves, and publishes it whole or not at all.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Result;
use tracing::{error, info, warn};

use super::difference::Difference;
use super::generation::{Builder, Change, Generation};
use super::short;
use super::sockets::Listening;
use super::status::{AtStart, GatewayStatus};
use super::worker::{Adoption, Workers};
use crate::config::{Problem, Problems};
use crate::observe::{GatewayLedger, SwapResult};
use crate::wasm::{FilterSpec, Plugin};

/// Why a plugin stays as it is.
pub(super) enum NoRollback {
    /// There is no version to go back to.
    Impossible(String),
    /// The version before does not fit.
    Invalid(Problems),
}

/// What is needed to go from one generation to the next. Shared by the watching thread and SIGHUP; one reload at a time.
pub(super) struct Reloader {
    pub(super) builder: Builder,
    pub(super) workers: Workers,
    pub(super) listening: Listening,
    pub(super) current: Arc<Generation>,
    pub(super) status: Arc<GatewayStatus>,
    pub(super) metrics: Arc<GatewayLedger>,
}

impl Reloader {
    /// Builds what is on disk now and publishes it; on anything wrong the current generation goes on serving. Gives the number
    /// of the new generation.
    ///
    /// # Errors
    /// Everything that is wrong; it has been logged.
    pub(super) fn reload(&mut self) -> Result<u64, Problems> {
        let (started, before) = (Instant::now(), Arc::clone(&self.current));
        match self.renew() {
            Ok(()) => {
                let (generation, milliseconds) = (self.current.number, milliseconds(started.elapsed()));
                let Difference { added, removed, changed } = Difference::between(&before, &self.current);
                info!(
                    generation,
                    milliseconds,
                    routes = self.current.config.routes.len(),
                    routes_added = added,
                    routes_removed = removed,
                    routes_changed = changed,
                    "Configuration in force."
                );
                // Only now, when the new version serves already.
                self.builder.library.keep_compiled();
                Ok(generation)
            }
            Err(problems) => {
                self.refused(&lines(&problems));
                Err(problems)
            }
        }
    }

    /// Builds what is on disk now and publishes it.
    fn renew(&mut self) -> Result<(), Problems> {
        let generation = self.builder.build(Some(&self.current))?;
        let published = self.publish(Arc::new(generation));
        published.map(drop).map_err(|error| Problem::of_file(self.current.origins.file(), format!("{error:#}")).into())
    }

    /// Hands a finished generation to every worker and waits until all have taken it over.
    pub(super) fn publish(&mut self, generation: Arc<Generation>) -> Result<Vec<String>> {
        let bound = self.listening.bind_new(&generation.config, self.workers.len())?;
        let gone = self.listening.gone(&generation.config);
        self.listening.update(&bound, &gone);
        let urls: Vec<String> = bound.iter().map(|bound| bound.url.clone()).collect();
        let adopted = self.workers.adopt(&generation, bound, &gone);
        for url in &urls {
            info!(url, "Listening.");
        }
        let (old, new) = (&self.current.config, &generation.config);
        if AtStart::of(old) != AtStart::of(new) {
            warn!("Changes of \"admin.address\" and \"limits.workers\" need a restart.");
        }
        for warning in &generation.tls.warnings {
            warn!(warning, "A certificate needs attention.");
        }
        for warning in &generation.warnings {
            warn!(%warning, "The configuration may not do what was meant.");
        }
        self.report(&generation, &adopted);
        for (name, new) in &generation.plugins {
            let old = self.current.plugins.get(name).filter(|old| old.digest != new.digest);
            if let Some(old) = old.filter(|_| !generation.withdrawn.contains_key(name)) {
                self.builder.library.swapped(old, new);
            }
        }
        self.status.published(&generation);
        self.metrics.reload_succeeded(generation.number);
        self.current = generation;
        Ok(urls)
    }

    /// Goes back to the version of a plugin before, if there is one: instances of this one only die.
    pub(super) fn roll_back_failing(&mut self, spec: &Arc<FilterSpec>) {
        let plugin = &spec.plugin;
        let in_force = self.current.specs().any(|current| Arc::ptr_eq(current, spec));
        if !in_force || !self.builder.library.withdraw_failing(plugin) {
            return;
        }
        let (name, failing) = (&*plugin.name, short(&plugin.digest));
        match self.run_version_before(plugin) {
            Ok(()) => {
                let serving = self.current.plugins.get(name).map(|plugin| short(&plugin.digest));
                warn!(
                    plugin = name,
                    failing,
                    serving,
                    "Plugin rolled back: the version on disk only dies. Replace its file to try again."
                );
            }
            Err(problems) => {
                for reason in lines(&problems) {
                    error!(plugin = name, failing, reason, "A failing plugin cannot be rolled back.");
                }
            }
        }
    }

    /// Goes back to the version of a plugin before, because somebody asks for it.
    ///
    /// # Errors
    /// There is none, or the configuration does not fit it; nothing has changed.
    pub(super) fn roll_back(&mut self, plugin: &Arc<Plugin>) -> Result<(), NoRollback> {
        self.builder.library.withdraw(plugin).map_err(NoRollback::Impossible)?;
        self.run_version_before(plugin).map_err(NoRollback::Invalid)?;
        let (name, withdrawn) = (&*plugin.name, short(&plugin.digest));
        let serving = self.current.plugins.get(name).map(|plugin| short(&plugin.digest));
        warn!(
            plugin = name,
            withdrawn, serving, "Plugin rolled back, as was asked for. Replace its file to go on from there."
        );
        Ok(())
    }

    /// Publishes the generation in which a version that was withdrawn is not run any more.
    fn run_version_before(&mut self, withdrawn: &Plugin) -> Result<(), Problems> {
        match self.renew() {
            Ok(()) => self.metrics.swapped(SwapResult::RolledBack),
            Err(problems) => {
                self.builder.library.restore(&withdrawn.name);
                return Err(problems);
            }
        }
        Ok(())
    }

    fn refused(&self, reasons: &[String]) {
        for reason in reasons {
            error!(reason, "Change refused.");
        }
        let generation = self.current.number;
        warn!(generation, problems = reasons.len(), "The previous configuration keeps serving.");
        self.status.refused(reasons);
        self.metrics.reload_failed();
    }

    /// One line per plugin that changed.
    fn report(&self, generation: &Generation, adopted: &Adoption) {
        let changed = |plugin: &&Arc<Plugin>| generation.changes.iter().any(|change| change.plugin == plugin.name);
        for plugin in generation.plugins.values().filter(changed) {
            for warning in &plugin.warnings {
                warn!(plugin = %plugin.name, warning, "Plugin loaded with a warning.");
            }
        }
        // What is rolled back is told by who does it.
        let swaps = generation.changes.iter().filter(|change| !generation.withdrawn.contains_key(&change.plugin));
        for Change { plugin, old, new, compile, configure } in swaps {
            let (compile_ms, configure_ms) = (milliseconds(*compile), milliseconds(*configure));
            let draining = adopted.draining;
            match (old.as_deref(), new.as_deref()) {
                (Some(old), Some(new)) => {
                    self.metrics.swapped(SwapResult::Success);
                    info!(plugin = %plugin, old = short(old), new = short(new), compile_ms, configure_ms, draining, "Plugin swapped.");
                }
                (None, Some(new)) => {
                    info!(plugin = %plugin, new = short(new), compile_ms, configure_ms, "Plugin loaded.")
                }
                (old, None) => info!(plugin = %plugin, old = old.map(short), draining, "Plugin no longer in use."),
            }
        }
    }
}

/// A panic in a reload has been logged; the generation that serves is whole, so the next reload may go on.
pub(super) fn lock(reloader: &Mutex<Reloader>) -> MutexGuard<'_, Reloader> {
    reloader.lock().unwrap_or_else(PoisonError::into_inner)
}

fn lines(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
