//! Guest memory: the one file that turns guest addresses into ranges, and the only way for a hostcall to hand bytes to
//! a guest.
//!
//! A bad address that the guest asks us to *read* from is its mistake and gets a status (INVALID_MEMORY_ACCESS), as in
//! the specification. A bad address to *write* a result to, and an allocator that lies, end the instance: the guest
//! would go on with whatever was there before.

use wasmtime::{Caller, Memory};

use super::fault::Abort;
use super::host_state::HostState;
use super::hostcalls::{Refused, Status};

/// A guest in the middle of a hostcall.
pub(super) struct Guest<'a> {
    caller: Caller<'a, HostState>,
    memory: Memory,
}

/// Linear memory as it is now. Not to be kept over a call into the guest, which may grow it.
pub(super) struct GuestMemory<'a>(&'a mut [u8]);

impl<'a> Guest<'a> {
    pub(super) fn new(caller: Caller<'a, HostState>) -> Result<Self, Refused> {
        let memory = caller.data().memory.ok_or_else(|| Abort::abi("a hostcall before the module was instantiated"))?;
        Ok(Self { caller, memory })
    }
    pub(super) fn host(&mut self) -> &mut HostState {
        self.caller.data_mut()
    }
    /// Memory and host state, both usable at once.
    pub(super) fn split(&mut self) -> (GuestMemory<'_>, &mut HostState) {
        let (bytes, host) = self.memory.data_and_store_mut(&mut self.caller);
        (GuestMemory(bytes), host)
    }
    /// Writes the result `value` to the address that the guest named for it.
    pub(super) fn write_u32(&mut self, at: u32, value: u32) -> Result<(), Refused> {
        self.split().0.write(at, &value.to_le_bytes())
    }
    /// As [`Guest::write_u32`].
    pub(super) fn write_u64(&mut self, at: u32, value: u64) -> Result<(), Refused> {
        self.split().0.write(at, &value.to_le_bytes())
    }
    /// Hands `bytes` to the guest in memory of its own, and writes where and how long to the two addresses.
    pub(super) fn give(&mut self, bytes: &[u8], address: u32, size: u32) -> Result<(), Refused> {
        self.give_with(bytes.len(), address, size, |_, target| target.copy_from_slice(bytes))
    }
    /// As [`Guest::give`], for `length` bytes that `fill` writes.
    ///
    /// The guest's allocator is asked for exactly that many bytes (Rust guests rebuild a `Vec` of that capacity) and
    /// never for none.
    pub(super) fn give_with(
        &mut self,
        length: usize,
        address: u32,
        size: u32,
        fill: impl FnOnce(&mut HostState, &mut [u8]),
    ) -> Result<(), Refused> {
        let length = u32::try_from(length).map_err(|_| Refused::Status(Status::InternalFailure))?;
        let start = if length == 0 { 0 } else { self.allocate(length)? };
        let (mut memory, host) = self.split();
        fill(host, memory.target(start, length)?);
        memory.write(address, &start.to_le_bytes())?;
        memory.write(size, &length.to_le_bytes())
    }
    /// Calls the guest's allocator. It is the only guest code that runs inside a hostcall, and may itself make few
    /// hostcalls.
    fn allocate(&mut self, size: u32) -> Result<u32, Refused> {
        let host = self.caller.data_mut();
        let allocate = host.allocate.take().ok_or_else(|| Abort::abi("a hostcall inside the allocator"))?;
        let address = allocate.call(&mut self.caller, size)?;
        self.caller.data_mut().allocate = Some(allocate);
        if address == 0 {
            return Err(Abort::abi(format!("the allocator has no {size} bytes")).into());
        }
        Ok(address)
    }
}

impl GuestMemory<'_> {
    /// Bytes that the guest passes to us.
    pub(super) fn bytes(&self, address: u32, length: u32) -> Result<&[u8], Refused> {
        range(address, length).and_then(|range| self.0.get(range)).ok_or(Refused::Status(Status::InvalidMemoryAccess))
    }
    /// A word that the guest passes to us.
    pub(super) fn word(&self, address: u32) -> Result<u32, Refused> {
        let bytes = self.bytes(address, 4)?;
        Ok(bytes.try_into().map_or(0, u32::from_le_bytes))
    }
    /// Writes a result.
    pub(super) fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), Refused> {
        let length = u32::try_from(bytes.len()).map_err(|_| Refused::Status(Status::InternalFailure))?;
        self.target(address, length)?.copy_from_slice(bytes);
        Ok(())
    }
    /// Memory that the guest, or its allocator, named for a result.
    pub(super) fn target(&mut self, address: u32, length: u32) -> Result<&mut [u8], Refused> {
        let size = self.0.len();
        range(address, length).and_then(|range| self.0.get_mut(range)).ok_or_else(|| {
            Abort::abi(format!(
                "a result of {length} bytes was to be written to {address:#x}, memory ends at {size:#x}"
            ))
            .into()
        })
    }
}

fn range(address: u32, length: u32) -> Option<std::ops::Range<usize>> {
    let start = usize::try_from(address).ok()?;
    Some(start..start.checked_add(usize::try_from(length).ok()?)?)
}
