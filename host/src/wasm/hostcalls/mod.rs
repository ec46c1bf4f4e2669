//! The functions that guests import: everything of Proxy-Wasm 0.1.0 to 0.2.1 and WASI preview 1, whatever version a
//! guest says it speaks.
//!
//! | file | functions (without `proxy_`) |
//! |---|---|
//! | [`logging`] | log, get_log_level |
//! | [`clock`] | get_current_time_nanoseconds, set_tick_period_milliseconds |
//! | [`buffers`] | get_buffer_bytes, get_buffer_status, set_buffer_bytes, get_configuration (0.1.0) |
//! | [`headers`] | get_header_map_size, get_header_map_pairs, get_header_map_value, set_header_map_pairs, add_, replace_, remove_header_map_value |
//! | [`stream`] | continue_stream, close_stream, continue_request, continue_response, clear_route_cache (0.1.0) |
//! | [`local_reply`] | send_local_response |
//! | [`http_call`] | http_call, get_status |
//! | [`grpc`] | grpc_call, grpc_stream, grpc_send, grpc_cancel, grpc_close (all refused) |
//! | [`shared_data`] | get_shared_data, set_shared_data |
//! | [`shared_queue`] | register_, resolve_, enqueue_, dequeue_shared_queue |
//! | [`metrics`] | define_metric, increment_metric, record_metric, get_metric |
//! | [`properties`] | get_property, set_property |
//! | [`foreign`] | call_foreign_function |
//! | [`lifecycle`] | set_effective_context, done |
//! | [`wasi`] | `wasi_snapshot_preview1` and `wasi_unstable`; emscripten's two |
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
mod grpc;
mod headers;
mod http_call;
mod lifecycle;
mod local_reply;
mod logging;
mod metrics;
mod properties;
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
    wasi::link(linker)
}

/// A header map (`proxy_map_type_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Map {
    Headers(Direction),
    Trailers(Direction),
    CallHeaders,
    CallTrailers,
    /// gRPC metadata: there never is any.
    Nothing,
}

impl TryFrom<u32> for Map {
    type Error = Status;
    fn try_from(value: u32) -> Result<Self, Status> {
        Ok(match value {
            0 => Self::Headers(Direction::Request),
            1 => Self::Trailers(Direction::Request),
            2 => Self::Headers(Direction::Response),
            3 => Self::Trailers(Direction::Response),
            4 | 5 => Self::Nothing,
            6 => Self::CallHeaders,
            7 => Self::CallTrailers,
            _ => return Err(Status::BadArgument),
        })
    }
}
