//! Going on with a stream, and ending it.

use wasmtime::{Caller, ExternType, Linker, Module};

use super::{Status, hostcall};
use crate::filter::Direction;
use crate::wasm::host_state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>, module: &Module) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_continue_stream", |caller: Caller<'_, HostState>, stream: u32| {
        hostcall(caller, |guest| {
            if let Some(direction) = direction(stream)? {
                guest.host().resume(direction);
            }
            Ok(())
        })
    })?;
    linker.func_wrap("env", "proxy_close_stream", |caller: Caller<'_, HostState>, stream: u32| {
        hostcall(caller, |guest| {
            if direction(stream)?.is_some() {
                guest.host().close();
            }
            Ok(())
        })
    })?;
    // ABI 0.1.0: the specification says that these answer nothing, the C++ and AssemblyScript SDKs expect a status.
    for (name, direction) in [
        ("proxy_continue_request", Some(Direction::Request)),
        ("proxy_continue_response", Some(Direction::Response)),
        // Routes are chosen before filters run; there is nothing to clear.
        ("proxy_clear_route_cache", None),
    ] {
        let run = move |caller: Caller<'_, HostState>| {
            hostcall(caller, |guest| {
                if let Some(direction) = direction {
                    guest.host().resume(direction);
                }
                Ok(())
            })
        };
        if answers_nothing(module, name) {
            linker.func_wrap("env", name, move |caller: Caller<'_, HostState>| run(caller).map(|_| ()))?;
        } else {
            linker.func_wrap("env", name, run)?;
        }
    }
    Ok(())
}

/// `proxy_stream_type_t`; `None` for the connections of TCP filters, which do not exist here.
fn direction(stream: u32) -> Result<Option<Direction>, Status> {
    match stream {
        0 => Ok(Some(Direction::Request)),
        1 => Ok(Some(Direction::Response)),
        2 | 3 => Ok(None),
        _ => Err(Status::BadArgument),
    }
}

fn answers_nothing(module: &Module, name: &str) -> bool {
    module
        .imports()
        .any(|import| import.name() == name && matches!(import.ty(), ExternType::Func(ty) if ty.results().len() == 0))
}

impl HostState {
    fn resume(&self, direction: Direction) {
        if let Some(stage) = self.live_stage() {
            stage.resume(direction);
        }
    }
    fn close(&self) {
        if let Some(stage) = self.live_stage() {
            stage.reset(format!("{}: closed the stream", self.spec.name));
        }
    }
}
