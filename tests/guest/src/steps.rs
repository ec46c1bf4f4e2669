//! Performs the steps of a script with the host's functions.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::types::{Action, BufferType, MapType, MetricType, Status};

use crate::say;
use crate::script::{Body, Call, GrpcCall, Map, Reply, Source, Step, Value, Way};

/// What an instance counts.
#[derive(Default)]
pub(crate) struct Counts {
    /// Streams served.
    pub(crate) streams: Cell<u64>,
    /// Token of the gRPC stream opened last.
    pub(crate) grpc: Cell<u32>,
}

/// One callback being performed.
pub(crate) struct Run {
    /// What the callback will return.
    pub(crate) action: Action,
    /// Whether it answers false.
    pub(crate) failed: bool,
    asked: String,
    end: bool,
    counts: Rc<Counts>,
}

impl Run {
    pub(crate) fn new(asked: &str, end: bool, counts: Rc<Counts>) -> Self {
        Self { action: Action::Continue, failed: false, asked: asked.to_owned(), end, counts }
    }
    pub(crate) fn all(&mut self, steps: &[Step]) {
        for step in steps {
            self.one(step);
        }
    }
    fn one(&mut self, step: &Step) {
        match step {
            Step::When(word, steps) if *word == self.asked => self.all(steps),
            Step::AtEnd(steps) if self.end => self.all(steps),
            Step::BeforeEnd(steps) if !self.end => self.all(steps),
            Step::When(..) | Step::AtEnd(_) | Step::BeforeEnd(_) => {}
            Step::Pause => self.action = Action::Pause,
            Step::Fail => self.failed = true,
            Step::Trap => trap(),
            Step::Panic(text) => panic!("{text}"),
            Step::Loop => spin(),
            Step::Recurse => say(&recurse(1).to_string()),
            Step::Allocate => allocate(),
            step => {
                if let Err(status) = self.ask_host(step) {
                    say(&format!("refused {status:?}"));
                }
            }
        }
    }
    fn ask_host(&self, step: &Step) -> Result<(), Status> {
        match step {
            Step::Log(value) => {
                say(&String::from_utf8_lossy(&self.bytes(value)?));
                Ok(())
            }
            Step::Set(map, name, value) => hostcalls::set_map_value_bytes(kind(*map), name, Some(&self.bytes(value)?)),
            Step::Add(map, name, value) => hostcalls::add_map_value_bytes(kind(*map), name, &self.bytes(value)?),
            Step::Remove(map, name) => hostcalls::remove_map_value(kind(*map), name),
            Step::SetBody(body, start, length, value) => {
                hostcalls::set_buffer(buffer(*body), *start, *length, &self.bytes(value)?)
            }
            Step::Resume(Way::Request) => hostcalls::resume_http_request(),
            Step::Resume(Way::Response) => hostcalls::resume_http_response(),
            Step::Reset(Way::Request) => hostcalls::reset_http_request(),
            Step::Reset(Way::Response) => hostcalls::reset_http_response(),
            Step::Reply(reply) => self.reply(reply),
            Step::Call(call) => start_call(call),
            Step::Grpc(call) => self.start_grpc(call),
            Step::GrpcSend(message, end) => {
                hostcalls::send_grpc_stream_message(self.counts.grpc.get(), Some(message.as_bytes()), *end)
            }
            Step::GrpcClose => hostcalls::close_grpc_stream(self.counts.grpc.get()),
            Step::GrpcCancel => hostcalls::cancel_grpc_stream(self.counts.grpc.get()),
            Step::SetProperty(path, value) => hostcalls::set_property(parts(path), Some(&self.bytes(value)?)),
            Step::Share(key, value) => hostcalls::set_shared_data(key, Some(&self.bytes(value)?), None),
            Step::CountShared(key) => count_shared(key),
            Step::Enqueue(name, value) => {
                let id = hostcalls::register_shared_queue(name)?;
                hostcalls::enqueue_shared_queue(id, Some(&self.bytes(value)?))
            }
            Step::Count(name, by) => {
                hostcalls::increment_metric(hostcalls::define_metric(MetricType::Counter, name)?, *by)
            }
            Step::Gauge(name, value) => {
                hostcalls::record_metric(hostcalls::define_metric(MetricType::Gauge, name)?, *value)
            }
            Step::Done => hostcalls::done(),
            _ => Ok(()),
        }
    }
    fn reply(&self, reply: &Reply) -> Result<(), Status> {
        let body = match &reply.body {
            Some(value) => self.bytes(value)?,
            None => Vec::new(),
        };
        let headers = reply.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        hostcalls::send_http_response(reply.status, headers, Some(&body))
    }
    fn start_grpc(&self, call: &GrpcCall) -> Result<(), Status> {
        const SERVICE: &str = "shop.Users";
        let metadata = call.metadata.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let token = match &call.message {
            Some(message) => hostcalls::dispatch_grpc_call(
                &call.upstream,
                SERVICE,
                &call.method,
                metadata,
                Some(message.as_bytes()),
                Duration::from_millis(call.timeout_ms),
            )?,
            None => hostcalls::open_grpc_stream(&call.upstream, SERVICE, &call.method, metadata)?,
        };
        self.counts.grpc.set(token);
        Ok(())
    }
    fn bytes(&self, value: &Value) -> Result<Vec<u8>, Status> {
        let source = match value {
            Value::Text(text) => return Ok(text.clone().into_bytes()),
            Value::Source(source) => source,
        };
        Ok(match source {
            Source::Header(map, name) => or_none(hostcalls::get_map_value_bytes(kind(*map), name)?),
            Source::Headers(map) => {
                let pairs = hostcalls::get_map_bytes(kind(*map))?;
                let text = |(name, value): (String, Vec<u8>)| format!("{name}={};", String::from_utf8_lossy(&value));
                pairs.into_iter().map(text).collect::<String>().into_bytes()
            }
            Source::Body(body) => or_none(hostcalls::get_buffer(buffer(*body), 0, usize::MAX >> 1)?),
            Source::Property(path) => or_none(hostcalls::get_property(parts(path))?),
            Source::Number(path) => number(hostcalls::get_property(parts(path))?),
            Source::Shared(key) => or_none(hostcalls::get_shared_data(key)?.0),
            Source::Dequeue(name) => or_none(hostcalls::dequeue_shared_queue(hostcalls::register_shared_queue(name)?)?),
            Source::Metric(name) => {
                let id = hostcalls::define_metric(MetricType::Counter, name)?;
                hostcalls::get_metric(id)?.to_string().into_bytes()
            }
            Source::Foreign(name, argument) => {
                or_none(hostcalls::call_foreign_function(name, Some(argument.as_bytes()))?)
            }
            Source::GrpcStatus => {
                let (code, message) = hostcalls::get_grpc_status()?;
                format!("{code} {}", message.unwrap_or_default()).into_bytes()
            }
            Source::Streams => self.counts.streams.get().to_string().into_bytes(),
            Source::Seconds => {
                let now = hostcalls::get_current_time()?.duration_since(UNIX_EPOCH).unwrap_or_default();
                now.as_secs().to_string().into_bytes()
            }
            Source::Env(name) => std::env::var(name).unwrap_or_else(|_| "(none)".to_owned()).into_bytes(),
            Source::Repeat(times) => vec![b'x'; *times],
            Source::Concat(values) => {
                let mut all = Vec::new();
                for value in values {
                    all.extend(self.bytes(value)?);
                }
                all
            }
        })
    }
}

