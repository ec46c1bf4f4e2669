//! A filter of TCP connections that does what its configuration tells it, callback by callback, and logs what it sees when told to.
//!
//! ```json
//! { "trace": true, "downstream": ["uppercase"], "upstream": [{ "insert": "> " }], "new_connection": ["pause", "resume"] }
//! ```
#![allow(missing_docs, reason = "The entry point that the macro exports has none.")]
#![allow(clippy::expect_used, clippy::panic, reason = "A guest for tests says by panicking what a host refuses.")]

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, RootContext, StreamContext};
use proxy_wasm::types::{Action, BufferType, ContextType, LogLevel, MapType, PeerType};
use serde::Deserialize;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::<Root>::default());
}}

/// What to do in each callback.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Script {
    trace: bool,
    /// Connections that wait are resumed by a tick of that period.
    tick_ms: u64,
    new_connection: Vec<Step>,
    downstream: Vec<Step>,
    upstream: Vec<Step>,
    downstream_close: Vec<Step>,
    upstream_close: Vec<Step>,
    done: Vec<Step>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Step {
    Pause,
    Resume,
    /// The next tick resumes both directions.
    ResumeLater,
    Close,
    /// Asks that upstream; its answer 200 resumes the connection, any other closes it.
    Ask(String),
    Trap,
    Loop,
    Uppercase,
    /// Waits for whole frames (a byte with the length, then so many bytes), and lets go on what is whole.
    Frames,
    Insert(String),
    Append(String),
    Replace(String),
    Cut(usize),
    /// Makes that many bytes of what is held.
    Grow(usize),
    /// Only when it is the end.
    AtEnd(Vec<Self>),
    /// Only when what is held contains this.
    When(String, Vec<Self>),
    Property(Vec<String>),
    SetProperty(String, String),
    /// Calls what is about requests only.
    AskForRequest,
}

/// The plugin's own context.
#[derive(Default)]
struct Root {
    script: Rc<Script>,
    /// Contexts that wait for a tick.
    waiting: Rc<RefCell<BTreeSet<u32>>>,
}

struct Connection {
    id: u32,
    script: Rc<Script>,
    waiting: Rc<RefCell<BTreeSet<u32>>>,
}

/// One line at the level `info`.
fn say(line: &str) {
    // A host that cannot log cannot be told so.
    hostcalls::log(LogLevel::Info, line).ok();
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        match serde_json::from_slice::<Script>(if text.is_empty() { b"{}" } else { &text }) {
            Ok(script) => self.script = Rc::new(script),
            Err(error) => {
                hostcalls::log(LogLevel::Error, &format!("the script is wrong: {error}")).ok();
                return false;
            }
        }
        if self.script.tick_ms > 0 {
            self.set_tick_period(Duration::from_millis(self.script.tick_ms));
        }
        true
    }
    fn on_tick(&mut self) {
        for id in self.waiting.take() {
            // A connection that waited may be gone.
            if hostcalls::set_effective_context(id).is_ok() {
                say("resumes");
                hostcalls::resume_downstream().ok();
                hostcalls::resume_upstream().ok();
            }
        }
    }
    fn create_stream_context(&self, id: u32) -> Option<Box<dyn StreamContext>> {
        Some(Box::new(Connection { id, script: Rc::clone(&self.script), waiting: Rc::clone(&self.waiting) }))
    }
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::StreamContext)
    }
}

/// A callback while its steps are performed.
struct Turn<'a> {
    connection: &'a Connection,
    /// Which bytes it is about, if about any.
    buffer: Option<BufferType>,
    end: bool,
    action: Action,
}

