//! The functions that guests import: everything of Proxy-Wasm 0.1.0 to 0.2.1 and WASI preview 1, whatever version a
//! guest says it speaks.
//!
//! | hostcall | file | statuses beside OK |
//! |---|---|---|
//! | `proxy_log` | [`logging`] | 2 6 |
//! | `proxy_get_log_level` | [`logging`] |  |
//! | `proxy_get_current_time_nanoseconds` | [`clock`] |  |
//! | `proxy_set_tick_period_milliseconds` | [`clock`] |  |
//! | `proxy_get_buffer_bytes` | [`buffers`] | 1 2 |
//! | `proxy_get_buffer_status` | [`buffers`] | 1 2 |
//! | `proxy_set_buffer_bytes` | [`buffers`] | 2 6 |
//! | `proxy_get_configuration` | [`buffers`] | 1 |
//! | `proxy_get_header_map_size` | [`headers`] | 2 |
//! | `proxy_get_header_map_pairs` | [`headers`] | 2 |
//! | `proxy_get_header_map_value` | [`headers`] | 1 2 6 |
//! | `proxy_set_header_map_pairs` | [`headers`] | 2 6 |
//! | `proxy_add_header_map_value` | [`headers`] | 2 6 |
//! | `proxy_replace_header_map_value` | [`headers`] | 2 6 |
//! | `proxy_remove_header_map_value` | [`headers`] | 2 6 |
//! | `proxy_continue_stream` | [`stream`] | 2 |
//! | `proxy_close_stream` | [`stream`] | 2 |
//! | `proxy_continue_request` | [`stream`] |  |
//! | `proxy_continue_response` | [`stream`] |  |
//! | `proxy_clear_route_cache` | [`stream`] |  |
//! | `proxy_send_local_response` | [`local_reply`] | 2 6 |
//! | `proxy_http_call` | [`http_call`] | 2 6 10 |
//! | `proxy_get_status` | [`http_call`] |  |
//! | `proxy_grpc_call` | [`grpc`] | 2 4 6 10 |
//! | `proxy_grpc_stream` | [`grpc`] | 2 4 6 10 |
//! | `proxy_grpc_send` | [`grpc`] | 1 2 6 |
//! | `proxy_grpc_cancel` | [`grpc`] | 1 2 |
//! | `proxy_grpc_close` | [`grpc`] | 1 2 |
//! | `proxy_get_shared_data` | [`shared_data`] | 1 6 |
//! | `proxy_set_shared_data` | [`shared_data`] | 6 8 |
//! | `proxy_register_shared_queue` | [`shared_queue`] | 6 |
//! | `proxy_resolve_shared_queue` | [`shared_queue`] | 1 6 |
//! | `proxy_enqueue_shared_queue` | [`shared_queue`] | 1 6 |
//! | `proxy_dequeue_shared_queue` | [`shared_queue`] | 1 7 |
//! | `proxy_define_metric` | [`metrics`] | 2 6 |
//! | `proxy_increment_metric` | [`metrics`] | 1 2 |
//! | `proxy_record_metric` | [`metrics`] | 1 2 |
//! | `proxy_get_metric` | [`metrics`] | 1 2 |
//! | `proxy_get_property` | [`properties`] | 1 6 |
//! | `proxy_set_property` | [`properties`] | 6 |
//! | `proxy_call_foreign_function` | [`foreign`], [`foreign_envoy`] | 1 2 3 6 10 |
//! | `proxy_set_effective_context` | [`lifecycle`] | 2 |
//! | `proxy_done` | [`lifecycle`] |  |
//! | `emscripten_notify_memory_growth` | [`runtimes`] |  |
//! | `pthread_equal` | [`runtimes`] |  |
//! | `abort` | [`runtimes`] |  |
//! | `wasi_snapshot_preview1`, `wasi_unstable`: all of WASI preview 1 | [`wasi`] | |
//!
//! (1 NOT_FOUND, 2 BAD_ARGUMENT, 3 SERIALIZATION_FAILURE, 4 PARSE_FAILURE, 6 INVALID_MEMORY_ACCESS, 7 EMPTY, 8 CAS_MISMATCH, 10 INTERNAL_FAILURE. A test holds this table to
//! what is linked and what is answered.)
//!
//! Each file registers its functions first, as that section of the specification reads; what they do lives on
//! [`HostState`] or in private functions below.
//!
//! **Statuses.** A guest built with the Rust SDK panics on any status that its version does not expect (abi 0.2.x: most
//! functions expect OK alone). So what cannot be done but harms nobody (late writes, a second reply) is answered OK,
//! ignored and logged; other statuses are returned only where that SDK expects them, or for arguments that it cannot
//! produce (an unknown map type).

