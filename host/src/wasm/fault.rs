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
    let (kind, what) = if kind != FaultKind::Deadline && host.memory_limit.denied() {
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

/// The innermost frames on one line: `a (src/lib.rs:3) < b < c`.
fn frames(trace: &WasmBacktrace) -> Option<String> {
    let frame = |frame: &wasmtime::FrameInfo| {
        if let Some(symbol) = frame.symbols().first() {
            let name = symbol.name().or(frame.func_name()).unwrap_or("?");
            return match (symbol.file(), symbol.line()) {
                (Some(file), Some(line)) => format!("{name} ({file}:{line})"),
                _ => name.to_owned(),
            };
        }
        frame.func_name().map_or_else(|| format!("function {}", frame.func_index()), str::to_owned)
    };
    let frames: Vec<_> = trace.frames().iter().take(FRAMES).map(frame).collect();
    (!frames.is_empty()).then(|| frames.join(" < "))
}
