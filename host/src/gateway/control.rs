//! The control thread: starts the workers, waits for signals and changes, drains.

use std::io::Write;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tracing::{info, warn};

use super::StartError;
use super::generation::{Builder, Generation};
use super::pressure;
use super::reload::{Reloader, lock};
use super::sockets::Listening;
use super::status::GatewayStatus;
use super::steer::Steering;
use super::supervisor;
use super::watch;
use super::worker::Workers;
use crate::admin::Admin;
use crate::config::Config;
use crate::observe::GatewayLedger;
use crate::state::State;
use crate::wasm::FilterSpec;

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
    let urls = reloader.publish(Arc::clone(first))?;
    let reloader = Arc::new(Mutex::new(reloader));
    let steering = Arc::new(Steering::new(&reloader, &status));
    let looking = pressure::watch(Arc::clone(&state), Arc::clone(&status));
    let admin = Admin { state, metrics, status, control: Arc::clone(&steering) as _, hosts: Vec::new() };
    runtime.block_on(async {
        let admin = serve_admin(admin_socket, admin)?;
        watch_files(&reloader)?;
        tokio::spawn(looking);
        announce(&urls, admin);
        control(&reloader, &steering, &mut alarms).await
    })?;
    Ok(())
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

/// Bound before anything is served, so that an address in use ends the start.
fn bind_admin(config: &Config) -> Result<Option<TcpListener>> {
    let Some(address) = config.admin.as_ref().map(|admin| admin.address) else { return Ok(None) };
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address} (admin)"))?;
    listener.set_nonblocking(true)?;
    Ok(Some(listener))
}

/// The URL at which the admin API is.
fn serve_admin(socket: Option<TcpListener>, admin: Admin) -> Result<Option<String>> {
    let Some(socket) = socket else { return Ok(None) };
    let actual = socket.local_addr()?;
    let listener = tokio::net::TcpListener::from_std(socket)?;
    let scheme = if admin.status.access().tls.is_some() { "https" } else { "http" };
    tokio::spawn(crate::admin::serve(listener, Arc::new(admin), std::future::pending()));
    Ok(Some(format!("{scheme}://{actual}")))
}

/// Tells on standard output where requests go; the last line says that they are served.
fn announce(urls: &[String], admin: Option<String>) {
    // Whoever reads both streams sees what led here before the word that it is done.
    crate::observe::output::STDERR.flush();
    let mut out = std::io::stdout().lock();
    let mut text = String::new();
    for url in urls {
        text.push_str(&format!("listening {url}\n"));
    }
    if let Some(url) = admin {
        text.push_str(&format!("admin {url}\n"));
    }
    text.push_str("ready\n");
    // Nobody may be reading; the log says the same.
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    supervisor::tell(&[NotifyState::Ready]);
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
    supervisor::tell(&[NotifyState::Stopping]);
    // Told at once: a reload that is under way is waited for.
    let delay = steering.draining();
    tokio::select! {
        _ = terminate.recv() => end_at_once(),
        _ = interrupt.recv() => end_at_once(),
        done = drain(reloader, delay) => done.context("draining failed")?,
    }
    info!("Drained.");
    Ok(())
}

/// Serves on for `delay`, while others learn that the gateway is about to end; then ends the workers.
async fn drain(reloader: &Arc<Mutex<Reloader>>, delay: Duration) -> Result<(), JoinError> {
    if !delay.is_zero() {
        info!(
            ?delay,
            "About to drain: requests are still taken on, answers close their connections. A second signal ends at once."
        );
        let leaving = Arc::clone(reloader);
        let told = tokio::task::spawn_blocking(move || lock(&leaving).workers.leave());
        tokio::time::sleep(delay).await;
        told.await?;
    }
    info!("Draining: no new connections, running requests finish. A second signal ends at once.");
    let reloader = Arc::clone(reloader);
    let ended = tokio::task::spawn_blocking(move || {
        let mut reloader = lock(&reloader);
        // Whoever takes the place from now on is not in the way.
        reloader.listening.close();
        reloader.workers.drain();
    });
    ended.await
}

fn end_at_once() -> ! {
    warn!("Told twice to end: running requests are cut off.");
    crate::observe::output::STDERR.flush();
    std::process::exit(FORCED)
}

/// The exit code of a gateway that was told twice to end.
const FORCED: i32 = 130;
