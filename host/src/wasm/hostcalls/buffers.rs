//! Bodies, bytes of connections, configuration and answers as byte buffers.

use wasmtime::{Caller, Linker};

use super::{Answer, Refused, Status, hostcall};
use crate::filter::tcp::{Side, TcpStop};
use crate::filter::{Direction, GrpcEvent, LocalReply};
use crate::wasm::callouts::Incoming;
use crate::wasm::host_state::HostState;
use crate::wasm::limits::BODY_GROWTH;
use crate::wasm::memory::Guest;

/// `proxy_buffer_type_t`
#[derive(Clone, Copy, Debug)]
enum Buffer {
    Body(Direction),
    Data(Side),
    CallBody,
    GrpcMessage,
    VmConfiguration,
    PluginConfiguration,
    /// Arguments of foreign calls: there never are any.
    Nothing,
}

pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    linker.func_wrap(
        "env",
        "proxy_get_buffer_bytes",
        |caller: Caller<'_, HostState>, buffer: u32, start: u32, length: u32, address: u32, size: u32| {
            hostcall(caller, |guest| get(guest, buffer.try_into()?, (start, length), (address, size)))
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_get_buffer_status",
        |caller: Caller<'_, HostState>, buffer: u32, size: u32, flags: u32| {
            hostcall(caller, |guest| {
                let length = guest.host().buffer(buffer.try_into()?, <[u8]>::len).ok_or(Status::NotFound)?;
                guest.write_u32(size, u32::try_from(length).unwrap_or(u32::MAX))?;
                guest.write_u32(flags, 0)
            })
        },
    )?;
    linker.func_wrap(
        "env",
        "proxy_set_buffer_bytes",
        |caller: Caller<'_, HostState>, buffer: u32, start: u32, length: u32, data: u32, size: u32| {
            hostcall(caller, |guest| {
                let buffer = buffer.try_into()?;
                let (memory, host) = guest.split();
                match buffer {
                    Buffer::Body(direction) => host.set_body(direction, (start, length), memory.bytes(data, size)?),
                    Buffer::Data(side) => host.set_data(side, (start, length), memory.bytes(data, size)?)?,
                    _ => return Err(Status::BadArgument.into()),
                }
                Ok(())
            })
        },
    )?;
    // ABI 0.1.0
    linker.func_wrap("env", "proxy_get_configuration", |caller: Caller<'_, HostState>, address: u32, size: u32| {
        hostcall(caller, |guest| get(guest, Buffer::PluginConfiguration, (0, u32::MAX), (address, size)))
    })?;
    Ok(())
}

/// A range beyond what is there is cut to it, so that "all from here" works whatever the number used for "all".
fn get(guest: &mut Guest<'_>, buffer: Buffer, (start, length): (u32, u32), (address, size): (u32, u32)) -> Answer {
    let total = guest.host().buffer(buffer, <[u8]>::len).ok_or(Status::NotFound)?;
    let range = clamp(start, length, total);
    guest.give_with(range.len(), address, size, |host, target| {
        // The allocator that has run in between can change nothing: it may not make hostcalls.
        host.buffer(buffer, |bytes| bytes.get(range).map(|bytes| target.copy_from_slice(bytes)));
    })
}

fn clamp(start: u32, length: u32, total: usize) -> std::ops::Range<usize> {
    let at = |position: u32| usize::try_from(position).unwrap_or(usize::MAX).min(total);
    at(start)..at(start.saturating_add(length))
}

impl TryFrom<u32> for Buffer {
    type Error = Refused;
    fn try_from(value: u32) -> Result<Self, Refused> {
        Ok(match value {
            0 => Self::Body(Direction::Request),
            1 => Self::Body(Direction::Response),
            2 => Self::Data(Side::Downstream),
            3 => Self::Data(Side::Upstream),
            8 => Self::Nothing,
            4 => Self::CallBody,
            5 => Self::GrpcMessage,
            6 => Self::VmConfiguration,
            7 => Self::PluginConfiguration,
            _ => return Err(Status::BadArgument.into()),
        })
    }
}

impl HostState {
    /// Reads a buffer. A body that is not at this filter reads as empty, as in Envoy.
    fn buffer<R>(&self, buffer: Buffer, read: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match buffer {
            Buffer::Body(direction) => {
                let mut read = Some(read);
                let held = self
                    .stage()
                    .and_then(|stage| stage.with_body(direction, |bytes| read.take().map(|read| read(bytes))));
                held.flatten().or_else(|| read.take().map(|read| read(&[])))
            }
            // Of a connection that has no bytes at this filter, none; there are no bytes of a request.
            Buffer::Data(side) => {
                let stage = self.tcp()?;
                let mut read = Some(read);
                let held = stage.with_data(side, |bytes| read.take().map(|read| read(bytes)));
                held.flatten().or_else(|| read.take().map(|read| read(&[])))
            }
            Buffer::CallBody => match &self.answer {
                Some(Incoming::Http(answer)) => Some(read(&answer.body)),
                _ => None,
            },
            Buffer::GrpcMessage => match &self.answer {
                Some(Incoming::Grpc(GrpcEvent::Message(message))) => Some(read(message)),
                _ => None,
            },
            Buffer::VmConfiguration => Some(read(self.spec().vm.config.as_bytes())),
            Buffer::PluginConfiguration => Some(read(self.spec().config.as_bytes())),
            Buffer::Nothing => None,
        }
    }
    /// Writes into a body. One that is not at this filter stays as it is; one that grows out of all proportion ends its
    /// stream.
    fn set_body(&self, direction: Direction, (start, length): (u32, u32), data: &[u8]) {
        let Some(stage) = self.stage() else { return self.late_write("a body") };
        let limit = stage.exchange().facts.buffer_limit.saturating_mul(BODY_GROWTH);
        let size = stage.with_body(direction, <[u8]>::len).unwrap_or(0);
        let replaced = clamp(start, length, size).len();
        if (size - replaced).saturating_add(data.len()) > limit {
            tracing::warn!(filter = &*self.spec().name, limit, "A filter made a body too large.");
            stage.reply(LocalReply::text(
                500,
                "",
                format!("{}: made a body larger than {limit} bytes", self.spec().name),
            ));
            return;
        }
        let at = |position: u32| usize::try_from(position).unwrap_or(usize::MAX);
        if !stage.set_body(direction, at(start), at(length), data) {
            self.late_write("a body");
        }
    }
    /// Writes into a connection's bytes, likewise.
    fn set_data(&self, side: Side, (start, length): (u32, u32), data: &[u8]) -> Result<(), Status> {
        let stage = self.tcp().ok_or(Status::BadArgument)?;
        let limit = stage.connection().facts.buffer_limit.saturating_mul(BODY_GROWTH);
        let size = stage.with_data(side, <[u8]>::len).unwrap_or(0);
        let replaced = clamp(start, length, size).len();
        if (size - replaced).saturating_add(data.len()) > limit {
            stage.stop(TcpStop::TooLarge(format!("{}: made more than {limit} bytes of one chunk", self.spec().name)));
            return Ok(());
        }
        let at = |position: u32| usize::try_from(position).unwrap_or(usize::MAX);
        if !stage.set_data(side, at(start), at(length), data) {
            self.late_write("a connection's bytes");
        }
        Ok(())
    }
}
