//! A gateway of one worker, an origin that does what a script says, and a client that writes raw bytes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio_util::either::Either;

use crate::config::{
    self, Action, Config, HeaderChanges, Limits, Match, PathMatch, Plugins, Rewrite, Route, Target, UpstreamProtocol,
};
use crate::filter::FilterSource;
use crate::listener::{Balance, DrainSignal, Sockets, Terminations, Worker, bind_all};
use crate::observe::HandshakeFailure;
use crate::proxy::{FilterList, Outcome, Proxy, Recorder, RouteChain, Shares, WorkerGeneration};
use crate::route::Router;
use crate::state::targets::Health;
use crate::upstream::{Tls, Upstreams, UpstreamsTls};

/// A wait that only a failing test sees the end of.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a test on one thread, as workers run.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test).await.expect("the test hangs");
    });
}

/// Waits until something is so.
pub(super) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A gateway of one worker.
pub(super) struct Gateway {
    pub(super) address: SocketAddr,
    pub(super) outcomes: Rc<RefCell<Vec<Outcome>>>,
    pub(super) drain: DrainSignal,
    pub(super) worker: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// What differs from test to test.
pub(super) struct Setup {
    pub(super) origins: Vec<SocketAddr>,
    pub(super) protocol: UpstreamProtocol,
    pub(super) timeout: Option<Duration>,
    pub(super) rewrite: Rewrite,
    pub(super) filters: Vec<Rc<dyn FilterSource>>,
    pub(super) limits: Limits,
    /// The path prefix of the only route.
    pub(super) prefix: &'static str,
}

impl Setup {
    pub(super) fn new(origin: SocketAddr) -> Self {
        Self {
            origins: vec![origin],
            protocol: UpstreamProtocol::Http1,
            timeout: Some(PATIENCE),
            rewrite: Rewrite::default(),
            filters: Vec::new(),
            limits: limits(),
            prefix: "/",
        }
    }
    fn config(&self, address: SocketAddr) -> Config {
        let target = |address: &SocketAddr| Target::network(address.ip().to_string(), address.port());
        let upstream = config::Upstream {
            name: "origin".into(),
            targets: self.origins.iter().map(target).collect(),
            protocol: self.protocol,
            connect_timeout: Duration::from_secs(5),
            balance: config::Balance::default(),
            health: None,
            ejection: config::Ejection::default(),
            tls: None,
            dns: config::Dns::default(),
            pool: config::PoolLimits::default(),
            max_requests: None,
        };
        let route = Route {
            name: "all".into(),
            listeners: Vec::new(),
            matches: Match { path: Some(PathMatch::Prefix(self.prefix.to_owned())), ..Match::default() },
            filters: Vec::new(),
            action: Action::to("origin"),
            request_headers: HeaderChanges::default(),
            response_headers: HeaderChanges::default(),
            mirrors: Vec::new(),
            retry: None,
            rewrite: self.rewrite.clone(),
            timeout: self.timeout,
            body_bytes: None,
            body_timeout: None,
            upgrades: Vec::new(),
            reroute: config::Reroute::default(),
        };
        Config {
            listeners: vec![config::Listener {
                name: None,
                address: address.into(),
                mode: None,
                tls: None,
                tcp: None,
                proxy_protocol: false,
                trusted_proxies: config::TrustedProxies::default(),
            }],
            admin: None,
            plugins: Plugins { dir: "plugins".into(), ..Plugins::default() },
            upstreams: BTreeMap::from([("origin".to_owned(), upstream)]),
            filters: Vec::new(),
            routes: vec![route],
            limits: self.limits.clone(),
        }
    }
    /// Starts it on this thread.
    pub(super) fn start(self) -> Gateway {
        let listener = bind_all(SocketAddr::from(([127, 0, 0, 1], 0)), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let config = Arc::new(self.config(address));
        let upstreams = Upstreams::new(
            &config.upstreams,
            None,
            &UpstreamsTls { usual: Arc::new(Tls::new().unwrap()), own: BTreeMap::new() },
            &Health::default(),
        );
        let entry = entry();
        let filters = || FilterList::new(self.filters.iter().map(|filter| (&entry, Rc::clone(filter))));
        let generation = Rc::new(WorkerGeneration {
            router: Arc::new(Router::new(&config.routes)),
            routes: vec![RouteChain {
                name: "all".into(),
                shares: Shares::new([("origin".into(), Rc::clone(upstreams.get("origin").unwrap()), 1)]),
                mirrors: Vec::new(),
                filters: filters(),
            }],
            unrouted: filters(),
            tcp: BTreeMap::new(),
            upstreams,
            config,
        });
        let outcomes = Rc::<RefCell<Vec<Outcome>>>::default();
        let proxy =
            Proxy::new(Rc::new(move || Rc::clone(&generation)), Rc::new(Log(Rc::clone(&outcomes))), Arc::default());
        let (open, sockets) = tokio::sync::mpsc::channel(1);
        open.try_send(Sockets { open: vec![(address.into(), Either::Left(listener))], close: Vec::new() }).unwrap();
        let (balance, mut handed) = Balance::new(1, usize::MAX);
        let (signal, drain) = DrainSignal::new();
        let tls = Terminations::default();
        tls.set(std::iter::once((address.into(), None)));
        let worker = Worker { index: 0, sockets, handed: handed.remove(0), balance, tls, proxy, drain };
        Gateway { address, outcomes, drain: signal, worker: tokio::task::spawn_local(worker.run()) }
    }
}

pub(super) fn limits() -> Limits {
    Limits {
        workers: 1,
        header_bytes: 65_536,
        header_count: 100,
        uri_bytes: None,
        body_bytes: None,
        body_timeout: PATIENCE,
        buffer_bytes: 1_048_576,
        memory: None,
        connections: 1000,
        connections_per_client: None,
        requests_per_connection: None,
        header_timeout: PATIENCE,
        idle_timeout: PATIENCE,
        tunnel_timeout: PATIENCE,
        drain_delay: Duration::ZERO,
        drain_timeout: PATIENCE,
        http2_streams: 100,
        callout_bytes: 1_048_576,
        callouts: 10,
    }
}

fn entry() -> config::FilterEntry {
    config::FilterEntry {
        plugin: "test".into(),
        path: "filters[0]".into(),
        config: "".into(),
        when: None,
        on_error: config::OnError::Closed,
        deadline: PATIENCE,
        memory: 0,
        upstreams: std::collections::BTreeSet::new(),
        pause: config::PauseMeaning::StopAll,
        capabilities: config::Capabilities::default(),
        env: BTreeMap::new(),
        vm: config::Vm::default(),
        ticks: config::Ticks::Worker,
    }
}

struct Log(Rc<RefCell<Vec<Outcome>>>);

impl Recorder for Log {
    fn may_tell(&self) -> Option<u64> {
        None
    }
    fn begin(&self, _route: Option<&Rc<str>>) {}
    fn moved(&self, _from: Option<&Rc<str>>, _to: &Rc<str>) {}
    fn opened(&self) {}
    fn closed(&self) {}
    fn handshake_failed(&self, _reason: HandshakeFailure) {}
    fn gave_up(&self, _reason: crate::observe::Reason) {}
    fn record(&self, outcome: &Outcome) {
        self.0.borrow_mut().push(outcome.clone());
    }
}

/// Serves every connection with `script`, which gets the connection's number.
pub(super) async fn origin<F: Future<Output = ()> + 'static>(
    script: impl Fn(Peer, usize) -> F + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(script(Peer::new(stream), number));
        }
    });
    address
}