mod buffers;
mod clock;
mod foreign;
mod foreign_envoy;
mod grpc;
mod headers;
mod http_call;
mod lifecycle;
mod local_reply;
mod logging;
mod metrics;
mod properties;
mod runtimes;
mod shared_data;
mod shared_queue;
mod stream;
mod wasi;

use wasmtime::{Caller, Linker, Module};

use super::fault::Abort;
use super::host_state::HostState;
use super::memory::Guest;
use crate::filter::Direction;

/// What a hostcall answers (`proxy_status_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    InternalFailure = 10,
}

impl Status {
    pub(super) fn code(self) -> u32 {
        self as u32
    }
}

/// Why a hostcall did not do what it was asked: the guest asked wrongly, or this instance is broken.
#[derive(Debug)]
pub(super) enum Refused {
    Status(Status),
    Ends(wasmtime::Error),
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}
impl From<wasmtime::Error> for Refused {
    fn from(error: wasmtime::Error) -> Self {
        Self::Ends(error)
    }
}
impl From<Abort> for Refused {
    fn from(abort: Abort) -> Self {
        Self::Ends(abort.into())
    }
}

/// Outcome of a hostcall's body.
pub(super) type Answer = Result<(), Refused>;

/// What surrounds every hostcall. Inside the guest's allocator only [`hostcall_anywhere`] is allowed.
fn hostcall(caller: Caller<'_, HostState>, body: impl FnOnce(&mut Guest<'_>) -> Answer) -> wasmtime::Result<u32> {
    if caller.data().allocate.is_none() {
        return Err(Abort::abi("a hostcall other than log, clock and WASI inside the allocator").into());
    }
    hostcall_anywhere(caller, body)
}

/// A hostcall that may also be made by the guest's allocator while another one runs.
fn hostcall_anywhere(
    caller: Caller<'_, HostState>,
    body: impl FnOnce(&mut Guest<'_>) -> Answer,
) -> wasmtime::Result<u32> {
    match Guest::new(caller).and_then(|mut guest| body(&mut guest)) {
        Ok(()) => Ok(Status::Ok.code()),
        Err(Refused::Status(status)) => Ok(status.code()),
        Err(Refused::Ends(error)) => Err(error),
    }
}

/// Links everything; `module` is asked where versions of the ABI disagree on a signature.
pub(super) fn link(linker: &mut Linker<HostState>, module: &Module) -> wasmtime::Result<()> {
    logging::link(linker)?;
    clock::link(linker)?;
    buffers::link(linker)?;
    headers::link(linker)?;
    stream::link(linker, module)?;
    local_reply::link(linker)?;
    http_call::link(linker)?;
    grpc::link(linker)?;
    shared_data::link(linker)?;
    shared_queue::link(linker)?;
    metrics::link(linker)?;
    properties::link(linker)?;
    foreign::link(linker)?;
    lifecycle::link(linker)?;
    runtimes::link(linker, module)?;
    wasi::link(linker)
}

/// A header map (`proxy_map_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Headers(Direction),
    Trailers(Direction),
    CallHeaders,
    CallTrailers,
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
}

impl TryFrom<u32> for Map {
    type Error = Status;
    fn try_from(value: u32) -> Result<Self, Status> {
        Ok(match value {
            0 => Self::Headers(Direction::Request),
            1 => Self::Trailers(Direction::Request),
            2 => Self::Headers(Direction::Response),
            3 => Self::Trailers(Direction::Response),
            4 => Self::GrpcInitialMetadata,
            5 => Self::GrpcTrailingMetadata,
            6 => Self::CallHeaders,
            7 => Self::CallTrailers,
            _ => return Err(Status::BadArgument),
        })
    }
}
