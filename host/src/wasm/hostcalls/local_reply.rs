//! Local replies. Recorded here; the chain acts on one when the callback has returned. The first one wins.

use bytes::Bytes;
use http::HeaderValue;
use wasmtime::{Caller, Linker};

use super::{Status, hostcall};
use crate::filter::{Headers, LocalReply, Name};
use crate::wasm::host_state::HostState;
use crate::wasm::limits::{LOG_LINE_BYTES, REPLY_BYTES};
use crate::wasm::log::printable;
use crate::wasm::memory::GuestMemory;
use crate::wasm::pairs;

/// Highest gRPC status.
const GRPC_STATUS: u32 = 16;

/// Where a guest's string is: address and length.
type Slice = (u32, u32);

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_send_local_response",
        |caller: Caller<'_, HostState>,
         status: u32,
         details: u32,
         details_size: u32,
         body: u32,
         body_size: u32,
         headers: u32,
         headers_size: u32,
         grpc_status: u32| {
            hostcall(caller, |guest| {
                let (memory, host) = guest.split();
                let reply = read(
                    &memory,
                    &host.spec().name,
                    (status, grpc_status),
                    [(details, details_size), (body, body_size), (headers, headers_size)],
                )?;
                host.reply(reply);
                Ok(())
            })
        },
    )?;
    Ok(())
}

fn read(
    memory: &GuestMemory<'_>,
    filter: &str,
    (status, grpc): (u32, u32),
    [details, body, headers]: [Slice; 3],
) -> Result<LocalReply, Status> {
    let bytes = |(address, size): Slice| memory.bytes(address, size).map_err(|_| Status::InvalidMemoryAccess);
    let details = printable(bytes(details)?, LOG_LINE_BYTES);
    let headers = read_headers(bytes(headers)?, filter);
    let grpc_status = (grpc <= GRPC_STATUS).then_some(grpc);
    let body = bytes(body)?;
    let status = u16::try_from(status).ok().filter(|status| (200..=599).contains(status));
    Ok(match status {
        Some(status) if body.len() <= REPLY_BYTES => LocalReply {
            status,
            headers,
            body: Bytes::copy_from_slice(body),
            grpc_status,
            fault: false,
            details: if details.is_empty() { filter.to_owned() } else { format!("{filter}: {details}") },
        },
        Some(_) => LocalReply::text(500, "", format!("{filter}: its reply is larger than {REPLY_BYTES} bytes")),
        None => LocalReply::text(500, "", format!("{filter}: its reply has an impossible status")),
    })
}

/// Illegal fields are dropped, and pairs that cannot be read count as none (as in the C++ host).
fn read_headers(bytes: &[u8], filter: &str) -> Headers {
    let Ok(pairs) = pairs::decode(bytes) else {
        tracing::warn!(filter, "The headers of a local reply cannot be read; they were dropped.");
        return Headers::default();
    };
    let mut headers = Headers::with_capacity(pairs.len());
    for (key, value) in pairs {
        match (Name::parse(key), HeaderValue::from_bytes(value)) {
            (Some(name @ Name::Header(_)), Ok(value)) => headers.append(name, value),
            (Some(_), _) => {}
            _ => tracing::warn!(
                filter,
                name = &*printable(key, 64),
                "A header of a local reply is not legal; it was dropped."
            ),
        }
    }
    headers
}

impl HostState {
    fn reply(&self, reply: LocalReply) {
        let recorded = self.live_stage().is_some_and(|stage| stage.reply(reply));
        if !recorded {
            tracing::debug!(
                filter = &*self.spec().name,
                "A local reply was ignored: an earlier one won, or there is no stream to reply to."
            );
        }
    }
}
