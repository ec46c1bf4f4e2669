//! Callouts over gRPC. What comes back is told to the root context by the `proxy_on_grpc_*` callbacks; see
//! [`crate::wasm::callouts`].
//!
//! The service is the name of an upstream, or a serialised `envoy.config.core.v3.GrpcService` whose `envoy_grpc` names one.

use std::time::Duration;

use prost::Message;
use wasmtime::{Caller, Linker};

use super::http_call::read_headers;
use super::{Refused, Status, hostcall};
use crate::filter::GrpcCall;
use crate::wasm::callouts::{self, Call};
use crate::wasm::host_state::HostState;
use crate::wasm::memory::GuestMemory;

/// Where a guest's string is: address and length.
type Slice = (u32, u32);

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_grpc_call",
        |caller: Caller<'_, HostState>,
         upstream: u32,
         upstream_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         metadata: u32,
         metadata_size: u32,
         message: u32,
         message_size: u32,
         timeout_ms: u32,
         result: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let names = [(upstream, upstream_size), (service, service_size), (method, method_size)];
                let mut call = read(&memory, host, names, (metadata, metadata_size))?;
                let message = memory.bytes(message, message_size)?;
                call.timeout = (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into()));
                let token = callouts::open_grpc(host, call, Some(message))?;
                guest.write_u32(result, token)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_grpc_stream",
        |caller: Caller<'_, HostState>,
         upstream: u32,
         upstream_size: u32,
         service: u32,
         service_size: u32,
         method: u32,
         method_size: u32,
         metadata: u32,
         metadata_size: u32,
         result: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let names = [(upstream, upstream_size), (service, service_size), (method, method_size)];
                let call = read(&memory, host, names, (metadata, metadata_size))?;
                let token = callouts::open_grpc(host, call, None)?;
                guest.write_u32(result, token)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_grpc_send",
        |caller: Caller<'_, HostState>, token: u32, message: u32, size: u32, end_of_stream: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                Ok(host.grpc_send(token, memory.bytes(message, size)?, end_of_stream != 0)?)
            })
        },
    )?;
    linker.func_wrap("env", "proxy_grpc_cancel", |caller: Caller<'_, HostState>, token: u32| {
        hostcall(caller, |guest| {
            let HostState { calls, effective, .. } = guest.host();
            calls.grpc(effective.root(), token)?;
            calls.remove(token);
            Ok(())
        })
    })?;
    linker.func_wrap("env", "proxy_grpc_close", |caller: Caller<'_, HostState>, token: u32| {
        hostcall(caller, |guest| {
            let HostState { calls, effective, .. } = guest.host();
            match calls.grpc(effective.root(), token)? {
                Some(Call::Stream(stream)) => stream.close(),
                // A unary call has sent all it has to send: closing it means not to wait for its answer.
                Some(Call::Unary { .. } | Call::Http) | None => calls.remove(token),
            }
            Ok(())
        })
    })?;
    Ok(())
}

fn read(
    memory: &GuestMemory<'_>,
    host: &HostState,
    [upstream, service, method]: [Slice; 3],
    (metadata, metadata_size): Slice,
) -> Result<GrpcCall, Refused> {
    let text = |(address, size): Slice| -> Result<String, Refused> {
        let bytes = memory.bytes(address, size)?;
        Ok(String::from_utf8(bytes.to_vec()).map_err(|_| Status::InternalFailure)?)
    };
    let target = memory.bytes(upstream.0, upstream.1)?;
    let (upstream, authority) = match std::str::from_utf8(target) {
        Ok(name) if host.spec().upstreams.contains(name) => (name.to_owned(), None),
        _ => target_of(target).unwrap_or_else(|| (String::from_utf8_lossy(target).into_owned(), None)),
    };
    Ok(GrpcCall {
        upstream,
        authority,
        service: text(service)?,
        method: text(method)?,
        metadata: read_headers(memory.bytes(metadata, metadata_size)?, &host.spec().name)?,
        timeout: None,
    })
}

/// The part of `envoy.config.core.v3.GrpcService` that names a target.
#[derive(Message)]
struct GrpcService {
    #[prost(message, optional, tag = "1")]
    envoy_grpc: Option<EnvoyGrpc>,
}

#[derive(Message)]
struct EnvoyGrpc {
    #[prost(string, tag = "1")]
    cluster_name: String,
    #[prost(string, tag = "2")]
    authority: String,
}

/// The upstream and the authority that a serialised target names, if it is one.
fn target_of(bytes: &[u8]) -> Option<(String, Option<String>)> {
    let target = GrpcService::decode(bytes).ok()?.envoy_grpc?;
    Some((target.cluster_name, Some(target.authority).filter(|authority| !authority.is_empty())))
}

impl HostState {
    fn grpc_send(&mut self, token: u32, message: &[u8], end_of_stream: bool) -> Result<(), Status> {
        let stream = match self.calls.grpc(self.effective.root(), token)? {
            Some(Call::Stream(stream)) => stream,
            Some(Call::Unary { .. } | Call::Http) => return Err(Status::BadArgument),
            None => return Ok(()),
        };
        let sent = stream.send(message);
        if end_of_stream {
            stream.close();
        }
        if !sent {
            callouts::overrun(self, token);
        }
        Ok(())
    }
}
