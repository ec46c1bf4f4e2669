//! The worker threads: each serves with its own sockets, its own upstream connections and its own instance of every filter.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;
use tracing::warn;

use super::generation::Generation;
use super::sockets::Bound;
use crate::config::Limits;
use crate::filter::{Callout, CalloutRefused, CalloutReply, Callouts, FilterSource};
use crate::listener::{Balance, Drain};
use crate::observe::GatewayMetrics;
use crate::proxy::{Proxy, RouteChain, WorkerGeneration};
use crate::state::State;
use crate::upstream::{Tls, Upstreams, WorkerCallouts};
use crate::wasm::{FilterSpec, WorkerFilter};

/// Commands that may wait for a worker. More than one at a time are never under way.
const COMMANDS: usize = 4;

/// What a worker is told.
enum Command {
    Adopt(Box<Adopt>),
    Drain(oneshot::Sender<()>),
}

/// A new generation for one worker.
struct Adopt {
    generation: Arc<Generation>,
    listen: Vec<(SocketAddr, TcpListener)>,
    close: Vec<SocketAddr>,
    /// Answered with the number of requests that go on in the generation before.
    done: oneshot::Sender<usize>,
}

/// How a generation was taken over.
pub(super) struct Adoption {
    /// Requests that were running on the generation before.
    pub(super) draining: usize,
}

/// All worker threads.
pub(super) struct Workers {
    commands: Vec<mpsc::Sender<Command>>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts as many threads as the configuration says; they serve nothing before the first [`Workers::adopt`].
    pub(super) fn start(first: &Generation, state: &Arc<State>, metrics: &Arc<GatewayMetrics>) -> Result<Self> {
        let count = first.config.limits.workers;
        let tls = Tls::new().context("cannot load the certificates of authorities")?;
        let (balance, mut inboxes) = Balance::new(count);
        let mut workers = Self { commands: Vec::new(), threads: Vec::new() };
        for index in 0..count {
            let (sender, receiver) = mpsc::channel(COMMANDS);
            let shared = Shared {
                index,
                state: Arc::clone(state),
                metrics: Arc::clone(metrics),
                tls: tls.clone(),
                balance: Arc::clone(&balance),
            };
            let inbox = inboxes.remove(0);
            let thread = std::thread::Builder::new().name(format!("worker-{index}"));
            workers.threads.push(thread.spawn(move || shared.run(receiver, inbox)).context("cannot start a thread")?);
            workers.commands.push(sender);
        }
        Ok(workers)
    }

    pub(super) fn len(&self) -> usize {
        self.commands.len()
    }

    /// Hands a generation to every worker and waits until each serves it.
    pub(super) fn adopt(&self, generation: &Arc<Generation>, mut bound: Vec<Bound>, close: &[SocketAddr]) -> Adoption {
        let mut waiting = Vec::new();
        for commands in &self.commands {
            let (done, answer) = oneshot::channel();
            let listen = bound.iter_mut().filter_map(|bound| Some((bound.configured, bound.sockets.pop()?))).collect();
            let adopt = Adopt { generation: Arc::clone(generation), listen, close: close.to_vec(), done };
            if commands.blocking_send(Command::Adopt(Box::new(adopt))).is_ok() {
                waiting.push(answer);
            }
        }
        Adoption { draining: waiting.into_iter().filter_map(|answer| answer.blocking_recv().ok()).sum() }
    }

    /// Ends the workers: nothing new is accepted, what runs may finish within the drain timeout.
    pub(super) fn drain(&mut self) {
        let drain = |commands: &mpsc::Sender<Command>| {
            let (done, answer) = oneshot::channel();
            commands.blocking_send(Command::Drain(done)).ok().map(|()| answer)
        };
        let waiting: Vec<_> = self.commands.iter().filter_map(drain).collect();
        for answer in waiting {
            // A worker that is gone has nothing left to drain.
            drop(answer.blocking_recv());
        }
        self.commands.clear();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                warn!("A worker ended with a panic.");
            }
        }
    }
}

/// What a worker shares with the rest of the process.
struct Shared {
    index: usize,
    state: Arc<State>,
    metrics: Arc<GatewayMetrics>,
    tls: Tls,
    balance: Arc<Balance>,
}

impl Shared {
    fn run(self, commands: mpsc::Receiver<Command>, inbox: crate::listener::Inbox) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return warn!(%error, worker = self.index, "The worker's runtime does not start."),
        };
        LocalSet::new().block_on(&runtime, Worker::new(self).serve(commands, inbox));
    }
}

/// One worker, on its own thread.
struct Worker {
    shared: Shared,
    current: Rc<RefCell<Option<Rc<WorkerGeneration>>>>,
    /// The filters of the current generation.
    filters: Vec<Entry>,
    /// Accept loops by configured address.
    accepting: HashMap<SocketAddr, tokio::task::AbortHandle>,
    proxy: Option<Rc<Proxy>>,
    drain: Drain,
}

/// A filter entry on this worker.
struct Entry {
    spec: Arc<FilterSpec>,
    filter: Rc<WorkerFilter>,
    callouts: Rc<CurrentCallouts>,
}
