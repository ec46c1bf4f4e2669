//! The gateway through its front door: one module for each thing that it promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "A test reports by panicking and printing."
)]

mod admin;
mod admin_tls;
mod bad_modules;
mod bodies;
mod broken_configs;
mod capabilities;
mod check_verb;
mod client_address;
mod client_gone;
mod client_limits;
mod compile_cache;
mod conformance;
mod deploy;
mod descriptors;
mod envoy;
mod events;
mod explain_verb;
mod filters;
mod filters_bodies;
mod filters_callouts;
mod filters_grpc;
mod filters_shared_vm;
mod filters_state;
mod filters_vm;
mod fmt_verb;
mod forwarding;
mod grpc_deadlines;
mod h2spec;
mod hostile;
mod http2_floods;
mod include;
mod malformed;
mod memory_limit;
mod methods;
mod names;
mod names_fail;
mod plugin_auth;
mod plugin_cors;
mod plugin_log;
mod plugin_rate_limit;
mod plugin_transform;
mod plugins_trusted;
mod plugins_verb;
mod pool;
mod readme;
mod rebinding;
mod reload_storm;
mod request_bounds;
mod request_ids;
mod reroute;
mod resting;
mod rollback;
mod route_actions;
mod routes;
mod routing;
mod run_without_file;
mod sandbox;
mod scale;
mod schema_verb;
mod shutdown;
mod sticky;
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
mod tls_revoked;
mod unix_listeners;
mod unix_sockets;
mod upgrade;
mod upgrade_http2;
mod upstream_faults;
mod upstream_tls;
mod upstreams;
