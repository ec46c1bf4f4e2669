//! Memory of the process, and what may be of it, as metrics.

use std::fmt;

use super::exposition::{Page, signed};
use crate::state::pressure::{Pressure, resident};

/// As it was at one moment; bytes.
pub(super) struct Memory {
    resident: Option<u64>,
    limit: Option<u64>,
    over: bool,
}

impl Memory {
    pub(super) fn of(pressure: &Pressure) -> Self {
        Self { resident: resident(), limit: pressure.limit(), over: pressure.is_over() }
    }
    /// Writes it down; what is not known is not there.
    pub(super) fn write(&self, page: &mut Page<'_>) -> fmt::Result {
        let one = |bytes: Option<u64>| bytes.map(|bytes| (Vec::new(), signed(bytes)));
        page.gauge("memory_resident_bytes", "Memory of the process that is resident", one(self.resident))?;
        page.gauge("memory_limit_bytes", "Resident memory above which new requests get 503", one(self.limit))?;
        let over = [(Vec::new(), i64::from(self.over))];
        page.gauge("overloaded", "Whether new requests get 503 because memory is short", over)
    }
}
