//! The harness of the black-box tests: the gateway as a process, scripted peers on both sides of it, and filters to put between.
//!
//! Nothing here knows how the gateway works inside: it is started from its binary and judged by its sockets, its logs and its admin
//! API. Waits are for conditions, bounded by [`wait::PATIENCE`]; ports are chosen by the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "A test harness reports by panicking and printing."
)]

pub mod body;
pub mod bytes;
pub mod client;
pub mod conformance;
pub mod dns;
pub mod envoy;
pub mod frames;
pub mod gateway;
pub mod grpc;
pub mod guests;
pub mod languages;
pub mod lines;
pub mod load;
pub mod origin;
pub mod peers;
pub mod process;
pub mod raw;
pub mod recorder;
pub mod routes;
pub mod site;
pub mod socket;
pub mod tcp;
pub mod tls;
pub mod tokens;
pub mod tunnels;
pub mod wait;
pub mod wat;

pub use client::{Connection, Response};
pub use dns::DnsServer;
pub use gateway::Gateway;
pub use origin::{Origin, RawOrigin};
pub use site::{Site, one_route, one_tcp};
pub use wat::Wat;
