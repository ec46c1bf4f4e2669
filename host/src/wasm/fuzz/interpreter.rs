//! A guest that makes whatever hostcalls its input says. It is generated from what the host links, so that a new hostcall is
//! called too.
//!
//! The input is a program for all callbacks together. A byte chooses a hostcall, the bytes after it are its arguments; 255 ends
//! the callback, and the byte after it is what the callback answers.
//!
//! | a byte of an argument | means |
//! |---|---|
//! | `00`–`7f` | that number: a type, a size, an id |
//! | `80`–`bf` | an address inside the input |
//! | `c0`–`df` | an address for results |
//! | `e0`–`ef` | what stands at such an address: what an earlier hostcall answered |
//! | `f0`–`f7` | an address or size at the edge of something |
//! | `f8`–`ff` | the next four bytes |

use std::fmt::Write as _;

use wasmtime::{Engine, Extern, FuncType, Linker, Module, Store, ValType};

use crate::wasm::host_state::Purpose;
use crate::wasm::hostcalls;
use crate::wasm::testing::guest::Guest;
use crate::wasm::testing::host;
use crate::wasm::testing::stage::spec;

/// Most bytes of a program; the rest is left out.
pub(super) const PROGRAM_BYTES: usize = 4096;
/// The key of the shared data that holds the program.
pub(super) const PROGRAM: &str = "program";

/// Callbacks whose answer the program chooses, with their number of parameters.
const ANSWERING: [(&str, usize); 6] = [
    ("proxy_on_request_headers", 3),
    ("proxy_on_request_body", 3),
    ("proxy_on_request_trailers", 2),
    ("proxy_on_response_headers", 3),
    ("proxy_on_response_body", 3),
    ("proxy_on_response_trailers", 2),
];
/// Callbacks without an answer.
const SILENT: [(&str, usize); 10] = [
    ("proxy_on_context_create", 2),
    ("proxy_on_tick", 1),
    ("proxy_on_queue_ready", 2),
    ("proxy_on_http_call_response", 5),
    ("proxy_on_grpc_receive_initial_metadata", 3),
    ("proxy_on_grpc_receive", 3),
    ("proxy_on_grpc_receive_trailing_metadata", 3),
    ("proxy_on_grpc_close", 3),
    ("proxy_on_log", 1),
    ("proxy_on_delete", 1),
];

