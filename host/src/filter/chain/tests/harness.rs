//! Runs a row as the proxy would: pulls the request out of the chain, then the response, and acts on what interrupts them.
//! Events happen only while everything waits, and must wake who waits.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use http::HeaderValue;

use super::scripts::{Gate, Log, Pieces, Script, Source, Step, body, fields, header};
use crate::filter::chain::{Chain, ChainError, Frame, Framing};
use crate::filter::exchange::{ConnectionFacts, Facts, Interrupt};
use crate::filter::{Direction, Field, FilterSource, Headers, LocalReply, Name};

/// What happens while everything waits.
#[derive(Clone)]
pub(super) enum Event {
    /// An answer to a callout comes to the filter of this index.
    Later(usize, Direction, Step),
    /// The instance of the filter of this index dies.
    Dies(usize),
    /// The gate at which an input waits opens.
    Opens,
}

/// One exchange to be run.
pub(super) struct Row {
    filters: Vec<Script>,
    request: Pieces,
    response: Pieces,
    events: VecDeque<Event>,
    awaiting: Option<Event>,
    limit: usize,
}

/// What came of it.
pub(super) struct Outcome {
    log: Log,
    /// The request as the upstream got it.
    pub(super) upstream: String,
    /// The response as the client got it.
    pub(super) client: String,
    /// Whether the last edit of a script was allowed.
    pub(super) written: Option<Bytes>,
}

pub(super) fn row() -> Row {
    Row {
        filters: Vec::new(),
        request: body(""),
        response: body(""),
        events: VecDeque::new(),
        awaiting: None,
        limit: 8,
    }
}

impl Row {
    pub(super) fn filter(mut self, script: Script) -> Self {
        self.filters.push(script);
        self
    }
    pub(super) fn request(mut self, request: Pieces) -> Self {
        self.request = request;
        self
    }
    pub(super) fn response(mut self, response: Pieces) -> Self {
        self.response = response;
        self
    }
    pub(super) fn then(mut self, event: Event) -> Self {
        self.events.push_back(event);
        self
    }
    /// A later event at the filter of this index, acting on the request.
    pub(super) fn later(self, index: usize, step: Step) -> Self {
        self.then(Event::Later(index, Direction::Request, step))
    }
    /// The same, acting on the response.
    pub(super) fn later_response(self, index: usize, step: Step) -> Self {
        self.then(Event::Later(index, Direction::Response, step))
    }
    /// Happens while the proxy waits for the upstream's head.
    pub(super) fn awaiting(mut self, event: Event) -> Self {
        self.awaiting = Some(event);
        self
    }
    pub(super) fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
    pub(super) fn run(self) -> Outcome {
        let log = Log::default();
        let sources: Vec<Rc<Source>> = self.filters.iter().map(|script| script.source(&log)).collect();
        let filters = sources.iter().map(|source| Rc::clone(source) as Rc<dyn FilterSource>).collect();
        let chain = Chain::new(facts(self.limit), filters);
        let gates = [self.request.gate(), self.response.gate()];
        let flag = Arc::new(Flag::default());
        let run = Run { chain: Rc::clone(&chain), sources, events: self.events, gates, flag };
        let (upstream, client) = run.exchange(self.request, self.response, self.awaiting);
        chain.finish();
        let written = chain.exchange().properties.get(b"written");
        Outcome { log, upstream, client, written }
    }
}

impl Outcome {
    /// What this filter saw (`ledger`: what was recorded of all).
    pub(super) fn saw(&self, name: &str) -> String {
        let log = self.log.borrow();
        let lines: Vec<&str> = log.iter().filter(|(of, _)| *of == name).map(|(_, line)| line.as_str()).collect();
        lines.join(", ")
    }
    /// The order in which filters saw what, by name.
    pub(super) fn order(&self) -> String {
        let log = self.log.borrow();
        let lines = log.iter().filter(|(of, _)| *of != "ledger").map(|(of, line)| format!("{of} {line}"));
        lines.collect::<Vec<_>>().join(", ")
    }
}

/// Whether the task was woken.
#[derive(Default)]
pub(super) struct Flag(AtomicBool);
impl Flag {
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}
impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Run {
    chain: Rc<Chain>,
    sources: Vec<Rc<Source>>,
    events: VecDeque<Event>,
    gates: [Rc<Gate>; 2],
    flag: Arc<Flag>,
}

/// Why a message was cut short.
enum Cut {
    Chain(ChainError),
    /// Nothing is left that could happen: in the end the proxy's timeout.
    Waits,
}

