//! Shared queues. The worker that registered a queue last is told of every item; see [`crate::wasm::queues`].

use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::{Status, hostcall};
use crate::state::QueueError;
use crate::wasm::host_state::HostState;
use crate::wasm::queues;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_register_shared_queue",
        |caller: Caller<'_, HostState>, name: u32, name_size: u32, result: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let name = queue_name(memory.bytes(name, name_size)?);
                let id = queues::register(host, &name)?;
                guest.write_u32(result, id)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_resolve_shared_queue",
        |caller: Caller<'_, HostState>, vm_id: u32, vm_id_size: u32, name: u32, name_size: u32, result: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let vm_id = String::from_utf8_lossy(memory.bytes(vm_id, vm_id_size)?);
                let vm_id = if vm_id.is_empty() { host.vm_id() } else { &vm_id };
                if vm_id != host.vm_id() && !host.spec().capabilities.allows_shared(vm_id) {
                    return Err(Status::NotFound.into());
                }
                let name = queue_name(memory.bytes(name, name_size)?);
                let real = host.services.queues.resolve(vm_id, &name).ok_or(Status::NotFound)?;
                let other = (vm_id != host.vm_id()).then(|| Box::from(vm_id));
                let id = host.queues.hand_out(real).ok_or(Status::NotFound)?;
                if let Some(other) = other {
                    host.queues_of_others.insert(real, other);
                }
                guest.write_u32(result, id)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_enqueue_shared_queue",
        |caller: Caller<'_, HostState>, queue: u32, data: u32, size: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let data = Bytes::copy_from_slice(memory.bytes(data, size)?);
                let id = granted(host, queue)?;
                match host.services.queues.enqueue(id, data) {
                    Ok(()) => Ok(()),
                    Err(QueueError::Unknown) => Err(Status::NotFound.into()),
                    Err(QueueError::Full) => {
                        // SDKs know OK and NOT_FOUND only; the item is lost either way.
                        tracing::warn!(filter = &*host.spec().name, "A shared queue is full; an item was dropped.");
                        Ok(())
                    }
                }
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_dequeue_shared_queue",
        |caller: Caller<'_, HostState>, queue: u32, address: u32, size: u32| {
            hostcall(caller, |guest| {
                let host = guest.host();
                let id = granted(host, queue)?;
                let item = host.services.queues.dequeue(id).map_err(|_| Status::NotFound)?.ok_or(Status::Empty)?;
                guest.give(&item, address, size)
            })
        },
    )?;
    Ok(())
}

/// The queue that an instance knows by that number. One of another VM is there for the entries that may resolve it.
fn granted(host: &HostState, queue: u32) -> Result<u32, Status> {
    let real = host.queues.real(queue).ok_or(Status::NotFound)?;
    let other = host.queues_of_others.get(&real);
    if other.is_some_and(|vm_id| !host.spec().capabilities.allows_shared(vm_id)) {
        return Err(Status::NotFound);
    }
    Ok(real)
}

/// A queue's name; beyond the bound nothing is looked at.
fn queue_name(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&bytes[..bytes.len().min(crate::wasm::limits::METRIC_NAME_BYTES)])
}
