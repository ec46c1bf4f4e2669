//! The control thread: starts the workers, waits for signals and changes, reloads, drains.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::generation::{Builder, Change, Generation};
use super::sockets::{Bound, Listening};
use super::status::GatewayStatus;
use super::steer::Steering;
use super::watch;
use super::worker::{Adoption, Workers};
use super::{StartError, short};
use crate::admin::Admin;
use crate::config::{Config, Problem, Problems};
use crate::observe::{GatewayLedger, SwapResult};
use crate::state::State;
use crate::wasm::{FilterSpec, Plugin};

/// Alarms that may wait to be looked at.
const ALARMS: usize = 16;

/// Serves `first` and what follows it, until SIGTERM or SIGINT.
pub(super) fn serve(
    builder: Builder,
    first: &Arc<Generation>,
    state: Arc<State>,
    metrics: Arc<GatewayLedger>,
) -> Result<(), StartError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let status = Arc::new(GatewayStatus::default());
    let admin_socket = bind_admin(&first.config)?;
    let (alarm, mut alarms) = mpsc::channel(ALARMS);
    let workers = Workers::start(first, &state, &metrics, &alarm).context("cannot start the workers")?;
    let mut reloader = Reloader {
        builder,
        workers,
        listening: Listening::default(),
        current: Arc::clone(first),
        status: Arc::clone(&status),
        metrics: Arc::clone(&metrics),
    };
    let addresses = reloader.publish(Arc::clone(first))?;
    let reloader = Arc::new(Mutex::new(reloader));
    let steering = Arc::new(Steering::new(&reloader, &status));
    let admin = Admin { state, metrics, status, control: Arc::clone(&steering) as _, hosts: Vec::new() };
    runtime.block_on(async {
        let admin = serve_admin(admin_socket, admin)?;
        watch_files(&reloader)?;
        announce(&addresses, admin);
        control(&reloader, &steering, &mut alarms).await
    })?;
    Ok(())
}

/// Why a plugin stays as it is.
pub(super) enum NoRollback {
    /// There is no version to go back to.
    Impossible(String),
    /// The version before does not fit.
    Invalid(Problems),
}

/// What is needed to go from one generation to the next. Shared by the watching thread and SIGHUP; one reload at a time.
pub(super) struct Reloader {
    builder: Builder,
    workers: Workers,
    listening: Listening,
    pub(super) current: Arc<Generation>,
    status: Arc<GatewayStatus>,
    metrics: Arc<GatewayLedger>,
}

impl Reloader {
    /// Builds what is on disk now and publishes it; on anything wrong the current generation goes on serving. Gives the number
    /// of the new generation.
    ///
    /// # Errors
    /// Everything that is wrong; it has been logged.
    pub(super) fn reload(&mut self) -> Result<u64, Problems> {
        let started = Instant::now();
        match self.renew() {
            Ok(()) => {
                let generation = self.current.number;
                info!(generation, milliseconds = milliseconds(started.elapsed()), "Configuration in force.");
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
    fn publish(&mut self, generation: Arc<Generation>) -> Result<Vec<String>> {
        let bound = self.listening.bind_new(&generation.config, self.workers.len())?;
        let gone = self.listening.gone(&generation.config);
        self.listening.update(&bound, &gone);
        let addresses: Vec<String> = bound.iter().map(Bound::url).collect();
        let adopted = self.workers.adopt(&generation, bound, &gone);
        for address in &addresses {
            info!(%address, "Listening.");
        }
        let (old, new) = (&self.current.config, &generation.config);
        if (old.admin, old.limits.workers) != (new.admin, new.limits.workers) {
            warn!("Changes of \"admin\" and \"limits.workers\" need a restart.");
        }
        for warning in &generation.tls.warnings {
            warn!(warning, "A certificate needs attention.");
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
        Ok(addresses)
    }

    /// Goes back to the version of a plugin before, if there is one: instances of this one only die.
    fn roll_back_failing(&mut self, spec: &Arc<FilterSpec>) {
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

fn watch_files(reloader: &Arc<Mutex<Reloader>>) -> Result<()> {
    let reloader = Arc::clone(reloader);
    let (watched, seen) = {
        let reloader = lock(&reloader);
        (reloader.builder.watched.clone(), reloader.builder.seen.clone())
    };
    watch::spawn(watched, seen, move || {
        let mut reloader = lock(&reloader);
        // What is wrong has been logged.
        drop(reloader.reload());
        Some((reloader.builder.watched.clone(), reloader.builder.seen.clone()))
    })
    .context("cannot watch files")
}

/// A panic in a reload has been logged; the generation that serves is whole, so the next reload may go on.
pub(super) fn lock(reloader: &Mutex<Reloader>) -> MutexGuard<'_, Reloader> {
    reloader.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bound before anything is served, so that an address in use ends the start.
fn bind_admin(config: &Config) -> Result<Option<TcpListener>> {
    let Some(address) = config.admin else { return Ok(None) };
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address} (admin)"))?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

fn serve_admin(socket: Option<TcpListener>, admin: Admin) -> Result<Option<SocketAddr>> {
    let Some(socket) = socket else { return Ok(None) };
    let actual = socket.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(socket)?;
    tokio::spawn(crate::admin::serve(listener, Arc::new(admin), std::future::pending()));
    Ok(Some(actual))
}

/// Tells on standard output where requests go; the last line says that they are served.
fn announce(addresses: &[String], admin: Option<SocketAddr>) {
    // Whoever reads both streams sees what led here before the word that it is done.
    crate::observe::output::STDERR.flush();
    let mut out = std::io::stdout().lock();
    let mut text = String::new();
    for address in addresses {
        text.push_str(&format!("listening {address}\n"));
    }
    if let Some(address) = admin {
        text.push_str(&format!("admin http://{address}\n"));
    }
    text.push_str("ready\n");
    // Nobody may be reading; the log says the same.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

async fn control(
    reloader: &Arc<Mutex<Reloader>>,
    steering: &Steering,
    alarms: &mut mpsc::Receiver<Arc<FilterSpec>>,
) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = steering.drain_asked() => break,
            _ = hang_up.recv() => {
                let reloader = Arc::clone(reloader);
                drop(tokio::task::spawn_blocking(move || drop(lock(&reloader).reload())));
            }
            Some(spec) = alarms.recv() => {
                let reloader = Arc::clone(reloader);
                drop(tokio::task::spawn_blocking(move || lock(&reloader).roll_back_failing(&spec)));
            }
        }
    }
    info!("Draining: no new connections, running requests finish. A second signal ends at once.");
    let drained = {
        let reloader = Arc::clone(reloader);
        // Told at once: a reload that is under way is waited for.
        steering.draining();
        tokio::task::spawn_blocking(move || lock(&reloader).workers.drain())
    };
    tokio::select! {
        _ = terminate.recv() => end_at_once(),
        _ = interrupt.recv() => end_at_once(),
        done = drained => done.context("draining failed")?,
    }
    info!("Drained.");
    Ok(())
}

fn end_at_once() -> ! {
    warn!("Told twice to end: running requests are cut off.");
    crate::observe::output::STDERR.flush();
    std::process::exit(FORCED)
}

/// The exit code of a gateway that was told twice to end.
const FORCED: i32 = 130;

fn lines(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn milliseconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 10_000.0).round() / 10.0
}
