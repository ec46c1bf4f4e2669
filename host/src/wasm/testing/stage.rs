//! Where guests play: a filter on a worker, a chain of it alone, callouts that the test answers.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;

use super::engine;
use super::guest::Guest;
use crate::config::{Capabilities, PauseMeaning, Ticks, Vm};
use crate::filter::chain::{ChainError, Frame, Framing, Input, InputError};
use crate::filter::exchange::{ConnectionFacts, Facts};
use crate::filter::{
    Callout, CalloutRefused, CalloutReply, Callouts, Chain, Direction, Field, FilterSource, GrpcCall, GrpcEvent,
    GrpcStream, Headers, LocalReply, Name, OnError,
};
use crate::state::State;
use crate::wasm::{FilterSpec, VmSpec, WorkerFilter, WorkerVm};

/// The plugin's name, and so the vm id of its shared data.
pub(in crate::wasm) const NAME: &str = "test";

type Done = Box<dyn FnOnce(CalloutReply)>;

/// A gRPC call that waits for the test.
pub(in crate::wasm) struct Grpc {
    pub(in crate::wasm) call: GrpcCall,
    pub(in crate::wasm) events: Box<dyn FnMut(GrpcEvent)>,
    /// What the guest has sent; `None` is its half-close.
    pub(in crate::wasm) sent: Rc<RefCell<Vec<Option<String>>>>,
    /// The guest, or its instance, has let go of the call.
    pub(in crate::wasm) reset: Rc<Cell<bool>>,
}

/// The guest's end of such a call. Takes messages of up to 100 bytes.
struct Sender(Rc<RefCell<Vec<Option<String>>>>, Rc<Cell<bool>>);

impl GrpcStream for Sender {
    fn send(&self, message: &[u8]) -> bool {
        self.0.borrow_mut().push(Some(String::from_utf8_lossy(message).into_owned()));
        message.len() <= 100
    }
    fn close(&mut self) {
        self.0.borrow_mut().push(None);
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.1.set(true);
    }
}

/// Callouts that wait for the test.
#[derive(Default)]
pub(in crate::wasm) struct Recorded(
    pub(in crate::wasm) RefCell<VecDeque<(Callout, Done)>>,
    pub(in crate::wasm) RefCell<Vec<Grpc>>,
);

impl Callouts for Recorded {
    fn start(&self, call: Callout, done: Done) -> Result<(), CalloutRefused> {
        assert_ne!(call.upstream, "panics", "the host has a defect here");
        if call.upstream == "nowhere" {
            return Err(CalloutRefused::UnknownUpstream);
        }
        self.0.borrow_mut().push_back((call, done));
        Ok(())
    }
    fn open_grpc(
        &self,
        call: GrpcCall,
        events: Box<dyn FnMut(GrpcEvent)>,
    ) -> Result<Box<dyn GrpcStream>, CalloutRefused> {
        if call.upstream == "nowhere" {
            return Err(CalloutRefused::UnknownUpstream);
        }
        let (sent, reset) = (Rc::default(), Rc::default());
        let sender = Sender(Rc::clone(&sent), Rc::clone(&reset));
        self.1.borrow_mut().push(Grpc { call, events, sent, reset });
        Ok(Box::new(sender))
    }
}

/// A configuration entry for a guest.
pub(in crate::wasm) fn spec(guest: &Guest) -> FilterSpec {
    FilterSpec {
        name: NAME.into(),
        path: "filters[0]".into(),
        plugin: Arc::new(engine().load(NAME, &guest.wasm()).expect("the guest loads")),
        config: "{}".into(),
        on_error: OnError::Closed,
        deadline: Duration::from_millis(100),
        memory: 4 << 20,
        upstreams: BTreeSet::from(["users", "nowhere", "panics"].map(str::to_owned)),
        pause: PauseMeaning::StopAll,
        env: BTreeMap::new(),
        capabilities: Capabilities::default(),
        vm: Vm { id: NAME.into(), ..Vm::default() },
        ticks: Ticks::Worker,
        ledger: Arc::default(),
    }
}

