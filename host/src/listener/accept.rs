//! One worker's connections: accepts them, spreads them, serves them, and waits for their end when draining.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tracing::{debug, error, warn};

use super::arrived::Arrived;
use super::balance::{Balance, Handed, Open, Origin};
use super::drain::Drain;
use super::serve::serve;
use super::tcp;
use super::tls::{Termination, Terminations};
use crate::proxy::Proxy;

/// How long accepting rests when the process has no more file descriptors, or as many connections as it may have.
const REST: Duration = Duration::from_millis(20);

/// What one worker needs to serve its connections.
pub struct Worker {
    /// Its place in the [`Balance`].
    pub index: usize,
    /// Which addresses to listen on from now on.
    pub sockets: mpsc::Receiver<Sockets>,
    /// Connections that other workers hand over.
    pub handed: mpsc::Receiver<Handed>,
    /// Shared by all workers.
    pub balance: Arc<Balance>,
    /// Which listeners have TLS.
    pub tls: Terminations,
    /// Serves the requests.
    pub proxy: Rc<Proxy>,
    /// The signal to wind down.
    pub drain: Drain,
}

/// A change of the addresses that a worker listens on, each as it stands in the configuration.
#[derive(Debug, Default)]
pub struct Sockets {
    /// This worker's sockets of new addresses.
    pub open: Vec<(SocketAddr, std::net::TcpListener)>,
    /// Addresses that are not listened on any more; their connections go on.
    pub close: Vec<SocketAddr>,
}

impl Worker {
    /// Serves until draining, then until the last connection has ended or the configuration's drain timeout has passed;
    /// what is open then is closed. Must run on a [`tokio::runtime::LocalRuntime`].
    ///
    /// # Errors
    /// A listener cannot be used.
    pub async fn run(self) -> io::Result<()> {
        let Self { index, mut sockets, mut handed, balance, tls, proxy, drain } = self;
        let (accepted, mut arriving) = mpsc::channel(1);
        let mut accepting = Accepting::default();
        let mut connections = JoinSet::new();
        let mut ending = drain.clone();
        let mut ending = std::pin::pin!(ending.wait());
        loop {
            tokio::select! {
                () = ending.as_mut() => break,
                Some(Sockets { open, close }) = sockets.recv() => {
                    accepting.close(&close);
                    for (configured, listener) in open {
                        listener.set_nonblocking(true)?;
                        let acceptor = Acceptor {
                            listener: TcpListener::from_std(listener)?,
                            tls: tls.clone(),
                            balance: Arc::clone(&balance),
                            index,
                            configured,
                            proxy: Rc::clone(&proxy),
                            accepted: accepted.clone(),
                            closing: Rc::default(),
                        };
                        accepting.start(configured, acceptor);
                    }
                }
                Some(accepted) = arriving.recv() => start(&mut connections, accepted, &proxy, &drain),
                Some(Handed { stream, origin, tls, open }) = handed.recv() => {
                    let remote = origin.remote;
                    match TcpStream::from_std(stream) {
                        Ok(stream) => {
                            start(&mut connections, Accepted { stream, origin, tls, open }, &proxy, &drain);
                        }
                        Err(error) => debug!(%error, %remote, "Connection lost."),
                    }
                }
                Some(result) = connections.join_next() => report(result),
            }
        }
        drop(accepting);
        let timeout = proxy.generation().config.limits.drain_timeout;
        let finished = async {
            while let Some(result) = connections.join_next().await {
                report(result);
            }
        };
        if tokio::time::timeout(timeout, finished).await.is_err() {
            warn!(connections = connections.len(), "Connections closed at the drain timeout.");
        }
        Ok(())
    }
}

/// A connection that this worker is to serve.
struct Accepted {
    stream: TcpStream,
    origin: Origin,
    /// Of the listener as it was when the connection was accepted.
    tls: Option<Arc<Termination>>,
    open: Open,
}

