//! The worker threads: each serves with its own sockets, its own upstream connections and its own instance of every filter.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle as TaskHandle;
use tracing::{debug, error, warn};

use super::entries::{Entries, Making};
use super::generation::Generation;
use super::recorder::LedgerRecorder;
use super::sockets::Bound;
use crate::address::Address;
use crate::config::Route;
use crate::config::action::{Action, Weighted};
use crate::filter::FilterSource;
use crate::filter::tcp::TcpSource;
use crate::listener::Listening;
use crate::listener::{self, Balance, DrainSignal, Handed, Sockets, Terminations, descriptors};
use crate::observe::GatewayLedger;
use crate::proxy::{FilterList, Mirror, Proxy, Recorder, RouteChain, Shares, TcpService, WorkerGeneration};
use crate::state::State;
use crate::upstream::{Upstreams, UpstreamsTls};
use crate::wasm::FilterSpec;

/// Commands that may wait for a worker. More than one at a time are never under way.
const COMMANDS: usize = 4;

/// What a worker is told.
enum Command {
    Adopt(Box<Adopt>),
    Leave,
    Drain(oneshot::Sender<()>),
}

/// A new generation for one worker.
struct Adopt {
    generation: Arc<Generation>,
    listen: Vec<(Address, Listening)>,
    close: Vec<Address>,
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
    pub(super) fn start(
        first: &Generation,
        state: &Arc<State>,
        metrics: &Arc<GatewayLedger>,
        alarms: &mpsc::Sender<Arc<FilterSpec>>,
    ) -> Result<Self> {
        let count = first.config.limits.workers;
        let bearable = descriptors::connections();
        if bearable < first.config.limits.connections {
            warn!(
                connections = bearable,
                "The limit of open files bears fewer connections than \"limits.connections\"."
            );
        }
        let (balance, mut inboxes) = Balance::new(count, bearable);
        let mut workers = Self { commands: Vec::new(), threads: Vec::new() };
        for index in 0..count {
            let (sender, receiver) = mpsc::channel(COMMANDS);
            let shared = Shared {
                index,
                state: Arc::clone(state),
                metrics: Arc::clone(metrics),
                balance: Arc::clone(&balance),
                alarms: alarms.clone(),
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
    pub(super) fn adopt(&self, generation: &Arc<Generation>, mut bound: Vec<Bound>, close: &[Address]) -> Adoption {
        let mut waiting = Vec::new();
        for commands in &self.commands {
            let (done, answer) = oneshot::channel();
            let listen =
                bound.iter_mut().filter_map(|bound| Some((bound.configured.clone(), bound.sockets.pop()?))).collect();
            let adopt = Adopt { generation: Arc::clone(generation), listen, close: close.to_vec(), done };
            if commands.blocking_send(Command::Adopt(Box::new(adopt))).is_ok() {
                waiting.push(answer);
            }
        }
        Adoption { draining: waiting.into_iter().filter_map(|answer| answer.blocking_recv().ok()).sum() }
    }

    /// Tells the workers that the end is near: they serve as before, but clients are told to go elsewhere.
    pub(super) fn leave(&self) {
        for commands in &self.commands {
            // A worker that is gone serves nobody.
            drop(commands.blocking_send(Command::Leave));
        }
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
    metrics: Arc<GatewayLedger>,
    balance: Arc<Balance>,
    /// Where filters are reported whose instances only die.
    alarms: mpsc::Sender<Arc<FilterSpec>>,
}

impl Shared {
    fn run(self, commands: mpsc::Receiver<Command>, inbox: mpsc::Receiver<Handed>) {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return warn!(%error, worker = self.index, "The worker's runtime does not start."),
        };
        runtime.block_on(Worker::new(self).serve(commands, inbox));
    }
}

/// One worker, on its own thread.
struct Worker {
    shared: Shared,
    /// Set by the first generation.
    serving: Option<Serving>,
    /// The filters of the current generation.
    filters: Entries,
    signal: DrainSignal,
}

struct Serving {
    /// What new requests are served with.
    current: Rc<RefCell<Rc<WorkerGeneration>>>,
    /// How new connections are served.
    tls: Terminations,
    /// Which addresses the connections come from.
    sockets: mpsc::Sender<Sockets>,
    connections: TaskHandle<std::io::Result<()>>,
    recorder: Rc<LedgerRecorder>,
    proxy: Rc<Proxy>,
}

impl Worker {
    fn new(shared: Shared) -> Self {
        let (signal, _) = DrainSignal::new();
        Self { shared, serving: None, filters: Entries::default(), signal }
    }

    async fn serve(mut self, mut commands: mpsc::Receiver<Command>, inbox: mpsc::Receiver<Handed>) {
        let mut inbox = Some(inbox);
        tokio::task::spawn_local(crate::cork::turns());
        let mut pressure = self.shared.state.pressure.changes();
        loop {
            let command = tokio::select! {
                command = commands.recv() => command,
                Ok(()) = pressure.changed() => {
                    self.signal.shed(*pressure.borrow_and_update());
                    continue;
                }
            };
            match command {
                None => return,
                Some(Command::Adopt(adopt)) => self.adopt(*adopt, &mut inbox),
                Some(Command::Leave) => self.leave(),
                Some(Command::Drain(done)) => {
                    self.finish().await;
                    if done.send(()).is_err() {
                        debug!("Nobody waited for a worker's end.");
                    }
                    return;
                }
            }
        }
    }

    /// Clients are told to go elsewhere.
    fn leave(&self) {
        if let Some(serving) = &self.serving {
            serving.proxy.leave();
        }
        self.signal.leave();
    }

    /// Ends the connections with their running requests, then the filters.
    async fn finish(self) {
        self.signal.drain();
        if let Some(serving) = self.serving {
            match serving.connections.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => error!(%error, "A worker could not use its sockets."),
                Err(error) => error!(%error, "A worker's connections ended with a panic."),
            }
        }
        self.filters.retire(Duration::ZERO);
    }

    /// Exchanges what new requests are served with. Requests that run keep what they began with.
    fn adopt(&mut self, adopt: Adopt, inbox: &mut Option<mpsc::Receiver<Handed>>) {
        let Adopt { generation, listen, close, done } = adopt;
        let previous = self.serving.as_ref().map(|serving| Rc::clone(&serving.current.borrow()));
        let own = generation.upstream_tls.iter().map(|(name, (_, tls))| (name.clone(), Arc::clone(tls)));
        let tls = UpstreamsTls { usual: Arc::clone(&generation.usual_tls), own: own.collect() };
        let upstreams = Upstreams::new(
            &generation.config.upstreams,
            previous.as_ref().map(|previous| &*previous.upstreams),
            &tls,
            &self.shared.state.targets,
        );
        let Shared { state, alarms, index, .. } = &self.shared;
        let old = self.filters.exchange(&generation, &upstreams, &Making { state, alarms, first: *index == 0 });
        let exchanged = Rc::new(self.generation(&generation, &upstreams));
        let sockets = self.exchange(exchanged, inbox);
        if let Some(serving) = &self.serving {
            let listeners = generation.config.listeners.iter().map(|listener| listener.address.clone());
            serving.tls.set(listeners.zip(generation.tls.listeners.iter().cloned()));
            serving.recorder.keep_only(&generation.config);
        }
        old.retire(generation.config.limits.drain_timeout);
        if sockets.is_none_or(|sockets| sockets.try_send(Sockets { open: listen, close }).is_err()) {
            error!(worker = self.shared.index, "A worker has stopped accepting connections.");
        }
        let draining = previous.map_or(0, |previous| Rc::strong_count(&previous) - 1);
        if done.send(draining).is_err() {
            debug!("Nobody waited for a generation to be in force.");
        }
    }

    /// The one exchange. The first time, connections begin to be served.
    fn exchange(
        &mut self,
        generation: Rc<WorkerGeneration>,
        inbox: &mut Option<mpsc::Receiver<Handed>>,
    ) -> Option<mpsc::Sender<Sockets>> {
        if let Some(serving) = &self.serving {
            *serving.current.borrow_mut() = generation;
            return Some(serving.sockets.clone());
        }
        let current = Rc::new(RefCell::new(generation));
        let recorder = Rc::new(LedgerRecorder::new(Arc::clone(&self.shared.metrics)));
        let records = Rc::clone(&recorder) as Rc<dyn Recorder>;
        let reader = Rc::clone(&current);
        let (sockets, receiver) = mpsc::channel(COMMANDS);
        let proxy = Proxy::new(Rc::new(move || Rc::clone(&reader.borrow())), records, Arc::clone(&self.shared.state));
        let tls = Terminations::default();
        let worker = listener::Worker {
            index: self.shared.index,
            sockets: receiver,
            handed: inbox.take()?,
            balance: Arc::clone(&self.shared.balance),
            tls: tls.clone(),
            proxy: Rc::clone(&proxy),
            drain: self.signal.waiter(),
        };
        let connections = tokio::task::spawn_local(worker.run());
        self.serving = Some(Serving { current, tls, sockets: sockets.clone(), connections, recorder, proxy });
        Some(sockets)
    }

    fn generation(&self, generation: &Generation, upstreams: &Rc<Upstreams>) -> WorkerGeneration {
        let config = &generation.config;
        let list = |routed: Option<(&Route, &Vec<Arc<FilterSpec>>)>| {
            let own = routed.into_iter().flat_map(|(route, specs)| route.filters.iter().zip(specs));
            let entries = config.filters.iter().zip(&generation.global).chain(own);
            FilterList::new(entries.filter_map(|(entry, spec)| Some((entry, self.source(spec)?))))
        };
        let routes = config.routes.iter().zip(&generation.routes).filter_map(|(route, specs)| {
            let shares: &[Weighted] = match &route.action {
                Action::Forward(shares) => shares,
                Action::Redirect(_) | Action::Respond(_) => &[],
            };
            // The configuration was checked: a route's upstreams exist.
            let shares = shares.iter().map(|Weighted { upstream, weight }| {
                Some((Rc::from(&**upstream), Rc::clone(upstreams.get(upstream)?), *weight))
            });
            let mirrors = route.mirrors.iter().map(|mirror| {
                Some(Mirror { upstream: Rc::clone(upstreams.get(&mirror.upstream)?), share: mirror.share })
            });
            Some(RouteChain {
                mirrors: mirrors.collect::<Option<Vec<_>>>()?,
                name: Rc::from(&*route.name),
                shares: Shares::new(shares.collect::<Option<Vec<_>>>()?),
                filters: list(Some((route, specs))),
            })
        });
        WorkerGeneration {
            tcp: self.tcp(generation, upstreams),
            routes: routes.collect(),
            unrouted: list(None),
            config: Arc::clone(config),
            router: Arc::clone(&generation.router),
            upstreams: Rc::clone(upstreams),
        }
    }

    /// What becomes of the connections of each TCP listener.
    fn tcp(&self, generation: &Generation, upstreams: &Rc<Upstreams>) -> BTreeMap<Address, Rc<TcpService>> {
        let config = &generation.config;
        let services = config.listeners.iter().zip(&generation.tcp).filter_map(|(listener, specs)| {
            let (tcp, name) = (listener.tcp.as_ref()?, listener.address.to_string());
            let sources = specs.iter().filter_map(|spec| Some(self.filters.filter(spec)? as Rc<dyn TcpSource>));
            let service = TcpService {
                ledger: self.shared.metrics.tcp(&name),
                listener: Rc::from(name),
                upstream: Rc::clone(upstreams.get(&tcp.upstream)?),
                sources: sources.collect(),
                idle_timeout: tcp.idle_timeout,
                buffer_limit: config.limits.buffer_bytes,
            };
            Some((listener.address.clone(), Rc::new(service)))
        });
        services.collect()
    }

    fn source(&self, spec: &Arc<FilterSpec>) -> Option<Rc<dyn FilterSource>> {
        Some(self.filters.filter(spec)? as Rc<dyn FilterSource>)
    }
}
