//! Tests of the host, through small guests written as text and a real chain.

mod bodies;
mod breaker;
mod context_ids;
mod events;
mod faults;
mod foreign;
mod foreign_envoy;
mod grpc;
mod headers;
mod hostcalls;
mod loading;
mod logging;
mod properties;
mod replies;
mod roots;
mod starting;
mod state;
mod wasi;

use super::testing::{engine, guest, stage};