fn start(connections: &mut JoinSet<()>, accepted: Accepted, proxy: &Rc<Proxy>, drain: &Drain) {
    let Accepted { stream, origin: Origin { configured, remote }, tls, open } = accepted;
    let (proxy, drain) = (Rc::clone(proxy), drain.clone());
    connections.spawn_local(async move {
        let mut ending = drain.clone();
        let arrived = tokio::select! {
            arrived = Arrived::new(stream, remote, configured, tls, &proxy) => arrived,
            // Nothing was asked yet, so nothing is owed.
            () = ending.wait() => None,
        };
        let Some(arrived) = arrived else { return };
        // A trusted proxy is not a client.
        let client = arrived.remote.ip();
        let most = proxy.generation().config.limits.connections_per_client;
        let Some(_counted) = open.of_client(client, most.filter(|_| !arrived.trusted.contains(client))) else {
            return debug!(remote = %arrived.remote, "Connection closed: its client has as many as it may.");
        };
        // In a statement of its own, so that the connection does not hold the generation in which it was accepted.
        let service = proxy.generation().tcp.get(&configured).cloned();
        match service {
            // Boxed, so that connections of HTTP are small.
            Some(service) => Box::pin(tcp::serve(arrived, service, proxy, drain)).await,
            None => serve(arrived, proxy, drain).await,
        }
        drop(open);
    });
}

/// A panic costs its connection only, and is told.
fn report(result: Result<(), JoinError>) {
    if let Err(error) = result
        && error.is_panic()
    {
        error!(%error, "A connection's task panicked.");
    }
}

/// The accept loops, by configured address.
#[derive(Default)]
struct Accepting {
    tasks: JoinSet<()>,
    by_address: Vec<(SocketAddr, Rc<Notify>)>,
}

impl Accepting {
    fn start(&mut self, configured: SocketAddr, acceptor: Acceptor) {
        let closing = Rc::clone(&acceptor.closing);
        self.tasks.spawn_local(acceptor.run());
        self.by_address.push((configured, closing));
    }
    fn close(&mut self, addresses: &[SocketAddr]) {
        self.by_address.retain(|(address, closing)| {
            let kept = !addresses.contains(address);
            if !kept {
                closing.notify_one();
            }
            kept
        });
    }
}

/// Accepts on one listener.
struct Acceptor {
    listener: TcpListener,
    tls: Terminations,
    balance: Arc<Balance>,
    index: usize,
    /// The listener's address in the configuration.
    configured: SocketAddr,
    proxy: Rc<Proxy>,
    accepted: mpsc::Sender<Accepted>,
    /// The listener is no more: what waits to be accepted is the last.
    closing: Rc<Notify>,
}

impl Acceptor {
    async fn run(self) {
        // Said once until a connection is accepted again.
        let mut said = false;
        loop {
            let limit = self.balance.limit(self.proxy.generation().config.limits.connections);
            if self.balance.total() >= limit {
                if !std::mem::replace(&mut said, true) {
                    warn!(limit, "Connection limit reached, new connections wait.");
                }
                if self.closes_while_resting().await {
                    return;
                }
                continue;
            }
            let accepted = tokio::select! {
                biased;
                accepted = self.listener.accept() => accepted,
                () = self.closing.notified() => return,
            };
            match accepted {
                Ok((stream, remote)) => {
                    said = false;
                    if self.place(stream, remote).await.is_err() {
                        return;
                    }
                }
                // The connection is gone; the next one may be fine.
                Err(error) if is_connection_error(&error) => debug!(%error, "Connection lost."),
                Err(error) => {
                    if !std::mem::replace(&mut said, true) {
                        warn!(%error, "Cannot accept connections, they wait.");
                    }
                    if self.closes_while_resting().await {
                        return;
                    }
                }
            }
        }
    }
    async fn closes_while_resting(&self) -> bool {
        tokio::select! {
            () = self.closing.notified() => true,
            () = tokio::time::sleep(REST) => false,
        }
    }
    /// Gives a connection to the worker with the fewest. `Err`: this worker is ending, or the listener is no more.
    async fn place(&self, stream: TcpStream, remote: SocketAddr) -> Result<(), ()> {
        // What the generation does not listen on is not served, least of all without the TLS that it had.
        let (configured, tls) = self.tls.of(self.configured).ok_or(())?;
        let origin = Origin { configured, remote };
        let open = self.balance.place(self.index);
        if open.worker == self.index {
            return self.accepted.send(Accepted { stream, origin, tls, open }).await.map_err(drop);
        }
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                debug!(%error, %remote, "Connection lost.");
                return Ok(());
            }
        };
        let Err(refused) = self.balance.hand_over(Handed { stream, origin, tls, open }) else { return Ok(()) };
        let Handed { stream, origin, tls, open } = refused;
        drop(open);
        match TcpStream::from_std(stream) {
            Ok(stream) => {
                let open = self.balance.count(self.index);
                self.accepted.send(Accepted { stream, origin, tls, open }).await.map_err(drop)
            }
            Err(error) => {
                debug!(%error, %remote, "Connection lost.");
                Ok(())
            }
        }
    }
}

fn is_connection_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
