//! gRPC callouts: not offered. Every call is refused in the way that SDKs hand on as an error instead of panicking.

use wasmtime::Linker;

use super::Status;
use crate::wasm::host_state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let failed = Status::InternalFailure.code();
    let unknown = Status::NotFound.code();
    linker.func_wrap(
        "env",
        "proxy_grpc_call",
        move |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| failed,
    )?;
    linker.func_wrap(
        "env",
        "proxy_grpc_stream",
        move |_: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| failed,
    )?;
    linker.func_wrap("env", "proxy_grpc_send", move |_: u32, _: u32, _: u32, _: u32| unknown)?;
    linker.func_wrap("env", "proxy_grpc_cancel", move |_: u32| unknown)?;
    linker.func_wrap("env", "proxy_grpc_close", move |_: u32| unknown)?;
    Ok(())
}
