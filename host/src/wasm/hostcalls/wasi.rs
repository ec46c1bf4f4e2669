//! WASI preview 1 for guests that have no files, sockets or arguments: standard output and error become log lines;
//! clocks, randomness and the configured environment are real; everything else answers that it is not allowed.
//!
//! `wasmtime-wasi` gives the signatures of "everything else". Its functions themselves are not linked: they wait for
//! tokio on the calling thread, which a worker must not, and need host state that may cross threads, which ours does
//! not.

use std::time::{Instant, SystemTime};

use rustls::crypto::SecureRandom;
use wasmtime::{Caller, Extern, Linker, Store, Val};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::p1::{self, WasiP1Ctx};

use super::clock::unix_nanos;
use super::{Refused, Status};
use crate::wasm::fault::Exit;
use crate::wasm::host_state::HostState;
use crate::wasm::limits::{IO_VECTORS, RANDOM_BYTES};
use crate::wasm::memory::Guest;

const MODULE: &str = "wasi_snapshot_preview1";

/// WASI's error numbers, as far as they are answered here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Errno {
    Success = 0,
    BadDescriptor = 8,
    Fault = 21,
    Invalid = 28,
    Io = 29,
    NotSupported = 58,
    NotCapable = 76,
}

/// Where strings of the environment go: addresses of the pointers, and of the bytes.
type Target = (u32, u32);

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    link_output(linker)?;
    link_environment(linker)?;
    link_clocks(linker)?;
    link_descriptors(linker)?;
    link_rest(linker)?;
    linker.alias_module(MODULE, "wasi_unstable")?;
    Ok(())
}

fn link_output(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "fd_write",
        |caller: Caller<'_, HostState>, fd: u32, vectors: u32, count: u32, written: u32| {
            wasi(caller, |guest| {
                let error = match fd {
                    1 => false,
                    2 => true,
                    _ => return Ok(Errno::BadDescriptor),
                };
                let mut total: u32 = 0;
                for index in 0..count.min(IO_VECTORS) {
                    let (memory, host) = guest.split();
                    let at = vectors.checked_add(index * 8).ok_or(Status::InvalidMemoryAccess)?;
                    let size = memory.word(at.saturating_add(4))?;
                    host.write_output(error, memory.bytes(memory.word(at)?, size)?);
                    total = total.saturating_add(size);
                }
                guest.write_u32(written, total)?;
                Ok(Errno::Success)
            })
        },
    )?;
    linker.func_wrap(MODULE, "proc_exit", |_: Caller<'_, HostState>, code: u32| -> wasmtime::Result<()> {
        Err(Exit(code).into())
    })?;
    Ok(())
}

fn link_environment(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "environ_sizes_get", |caller: Caller<'_, HostState>, count: u32, bytes: u32| {
        wasi(caller, |guest| {
            let strings = environment(guest.host());
            let sizes = (strings.len(), strings.iter().map(String::len).sum::<usize>());
            guest.write_u32(count, u32::try_from(sizes.0).unwrap_or(0))?;
            guest.write_u32(bytes, u32::try_from(sizes.1).unwrap_or(0))?;
            Ok(Errno::Success)
        })
    })?;
    linker.func_wrap(MODULE, "environ_get", |caller: Caller<'_, HostState>, pointers: u32, bytes: u32| {
        wasi(caller, |guest| {
            let strings = environment(guest.host());
            write_strings(guest, &strings, (pointers, bytes))?;
            Ok(Errno::Success)
        })
    })?;
    linker.func_wrap(MODULE, "args_sizes_get", |caller: Caller<'_, HostState>, count: u32, bytes: u32| {
        wasi(caller, |guest| {
            guest.write_u32(count, 0)?;
            guest.write_u32(bytes, 0)?;
            Ok(Errno::Success)
        })
    })?;
    linker.func_wrap(MODULE, "args_get", |_: u32, _: u32| Errno::Success as u32)?;
    linker.func_wrap(MODULE, "random_get", |caller: Caller<'_, HostState>, address: u32, size: u32| {
        wasi(caller, |guest| {
            let (mut memory, _) = guest.split();
            let target = memory.target(address, size)?;
            if target.len() > RANDOM_BYTES {
                return Ok(Errno::Invalid);
            }
            Ok(if random().fill(target).is_ok() { Errno::Success } else { Errno::Io })
        })
    })?;
    Ok(())
}