impl Run {
    fn exchange(mut self, request: Pieces, response: Pieces, awaiting: Option<Event>) -> (String, String) {
        let mut upstream = String::new();
        self.chain.begin_request(request_head(request.length), request.length, Box::new(request));
        if let Err(cut) = self.pull(Direction::Request, &mut upstream) {
            return self.cut_request(cut, upstream);
        }
        if let Some(event) = awaiting {
            self.happen(event);
        }
        if let Poll::Ready(interrupt) = self.chain.poll_interrupt(&mut Context::from_waker(Waker::noop())) {
            return self.cut_request(Cut::Chain(ChainError::Interrupted(interrupt)), upstream);
        }
        self.chain.begin_response(response_head(200, response.length), response.length, Box::new(response));
        (upstream, self.respond(String::new()))
    }
    /// The request did not complete: noted for the upstream, answered as the proxy would.
    fn cut_request(&mut self, cut: Cut, mut upstream: String) -> (String, String) {
        let (reason, reply) = match cut {
            Cut::Chain(ChainError::Interrupted(Interrupt::Reply(from, reply))) => {
                return (upstream, self.reply(Some(from), &reply));
            }
            Cut::Chain(ChainError::Interrupted(Interrupt::Reset(reason))) => (format!("reset {reason}"), None),
            Cut::Chain(ChainError::Input(error)) => (format!("client: {}", error.0), None),
            Cut::Chain(ChainError::TooLarge) => ("too large".to_owned(), Some(413)),
            Cut::Chain(ChainError::LengthChanged) => ("length changed".to_owned(), Some(500)),
            Cut::Waits => ("waits".to_owned(), Some(504)),
        };
        note(&mut upstream, &reason);
        let client = reply.map(|status| self.reply(None, &LocalReply::text(status, "", "gateway"))).unwrap_or_default();
        (upstream, client)
    }
    fn reply(&mut self, from: Option<usize>, reply: &LocalReply) -> String {
        let content = if reply.body.is_empty() { body("") } else { Pieces::whole(&reply.body) };
        self.chain.begin_reply(from, response_head(reply.status, content.length), Box::new(content));
        self.respond(format!("({}) ", reply.details))
    }
    /// Sends the client what comes out of the chain; what fails before that has begun is answered by the proxy.
    fn respond(&mut self, mut client: String) -> String {
        let begun = client.len();
        let Err(cut) = self.pull(Direction::Response, &mut client) else { return client };
        let answer = |status| LocalReply::text(status, "", "gateway");
        let (reason, reply) = match cut {
            Cut::Chain(ChainError::Interrupted(Interrupt::Reply(_, reply))) => ("replied".to_owned(), reply),
            Cut::Chain(ChainError::Interrupted(Interrupt::Reset(reason))) => {
                note(&mut client, &format!("reset {reason}"));
                return client;
            }
            Cut::Chain(ChainError::TooLarge) => ("too large".to_owned(), answer(502)),
            Cut::Chain(ChainError::LengthChanged) => ("length changed".to_owned(), answer(502)),
            Cut::Chain(ChainError::Input(error)) => (format!("upstream: {}", error.0), answer(502)),
            Cut::Waits => ("waits".to_owned(), answer(504)),
        };
        if client.len() == begun {
            return self.reply(None, &reply);
        }
        note(&mut client, &reason);
        client
    }
    /// Everything that leaves the chain in one direction.
    fn pull(&mut self, direction: Direction, out: &mut String) -> Result<(), Cut> {
        let framing = self.wait(|chain, cx| chain.poll_head(direction, cx))?.map_err(Cut::Chain)?;
        let head = self.chain.exchange().headers(direction).map(|head| shown(&head)).unwrap_or_default();
        out.push_str(&head);
        match framing {
            Framing::None => {}
            Framing::Length(length) => out.push_str(&format!(" length {length}")),
            Framing::Streamed => out.push_str(" streamed"),
        }
        loop {
            match self.wait(|chain, cx| chain.poll_frame(direction, cx))? {
                Some(Ok(Frame::Data(bytes))) => out.push_str(&format!(" | {}", String::from_utf8_lossy(&bytes))),
                Some(Ok(Frame::Trailers(trailers))) => out.push_str(&format!(" |{}", fields(&trailers))),
                Some(Err(error)) => return Err(Cut::Chain(error)),
                None => break,
            }
        }
        assert!(self.chain.is_end(direction), "the end is known when it has been given");
        Ok(())
    }
    /// Polls, lets events happen while nothing moves, and polls again only when one of them woke the task.
    fn wait<T>(&mut self, poll: impl Fn(&Chain, &mut Context<'_>) -> Poll<T>) -> Result<T, Cut> {
        let waker = Waker::from(Arc::clone(&self.flag));
        loop {
            if let Poll::Ready(ready) = poll(&self.chain, &mut Context::from_waker(&waker)) {
                return Ok(ready);
            }
            while !self.flag.take() {
                let waited = self.gates.iter().any(|gate| gate.is_waited_for());
                let event = self.events.pop_front().or(waited.then_some(Event::Opens));
                self.happen(event.ok_or(Cut::Waits)?);
            }
        }
    }
    fn happen(&mut self, event: Event) {
        match event {
            Event::Later(index, direction, step) => {
                step.run(&self.chain.exchange().stage(index), direction);
            }
            Event::Dies(index) => {
                self.sources[index].dead.set(true);
                self.chain.exchange().wake();
            }
            Event::Opens => {
                self.gates.iter().for_each(|gate| gate.open());
            }
        }
    }
}

fn note(out: &mut String, reason: &str) {
    if !out.is_empty() && !out.ends_with(' ') {
        out.push(' ');
    }
    out.push_str(&format!("! {reason}"));
}
fn shown(head: &Headers) -> String {
    let first = head.iter().next().and_then(|field| field.value.to_str().ok()).unwrap_or("?").to_owned();
    first + &fields(head)
}
fn head(name: Name, value: &str, length: Option<u64>) -> Headers {
    let value = HeaderValue::from_str(value).unwrap();
    let mut head = Headers::from_iter([Field { name, value }]);
    if let Some(length) = length {
        head.append(header("content-length"), HeaderValue::from(length));
    }
    head
}
pub(super) fn request_head(length: Option<u64>) -> Headers {
    head(Name::Method, "POST", length)
}
pub(super) fn response_head(status: u16, length: Option<u64>) -> Headers {
    head(Name::Status, &status.to_string(), length)
}
pub(super) fn facts(buffer_limit: usize) -> Facts {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let connection = ConnectionFacts { id: 1, remote: local.into(), local: local.into(), tls: None };
    Facts {
        connection: Rc::new(connection),
        request_id: "id".into(),
        route: "route".into(),
        upstream: "upstream".into(),
        protocol: "HTTP/1.1",
        time: SystemTime::UNIX_EPOCH,
        started: Instant::now(),
        buffer_limit,
    }
}