fn parts(path: &[String]) -> Vec<&str> {
    path.iter().map(String::as_str).collect()
}

fn or_none(value: Option<Vec<u8>>) -> Vec<u8> {
    value.unwrap_or_else(|| b"(none)".to_vec())
}

fn number(value: Option<Vec<u8>>) -> Vec<u8> {
    match value.map(<[u8; 8]>::try_from) {
        None => b"(none)".to_vec(),
        Some(Ok(bytes)) => u64::from_le_bytes(bytes).to_string().into_bytes(),
        Some(Err(bytes)) => format!("({} bytes)", bytes.len()).into_bytes(),
    }
}

fn kind(map: Map) -> MapType {
    match map {
        Map::Request => MapType::HttpRequestHeaders,
        Map::RequestTrailers => MapType::HttpRequestTrailers,
        Map::Response => MapType::HttpResponseHeaders,
        Map::ResponseTrailers => MapType::HttpResponseTrailers,
        Map::Call => MapType::HttpCallResponseHeaders,
        Map::GrpcInitial => MapType::GrpcReceiveInitialMetadata,
        Map::GrpcTrailing => MapType::GrpcReceiveTrailingMetadata,
    }
}

fn buffer(body: Body) -> BufferType {
    match body {
        Body::Request => BufferType::HttpRequestBody,
        Body::Response => BufferType::HttpResponseBody,
        Body::Call => BufferType::HttpCallResponseBody,
        Body::Grpc => BufferType::GrpcReceiveBuffer,
    }
}

fn start_call(call: &Call) -> Result<(), Status> {
    let mut headers = vec![(":method", "GET"), (":path", call.path.as_str()), (":authority", call.upstream.as_str())];
    headers.extend(call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let body = (!call.body.is_empty()).then_some(call.body.as_bytes());
    let timeout = Duration::from_millis(call.timeout_ms);
    hostcalls::dispatch_http_call(&call.upstream, headers, body, Vec::new(), timeout).map(drop)
}

fn count_shared(key: &str) -> Result<(), Status> {
    loop {
        let (value, cas) = hostcalls::get_shared_data(key)?;
        let text = value.unwrap_or_else(|| b"0".to_vec());
        let count: u64 = String::from_utf8_lossy(&text).parse().unwrap_or(0);
        match hostcalls::set_shared_data(key, Some((count + 1).to_string().as_bytes()), cas) {
            Err(Status::CasMismatch) => {}
            other => return other,
        }
    }
}

fn trap() -> ! {
    #[cfg(target_family = "wasm")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_family = "wasm"))]
    std::process::abort();
}

fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = std::hint::black_box(turns.wrapping_add(1));
    }
}

#[allow(unconditional_recursion, reason = "Running out of stack is the purpose.")]
fn recurse(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    recurse(depth + 1) + frame[0]
}

fn allocate() {
    let mut kept = Vec::new();
    loop {
        kept.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}
