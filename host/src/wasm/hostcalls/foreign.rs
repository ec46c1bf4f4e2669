//! Foreign functions: what this host offers beyond the ABI (sdk/HOST.md). Those of Envoy are in [`super::foreign_envoy`].

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::{Caller, Linker};

use super::foreign_envoy as envoy;
use super::metrics::parse_kind;
use super::{Refused, Status, hostcall};
use crate::filter::{Direction, Fault, FaultKind};
use crate::wasm::host_state::{Effective, HostState};
use crate::wasm::limits::{LOG_LINE_BYTES, METRIC_NAME_BYTES, PROPERTIES};
use crate::wasm::log::printable;
use crate::wasm::pairs;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_call_foreign_function",
        |caller: Caller<'_, HostState>,
         name: u32,
         name_size: u32,
         arguments: u32,
         arguments_size: u32,
         address: u32,
         size: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let arguments = Arguments(memory.bytes(arguments, arguments_size)?);
                let result = call(host, memory.bytes(name, name_size)?, arguments)?;
                // A guest that does not care for the result passes no addresses.
                if address == 0 || size == 0 { Ok(()) } else { guest.give(&result, address, size) }
            })
        },
    )?;
    Ok(())
}

fn call(host: &mut HostState, name: &[u8], arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    if host.spec().capabilities.foreign.is_some() {
        granted(host, name)?;
    }
    match name {
        b"sluicegate.gcra" => gcra(host, arguments),
        b"sluicegate.counter" => counter(host, arguments),
        b"sluicegate.kv_get" => Ok(host
            .services
            .store
            .kv_get(host.vm_id(), arguments.0)
            .map_or_else(Vec::new, |value| [&[1], &*value].concat())),
        b"sluicegate.kv_set" => kv_set(host, arguments),
        b"sluicegate.kv_delete" => {
            host.services.store.kv_delete(host.vm_id(), arguments.0);
            Ok(Vec::new())
        }
        b"sluicegate.metric" => metric(host, arguments),
        b"sluicegate.print" => Ok(print(arguments.0)),
        b"sluicegate.body" => body(host, arguments),
        b"sluicegate.fault" => fault(host, arguments.0),
        b"sluicegate.fields" => fields(host, arguments),
        b"sluicegate.properties" => properties(host, arguments),
        b"verify_signature" => envoy::verify_signature(arguments.0),
        b"sign" => envoy::sign(arguments.0),
        b"compress" => envoy::compress(arguments.0),
        b"uncompress" => envoy::uncompress(arguments.0),
        b"set_envoy_filter_state" => envoy::set_filter_state(host, arguments.0),
        b"clear_route_cache" => {
            host.clear_route();
            Ok(Vec::new())
        }
        // Properties need no declaration.
        b"declare_property" => Ok(Vec::new()),
        _ => Err(Status::NotFound.into()),
    }
}

/// A name that is not granted is refused whether there is such a function or not.
fn granted(host: &mut HostState, name: &[u8]) -> Result<(), Status> {
    let name = printable(name, 64);
    if host.spec().capabilities.allows_foreign(&name) {
        return Ok(());
    }
    if host.log.may_warn() {
        let filter = &*host.spec().name;
        tracing::warn!(filter, function = &*name, "A filter calls a foreign function that it was not granted.");
    }
    Err(Status::InternalFailure)
}

/// Arguments, read from the front.
struct Arguments<'a>(&'a [u8]);

impl<'a> Arguments<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Status> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Status::BadArgument)?;
        self.0 = rest;
        Ok(*bytes)
    }
    fn u64(&mut self) -> Result<u64, Status> {
        self.array().map(u64::from_le_bytes)
    }
    /// Bytes behind their length.
    fn counted(&mut self) -> Result<&'a [u8], Status> {
        let length = usize::try_from(u32::from_le_bytes(self.array()?)).map_err(|_| Status::BadArgument)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Status::BadArgument)?;
        self.0 = rest;
        Ok(bytes)
    }
    /// A time to live in milliseconds, 0 for none.
    fn ttl(&mut self) -> Result<Option<Duration>, Status> {
        Ok(Some(self.u64()?).filter(|ms| *ms > 0).map(Duration::from_millis))
    }
}

