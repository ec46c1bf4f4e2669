//! Going on with a stream, and ending it.

use wasmtime::{Caller, ExternType, Linker, Module};

use super::{Status, hostcall};
use crate::filter::Direction;
use crate::filter::tcp::{Side, TcpStop};
use crate::wasm::host_state::HostState;

pub(super) fn link(linker: &mut Linker<HostState>, module: &Module) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_continue_stream", |caller: Caller<'_, HostState>, stream: u32| {
        hostcall(caller, |guest| {
            match what(stream)? {
                What::Message(direction) => guest.host().resume(direction),
                What::Connection(side) => guest.host().resume_connection(side),
            }
            Ok(())
        })
    })?;
    linker.func_wrap("env", "proxy_close_stream", |caller: Caller<'_, HostState>, stream: u32| {
        hostcall(caller, |guest| {
            match what(stream)? {
                What::Message(_) => guest.host().close(),
                What::Connection(_) => guest.host().close_connection(),
            }
            Ok(())
        })
    })?;
    // ABI 0.1.0: the specification says that these answer nothing, the C++ and AssemblyScript SDKs expect a status.
    for (name, direction) in [
        ("proxy_continue_request", Some(Direction::Request)),
        ("proxy_continue_response", Some(Direction::Response)),
        ("proxy_clear_route_cache", None),
    ] {
        let run = move |caller: Caller<'_, HostState>| {
            hostcall(caller, |guest| {
                match direction {
                    Some(direction) => guest.host().resume(direction),
                    None => guest.host().clear_route(),
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

/// `proxy_stream_type_t`
enum What {
    Message(Direction),
    Connection(Side),
}

fn what(stream: u32) -> Result<What, Status> {
    match stream {
        0 => Ok(What::Message(Direction::Request)),
        1 => Ok(What::Message(Direction::Response)),
        2 => Ok(What::Connection(Side::Downstream)),
        3 => Ok(What::Connection(Side::Upstream)),
        _ => Err(Status::BadArgument),
    }
}

fn answers_nothing(module: &Module, name: &str) -> bool {
    module
        .imports()
        .any(|import| import.name() == name && matches!(import.ty(), ExternType::Func(ty) if ty.results().len() == 0))
}

/// What the context does not serve is neither resumed nor closed, and nobody is told: SDKs panic on a refusal.
impl HostState {
    fn resume_connection(&self, side: Side) {
        if let Some(stage) = self.live_tcp() {
            stage.resume(side);
        }
    }
    /// One peer without the other has nobody to talk to, so both connections go, as in Envoy.
    fn close_connection(&self) {
        if let Some(stage) = self.live_tcp() {
            stage.stop(TcpStop::Closed(format!("{}: closed the connection", self.spec().name)));
        }
    }
    fn resume(&self, direction: Direction) {
        if let Some(stage) = self.live_stage() {
            stage.resume(direction);
        }
    }
    /// The request's route is chosen again when its head leaves the chain.
    pub(super) fn clear_route(&self) {
        if let Some(stage) = self.live_stage() {
            stage.clear_route();
        }
    }
    fn close(&self) {
        if let Some(stage) = self.live_stage() {
            stage.reset(format!("{}: closed the stream", self.spec().name));
        }
    }
}