impl Turn<'_> {
    fn held(&self) -> Vec<u8> {
        let read = |buffer| hostcalls::get_buffer(buffer, 0, usize::MAX).ok().flatten();
        self.buffer.and_then(read).unwrap_or_default()
    }
    fn write(&self, start: usize, size: usize, bytes: &[u8]) {
        if let Some(buffer) = self.buffer {
            hostcalls::set_buffer(buffer, start, size, bytes).expect("the host takes it");
        }
    }
    fn all(&mut self, steps: &[Step]) {
        for step in steps {
            self.perform(step);
        }
    }
    fn perform(&mut self, step: &Step) {
        match step {
            Step::Pause => self.action = Action::Pause,
            Step::Resume => hostcalls::resume_downstream().expect("the host takes it"),
            Step::ResumeLater => drop(self.connection.waiting.borrow_mut().insert(self.connection.id)),
            Step::Close => hostcalls::close_downstream().expect("the host takes it"),
            Step::Ask(upstream) => {
                let head = vec![(":method", "GET"), (":path", "/"), (":authority", "a")];
                let wait = Duration::from_secs(5);
                hostcalls::dispatch_http_call(upstream, head, None, vec![], wait).expect("the host takes it");
            }
            Step::Trap => panic!("told to"),
            Step::Loop => loop {
                std::hint::black_box(());
            },
            Step::Uppercase => self.write(0, usize::MAX, &self.held().to_ascii_uppercase()),
            Step::Frames => self.frames(),
            Step::Insert(text) => self.write(0, 0, text.as_bytes()),
            Step::Append(text) => self.write(self.held().len(), 0, text.as_bytes()),
            Step::Replace(text) => self.write(0, usize::MAX, text.as_bytes()),
            Step::Cut(count) => self.write(0, *count, b""),
            Step::Grow(size) => self.write(0, usize::MAX, &vec![b'.'; *size]),
            Step::AtEnd(steps) if self.end => self.all(steps),
            Step::When(text, steps) if self.held().windows(text.len()).any(|part| part == text.as_bytes()) => {
                self.all(steps);
            }
            Step::AtEnd(_) | Step::When(..) => {}
            Step::Property(path) => {
                let value = hostcalls::get_property(path.iter().map(String::as_str).collect()).ok().flatten();
                let value =
                    value.map_or_else(|| "missing".into(), |value| String::from_utf8_lossy(&value).into_owned());
                say(&format!("property {} is {value}", path.join(".")));
            }
            Step::SetProperty(name, value) => {
                hostcalls::set_property(vec![name], Some(value.as_bytes())).expect("the host takes it");
            }
            Step::AskForRequest => ask_for_request(),
        }
    }
    fn frames(&mut self) {
        let held = self.held();
        let mut whole = 0;
        while let Some(length) = held.get(whole) {
            let next = whole + 1 + usize::from(*length);
            if next > held.len() {
                break;
            }
            whole = next;
        }
        say(&format!("frames {whole} of {}", held.len()));
        if whole < held.len() && !self.end {
            self.action = Action::Pause;
        }
    }
}

/// None of it means anything here, and none of it may break the filter.
fn ask_for_request() {
    let maps = [MapType::HttpRequestHeaders, MapType::HttpResponseHeaders];
    let counts = maps.map(|map| hostcalls::get_map(map).map(|pairs| pairs.len()).unwrap_or_default());
    let host = hostcalls::get_map_value(MapType::HttpRequestHeaders, "host").ok().flatten();
    hostcalls::set_map_value(MapType::HttpRequestHeaders, "x-a", Some("b")).expect("the host takes it");
    hostcalls::send_http_response(403, vec![], None).expect("the host takes it");
    hostcalls::resume_http_request().expect("the host takes it");
    let body = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, 10).ok().flatten();
    say(&format!("asked {counts:?} {host:?} {body:?}"));
}

impl Connection {
    fn perform(&self, what: &str, steps: &[Step], buffer: Option<BufferType>, end: bool) -> Action {
        if self.script.trace {
            say(&format!("saw {what}"));
        }
        let mut turn = Turn { connection: self, buffer, end, action: Action::Continue };
        turn.all(steps);
        turn.action
    }
}

fn word(peer: PeerType) -> &'static str {
    match peer {
        PeerType::Local => "local",
        PeerType::Remote => "remote",
        _ => "unknown",
    }
}

impl Context for Connection {
    fn on_http_call_response(&mut self, _token: u32, _headers: usize, _body: usize, _trailers: usize) {
        match self.get_http_call_response_header(":status").as_deref() {
            Some("200") => hostcalls::resume_downstream().expect("the host takes it"),
            _ => hostcalls::close_downstream().expect("the host takes it"),
        }
    }
    fn on_done(&mut self) -> bool {
        self.perform("done", &self.script.done, None, true);
        true
    }
}

impl StreamContext for Connection {
    fn on_new_connection(&mut self) -> Action {
        self.perform("new_connection", &self.script.new_connection, None, false)
    }
    fn on_downstream_data(&mut self, size: usize, end: bool) -> Action {
        let what = format!("downstream {size} {end}");
        self.perform(&what, &self.script.downstream, Some(BufferType::DownstreamData), end)
    }
    fn on_upstream_data(&mut self, size: usize, end: bool) -> Action {
        let what = format!("upstream {size} {end}");
        self.perform(&what, &self.script.upstream, Some(BufferType::UpstreamData), end)
    }
    fn on_downstream_close(&mut self, peer: PeerType) {
        self.perform(&format!("downstream_close {}", word(peer)), &self.script.downstream_close, None, true);
    }
    fn on_upstream_close(&mut self, peer: PeerType) {
        self.perform(&format!("upstream_close {}", word(peer)), &self.script.upstream_close, None, true);
    }
    fn on_log(&mut self) {
        self.perform("log", &[], None, true);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.perform("delete", &[], None, true);
    }
}
