//! What ended an instance: traps and hostcall errors as wasmtime reports them → [`Fault`]s.

use std::rc::Rc;

use wasmtime::{Trap, WasmBacktrace};

use super::host_state::HostState;
use crate::filter::{Fault, FaultKind};

/// Frames of a trap that are shown: the innermost ones say what happened.
const FRAMES: usize = 8;

/// A hostcall ends the instance.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(super) struct Abort {
    pub(super) kind: FaultKind,
    pub(super) detail: String,
}

impl Abort {
    /// The guest broke the ABI.
    pub(super) fn abi(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Abi, detail: detail.into() }
    }
    /// The guest wants to end, or called what is not there.
    pub(super) fn trap(detail: impl Into<String>) -> Self {
        Self { kind: FaultKind::Trap, detail: detail.into() }
    }
}

/// `proc_exit`: nothing can be called any more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("exited with code {0}")]
pub(super) struct Exit(pub(super) u32);

/// Reads an error that came out of `callback`. The guest's last words (a panic message) lead the detail.
pub(super) fn classify(error: &wasmtime::Error, callback: &str, host: &HostState) -> Fault {
    let (kind, what) = if let Some(abort) = error.downcast_ref::<Abort>() {
        (abort.kind, abort.detail.clone())
    } else if let Some(Trap::Interrupt) = error.downcast_ref::<Trap>() {
        (FaultKind::Deadline, "ran past its deadline".to_owned())
    } else {
        (FaultKind::Trap, error.root_cause().to_string())
    };
    let (kind, what) = if kind != FaultKind::Deadline && host.memory_limit.denied().is_some() {
        (FaultKind::Memory, format!("passed its memory ceiling of {} bytes; {what}", host.memory_limit.ceiling()))
    } else {
        (kind, what)
    };
    let mut detail = format!("{callback}: ");
    if let Some(words) = host.log.last_words() {
        detail.push_str(&words);
        detail.push_str("; ");
    }
    detail.push_str(&what);
    if let Some(frames) = error.downcast_ref::<WasmBacktrace>().and_then(frames) {
        detail.push_str("; in ");
        detail.push_str(&frames);
    }
    Fault { kind, detail: Rc::from(detail) }
}

/// Beginnings of the names of functions that only carry a panic out: what is behind them has said or done it.
const MACHINERY: [&str; 10] = [
    "__rustc::",
    "rust_begin_unwind",
    "rust_panic",
    "__rust_",
    "core::panicking::",
    "core::option::unwrap_failed",
    "core::option::expect_failed",
    "core::result::unwrap_failed",
    "std::panicking::",
    "std::sys::",
];

/// The innermost frames on one line, without those of a panic itself: `a (src/lib.rs:3) < b < c`.
fn frames(trace: &WasmBacktrace) -> Option<String> {
    let all: Vec<(String, Option<String>)> = trace.frames().iter().map(frame).collect();
    let own = all.iter().filter(|(name, _)| !MACHINERY.iter().any(|beginning| name.starts_with(beginning)));
    let written = |(name, place): &(String, Option<String>)| match place {
        Some(place) => format!("{name} ({place})"),
        None => name.clone(),
    };
    let own: Vec<String> = own.take(FRAMES).map(written).collect();
    (!own.is_empty()).then(|| own.join(" < "))
}

/// A function as its author knows it, and where in its source.
fn frame(frame: &wasmtime::FrameInfo) -> (String, Option<String>) {
    let symbol = frame.symbols().first();
    let name = symbol.and_then(|symbol| symbol.name()).or(frame.func_name());
    let name = name.map_or_else(|| format!("function {}", frame.func_index()), demangled);
    let place = symbol.and_then(|symbol| Some(format!("{}:{}", symbol.file()?, symbol.line()?)));
    (name, place)
}

/// Rust's names without their hashes; those of other languages as they are.
fn demangled(name: &str) -> String {
    format!("{:#}", rustc_demangle::demangle(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rust_are_read_and_others_stay() {
        assert_eq!(demangled("_ZN4core9panicking9panic_fmt17h0123456789abcdefE"), "core::panicking::panic_fmt");
        assert_eq!(demangled("proxy_on_request_headers"), "proxy_on_request_headers");
    }
}
