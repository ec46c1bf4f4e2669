//! What a filter may ask of the host: the vocabulary of hostcalls, by area, and what an entry grants.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The areas of the ABI and the hostcalls of each. WASI is no area: what it offers here is output to the log, clocks,
/// randomness, and the environment that the entry gives.
pub const AREAS: [(&str, &[&str]); 13] = [
    ("log", &["proxy_log", "proxy_get_log_level"]),
    ("clock", &["proxy_get_current_time_nanoseconds"]),
    ("timers", &["proxy_set_tick_period_milliseconds"]),
    (
        "buffers",
        &["proxy_get_buffer_bytes", "proxy_get_buffer_status", "proxy_set_buffer_bytes", "proxy_get_configuration"],
    ),
    (
        "headers",
        &[
            "proxy_get_header_map_size",
            "proxy_get_header_map_pairs",
            "proxy_get_header_map_value",
            "proxy_set_header_map_pairs",
            "proxy_add_header_map_value",
            "proxy_replace_header_map_value",
            "proxy_remove_header_map_value",
        ],
    ),
    (
        "streams",
        &[
            "proxy_continue_stream",
            "proxy_close_stream",
            "proxy_continue_request",
            "proxy_continue_response",
            "proxy_clear_route_cache",
            "proxy_set_effective_context",
            "proxy_done",
        ],
    ),
    ("replies", &["proxy_send_local_response"]),
    (
        "callouts",
        &[
            "proxy_http_call",
            "proxy_grpc_call",
            "proxy_grpc_stream",
            "proxy_grpc_send",
            "proxy_grpc_cancel",
            "proxy_grpc_close",
            "proxy_get_status",
        ],
    ),
    ("shared_data", &["proxy_get_shared_data", "proxy_set_shared_data"]),
    (
        "shared_queues",
        &[
            "proxy_register_shared_queue",
            "proxy_resolve_shared_queue",
            "proxy_enqueue_shared_queue",
            "proxy_dequeue_shared_queue",
        ],
    ),
    ("metrics", &["proxy_define_metric", "proxy_increment_metric", "proxy_record_metric", "proxy_get_metric"]),
    ("properties", &["proxy_get_property", "proxy_set_property"]),
    ("foreign", &["proxy_call_foreign_function"]),
];

/// The area of a hostcall; `None` for what is no hostcall, or needs no grant.
#[must_use]
pub fn area(hostcall: &str) -> Option<&'static str> {
    AREAS.iter().find(|(_, hostcalls)| hostcalls.contains(&hostcall)).map(|(area, _)| *area)
}

/// What a filter may use; where an entry says nothing, everything but callouts, whose upstreams are always granted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Areas, and single hostcalls.
    pub hostcalls: Option<BTreeSet<Arc<str>>>,
    /// Foreign functions.
    pub foreign: Option<BTreeSet<Arc<str>>>,
    /// Plugins whose shared queues it may resolve, beside its own.
    pub shared: Option<BTreeSet<Arc<str>>>,
}

impl Capabilities {
    /// Whether it may import that hostcall.
    #[must_use]
    pub fn allows_hostcall(&self, hostcall: &str) -> bool {
        match (&self.hostcalls, area(hostcall)) {
            (Some(granted), Some(area)) => granted.contains(area) || granted.contains(hostcall),
            _ => true,
        }
    }
    /// Whether it may call that foreign function.
    #[must_use]
    pub fn allows_foreign(&self, function: &str) -> bool {
        self.foreign.as_ref().is_none_or(|granted| granted.contains(function))
    }
    /// Whether it may use what that plugin shares.
    #[must_use]
    pub fn allows_shared(&self, plugin: &str) -> bool {
        self.shared.as_ref().is_none_or(|granted| granted.contains(plugin))
    }
}
