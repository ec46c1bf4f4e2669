//! Shared data: key-values that all instances of a plugin see, on every worker.

use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::{Status, hostcall};
use crate::state::SetError;
use crate::wasm::host_state::HostState;
use crate::wasm::limits::SHARED_BYTES;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_shared_data",
        |caller: Caller<'_, HostState>, key: u32, key_size: u32, address: u32, size: u32, cas: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let (value, version) =
                    host.services.data.get(host.vm_id(), memory.bytes(key, key_size)?).ok_or(Status::NotFound)?;
                guest.give(&value, address, size)?;
                guest.write_u32(cas, version)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_shared_data",
        |caller: Caller<'_, HostState>, key: u32, key_size: u32, value: u32, value_size: u32, cas: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let (key, value) = (memory.bytes(key, key_size)?, memory.bytes(value, value_size)?);
                let stored = if key_size.max(value_size) > SHARED_BYTES {
                    Err(SetError::Full)
                } else {
                    host.services.data.set(host.vm_id(), key, Bytes::copy_from_slice(value), cas)
                };
                match stored {
                    Ok(()) => Ok(()),
                    Err(SetError::CasMismatch) => Err(Status::CasMismatch.into()),
                    Err(SetError::Full) => {
                        // SDKs know OK and CAS_MISMATCH only, and a guest that is told to try again would do so for ever.
                        if host.log.may_warn() {
                            tracing::warn!(filter = &*host.spec().name, "Shared data is full; a value was not stored.");
                        }
                        Ok(())
                    }
                }
            })
        },
    )?;
    Ok(())
}
