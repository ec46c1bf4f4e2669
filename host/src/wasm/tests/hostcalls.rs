//! The table of hostcalls: what is linked is in it, and what is answered, whatever a guest passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use wasmtime::{Engine, Linker, Module, Store};

use super::guest::{Guest, IMPORTS};
use super::stage::{Bench, on_worker, spec};
use crate::config::capabilities::AREAS;
use crate::wasm::host_state::Purpose;
use crate::wasm::hostcalls;
use crate::wasm::testing::host;

/// Statuses that the Rust SDK expects of a hostcall besides OK (abi 0.2.1; those that are not here expect OK alone). It panics on
/// others.
const EXPECTED: [(&str, &[u32]); 20] = [
    ("proxy_get_buffer_bytes", &[1]),
    ("proxy_get_buffer_status", &[1]),
    ("proxy_get_configuration", &[1]),
    ("proxy_get_header_map_value", &[1]),
    ("proxy_get_property", &[1, 3, 10]),
    ("proxy_get_shared_data", &[1]),
    ("proxy_set_shared_data", &[8]),
    ("proxy_resolve_shared_queue", &[1]),
    ("proxy_enqueue_shared_queue", &[1]),
    ("proxy_dequeue_shared_queue", &[1, 7]),
    ("proxy_http_call", &[10]),
    ("proxy_grpc_call", &[4, 10]),
    ("proxy_grpc_stream", &[4, 10]),
    ("proxy_grpc_send", &[1]),
    ("proxy_grpc_cancel", &[1]),
    ("proxy_grpc_close", &[1]),
    ("proxy_call_foreign_function", &[1, 3, 10]),
    ("proxy_get_metric", &[1]),
    ("proxy_record_metric", &[1]),
    ("proxy_increment_metric", &[1]),
];

/// Statuses for arguments that an SDK cannot produce: unknown types, addresses beyond the memory.
const MISUSE: [u32; 2] = [2, 6];

/// Pseudo headers of a request.
const PSEUDO: usize = 4;

/// Hostcall → statuses beside OK, as the documentation says.
fn table() -> BTreeMap<String, BTreeSet<u32>> {
    let row = |line: &str| {
        let mut cells = line.strip_prefix("//! | `")?.split('|').map(str::trim);
        let name = cells.next()?.strip_suffix('`')?.to_owned();
        let statuses = cells.nth(1)?.split_whitespace().map(|status| status.parse().unwrap()).collect();
        (!name.contains(' ')).then_some((name, statuses))
    };
    include_str!("../hostcalls/mod.rs").lines().filter_map(row).collect()
}

#[test]
fn the_table_has_exactly_what_is_linked() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    hostcalls::link(&mut linker, &Module::new(&engine, b"\0asm\x01\0\0\0").unwrap()).unwrap();
    let host = host(&spec(&Guest::new().on("proxy_on_request_headers", "(i32.const 0)")), Purpose::Canary);
    let mut store = Store::new(&engine, host);
    let mut linked: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, name, _) in linker.iter(&mut store) {
        linked.entry(module.to_owned()).or_default().insert(name.to_owned());
    }
    assert_eq!(linked["env"], table().into_keys().collect());
    // Every function of WASI preview 1, under both of its names.
    assert_eq!(linked["wasi_snapshot_preview1"].len(), 46);
    assert_eq!(linked["wasi_unstable"], linked["wasi_snapshot_preview1"]);
    assert_eq!(linked.len(), 3, "{:?}", linked.keys());
}

#[test]
fn every_hostcall_but_those_of_a_runtime_belongs_to_an_area_of_the_configuration() {
    let areas: BTreeSet<String> = AREAS.iter().flat_map(|(_, hostcalls)| *hostcalls).map(|&name| name.into()).collect();
    let table: BTreeSet<String> = table().into_keys().filter(|name| name.starts_with("proxy_")).collect();
    assert_eq!(areas, table);
}

#[test]
fn the_rust_sdk_survives_every_status_but_those_of_misuse() {
    for (name, statuses) in table() {
        let expected = EXPECTED.iter().find(|(known, _)| *known == name).map_or(&[][..], |(_, expected)| expected);
        let unexpected: Vec<_> =
            statuses.iter().filter(|status| !expected.contains(status) && !MISUSE.contains(status)).collect();
        assert!(unexpected.is_empty(), "{name} answers {unexpected:?}");
    }
}

/// A guest that makes one call per number of request headers, and notes its answer under that number.
fn caller(name: &str, cases: &[Vec<i64>]) -> Guest {
    let (_, _, parameters, answers) = IMPORTS.iter().find(|(_, known, ..)| *known == name).expect("an import");
    let mut body = String::new();
    for (case, arguments) in cases.iter().enumerate() {
        let mut call = format!("(call ${name}");
        for (kind, argument) in parameters.chars().zip(arguments) {
            write!(call, " ({}.const {argument})", if kind == 'l' { "i64" } else { "i32" }).unwrap();
        }
        call.push(')');
        let noted = if *answers { call } else { format!("{call} (i32.const 0)") };
        let status = format!("(local.set $i (block (result i32) {noted}))");
        // A reply or a reset keeps nothing from being noted.
        let note = format!("(call $note (i32.const {case}) (local.get $i))");
        write!(body, "(if (i32.eq (local.get $count) (i32.const {})) (then {status} {note}))", case + PSEUDO).unwrap();
    }
    Guest::new().on("proxy_on_request_headers", &format!("{body} (i32.const 0)"))
}

#[test]
fn whatever_a_guest_passes_it_gets_a_status_of_the_table_or_loses_its_instance_only() {
    const MEMORY: i64 = 4 * 65536;
    const HOSTILE: [i64; 8] = [0, -1, i32::MAX as i64, i32::MIN as i64, MEMORY - 1, MEMORY, MEMORY + 1, -4096];
    let table = table();
    for (module, name, parameters, answers) in IMPORTS {
        if module != "env" || parameters.is_empty() || !answers {
            continue;
        }
        let mut cases = Vec::new();
        for hostile in HOSTILE {
            cases.push(vec![hostile; parameters.len()]);
            // The others are an address or a size that exists; the first is often a type, of which 0 exists.
            for first in [0, 16] {
                cases.extend((0..parameters.len()).map(|place| {
                    let mut arguments = vec![16; parameters.len()];
                    arguments[0] = first;
                    arguments[place] = hostile;
                    arguments
                }));
            }
        }
        on_worker(async { try_all(name, &cases, &table[name]) });
    }
}

/// Makes each call in a request of its own, and after each a request without any, which must pass.
fn try_all(name: &str, cases: &[Vec<i64>], statuses: &BTreeSet<u32>) {
    let bench = Bench::new(&caller(name, cases));
    for (case, arguments) in cases.iter().enumerate() {
        let talk = bench.exchange();
        let request = talk.request(&vec![("x-a", "1"); case], &[]).expect("an outcome, never a hang");
        talk.chain.finish();
        match bench.noted(u32::try_from(case).unwrap()) {
            Some(status) => {
                let status = u32::from_le_bytes(status.as_ref().try_into().unwrap());
                assert!(status == 0 || statuses.contains(&status), "{name}{arguments:?} answered {status}");
            }
            None => assert!(request.head.is_err(), "{name}{arguments:?} vanished"),
        }
        let talk = bench.exchange();
        let request = talk.request(&vec![("x-a", "1"); cases.len()], &[]).expect("an outcome");
        assert!(request.head.is_ok(), "after {name}{arguments:?}: {:?}", request.head);
        talk.chain.finish();
    }
}