/// What is the same for every list of hostcalls. The input is at 64 KiB, results are below 128, the heap begins at 128 KiB and
/// grows as far as it may.
const INTERPRETER: &str = r#"
  (memory (export "memory") 4)
  (global $at (mut i32) (i32.const 65536))
  (global $end (mut i32) (i32.const 65536))
  (global $heap (mut i32) (i32.const 131072))
  (data (i32.const 256) "program")
  (data (i32.const 512) "\00\00\00\00\ff\ff\ff\ff\ff\ff\ff\7f\00\00\00\80\ff\ff\03\00\00\00\04\00\01\00\04\00\00\f0\ff\ff")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $address i32)
    (local.set $address (global.get $heap))
    (if (i32.gt_u (local.get $size) (i32.const 0x400000)) (then (return (i32.const 0))))
    (global.set $heap (i32.add (global.get $heap) (local.get $size)))
    (if (i32.gt_u (global.get $heap) (i32.shl (memory.size) (i32.const 16)))
      (then (if (i32.eq (i32.const -1) (memory.grow (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1))))
        (then (return (i32.const 0))))))
    (local.get $address))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32)
    (local $size i32)
    (drop (call $shared (i32.const 256) (i32.const 7) (i32.const 128) (i32.const 132) (i32.const 136)))
    (local.set $size (i32.load (i32.const 132)))
    (memory.copy (i32.const 65536) (i32.load (i32.const 128)) (local.get $size))
    (global.set $end (i32.add (i32.const 65536) (local.get $size)))
    (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (drop (call $run)) (i32.const 1))
  (func (export "proxy_on_done") (param i32) (result i32)
    (i32.or (call $run) (i32.ge_u (global.get $at) (global.get $end))))
  (func $byte (result i32)
    (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
    (i32.load8_u (global.get $at))
    (global.set $at (i32.add (global.get $at) (i32.const 1))))
  (func $argument (result i32)
    (local $byte i32)
    (local.set $byte (call $byte))
    (if (i32.lt_u (local.get $byte) (i32.const 0x80)) (then (return (local.get $byte))))
    (if (i32.lt_u (local.get $byte) (i32.const 0xc0))
      (then (return (i32.add (i32.const 65536) (i32.shl (i32.and (local.get $byte) (i32.const 63)) (i32.const 2))))))
    (if (i32.lt_u (local.get $byte) (i32.const 0xe0))
      (then (return (i32.shl (i32.and (local.get $byte) (i32.const 31)) (i32.const 2)))))
    (if (i32.lt_u (local.get $byte) (i32.const 0xf0))
      (then (return (i32.load (i32.shl (i32.and (local.get $byte) (i32.const 15)) (i32.const 2))))))
    (if (i32.lt_u (local.get $byte) (i32.const 0xf8))
      (then (return (i32.load (i32.add (i32.const 512) (i32.shl (i32.and (local.get $byte) (i32.const 7)) (i32.const 2)))))))
    (global.set $at (i32.add (global.get $at) (i32.const 4)))
    (i32.load (i32.sub (global.get $at) (i32.const 4))))
  (func $run (result i32)
    (local $op i32)
    (loop $next
      (if (i32.ge_u (global.get $at) (global.get $end)) (then (return (i32.const 0))))
      (local.set $op (call $byte))
      (if (i32.eq (local.get $op) (i32.const 255)) (then (return (i32.and (call $byte) (i32.const 7)))))
      (call_indirect (i32.rem_u (local.get $op) (global.get $ops)))
      (br $next))
    unreachable)
"#;

/// The guest as a module.
pub(super) fn module() -> Vec<u8> {
    let (mut imports, mut functions, mut names) = (String::new(), String::new(), String::new());
    let linked = linked();
    for (number, (module, name, ty)) in linked.iter().enumerate() {
        write(
            &mut imports,
            format_args!("(import \"{module}\" \"{name}\" (func $import{number} {}))\n", signature(ty)),
        );
        let arguments: String = ty.params().map(|ty| argument(&ty)).collect();
        let drop = if ty.results().len() > 0 { "drop" } else { "" };
        write(&mut functions, format_args!("(func $op{number} (call $import{number} {arguments}) {drop})\n"));
        write(&mut names, format_args!("$op{number} "));
    }
    let shared = linked.iter().position(|(_, name, _)| name == "proxy_get_shared_data").expect("a hostcall");
    for (callback, parameters) in ANSWERING {
        let parameters = "i32 ".repeat(parameters);
        write(
            &mut functions,
            format_args!("(func (export \"{callback}\") (param {parameters}) (result i32) (call $run))\n"),
        );
    }
    for (callback, parameters) in SILENT {
        let parameters = "i32 ".repeat(parameters);
        write(&mut functions, format_args!("(func (export \"{callback}\") (param {parameters}) (drop (call $run)))\n"));
    }
    let text = format!(
        "(module {imports} {} (global $ops i32 (i32.const {}))
         (table funcref (elem {names})) {functions})",
        INTERPRETER.replace("$shared", &format!("$import{shared}")),
        linked.len(),
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Every function that the host links, by module and name; WASI under one of its two names.
fn linked() -> Vec<(String, String, FuncType)> {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    let empty = Module::new(&engine, b"\0asm\x01\0\0\0").expect("an empty module");
    hostcalls::link(&mut linker, &empty).expect("everything is linked");
    let host = host(&spec(&Guest::new().on("proxy_on_log", "")), Purpose::Canary);
    let mut store = Store::new(&engine, host);
    let items: Vec<_> = linker.iter(&mut store).map(|(m, n, item)| (m.to_owned(), n.to_owned(), item)).collect();
    let function = |(module, name, item): (String, String, Extern)| match item {
        Extern::Func(function) if module != "wasi_unstable" => Some((module, name, function.ty(&store))),
        _ => None,
    };
    let mut functions: Vec<_> = items.into_iter().filter_map(function).collect();
    functions.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
    functions
}

fn signature(ty: &FuncType) -> String {
    let words = |types: Vec<ValType>| types.iter().map(|ty| format!(" {ty}")).collect::<String>();
    format!("(param{}) (result{})", words(ty.params().collect()), words(ty.results().collect()))
}

fn argument(ty: &ValType) -> &'static str {
    match ty {
        ValType::I64 => "(i64.extend_i32_s (call $argument)) ",
        _ => "(call $argument) ",
    }
}

fn write(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("a String takes everything");
}
