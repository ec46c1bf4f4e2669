//! What is refused when a module is loaded, and with which words.

use super::engine;
use super::guest::Guest;
use crate::config::PauseMeaning;

fn refusal(bytes: &[u8]) -> String {
    match engine().load("broken", bytes) {
        Ok(_) => panic!("it loads"),
        Err(error) => error.to_string(),
    }
}

fn module(text: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {text})")).unwrap()
}

const MEMORY: &str = r#"(memory (export "memory") 1)"#;
const MALLOC: &str = r#"(func (export "malloc") (param i32) (result i32) (i32.const 8))"#;
const CALLBACK: &str = r#"(func (export "proxy_on_log") (param i32))"#;

#[test]
fn a_broken_module_is_refused_with_what_is_wrong() {
    let custom = |name: &str, text: &str| module(&format!("{MEMORY}{MALLOC}{CALLBACK}(@custom \"{name}\" \"{text}\")"));
    let cases: [(&str, Vec<u8>, &str); 15] = [
        ("empty", Vec::new(), "it is empty"),
        ("text", b"#!/bin/sh\n".to_vec(), "it is not WebAssembly"),
        ("cut in the header", b"\0asm\x01".to_vec(), "it is cut off, or of an unknown version of WebAssembly"),
        (
            "a component",
            b"\0asm\x0d\0\x01\0".to_vec(),
            "it is a WebAssembly component; a core module is needed (target wasm32-wasip1)",
        ),
        ("huge", vec![0; (32 << 20) + 1], "it has 33554433 bytes, more than the 33554432 that are compiled"),
        ("no memory", module(&format!("{MALLOC}{CALLBACK}")), "it exports no memory named \"memory\""),
        (
            "no allocator",
            module(&format!("{MEMORY}{CALLBACK}")),
            "it exports no allocator: neither proxy_on_memory_allocate nor malloc",
        ),
        ("no callback", module(&format!("{MEMORY}{MALLOC}")), "it exports no Proxy-Wasm callback (proxy_on_…)"),
        (
            "allocator of another type",
            module(&format!(r#"{MEMORY}{CALLBACK}(func (export "malloc") (param i64) (result i32) (i32.const 8))"#)),
            "its export malloc has the wrong signature: 1 i32 parameters and a result of i32 are expected",
        ),
        (
            "callback of another type",
            module(&format!(
                r#"{MEMORY}{MALLOC}(func (export "proxy_on_request_headers") (param i32) (result i32) (i32.const 0))"#
            )),
            "its export proxy_on_request_headers has the wrong signature: 2 or 3 i32 parameters and a result of i32 are expected",
        ),
        (
            "callback that is no function",
            module(&format!(r#"{MEMORY}{MALLOC}(global (export "proxy_on_log") i32 (i32.const 0))"#)),
            "its export proxy_on_log is not a function",
        ),
        (
            "imported memory",
            module(&format!(r#"(import "env" "memory" (memory 1)){MALLOC}{CALLBACK}(export "memory" (memory 0))"#)),
            "it imports env.memory, which is not a function; only functions can be imported",
        ),
        (
            "hostcall of another type",
            module(&format!(r#"(import "env" "proxy_log" (func (param i32))){MEMORY}{MALLOC}{CALLBACK}"#)),
            "its imports do not fit: incompatible import type for `env::proxy_log`: types incompatible: \
             expected type `(func (param i32))`, found type `(func (param i32 i32 i32) (result i32))`",
        ),
        (
            "manifest that is no JSON",
            custom("sluicegate.manifest", "{"),
            "its section sluicegate.manifest cannot be read: EOF while parsing an object at line 1 column 1",
        ),
        (
            "schema that is no object",
            custom("sluicegate.schema", "[]"),
            "its section sluicegate.schema is not a JSON object",
        ),
    ];
    for (name, bytes, expected) in cases {
        assert_eq!(refusal(&bytes), expected, "{name}");
    }
}

#[test]
fn a_module_that_would_keep_the_compiler_busy_is_refused() {
    let values = "i32 ".repeat(500);
    let wide = format!(
        "(type $wide (func (param {values}) (result {values}))) (func (result {values}) {} {})",
        "(i32.const 0)".repeat(500),
        "(if (type $wide) (i32.const 1) (then) (else))".repeat(100),
    );
    let locals = |count: usize| format!("(local {})", "i64 ".repeat(count));
    let branches = |count: usize| "(block (br 0))".repeat(count / 2);
    let (nested, ends) = ("(loop ".repeat(201), ")".repeat(201));
    for (function, expected) in [
        (format!("(func {})", locals(10_001)), "10001 local variables, more than 10000"),
        (format!("(func {})", branches(25_002)), "25002 branches, more than 25000"),
        (wide, "200200 branches, more than 25000"),
        (
            format!("(func (param i32) (block (br_table {} (local.get 0))))", "0 ".repeat(25_001)),
            "25002 branches, more than 25000",
        ),
        (
            format!("(func {} {})", locals(1000), branches(5002)),
            "5002000 branches times local variables, more than 5000000",
        ),
        (format!("(func {})", "(loop)".repeat(2001)), "2001 loops, more than 2000"),
        (format!("(func {nested}{ends})"), "201 loops inside each other, more than 200"),
    ] {
        let said = refusal(&module(&format!("{MEMORY}{MALLOC}{CALLBACK}{function}")));
        let expected = format!("its function 2 (not counting imports) would keep the compiler busy: {expected}");
        assert_eq!(said, expected);
    }
    let many = format!("(func {})", locals(9_000)).repeat(900);
    let said = refusal(&module(&format!("{MEMORY}{MALLOC}{CALLBACK}{many}")));
    assert_eq!(said, "its functions have more than 8000000 local variables");
    let large = format!("(func {} {})", locals(1000), branches(2000));
    assert!(engine().load("large", &module(&format!("{MEMORY}{MALLOC}{CALLBACK}{large}"))).is_ok());
}

#[test]
fn a_module_that_is_cut_off_anywhere_is_refused() {
    let whole = Guest::new().on("proxy_on_log", "").wasm();
    for end in (0..whole.len()).step_by(97) {
        assert!(engine().load("cut", &whole[..end]).is_err(), "cut at {end}");
    }
    assert!(engine().load("whole", &whole).is_ok());
}

#[test]
fn proposals_that_filters_do_not_need_are_off() {
    for (name, text) in [
        ("memory64", r#"(memory (export "memory") i64 1)"#),
        ("threads", r#"(memory (export "memory") 1 1 shared)"#),
        ("several memories", r#"(memory (export "memory") 1) (memory 1)"#),
        ("tail calls", r#"(memory (export "memory") 1) (func $f return_call $f)"#),
        ("exceptions", r#"(memory (export "memory") 1) (tag)"#),
        ("garbage collection", r#"(memory (export "memory") 1) (type (struct (field i32)))"#),
    ] {
        let error = refusal(&module(&format!("{text}{MALLOC}{CALLBACK}")));
        assert!(error.starts_with("it does not compile: "), "{name}: {error}");
    }
}

#[test]
fn unknown_imports_load_with_a_warning_each() {
    let text = format!(
        r#"(import "env" "proxy_redis_init" (func (param i32 f64)))
           (import "env" "proxy_redis_init" (func (param i32 f64)))
           (import "wasi_snapshot_preview1" "path_open" (func (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
           (import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
           {MEMORY}{MALLOC}{CALLBACK}(func (export "proxy_abi_version_0_1_0"))"#
    );
    let plugin = engine().load("vendor", &module(&text)).unwrap();
    assert_eq!(
        plugin.warnings,
        ["it imports env.proxy_redis_init, which this host does not have: calling it ends the instance"]
    );
}

#[test]
fn a_module_of_an_unknown_version_loads_with_a_warning() {
    let plugin = engine().load("old", &module(&format!("{MEMORY}{MALLOC}{CALLBACK}"))).unwrap();
    assert_eq!(plugin.warnings, ["it does not say which version of the ABI it speaks; 0.2.1 is assumed"]);
    assert_eq!(plugin.digest.len(), 64);
}

#[test]
fn route_cache_functions_link_with_and_without_a_result() {
    for result in ["", "(result i32)"] {
        let text = format!(
            r#"(import "env" "proxy_clear_route_cache" (func {result}))
               (import "env" "proxy_continue_response" (func {result})){MEMORY}{MALLOC}{CALLBACK}"#
        );
        assert!(engine().load("old", &module(&text)).is_ok(), "{result}");
    }
}

#[test]
fn the_manifest_narrows_the_callbacks_and_says_what_pause_means() {
    let manifest = r#"{\"callbacks\": [\"request_headers\", \"request_body\"], \"pause\": \"stop_iteration\", \"streams\": [\"response\"]}"#;
    let guest = Guest::new()
        .on("proxy_on_request_headers", "(i32.const 0)")
        .on("proxy_on_response_headers", "(i32.const 0)")
        .on("proxy_on_log", "")
        .raw(&format!("(@custom \"sluicegate.manifest\" \"{manifest}\") (@custom \"sluicegate.schema\" \"{{}}\")"));
    let plugin = engine().load("sdk", &guest.wasm()).unwrap();
    assert!(plugin.callbacks.request_headers);
    assert!(!plugin.callbacks.request_body, "named, but not exported");
    assert!(!plugin.callbacks.response_headers, "exported, but not named");
    assert!(!plugin.callbacks.finish);
    assert!(plugin.callbacks.streams_response_body);
    assert_eq!(plugin.pause, Some(PauseMeaning::StopIteration));
    assert_eq!(plugin.schema.as_deref(), Some("{}"));
}

#[test]
fn what_runtimes_of_other_languages_import_is_there_under_every_signature() {
    for imports in [
        r#"(import "env" "abort" (func (param i32 i32 i32 i32)))"#,
        r#"(import "env" "abort" (func))"#,
        r#"(import "env" "emscripten_notify_memory_growth" (func (param i32)))"#,
        r#"(import "env" "pthread_equal" (func (param i32 i32) (result i32)))"#,
    ] {
        let plugin = engine().load("other", &module(&format!("{imports}{MEMORY}{MALLOC}{CALLBACK}"))).unwrap();
        assert!(plugin.unsupported.is_empty(), "{imports}: {:?}", plugin.unsupported);
    }
}
