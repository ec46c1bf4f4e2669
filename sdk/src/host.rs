//! Everything a filter can ask of its host: the one seam between this crate and the Proxy-Wasm ABI 0.2.1.
//!
//! In a module the host is on the other side of the ABI (`wasm`); natively it is the test harness. Which of the two is decided
//! when compiling, so a call costs nothing more than the hostcall.

#[cfg(target_arch = "wasm32")]
mod wasm;

use bytes::Bytes;

use crate::log::Level;
use crate::reply::Reply;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::test::host::HOST;
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm::HOST;

/// Which half of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Request = 0,
    Response = 1,
}

/// A header map; the numbers are the ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Map {
    Request = 0,
    Response = 2,
    Call = 6,
}

/// A buffer; the numbers are the ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Buffer {
    Request = 0,
    Response = 1,
    Call = 4,
    /// A test hands the configuration over itself.
    #[cfg(target_arch = "wasm32")]
    Configuration = 7,
}

impl Direction {
    pub(crate) const fn map(self) -> Map {
        match self {
            Self::Request => Map::Request,
            Self::Response => Map::Response,
        }
    }
    pub(crate) const fn buffer(self) -> Buffer {
        match self {
            Self::Request => Buffer::Request,
            Self::Response => Buffer::Response,
        }
    }
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// A status other than OK (abi 0.2.1 `proxy_status_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostError {
    NotFound,
    BadArgument,
    CasMismatch,
    Failure,
}

/// A metric's kind; the numbers are the ABI's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MetricKind {
    Counter = 0,
    Gauge = 1,
    Histogram = 2,
}

/// A callout to start.
pub(crate) struct CallParts<'a> {
    pub(crate) upstream: &'a str,
    pub(crate) headers: &'a [(String, String)],
    pub(crate) body: &'a [u8],
    pub(crate) timeout_ms: u32,
}

/// The hostcalls this crate uses. Where a host may refuse, so may the method; the others ignore what a host says, because there
/// is nothing a filter could do about it.
pub(crate) trait Host {
    fn log(&self, level: Level, text: &str);
    fn log_level(&self) -> Level;
    /// Nanoseconds since 1970.
    fn now(&self) -> u64;
    /// Asks for a tick every `period_ms`; 0 ends them.
    fn set_tick(&self, period_ms: u32);
    fn header(&self, map: Map, name: &str) -> Option<Bytes>;
    /// All headers, in the ABI's serialised form.
    fn headers(&self, map: Map) -> Bytes;
    fn set_header(&self, map: Map, name: &str, value: &[u8]);
    fn add_header(&self, map: Map, name: &str, value: &[u8]);
    fn remove_header(&self, map: Map, name: &str);
    fn buffer(&self, buffer: Buffer, start: usize, length: usize) -> Option<Bytes>;
    /// Replaces the whole buffer.
    fn set_buffer(&self, buffer: Buffer, bytes: &[u8]);
    fn property(&self, path: &[&str]) -> Option<Bytes>;
    fn set_property(&self, path: &[&str], value: &[u8]);
    /// A shared value and its version for compare-and-swap; 0 when there is none.
    fn shared(&self, key: &str) -> (Option<Bytes>, u32);
    /// Stores a shared value; with a version only if it is still the same.
    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError>;
    /// Starts a callout; the token comes back with its answer.
    fn http_call(&self, call: &CallParts<'_>) -> Result<u32, HostError>;
    fn reply(&self, reply: &Reply);
    fn resume(&self, direction: Direction);
    fn set_effective_context(&self, context: u32);
    fn foreign(&self, name: &str, arguments: &[u8]) -> Result<Bytes, HostError>;
    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32>;
    fn increment_metric(&self, id: u32, by: i64);
    fn record_metric(&self, id: u32, value: u64);
}
