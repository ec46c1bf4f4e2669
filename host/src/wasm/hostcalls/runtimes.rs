//! What the runtimes of other languages import beside the ABI: emscripten's, and AssemblyScript's `abort`.

use wasmtime::{Caller, ExternType, FuncType, Linker, Module, Val, ValType};

use crate::wasm::fault::Abort;
use crate::wasm::host_state::HostState;
use crate::wasm::limits::LOG_LINE_BYTES;
use crate::wasm::log::printable;
use crate::wasm::memory::Guest;

pub(super) fn link(linker: &mut Linker<HostState>, module: &Module) -> wasmtime::Result<()> {
    linker.func_wrap("env", "emscripten_notify_memory_growth", |_: u32| ())?;
    linker.func_wrap("env", "pthread_equal", |left: u32, right: u32| u32::from(left == right))?;
    // AssemblyScript says what failed and where; C's `abort` says nothing. Either ends the instance.
    let imported = module.imports().find(|import| (import.module(), import.name()) == ("env", "abort"));
    let ty = match imported.map(|import| import.ty()) {
        Some(ExternType::Func(ty)) => ty,
        _ => FuncType::new(module.engine(), [ValType::I32, ValType::I32, ValType::I32, ValType::I32], []),
    };
    linker
        .func_new("env", "abort", ty, |caller, arguments, _| Err(Abort::trap(last_words(caller, arguments)).into()))?;
    Ok(())
}

fn last_words(caller: Caller<'_, HostState>, arguments: &[Val]) -> String {
    let words: Vec<u32> = arguments.iter().filter_map(Val::i32).map(i32::cast_unsigned).collect();
    let (&[message, file, line, column], Ok(mut guest)) = (&words[..], Guest::new(caller)) else {
        return "abort".to_owned();
    };
    format!("abort: {} in {}:{line}:{column}", text(&mut guest, message), text(&mut guest, file))
}

/// A string of AssemblyScript: UTF-16, its length in bytes in the word before it.
fn text(guest: &mut Guest<'_>, at: u32) -> String {
    let (memory, _) = guest.split();
    let length =
        at.checked_sub(4).and_then(|length| memory.bytes(length, 4).ok()).and_then(|word| word.try_into().ok());
    let length = length.map_or(0, u32::from_le_bytes).min(u32::try_from(LOG_LINE_BYTES).unwrap_or(u32::MAX));
    let units: Vec<u16> = memory
        .bytes(at, length)
        .unwrap_or_default()
        .chunks_exact(2)
        .filter_map(|unit| unit.try_into().ok().map(u16::from_le_bytes))
        .collect();
    printable(String::from_utf16_lossy(&units).as_bytes(), LOG_LINE_BYTES).into_owned()
}
