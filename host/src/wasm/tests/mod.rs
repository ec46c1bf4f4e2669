//! Tests of the host, through small guests written as text and a real chain.

mod bodies;
mod breaker;
mod context_ids;
mod events;
mod faults;
mod foreign;
mod foreign_envoy;
mod grpc;
mod guest;
mod headers;
mod hostcalls;
mod loading;
mod logging;
mod properties;
mod replies;
mod stage;
mod starting;
mod state;
mod wasi;

use std::sync::OnceLock;

use super::Engine;

/// One engine for all tests, as in the process.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new().expect("the engine starts"))
}
