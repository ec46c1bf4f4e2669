//! Tests of filters, without a gateway and without wasm: the [`Harness`] is the host.
//!
//! It runs a filter on the same engine that a module runs on, sends it requests in one piece or in many, plays the upstreams
//! it calls, and keeps a clock that stands still until something waits for it. State lives as long as the harness.

mod events;
mod exchange;
mod extensions;
mod harness;
pub(crate) mod host;
mod message;
mod outcome;
mod world;

pub use harness::{Harness, TestRequest};
pub use message::{Call, CallReply, Received, TestReply};
pub use outcome::Outcome;