fn gcra(host: &HostState, mut arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    let (limit, window, burst, cost) = (arguments.u64()?, arguments.u64()?, arguments.u64()?, arguments.u64()?);
    let answer = host.services.store.gcra(host.vm_id(), arguments.0, limit, window, burst, cost);
    let answer = answer.map_err(|_| Status::InternalFailure)?;
    let words = [u64::from(answer.allowed), answer.remaining, answer.reset_ns, answer.retry_after_ns];
    Ok(words.into_iter().flat_map(u64::to_le_bytes).collect())
}

fn counter(host: &HostState, mut arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    let delta = arguments.array().map(i64::from_le_bytes)?;
    let ttl = arguments.ttl()?;
    let value =
        host.services.store.counter(host.vm_id(), arguments.0, delta, ttl).map_err(|_| Status::InternalFailure)?;
    Ok(value.to_le_bytes().to_vec())
}

fn kv_set(host: &HostState, mut arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    let ttl = arguments.ttl()?;
    let key = arguments.counted()?;
    let value = Bytes::copy_from_slice(arguments.0);
    host.services.store.kv_set(host.vm_id(), key, value, ttl).map_err(|_| Status::InternalFailure)?;
    Ok(Vec::new())
}

fn metric(host: &mut HostState, mut arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    let [kind] = arguments.array()?;
    let kind = parse_kind(kind.into()).ok_or(Status::BadArgument)?;
    let name = arguments.counted()?;
    let name = String::from_utf8_lossy(&name[..name.len().min(METRIC_NAME_BYTES)]);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let labels = pairs::decode(arguments.0).map_err(|_| Status::BadArgument)?;
    let labels: Vec<_> = labels.into_iter().map(|(key, value)| (text(key), text(value))).collect();
    Ok(host.define_metric(kind, &name, &labels).to_le_bytes().to_vec())
}

/// One line of the gateway's standard output, which belongs to filters that write logs for machines.
fn print(line: &[u8]) -> Vec<u8> {
    let text = printable(line, LOG_LINE_BYTES);
    let mut line = Vec::with_capacity(text.len() + 1);
    line.extend_from_slice(text.as_bytes());
    line.push(b'\n');
    crate::observe::output::STDOUT.line(line);
    Vec::new()
}

fn body(host: &HostState, mut arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    let direction = match arguments.array()? {
        [0] => Direction::Request,
        [1] => Direction::Response,
        _ => return Err(Status::BadArgument.into()),
    };
    let given = host.live_stage().is_some_and(|stage| {
        arguments.0.len() <= stage.exchange().facts.buffer_limit
            && stage.give_body(direction, Bytes::copy_from_slice(arguments.0))
    });
    Ok(vec![given.into()])
}

/// The fields of one name: what a value of several joined by commas cannot tell apart.
fn fields(host: &HostState, mut arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    let [map] = arguments.array()?;
    Ok(host.fields(u32::from(map).try_into()?, arguments.0))
}

/// Several properties in one call.
fn properties(host: &HostState, mut arguments: Arguments<'_>) -> Result<Vec<u8>, Refused> {
    let mut answer = Vec::with_capacity(512);
    for _ in 0..PROPERTIES {
        if arguments.0.is_empty() {
            return Ok(answer);
        }
        let value = host.property(arguments.counted()?);
        let length = value.as_ref().and_then(|value| u32::try_from(value.len()).ok()).unwrap_or(u32::MAX);
        answer.extend_from_slice(&length.to_le_bytes());
        answer.extend_from_slice(value.as_deref().unwrap_or_default());
    }
    Err(Status::BadArgument.into())
}

fn fault(host: &HostState, message: &[u8]) -> Result<Vec<u8>, Refused> {
    let message = printable(message, LOG_LINE_BYTES);
    let request_id = host.effective.stream().and_then(|stream| stream.request_id());
    tracing::error!(filter = &*host.spec().name, error = &*message, request_id, "A filter reports a fault.");
    if let Effective::Stream(stream) = &host.effective {
        let fault = Fault { kind: FaultKind::Reported, detail: Rc::from(&*message) };
        stream.reported.borrow_mut().get_or_insert(fault);
        stream.wake();
    }
    Ok(Vec::new())
}