fn link_clocks(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        MODULE,
        "clock_time_get",
        |caller: Caller<'_, HostState>, clock: u32, _precision: u64, result: u32| {
            wasi(caller, |guest| {
                let nanos = match clock {
                    0 => unix_nanos(SystemTime::now()),
                    1 => u64::try_from(Instant::now().duration_since(guest.host().created).as_nanos())
                        .unwrap_or(u64::MAX),
                    _ => return Ok(Errno::NotSupported),
                };
                guest.write_u64(result, nanos)?;
                Ok(Errno::Success)
            })
        },
    )?;
    linker.func_wrap(MODULE, "clock_res_get", |caller: Caller<'_, HostState>, clock: u32, result: u32| {
        wasi(caller, |guest| {
            if clock > 1 {
                return Ok(Errno::NotSupported);
            }
            guest.write_u64(result, 1)?;
            Ok(Errno::Success)
        })
    })?;
    linker.func_wrap(MODULE, "sched_yield", || Errno::Success as u32)?;
    // A guest has nothing to wait for; Go's runtime asks all the same.
    linker.func_wrap(
        MODULE,
        "poll_oneoff",
        |caller: Caller<'_, HostState>, _in: u32, _out: u32, _count: u32, events: u32| {
            wasi(caller, |guest| {
                guest.write_u32(events, 0)?;
                Ok(Errno::Success)
            })
        },
    )?;
    Ok(())
}

/// The three standard descriptors, of which none can be read and the first is empty.
fn link_descriptors(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(MODULE, "fd_fdstat_get", |caller: Caller<'_, HostState>, fd: u32, result: u32| {
        wasi(caller, |guest| {
            if fd > 2 {
                return Ok(Errno::BadDescriptor);
            }
            // Type unknown, no flags; the right to write (bit 6) where that makes sense.
            let mut stat = [0; 24];
            stat[8] = if fd == 0 { 0 } else { 64 };
            guest.split().0.write(result, &stat)?;
            Ok(Errno::Success)
        })
    })?;
    linker.func_wrap(
        MODULE,
        "fd_read",
        |caller: Caller<'_, HostState>, fd: u32, _vectors: u32, _count: u32, read: u32| {
            wasi(caller, |guest| {
                if fd != 0 {
                    return Ok(Errno::BadDescriptor);
                }
                guest.write_u32(read, 0)?;
                Ok(Errno::Success)
            })
        },
    )?;
    linker.func_wrap(
        MODULE,
        "fd_close",
        |fd: u32| if fd <= 2 { Errno::Success as u32 } else { Errno::BadDescriptor as u32 },
    )?;
    linker.func_wrap(MODULE, "fd_seek", |_fd: u32, _offset: i64, _whence: u32, _result: u32| {
        Errno::BadDescriptor as u32
    })?;
    linker.func_wrap(MODULE, "fd_prestat_get", |_fd: u32, _result: u32| Errno::BadDescriptor as u32)?;
    linker.func_wrap(MODULE, "fd_prestat_dir_name", |_fd: u32, _path: u32, _size: u32| Errno::BadDescriptor as u32)?;
    Ok(())
}

/// Everything of preview 1 that is not linked yet: NOTCAPABLE, whatever the arguments.
fn link_rest(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    let engine = linker.engine().clone();
    let mut store = Store::new(&engine, WasiCtxBuilder::new().build_p1());
    let mut whole: Linker<WasiP1Ctx> = Linker::new(&engine);
    p1::add_to_linker_sync(&mut whole, |context| context)?;
    let items: Vec<_> = whole.iter(&mut store).map(|(_, name, item)| (name.to_owned(), item)).collect();
    for (name, item) in items {
        let Extern::Func(function) = item else { continue };
        let denied = linker.func_new(MODULE, &name, function.ty(&store), |_, _, results| {
            if let Some(result) = results.first_mut() {
                *result = Val::I32(Errno::NotCapable as i32);
            }
            Ok(())
        });
        // Refused for those that are ours.
        drop(denied);
    }
    Ok(())
}

/// What surrounds every WASI function: a bad address is FAULT.
fn wasi(
    caller: Caller<'_, HostState>,
    body: impl FnOnce(&mut Guest<'_>) -> Result<Errno, Refused>,
) -> wasmtime::Result<u32> {
    match Guest::new(caller).and_then(|mut guest| body(&mut guest)) {
        Ok(errno) => Ok(errno as u32),
        Err(Refused::Status(_)) => Ok(Errno::Fault as u32),
        Err(Refused::Ends(error)) => Err(error),
    }
}

/// The configured environment, as C wants it.
fn environment(host: &HostState) -> Vec<String> {
    host.spec().env.iter().map(|(name, value)| format!("{name}={value}\0")).collect()
}

fn write_strings(guest: &mut Guest<'_>, strings: &[String], (mut pointer, mut bytes): Target) -> Result<(), Refused> {
    let (mut memory, _) = guest.split();
    for string in strings {
        memory.write(pointer, &bytes.to_le_bytes())?;
        memory.write(bytes, string.as_bytes())?;
        pointer = pointer.saturating_add(4);
        bytes = bytes.saturating_add(u32::try_from(string.len()).unwrap_or(u32::MAX));
    }
    Ok(())
}

/// The operating system's cryptographic generator.
fn random() -> &'static dyn SecureRandom {
    rustls::crypto::ring::default_provider().secure_random
}