/// A filter on a worker, and those that share its instance.
pub(in crate::wasm) struct Bench {
    pub(in crate::wasm) state: Arc<State>,
    pub(in crate::wasm) callouts: Rc<Recorded>,
    pub(in crate::wasm) filter: Rc<WorkerFilter>,
    /// The others.
    pub(in crate::wasm) more: Vec<Rc<WorkerFilter>>,
    pub(in crate::wasm) vm: Rc<WorkerVm>,
    /// How often it was said that instances only die.
    pub(in crate::wasm) alarms: Rc<Cell<u32>>,
}

impl Bench {
    pub(in crate::wasm) fn new(guest: &Guest) -> Self {
        Self::with(spec(guest))
    }
    pub(in crate::wasm) fn with(spec: FilterSpec) -> Self {
        Self::beside(&VmSpec::new(Arc::new(spec)), Arc::default())
    }
    /// Several that share an instance.
    pub(in crate::wasm) fn shared(specs: impl IntoIterator<Item = FilterSpec>) -> Self {
        let mut specs = specs.into_iter().map(Arc::new);
        let mut vm = VmSpec::new(specs.next().expect("an entry"));
        specs.for_each(|spec| vm.join(spec));
        Self::beside(&vm, Arc::default())
    }
    /// Beside others that share a state.
    pub(in crate::wasm) fn beside(vm: &VmSpec, state: Arc<State>) -> Self {
        let callouts = Rc::new(Recorded::default());
        let alarms = Rc::<Cell<u32>>::default();
        let raised = Rc::clone(&alarms);
        let alarm = Rc::new(move |_: &_| raised.set(raised.get() + 1));
        let vm = WorkerVm::new(vm, Arc::clone(&state), |_| callouts.clone(), alarm, true);
        let mut filters = vm.filters();
        let (filter, more) = (filters.next().expect("an entry"), filters.collect());
        Self { state, callouts, filter, more, vm, alarms }
    }
    /// What the guest noted under that number.
    pub(in crate::wasm) fn noted(&self, slot: u32) -> Option<Bytes> {
        self.state.data.get(NAME, &slot.to_le_bytes()).map(|(value, _)| value)
    }
    /// A number that the guest noted.
    #[track_caller]
    pub(in crate::wasm) fn number(&self, slot: u32) -> u32 {
        let bytes = self.noted(slot).unwrap_or_else(|| panic!("nothing noted under {slot}"));
        u32::from_le_bytes(bytes.as_ref().try_into().expect("a number"))
    }
    /// A text that the guest noted.
    #[track_caller]
    pub(in crate::wasm) fn text(&self, slot: u32) -> String {
        String::from_utf8(self.noted(slot).unwrap_or_else(|| panic!("nothing noted under {slot}")).to_vec()).unwrap()
    }
    /// A request begins.
    pub(in crate::wasm) fn exchange(&self) -> Talk {
        Self::exchange_through(&self.filter)
    }
    /// A request begins that goes through one of them.
    pub(in crate::wasm) fn exchange_through(filter: &Rc<WorkerFilter>) -> Talk {
        let filters: Rc<[Rc<dyn FilterSource>]> = Rc::from([Rc::clone(filter) as Rc<dyn FilterSource>]);
        Talk { chain: Chain::new(facts(), filters) }
    }
    /// A whole exchange with a small request and response, to its end.
    pub(in crate::wasm) fn run(&self) {
        let talk = self.exchange();
        talk.request(&[("x-a", "1")], &[]);
        talk.response(&[], &[]);
        talk.chain.finish();
    }
}

/// One exchange.
pub(in crate::wasm) struct Talk {
    pub(in crate::wasm) chain: Rc<Chain>,
}

/// What came out of the chain in one direction.
#[derive(Debug)]
pub(in crate::wasm) struct Passed {
    pub(in crate::wasm) head: Result<Framing, ChainError>,
    pub(in crate::wasm) body: Vec<u8>,
    pub(in crate::wasm) trailers: Option<Headers>,
    pub(in crate::wasm) error: Option<ChainError>,
}

