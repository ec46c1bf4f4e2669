//! A filter on a worker, and exchanges through a chain of such.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use http::HeaderValue;
use sluicegate::config::{Capabilities, PauseMeaning, Ticks, Vm};
use sluicegate::filter::chain::{Frame, Input, InputError};
use sluicegate::filter::exchange::{ConnectionFacts, Facts};
use sluicegate::filter::{
    Callout, CalloutRefused, CalloutReply, Callouts, Chain, Direction, Field, FilterSource, GrpcCall, GrpcEvent,
    GrpcStream, Headers, Name, OnError,
};
use sluicegate::state::State;
use sluicegate::wasm::{Engine, FilterSpec, VmSpec, WorkerFilter, WorkerVm};

/// Fields of a request beside its pseudo headers.
const FIELDS: usize = 16;

/// One engine, as in the process.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().expect("the engine starts"))
}

/// Callouts that nobody makes.
struct NoCallouts;

impl Callouts for NoCallouts {
    fn start(&self, _call: Callout, _done: Box<dyn FnOnce(CalloutReply)>) -> Result<(), CalloutRefused> {
        Err(CalloutRefused::UnknownUpstream)
    }
    fn open_grpc(
        &self,
        _call: GrpcCall,
        _events: Box<dyn FnMut(GrpcEvent)>,
    ) -> Result<Box<dyn GrpcStream>, CalloutRefused> {
        Err(CalloutRefused::UnknownUpstream)
    }
}

/// A module's filter on this worker.
pub(crate) struct Stage {
    spec: Arc<FilterSpec>,
    filter: Rc<WorkerFilter>,
}

impl Stage {
    pub(crate) fn new(module: &[u8]) -> Self {
        Self::with_config(module, "")
    }
    pub(crate) fn with_config(module: &[u8], config: &str) -> Self {
        let spec = Arc::new(FilterSpec {
            name: "bench".into(),
            path: "filters[0]".into(),
            plugin: Arc::new(engine().load("bench", module).expect("the module loads")),
            config: config.into(),
            on_error: OnError::Closed,
            deadline: Duration::from_millis(100),
            memory: 64 << 20,
            upstreams: BTreeSet::new(),
            pause: PauseMeaning::StopAll,
            env: BTreeMap::new(),
            capabilities: Capabilities::default(),
            vm: Vm::default(),
            ticks: Ticks::Worker,
            ledger: Arc::default(),
        });
        let filter = start(&spec);
        Self { spec, filter }
    }
    /// Starts another instance of the same module.
    pub(crate) fn another(&self) -> Rc<WorkerFilter> {
        start(&self.spec)
    }
}

fn start(spec: &Arc<FilterSpec>) -> Rc<WorkerFilter> {
    static STATE: OnceLock<Arc<State>> = OnceLock::new();
    let state = Arc::clone(STATE.get_or_init(Arc::default));
    let vm = VmSpec::new(Arc::clone(spec));
    let vm = WorkerVm::new(&vm, state, |_| Rc::new(NoCallouts), Rc::new(|_| ()), true);
    vm.filters().next().expect("it has one")
}

/// The filters as a chain has them.
pub(crate) fn filters(stages: &[Stage]) -> Rc<[Rc<dyn FilterSource>]> {
    stages.iter().map(|stage| Rc::clone(&stage.filter) as Rc<dyn FilterSource>).collect()
}

/// A message without a body.
struct Nothing;

impl Input for Nothing {
    fn poll_frame(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>> {
        Poll::Ready(None)
    }
    fn is_end(&self) -> bool {
        true
    }
}

/// One request and its response through the chain, to the end.
pub(crate) fn exchange(filters: &Rc<[Rc<dyn FilterSource>]>) {
    exchange_of(filters, request());
}

/// The same with a request's head.
pub(crate) fn exchange_of(filters: &Rc<[Rc<dyn FilterSource>]>, request: Headers) {
    let chain = Chain::new(facts(), Rc::clone(filters));
    let mut cx = Context::from_waker(Waker::noop());
    chain.begin_request(request, None, Box::new(Nothing));
    let passed = chain.poll_head(Direction::Request, &mut cx);
    assert!(matches!(passed, Poll::Ready(Ok(_))), "the request passes: {passed:?}");
    chain.begin_response(response(), None, Box::new(Nothing));
    let passed = chain.poll_head(Direction::Response, &mut cx);
    assert!(matches!(passed, Poll::Ready(Ok(_))), "the response passes: {passed:?}");
    chain.finish();
}

fn request() -> Headers {
    static HEAD: OnceLock<Vec<Field>> = OnceLock::new();
    let fields = || {
        let pseudo = [(":authority", "a.example"), (":path", "/p?q=1"), (":method", "GET"), (":scheme", "http")];
        let pseudo = pseudo.iter().map(|(name, value)| field(name, value));
        pseudo.chain((0..FIELDS).map(|number| field(&format!("x-field-{number}"), "some value of a field"))).collect()
    };
    HEAD.get_or_init(fields).iter().cloned().collect()
}

/// A request as a browser's script sends it, with a token.
pub(crate) fn browser() -> Headers {
    static HEAD: OnceLock<Vec<Field>> = OnceLock::new();
    let fields = || {
        let token = sluicegate_tests::tokens::bearer("HS256");
        let fields = [
            (":authority", "api.example"),
            (":path", "/bench"),
            (":method", "GET"),
            (":scheme", "http"),
            ("user-agent", "wrk/4.1.0 (benchmark)"),
            ("origin", "https://app.example"),
            ("authorization", &token),
        ];
        fields.iter().map(|(name, value)| field(name, value)).collect()
    };
    HEAD.get_or_init(fields).iter().cloned().collect()
}

fn response() -> Headers {
    [field(":status", "200"), field("content-type", "text/plain")].into_iter().collect()
}

fn field(name: &str, value: &str) -> Field {
    Field { name: Name::parse(name.as_bytes()).expect("a name"), value: HeaderValue::from_str(value).expect("a value") }
}

fn facts() -> Facts {
    thread_local! {
        static CONNECTION: Rc<ConnectionFacts> = Rc::new(ConnectionFacts {
            id: 7,
            remote: ([192, 0, 2, 1], 1234).into(),
            local: ([192, 0, 2, 2], 80).into(),
            tls: None,
        });
        static NAMES: (Rc<str>, Rc<str>) = ("route".into(), "upstream".into());
    }
    let (route, upstream) = NAMES.with(Clone::clone);
    Facts {
        connection: CONNECTION.with(Rc::clone),
        request_id: "id-1".into(),
        route,
        upstream,
        protocol: "HTTP/1.1",
        time: SystemTime::UNIX_EPOCH,
        started: Instant::now(),
        buffer_limit: 1 << 20,
    }
}
