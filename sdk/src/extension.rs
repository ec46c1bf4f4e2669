//! Calls of the host functions that Sluicegate adds (sdk/HOST.md). Other hosts do not know them; that is found out once.

use std::cell::Cell;

use bytes::Bytes;

use crate::host::{HOST, Host, HostError};

/// A function: its name, and its bit among those known to be missing.
#[derive(Clone, Copy)]
pub(crate) struct Extension {
    name: &'static str,
    bit: u16,
}

pub(crate) const GCRA: Extension = Extension { name: "sluicegate.gcra", bit: 1 };
pub(crate) const COUNTER: Extension = Extension { name: "sluicegate.counter", bit: 2 };
pub(crate) const KV_GET: Extension = Extension { name: "sluicegate.kv_get", bit: 4 };
pub(crate) const KV_SET: Extension = Extension { name: "sluicegate.kv_set", bit: 8 };
pub(crate) const KV_DELETE: Extension = Extension { name: "sluicegate.kv_delete", bit: 16 };
pub(crate) const METRIC: Extension = Extension { name: "sluicegate.metric", bit: 32 };
pub(crate) const PRINT: Extension = Extension { name: "sluicegate.print", bit: 64 };
pub(crate) const BODY: Extension = Extension { name: "sluicegate.body", bit: 128 };
pub(crate) const FAULT: Extension = Extension { name: "sluicegate.fault", bit: 256 };
pub(crate) const FIELDS: Extension = Extension { name: "sluicegate.fields", bit: 512 };
pub(crate) const PROPERTIES: Extension = Extension { name: "sluicegate.properties", bit: 1024 };

thread_local! {
    static MISSING: Cell<u16> = const { Cell::new(0) };
}

/// Calls a function.
///
/// # Errors
/// `NotFound`: this host does not have it; do it another way. Else the host's refusal.
pub(crate) fn call(extension: Extension, arguments: &[u8]) -> Result<Bytes, HostError> {
    let missing = MISSING.get();
    if missing & extension.bit != 0 {
        return Err(HostError::NotFound);
    }
    let result = HOST.foreign(extension.name, arguments);
    if result == Err(HostError::NotFound) {
        MISSING.set(missing | extension.bit);
    }
    result
}

/// Another host may have them.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn forget() {
    MISSING.set(0);
}

/// The 64-bit number at `index` of a result.
pub(crate) fn number(result: &[u8], index: usize) -> Result<u64, HostError> {
    let bytes = result.get(index * 8..index * 8 + 8).and_then(|bytes| bytes.try_into().ok());
    bytes.map(u64::from_le_bytes).ok_or(HostError::Failure)
}