impl Talk {
    /// Sends a request and takes what comes out, as far as it comes.
    pub(in crate::wasm) fn request(&self, fields: &[(&str, &str)], body: &[&str]) -> Option<Passed> {
        let pseudo = [(":authority", "a.example"), (":path", "/p?q=1"), (":method", "GET"), (":scheme", "http")];
        self.chain.begin_request(head(&pseudo, fields), None, Box::new(Pieces::new(body)));
        self.take(Direction::Request)
    }
    /// Sends a response likewise.
    pub(in crate::wasm) fn response(&self, fields: &[(&str, &str)], body: &[&str]) -> Option<Passed> {
        self.chain.begin_response(head(&[(":status", "200")], fields), None, Box::new(Pieces::new(body)));
        self.take(Direction::Response)
    }
    /// What comes out now; `None` while the filter holds it.
    pub(in crate::wasm) fn take(&self, direction: Direction) -> Option<Passed> {
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(head) = self.chain.poll_head(direction, &mut cx) else { return None };
        let mut passed = Passed { error: None, body: Vec::new(), trailers: None, head };
        while passed.head.is_ok() {
            match self.chain.poll_frame(direction, &mut cx) {
                Poll::Pending => return None,
                Poll::Ready(None) => break,
                Poll::Ready(Some(Ok(Frame::Data(bytes)))) => passed.body.extend_from_slice(&bytes),
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => passed.trailers = Some(trailers),
                Poll::Ready(Some(Err(error))) => {
                    passed.error = Some(error);
                    break;
                }
            }
        }
        Some(passed)
    }
    /// Fields of that name in a head.
    pub(in crate::wasm) fn fields(&self, direction: Direction, name: &str) -> Vec<String> {
        let name = Name::parse(name.as_bytes()).unwrap();
        let headers = self.chain.exchange().headers(direction).expect("a head");
        headers.get_all(&name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    }
}

impl Passed {
    /// The reply that interrupted it.
    #[track_caller]
    pub(in crate::wasm) fn reply(self) -> LocalReply {
        match self.head {
            Err(ChainError::Interrupted(crate::filter::exchange::Interrupt::Reply(_, reply))) => reply,
            other => panic!("no reply: {other:?}"),
        }
    }
}

/// Body pieces; `!name: value` at the end is a trailer.
struct Pieces(VecDeque<Frame>);

impl Pieces {
    fn new(pieces: &[&str]) -> Self {
        let piece = |piece: &&str| match piece.strip_prefix('!').and_then(|field| field.split_once(": ")) {
            Some(field) => Frame::Trailers(head(&[], &[field])),
            None => Frame::Data(Bytes::copy_from_slice(piece.as_bytes())),
        };
        Self(pieces.iter().map(piece).collect())
    }
}

impl Input for Pieces {
    fn poll_frame(&mut self, _cx: &mut Context<'_>) -> Poll<Option<Result<Frame, InputError>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
    fn is_end(&self) -> bool {
        self.0.is_empty()
    }
}

/// A head from text.
pub(in crate::wasm) fn head(pseudo: &[(&str, &str)], fields: &[(&str, &str)]) -> Headers {
    let field = |(name, value): &(&str, &str)| Field {
        name: Name::parse(name.as_bytes()).unwrap(),
        value: HeaderValue::from_bytes(value.as_bytes()).unwrap(),
    };
    pseudo.iter().chain(fields).map(field).collect()
}

/// What is known of every exchange.
pub(in crate::wasm) fn facts() -> Facts {
    Facts {
        connection: Rc::new(ConnectionFacts {
            id: 7,
            remote: "192.0.2.1:1234".parse().unwrap(),
            local: "192.0.2.2:80".parse().unwrap(),
            tls: None,
        }),
        request_id: "id-1".into(),
        route: "route-1".into(),
        upstream: "users".into(),
        protocol: "HTTP/1.1",
        time: SystemTime::UNIX_EPOCH + Duration::from_nanos(42),
        started: Instant::now(),
        buffer_limit: 1024,
    }
}

/// Runs a worker's tasks until `done`; a test that hangs fails after a while.
pub(in crate::wasm) fn on_worker<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default()).unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), test).await.expect("in time") })
}

/// Waits until `condition` holds.
pub(in crate::wasm) async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
