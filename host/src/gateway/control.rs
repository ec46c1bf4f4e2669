//! The control thread: starts the workers, waits for signals and changes, reloads, drains.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::generation::{Builder, Change, Generation};
use super::sockets::Listening;
use super::status::GatewayStatus;
use super::supervisor;
use super::watch;
use super::worker::{Adoption, Workers};
use super::{StartError, short};
use crate::admin::Admin;
use crate::config::{Config, Problems};
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
    let mut reloader =
        Reloader { builder, workers, listening: Listening::default(), current: Arc::clone(first), status, metrics };
    let urls = reloader.publish(Arc::clone(first))?;
    let admin = Admin {
        state,
        metrics: Arc::clone(&reloader.metrics),
        status: Arc::clone(&reloader.status) as _,
        hosts: Vec::new(),
    };
    runtime.block_on(async {
        let admin = serve_admin(admin_socket, admin)?;
        let reloader = Arc::new(Mutex::new(reloader));
        watch_files(&reloader)?;
        announce(&urls, admin);
        control(&reloader, &mut alarms).await
    })?;
    Ok(())
}

/// What is needed to go from one generation to the next. Shared by the watching thread and SIGHUP; one reload at a time.
struct Reloader {
    builder: Builder,
    workers: Workers,
    listening: Listening,
    current: Arc<Generation>,
    status: Arc<GatewayStatus>,
    metrics: Arc<GatewayLedger>,
}

impl Reloader {
    /// Builds what is on disk now and publishes it; on anything wrong the current generation goes on serving.
    fn reload(&mut self) {
        let started = Instant::now();
        match self.builder.build(Some(&self.current)) {
            Ok(generation) => {
                if let Err(error) = self.publish(Arc::new(generation)) {
                    self.refused(&[format!("{error:#}")]);
                } else {
                    let generation = self.current.number;
                    info!(generation, milliseconds = milliseconds(started.elapsed()), "Configuration in force.");
                }
            }
            Err(problems) => self.refused(&lines(&problems)),
        }
    }

    /// Hands a finished generation to every worker and waits until all have taken it over.
    fn publish(&mut self, generation: Arc<Generation>) -> Result<Vec<String>> {
        let bound = self.listening.bind_new(&generation.config, self.workers.len())?;
        let gone = self.listening.gone(&generation.config);
        self.listening.update(&bound, &gone);
        let urls: Vec<String> = bound.iter().map(|bound| bound.url.clone()).collect();
        let adopted = self.workers.adopt(&generation, bound, &gone);
        for url in &urls {
            info!(url, "Listening.");
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
        Ok(urls)
    }

    /// Goes back to the version of a plugin before, if there is one: instances of this one only die.
    fn roll_back(&mut self, spec: &Arc<FilterSpec>) {
        let plugin = &spec.plugin;
        let in_force = self.current.specs().any(|current| Arc::ptr_eq(current, spec));
        if !in_force || !self.builder.library.withdraw(plugin) {
            return;
        }
        let outcome = self.builder.build(Some(&self.current)).map_err(|problems| lines(&problems));
        let outcome = outcome.and_then(|generation| {
            self.publish(Arc::new(generation)).map(drop).map_err(|error| vec![format!("{error:#}")])
        });
        let (plugin, failing) = (&*plugin.name, short(&plugin.digest));
        match outcome {
            Ok(()) => {
                let serving = self.current.plugins.get(plugin).map(|plugin| short(&plugin.digest));
                self.metrics.swapped(SwapResult::RolledBack);
                warn!(
                    plugin,
                    failing,
                    serving,
                    "Plugin rolled back: the version on disk only dies. Replace its file to try again."
                );
            }
            Err(reasons) => {
                self.builder.library.restore(plugin);
                for reason in &reasons {
                    error!(plugin, failing, reason, "A failing plugin cannot be rolled back.");
                }
            }
        }
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
        reloader.reload();
        Some((reloader.builder.watched.clone(), reloader.builder.seen.clone()))
    })
    .context("cannot watch files")
}

/// A panic in a reload has been logged; the generation that serves is whole, so the next reload may go on.
fn lock(reloader: &Mutex<Reloader>) -> MutexGuard<'_, Reloader> {
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
fn announce(urls: &[String], admin: Option<SocketAddr>) {
    // Whoever reads both streams sees what led here before the word that it is done.
    crate::observe::output::STDERR.flush();
    let mut out = std::io::stdout().lock();
    let mut text = String::new();
    for url in urls {
        text.push_str(&format!("listening {url}\n"));
    }
    if let Some(address) = admin {
        text.push_str(&format!("admin http://{address}\n"));
    }
    text.push_str("ready\n");
    // Nobody may be reading; the log says the same.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    supervisor::tell(&[NotifyState::Ready]);
}

async fn control(reloader: &Arc<Mutex<Reloader>>, alarms: &mut mpsc::Receiver<Arc<FilterSpec>>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hang_up.recv() => {
                let reloader = Arc::clone(reloader);
                drop(tokio::task::spawn_blocking(move || lock(&reloader).reload()));
            }
            Some(spec) = alarms.recv() => {
                let reloader = Arc::clone(reloader);
                drop(tokio::task::spawn_blocking(move || lock(&reloader).roll_back(&spec)));
            }
        }
    }
    supervisor::tell(&[NotifyState::Stopping]);
    info!("Draining: no new connections, running requests finish. A second signal ends at once.");
    let drained = {
        let reloader = Arc::clone(reloader);
        tokio::task::spawn_blocking(move || {
            let mut reloader = lock(&reloader);
            reloader.status.draining();
            reloader.workers.drain();
        })
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
