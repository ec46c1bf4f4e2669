//! Log lines of guests.

use tracing::Level;
use wasmtime::{Caller, Linker};

use super::{Status, hostcall_anywhere};
use crate::wasm::host_state::HostState;
use crate::wasm::log::LogLevel;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_log", |caller: Caller<'_, HostState>, level: u32, message: u32, length: u32| {
        hostcall_anywhere(caller, |guest| {
            let level = LogLevel::try_from(level)?;
            let (memory, host) = guest.split();
            host.log(level, memory.bytes(message, length)?);
            Ok(())
        })
    })?;
    linker.func_wrap("env", "proxy_get_log_level", |caller: Caller<'_, HostState>, result: u32| {
        hostcall_anywhere(caller, |guest| guest.write_u32(result, lowest_level().into()))
    })?;
    Ok(())
}

impl TryFrom<u32> for LogLevel {
    type Error = Status;
    fn try_from(value: u32) -> Result<Self, Status> {
        Ok(match value {
            0 => Self::Trace,
            1 => Self::Debug,
            2 => Self::Info,
            3 => Self::Warn,
            4 => Self::Error,
            5 => Self::Critical,
            _ => return Err(Status::BadArgument),
        })
    }
}

/// The lowest level that anybody reads.
fn lowest_level() -> u8 {
    if tracing::enabled!(target: "filter", Level::TRACE) {
        0
    } else if tracing::enabled!(target: "filter", Level::DEBUG) {
        1
    } else if tracing::enabled!(target: "filter", Level::INFO) {
        2
    } else if tracing::enabled!(target: "filter", Level::WARN) {
        3
    } else {
        4
    }
}
