//! WASI for guests without files.

use super::guest::Guest;
use super::stage::{Bench, spec};

fn configure(body: &str) -> Guest {
    Guest::new().on("proxy_on_configure", &format!("{body} (i32.const 1)")).on("proxy_on_log", "")
}

#[test]
fn the_configured_environment_is_all_there_is() {
    let guest = configure(
        "(drop (call $environ_sizes_get (i32.const 32) (i32.const 36)))
         (call $note (i32.const 1) (i32.load (i32.const 32)))
         (drop (call $environ_get (i32.const 64) (i32.const 256)))
         (call $note_bytes (i32.const 2) (i32.load (i32.const 68)) (i32.const 4))",
    );
    let mut spec = spec(&guest);
    spec.env = [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())].into();
    let bench = Bench::with(spec);
    assert_eq!((bench.number(1), bench.text(2).as_str()), (2, "B=2\0"));
}

#[test]
fn clocks_and_randomness_are_real() {
    let guest = configure(
        "(call $note (i32.const 1) (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 64)))
         (call $note_bytes (i32.const 2) (i32.const 64) (i32.const 8))
         (drop (call $proxy_get_current_time_nanoseconds (i32.const 64))) (call $note_bytes (i32.const 3) (i32.const 64) (i32.const 8))
         (call $note (i32.const 4) (call $clock_time_get (i32.const 3) (i64.const 0) (i32.const 64)))
         (call $note (i32.const 5) (call $random_get (i32.const 64) (i32.const 16)))
         (call $note_bytes (i32.const 6) (i32.const 64) (i32.const 16))
         (call $note (i32.const 7) (call $random_get (i32.const 64) (i32.const 70000)))",
    );
    let bench = Bench::new(&guest);
    assert_eq!([1, 4, 5, 7].map(|slot| bench.number(slot)), [0, 58, 0, 28]);
    let nanos = |slot| u64::from_le_bytes(bench.noted(slot).unwrap().as_ref().try_into().unwrap());
    assert!(nanos(2) > 1_600_000_000_000_000_000 && nanos(3) >= nanos(2));
    assert_ne!(bench.noted(6).unwrap(), [0; 16].as_slice());
}

#[test]
fn output_is_taken_and_other_descriptors_are_bad() {
    let guest = configure(
        "(i32.store (i32.const 64) (i32.const 128)) (i32.store (i32.const 68) (i32.const 3))
         (i32.store (i32.const 72) (i32.const 131)) (i32.store (i32.const 76) (i32.const 2))
         (call $note (i32.const 1) (call $fd_write (i32.const 1) (i32.const 64) (i32.const 2) (i32.const 32)))
         (call $note (i32.const 2) (i32.load (i32.const 32)))
         (call $note (i32.const 3) (call $fd_write (i32.const 7) (i32.const 64) (i32.const 2) (i32.const 32)))
         (call $note (i32.const 4) (call $fd_write (i32.const 1) (i32.const -8) (i32.const 2) (i32.const 32)))",
    );
    let bench = Bench::new(&guest);
    assert_eq!([1, 2, 3, 4].map(|slot| bench.number(slot)), [0, 5, 8, 21]);
}

#[test]
fn everything_else_is_not_allowed_under_either_name() {
    let text = r#"(module
        (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_unstable" "sock_shutdown" (func $shutdown (param i32 i32) (result i32)))
        (import "wasi_unstable" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
        (import "wasi_unstable" "proc_exit" (func $exit (param i32)))
        (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) (i32.const 1024))
        (func (export "_start") (call $exit (i32.const 0)))
        (func (export "proxy_on_configure") (param i32 i32) (result i32)
          (i32.store (i32.const 0) (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
            (i64.const 0) (i64.const 0) (i32.const 0) (i32.const 0)))
          (i32.store (i32.const 4) (call $shutdown (i32.const 3) (i32.const 0)))
          (i32.store (i32.const 8) (call $prestat (i32.const 3) (i32.const 0)))
          (i32.eqz (call $set (i32.const 64) (i32.const 4) (i32.const 0) (i32.const 12) (i32.const 0)))))"#;
    let plugin = super::engine().load("test", &wat::parse_str(text).unwrap()).unwrap();
    let mut spec = spec(&Guest::new().on("proxy_on_log", ""));
    spec.plugin = std::sync::Arc::new(plugin);
    let bench = Bench::with(spec);
    assert_eq!(bench.noted(0).unwrap(), [76, 0, 0, 0, 76, 0, 0, 0, 8, 0, 0, 0].as_slice());
}
