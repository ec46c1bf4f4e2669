//! Wall clock and timer.

use std::time::{Duration, SystemTime};

use wasmtime::{Caller, Linker};

use super::{hostcall, hostcall_anywhere};
use crate::wasm::host_state::HostState;
use crate::wasm::limits::TICK_FLOOR;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap("env", "proxy_get_current_time_nanoseconds", |caller: Caller<'_, HostState>, result: u32| {
        hostcall_anywhere(caller, |guest| guest.write_u64(result, unix_nanos(SystemTime::now())))
    })?;
    linker.func_wrap("env", "proxy_set_tick_period_milliseconds", |caller: Caller<'_, HostState>, period: u32| {
        hostcall(caller, |guest| {
            let period = Duration::from_millis(period.into());
            // Zero stops the timer. It belongs to the root context, whichever of its contexts asks.
            let HostState { left, effective, .. } = guest.host();
            left.tick(effective.root(), (!period.is_zero()).then(|| period.max(TICK_FLOOR)));
            Ok(())
        })
    })?;
    Ok(())
}

/// Nanoseconds since 1970; 0 before.
pub(super) fn unix_nanos(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}
