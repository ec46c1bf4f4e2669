//! Contexts: which one hostcalls act on, and which are done.

use wasmtime::{Caller, Linker};

use super::{Status, hostcall};
use crate::wasm::host_state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_set_effective_context", |caller: Caller<'_, HostState>, context: u32| {
        hostcall(caller, |guest| {
            let host = guest.host();
            host.effective = host.context(context).ok_or(Status::BadArgument)?;
            Ok(())
        })
    })?;
    linker.func_wrap("env", "proxy_done", |caller: Caller<'_, HostState>| {
        hostcall(caller, |guest| {
            // For a context that does not wait this means nothing; the Rust SDK panics when it is told so.
            let host = guest.host();
            let context = host.effective.context();
            if !host.left.done.contains(&context) {
                host.left.done.push(context);
            }
            Ok(())
        })
    })?;
    Ok(())
}
