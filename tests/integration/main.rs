//! The gateway through its front door: one module for each thing that it promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "A test reports by panicking and printing."
)]

mod bad_modules;
mod bodies;
mod broken_configs;
mod capabilities;
mod check_verb;
mod client_gone;
mod compile_cache;
mod conformance;
mod descriptors;
mod envoy;
mod filters;
mod filters_bodies;
mod filters_callouts;
mod filters_grpc;
mod filters_state;
mod filters_vm;
mod forwarding;
mod hostile;
mod malformed;
mod plugin_auth;
mod plugin_cors;
mod plugin_log;
mod plugin_rate_limit;
mod plugin_transform;
mod plugins_trusted;
mod plugins_verb;
mod readme;
mod reload_storm;
mod resting;
mod rollback;
mod route_actions;
mod routes;
mod routing;
mod sandbox;
mod scale;
mod shutdown;
mod swap;
mod swap_files;
mod tcp;
mod tcp_ends;
mod tcp_envoy;
mod tcp_faults;
mod tidy;
mod tls;
mod tls_bytes;
mod tls_clients;
mod tls_files;
mod upgrade;
mod upstreams;
