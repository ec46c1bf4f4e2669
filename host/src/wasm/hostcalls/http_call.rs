//! Callouts over HTTP. The answer comes to the root context as `proxy_on_http_call_response`; see [`crate::wasm::callouts`].

use bytes::Bytes;
use http::HeaderValue;
use std::time::Duration;
use wasmtime::{Caller, Linker};

use super::{Status, hostcall};
use crate::filter::{Callout, CalloutReply, GrpcEvent, Headers, Name};
use crate::wasm::callouts::{self, Incoming};
use crate::wasm::host_state::HostState;
use crate::wasm::log::printable;
use crate::wasm::pairs;

/// gRPC's UNAVAILABLE: what `proxy_get_status` says of an answer that the gateway had to make itself.
const UNAVAILABLE: u32 = 14;

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_http_call",
        |caller: Caller<'_, HostState>,
         upstream: u32,
         upstream_size: u32,
         headers: u32,
         headers_size: u32,
         body: u32,
         body_size: u32,
         trailers: u32,
         trailers_size: u32,
         timeout_ms: u32,
         result: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let call = Callout {
                    upstream: std::str::from_utf8(memory.bytes(upstream, upstream_size)?)
                        .map_err(|_| Status::BadArgument)?
                        .to_owned(),
                    headers: read_headers(memory.bytes(headers, headers_size)?, &host.spec().name)?,
                    body: Bytes::copy_from_slice(memory.bytes(body, body_size)?),
                    trailers: read_headers(memory.bytes(trailers, trailers_size)?, &host.spec().name)?,
                    timeout: (timeout_ms > 0).then(|| Duration::from_millis(timeout_ms.into())),
                };
                let token = callouts::start(host, call)?;
                guest.write_u32(result, token)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_status",
        |caller: Caller<'_, HostState>, code: u32, message: u32, size: u32| {
            hostcall(caller, |guest| {
                let (status, text) = match &guest.host().answer {
                    Some(Incoming::Http(CalloutReply { failure: Some(failure), .. })) => (UNAVAILABLE, failure.clone()),
                    Some(Incoming::Grpc(GrpcEvent::Close(status, text))) => (*status, text.clone()),
                    _ => (0, String::new()),
                };
                guest.write_u32(code, status)?;
                guest.give(text.as_bytes(), message, size)
            })
        },
    )?;
    Ok(())
}

/// A head as it may be sent: illegal fields are dropped.
pub(super) fn read_headers(bytes: &[u8], filter: &str) -> Result<Headers, Status> {
    let mut headers = Headers::default();
    for (key, value) in pairs::decode(bytes).map_err(|_| Status::BadArgument)? {
        match (Name::parse(key), HeaderValue::from_bytes(value)) {
            (Some(Name::Status), _) => {}
            (Some(name), Ok(value)) if name.is_pseudo() => headers.set(name, value),
            (Some(name), Ok(value)) => headers.append(name, value),
            _ => tracing::warn!(
                filter,
                name = &*printable(key, 64),
                "A header of a callout is not legal; it was dropped."
            ),
        }
    }
    Ok(headers)
}
