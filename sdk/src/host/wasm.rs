//! The host on the other side of the Proxy-Wasm ABI 0.2.1.
//!
//! The imports are declared here and not taken from `proxy_wasm::hostcalls`, because those panic on any status that they do not
//! expect, for instance on reading request headers in the response phase in Envoy. Here every status is an ordinary result.
//! Only callouts go through the crate: its dispatcher has to know their tokens.
#![allow(unsafe_code, reason = "the ABI is pointers and lengths; this is the only file that handles them")]

use std::borrow::Cow;
use std::ptr::null_mut;
use std::time::Duration;

use bytes::Bytes;

use super::{Buffer, CallParts, Direction, Host, HostError, Map, MetricKind};
use crate::log::Level;
use crate::pairs;
use crate::reply::Reply;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, length: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, length: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, length: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        map: u32,
        name: *const u8,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(map: u32, name: *const u8, length: usize, value: *const u8, size: usize) -> u32;
    fn proxy_add_header_map_value(map: u32, name: *const u8, length: usize, value: *const u8, size: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, length: usize) -> u32;
    fn proxy_get_property(path: *const u8, length: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, length: usize, value: *const u8, size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        length: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, length: usize, value: *const u8, size: usize, version: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    #[rustfmt::skip]
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_length: usize,
        body: *const u8,
        body_length: usize,
        headers: *const u8,
        headers_length: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    #[rustfmt::skip]
    fn proxy_call_foreign_function(
        name: *const u8,
        length: usize,
        arguments: *const u8,
        arguments_length: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, length: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

/// The host.
pub(crate) const HOST: Abi = Abi;

/// Calls the imports.
pub(crate) struct Abi;

fn check(status: u32) -> Result<(), HostError> {
    match status {
        0 => Ok(()),
        1 => Err(HostError::NotFound),
        2 => Err(HostError::BadArgument),
        8 => Err(HostError::CasMismatch),
        _ => Err(HostError::Failure),
    }
}

/// Runs a hostcall that returns bytes: the host allocates them in this module through `proxy_on_memory_allocate`.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Bytes, HostError> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0;
    check(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the allocator export of `proxy-wasm` returns a boxed slice of exactly `size` bytes, and the host hands it over.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) }.into())
}

/// `a`, `b` → `a\0b`, in `buffer` if it fits there.
fn joined<'a>(path: &[&str], buffer: &'a mut [u8; 64]) -> Cow<'a, [u8]> {
    let mut length = 0;
    for (index, part) in path.iter().enumerate() {
        let start = length + usize::from(index > 0);
        let Some(place) = buffer.get_mut(length..start + part.len()) else {
            return path.join("\0").into_bytes().into();
        };
        place[..start - length].fill(0);
        place[start - length..].copy_from_slice(part.as_bytes());
        length = start + part.len();
    }
    buffer[..length].into()
}

// SAFETY of all calls below: pointers and lengths come from live slices, and out-pointers from live locals.
impl Host for Abi {
    fn log(&self, level: Level, text: &str) {
        unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
    }

    fn log_level(&self) -> Level {
        let mut level = 0;
        match unsafe { proxy_get_log_level(&raw mut level) } {
            0 => Level::from_number(level),
            _ => Level::Trace,
        }
    }

    fn now(&self) -> u64 {
        let mut time = 0;
        unsafe { proxy_get_current_time_nanoseconds(&raw mut time) };
        time
    }

    fn set_tick(&self, period_ms: u32) {
        unsafe { proxy_set_tick_period_milliseconds(period_ms) };
    }

    fn header(&self, map: Map, name: &str) -> Option<Bytes> {
        bytes(|data, size| unsafe { proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size) })
            .ok()
    }

    fn headers(&self, map: Map) -> Bytes {
        bytes(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) }).unwrap_or_default()
    }

    fn set_header(&self, map: Map, name: &str, value: &[u8]) {
        unsafe { proxy_replace_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    }

    fn add_header(&self, map: Map, name: &str, value: &[u8]) {
        unsafe { proxy_add_header_map_value(map as u32, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    }

    fn remove_header(&self, map: Map, name: &str) {
        unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) };
    }

    fn buffer(&self, buffer: Buffer, start: usize, length: usize) -> Option<Bytes> {
        bytes(|data, size| unsafe { proxy_get_buffer_bytes(buffer as u32, start, length, data, size) }).ok()
    }

    fn set_buffer(&self, buffer: Buffer, bytes: &[u8]) {
        // Every host understands start 0 with a length beyond the buffer: replace all.
        unsafe { proxy_set_buffer_bytes(buffer as u32, 0, i32::MAX as usize, bytes.as_ptr(), bytes.len()) };
    }

    fn property(&self, path: &[&str]) -> Option<Bytes> {
        let mut buffer = [0; 64];
        let path = joined(path, &mut buffer);
        bytes(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) }).ok()
    }

    fn set_property(&self, path: &[&str], value: &[u8]) {
        let mut buffer = [0; 64];
        let path = joined(path, &mut buffer);
        unsafe { proxy_set_property(path.as_ptr(), path.len(), value.as_ptr(), value.len()) };
    }

    fn shared(&self, key: &str) -> (Option<Bytes>, u32) {
        let mut version = 0;
        let value =
            bytes(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version) })
                .ok();
        (value, version)
    }

    fn set_shared(&self, key: &str, value: &[u8], version: u32) -> Result<(), HostError> {
        check(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) })
    }

    fn http_call(&self, call: &CallParts<'_>) -> Result<u32, HostError> {
        let headers = call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let timeout = Duration::from_millis(call.timeout_ms.into());
        let body = (!call.body.is_empty()).then_some(call.body);
        proxy_wasm::hostcalls::dispatch_http_call(call.upstream, headers, body, Vec::new(), timeout)
            .map_err(|status| check(status as u32).err().unwrap_or(HostError::Failure))
    }

    fn reply(&self, reply: &Reply) {
        let (headers, body, details) = reply.parts();
        let headers = pairs::encode(headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())));
        #[rustfmt::skip]
        unsafe {
            proxy_send_local_response(
                reply.status().into(), details.as_ptr(), details.len(), body.as_ptr(), body.len(),
                headers.as_ptr(), headers.len(), -1,
            )
        };
    }

    fn resume(&self, direction: Direction) {
        unsafe { proxy_continue_stream(direction as u32) };
    }

    fn set_effective_context(&self, context: u32) {
        unsafe { proxy_set_effective_context(context) };
    }

    fn foreign(&self, name: &str, arguments: &[u8]) -> Result<Bytes, HostError> {
        #[rustfmt::skip]
        let result = bytes(|data, size| unsafe {
            proxy_call_foreign_function(name.as_ptr(), name.len(), arguments.as_ptr(), arguments.len(), data, size)
        });
        result
    }

    fn define_metric(&self, kind: MetricKind, name: &str) -> Option<u32> {
        let mut id = 0;
        check(unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) }).ok()?;
        Some(id)
    }

    fn increment_metric(&self, id: u32, by: i64) {
        unsafe { proxy_increment_metric(id, by) };
    }

    fn record_metric(&self, id: u32, value: u64) {
        unsafe { proxy_record_metric(id, value) };
    }
}
