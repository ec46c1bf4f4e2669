//! A raw Proxy-Wasm filter that does what its configuration says: a list of steps for each callback.
//!
//! `{"request_headers": [{"set": ["request", "x-seen", "yes"]}, "pause"]}`. With `"trace": true` every callback is logged as
//! `saw <callback> <arguments>`, so that a test can count them. The words are those of [`script`]; [`steps`] performs them.
#![allow(missing_docs, reason = "The entry point that the macro exports has none.")]
#![allow(clippy::panic, reason = "A panic is one of the things that this filter does on request.")]

mod script;
mod steps;

use std::rc::Rc;
use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

use script::{Script, Step};
use steps::{Counts, Run};

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Trace);
    proxy_wasm::set_root_context(|_| Box::<Root>::default());
}}

/// The plugin's own context.
#[derive(Default)]
struct Root {
    script: Rc<Script>,
    counts: Rc<Counts>,
}

/// One stream.
struct Stream {
    script: Rc<Script>,
    counts: Rc<Counts>,
    /// What the client asked for with `x-do`; the steps of a `when` compare with it.
    asked: String,
}

/// Logs a callback when the script wants that.
fn trace(script: &Script, what: &str) {
    if script.trace {
        say(&format!("saw {what}"));
    }
}

/// One line at the level `info`.
fn say(line: &str) {
    // A host that cannot log cannot be told so.
    hostcalls::log(LogLevel::Info, line).ok();
}

impl Root {
    fn run(&self, steps: &[Step], end: bool) -> Run {
        let mut run = Run::new("", end, Rc::clone(&self.counts));
        run.all(steps);
        run
    }
}

impl Context for Root {
    fn on_http_call_response(&mut self, _token: u32, headers: usize, body: usize, trailers: usize) {
        trace(&self.script, &format!("root_call_response {headers} {body} {trailers}"));
        self.run(&self.script.call_response, true);
    }
    fn on_done(&mut self) -> bool {
        trace(&self.script, "root_done");
        !self.run(&self.script.root_done, true).failed
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        let text = if text.is_empty() { b"{}".to_vec() } else { text };
        match serde_json::from_slice::<Script>(&text) {
            Ok(script) => self.script = Rc::new(script),
            Err(error) => {
                hostcalls::log(LogLevel::Error, &format!("the script is wrong: {error}")).ok();
                return false;
            }
        }
        trace(&self.script, &format!("configure {size}"));
        if self.script.tick_ms > 0 {
            self.set_tick_period(Duration::from_millis(self.script.tick_ms));
        }
        if let Some(queue) = &self.script.queue {
            self.register_shared_queue(queue);
        }
        !self.run(&self.script.configure, true).failed
    }
    fn on_tick(&mut self) {
        trace(&self.script, "tick");
        self.run(&self.script.tick, true);
    }
    fn on_queue_ready(&mut self, _queue: u32) {
        trace(&self.script, "queue_ready");
        self.run(&self.script.queue_ready, true);
    }
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        self.counts.streams.set(self.counts.streams.get() + 1);
        let stream = Stream { script: Rc::clone(&self.script), counts: Rc::clone(&self.counts), asked: String::new() };
        stream.perform("context_create", &self.script.context_create, false);
        Some(Box::new(stream))
    }
    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Stream {
    /// Traces a callback and performs its steps.
    fn perform(&self, what: &str, steps: &[Step], end: bool) -> Run {
        trace(&self.script, what);
        let mut run = Run::new(&self.asked, end, Rc::clone(&self.counts));
        run.all(steps);
        run
    }
}

impl Context for Stream {
    fn on_http_call_response(&mut self, _token: u32, headers: usize, body: usize, trailers: usize) {
        self.perform(&format!("call_response {headers} {body} {trailers}"), &self.script.call_response, true);
    }
    fn on_grpc_call_response(&mut self, _token: u32, status: u32, size: usize) {
        self.perform(&format!("grpc_response {status} {size}"), &self.script.grpc_response, true);
    }
    fn on_grpc_stream_initial_metadata(&mut self, _token: u32, _count: u32) {
        self.perform("grpc_initial", &self.script.grpc_initial, false);
    }
    fn on_grpc_stream_message(&mut self, _token: u32, size: usize) {
        self.perform(&format!("grpc_message {size}"), &self.script.grpc_message, false);
    }
    fn on_grpc_stream_trailing_metadata(&mut self, _token: u32, _count: u32) {
        self.perform("grpc_trailing", &self.script.grpc_trailing, true);
    }
    fn on_grpc_stream_close(&mut self, _token: u32, status: u32) {
        self.perform(&format!("grpc_close {status}"), &self.script.grpc_close, true);
    }
    fn on_done(&mut self) -> bool {
        !self.perform("done", &self.script.done, true).failed
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, count: usize, end: bool) -> Action {
        let asked = self.get_http_request_header_bytes("x-do").unwrap_or_default();
        self.asked = String::from_utf8_lossy(&asked).into_owned();
        self.perform(&format!("request_headers {count} {end}"), &self.script.request_headers, end).action
    }
    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        self.perform(&format!("request_body {size} {end}"), &self.script.request_body, end).action
    }
    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        self.perform(&format!("request_trailers {count}"), &self.script.request_trailers, true).action
    }
    fn on_http_response_headers(&mut self, count: usize, end: bool) -> Action {
        self.perform(&format!("response_headers {count} {end}"), &self.script.response_headers, end).action
    }
    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        self.perform(&format!("response_body {size} {end}"), &self.script.response_body, end).action
    }
    fn on_http_response_trailers(&mut self, count: usize) -> Action {
        self.perform(&format!("response_trailers {count}"), &self.script.response_trailers, true).action
    }
    fn on_log(&mut self) {
        self.perform("log", &self.script.log, true);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.perform("delete", &self.script.delete, true);
    }
}