/// An origin that answers every request alike, on as many connections as it gets.
pub(super) async fn echo(response: &'static str) -> SocketAddr {
    origin(move |mut peer, _| async move {
        while peer.read_head().await.is_some() {
            peer.write(response).await;
        }
    })
    .await
}

/// One end of a connection, read message by message.
pub(super) struct Peer {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: Vec::new() }
    }
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::new(TcpStream::connect(address).await.unwrap())
    }
    pub(super) async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have closed already; the test sees that in what it reads.
        let _written = self.stream.write_all(bytes.as_ref()).await;
    }
    async fn fill(&mut self) -> bool {
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }
    /// Everything up to and with `end`; `None` when the connection ends before.
    pub(super) async fn read_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(end.len()).position(|window| window == end.as_bytes()) {
                let rest = self.buffer.split_off(at + end.len());
                return Some(String::from_utf8(std::mem::replace(&mut self.buffer, rest)).unwrap());
            }
            if !self.fill().await {
                return None;
            }
        }
    }
    /// A head with its empty line.
    pub(super) async fn read_head(&mut self) -> Option<String> {
        self.read_until("\r\n\r\n").await
    }
    pub(super) async fn read_exact(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill().await, "the connection ended early");
        }
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }
    /// Everything until the other side closes.
    pub(super) async fn read_to_end(&mut self) -> String {
        while self.fill().await {}
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }
    /// A response with a length: its head and its body.
    pub(super) async fn read_response(&mut self) -> (String, String) {
        let head = self.read_head().await.expect("no response");
        let length = field(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let body = self.read_exact(length).await;
        (head, String::from_utf8(body).unwrap())
    }
}

/// The value of a field in a raw head.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
