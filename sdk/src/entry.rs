//! The module's glue: the contexts that `proxy-wasm` calls, driving the engine.

use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

use crate::engine::{self, Engine, Stream};
use crate::filter::Filter;
use crate::host::{Buffer, Direction, HOST, Host};
use crate::log;

/// Half of the time of the target's own, which counts in filters that run for every request.
#[cfg(feature = "allocator")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// Makes `F` the filter of this module; `#[filter]` calls it from `_initialize`.
pub fn register<F: Filter>() {
    log::install_panic_hook();
    proxy_wasm::set_root_context(|id| Box::new(RootGlue::<F> { id, engine: Engine::new(id) }));
}

struct RootGlue<F> {
    id: u32,
    engine: Rc<Engine<F>>,
}

impl<F: Filter> Context for RootGlue<F> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        engine::answered(token, self.id, headers, body);
    }
}

impl<F: Filter> RootContext for RootGlue<F> {
    fn on_configure(&mut self, size: usize) -> bool {
        let bytes = HOST.buffer(Buffer::Configuration, 0, size).unwrap_or_default();
        match self.engine.configure(&bytes) {
            Ok(()) => true,
            Err(fault) => {
                log::error(fault.message());
                false
            }
        }
    }

    fn on_tick(&mut self) {
        self.engine.root().tick();
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(StreamGlue { id, engine: self.engine.clone(), stream: self.engine.stream(id) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct StreamGlue<F> {
    id: u32,
    engine: Rc<Engine<F>>,
    stream: Rc<Stream>,
}

impl<F> Drop for StreamGlue<F> {
    fn drop(&mut self) {
        self.stream.end();
    }
}

impl<F: Filter> Context for StreamGlue<F> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, _trailers: usize) {
        engine::answered(token, self.id, headers, body);
    }
}

impl<F: Filter> HttpContext for StreamGlue<F> {
    fn on_http_request_headers(&mut self, _count: usize, end: bool) -> Action {
        action(self.engine.headers(&self.stream, Direction::Request, end))
    }

    fn on_http_request_body(&mut self, size: usize, end: bool) -> Action {
        action(self.stream.body(Direction::Request, size, end))
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        action(self.stream.trailers(Direction::Request))
    }

    fn on_http_response_headers(&mut self, _count: usize, end: bool) -> Action {
        action(self.engine.headers(&self.stream, Direction::Response, end))
    }

    fn on_http_response_body(&mut self, size: usize, end: bool) -> Action {
        action(self.stream.body(Direction::Response, size, end))
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        action(self.stream.trailers(Direction::Response))
    }

    fn on_log(&mut self) {
        if Engine::<F>::callbacks().done {
            self.engine.done(&self.stream);
        }
    }
}

const fn action(action: engine::Action) -> Action {
    match action {
        engine::Action::Continue => Action::Continue,
        engine::Action::Pause => Action::Pause,
    }
}
