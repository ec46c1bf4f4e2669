//! What the boundary between host and guest costs: `cargo bench -p sluicegate-tests --bench boundary`.
//!
//! Filters are real modules on a real chain, without sockets: what is measured is one exchange, or one hostcall of the hundred
//! that a callback makes. Then the gateway itself is started, and files are exchanged under it.
#![allow(missing_docs, reason = "A benchmark has no callers.")]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "A benchmark speaks by failing and printing.")]

mod stage;
mod swaps;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use sluicegate_tests::wat::{Wat, header_guest};
use stage::{Stage, exchange};
use tokio::runtime::LocalOptions;

/// Hostcalls in one callback.
const CALLS: usize = 100;

fn main() {
    // Timers of filters need a worker's runtime around them.
    let worker = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    worker.expect("the runtime starts").block_on(async { divan::main() });
    swaps::measure();
}

#[divan::bench_group]
mod exchanges {
    use super::*;

    #[divan::bench]
    fn chain_without_filters(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| exchange(&stage::filters(&[])));
    }
    #[divan::bench]
    fn filter_without_callbacks(bencher: Bencher<'_, '_>) {
        with_guest(bencher, &Wat::new().on("proxy_on_log", "").without("proxy_on_log").on("proxy_on_tick", "").build());
    }
    #[divan::bench]
    fn filter_with_two_empty_callbacks(bencher: Bencher<'_, '_>) {
        let guest = Wat::new().doing("proxy_on_request_headers", "").doing("proxy_on_response_headers", "");
        with_guest(bencher, &guest.build());
    }
    #[divan::bench]
    fn filter_that_adds_a_header_each_way(bencher: Bencher<'_, '_>) {
        with_guest(bencher, &header_guest());
    }
    #[divan::bench(args = [2, 6, 11])]
    fn filters_that_add_a_header_each_way(bencher: Bencher<'_, '_>, count: usize) {
        let stages: Vec<Stage> = (0..count).map(|_| Stage::new(&header_guest())).collect();
        bencher.bench_local(|| exchange(&stage::filters(&stages)));
    }

    fn with_guest(bencher: Bencher<'_, '_>, module: &[u8]) {
        let stages = [Stage::new(module)];
        bencher.bench_local(|| exchange(&stage::filters(&stages)));
    }
}

#[divan::bench_group]
mod first_party {
    use super::*;

    #[divan::bench]
    fn no_filter(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| stage::exchange_of(&stage::filters(&[]), stage::browser()));
    }
    /// The fifth, `log`, would write its lines into the table; the benchmark of the gateway has it.
    #[divan::bench(args = ["cors", "auth", "rate-limit", "transform"])]
    fn one(bencher: Bencher<'_, '_>, name: &str) {
        let five = sluicegate_tests::guests::five();
        let (_, config) = five.iter().find(|(known, _)| *known == name).expect("one of the five");
        let stages = [Stage::with_config(&sluicegate_tests::guests::bundled(name), &config.to_string())];
        bencher.bench_local(|| stage::exchange_of(&stage::filters(&stages), stage::browser()));
    }
}

#[divan::bench_group]
mod hostcalls {
    use super::*;

    #[divan::bench]
    fn none(bencher: Bencher<'_, '_>) {
        calls(bencher, Wat::new(), "(drop (i32.const 0))");
    }
    #[divan::bench]
    fn read_the_clock(bencher: Bencher<'_, '_>) {
        calls(bencher, Wat::new(), "(drop (call $clock (i32.const 8)))");
    }
    #[divan::bench]
    fn read_one_of_twenty_headers(bencher: Bencher<'_, '_>) {
        calls(
            bencher,
            Wat::new(),
            "(drop (call $get_header (i32.const 0) (text \"x-field-15\") (i32.const 8) (i32.const 12)))",
        );
    }
    #[divan::bench]
    fn replace_a_header(bencher: Bencher<'_, '_>) {
        calls(
            bencher,
            Wat::new(),
            "(drop (call $replace_header (i32.const 0) (text \"x-field-15\") (text \"value\")))",
        );
    }
    #[divan::bench]
    fn read_all_of_twenty_headers(bencher: Bencher<'_, '_>) {
        calls(bencher, Wat::new(), "(drop (call $get_pairs (i32.const 0) (i32.const 8) (i32.const 12)))");
    }
    #[divan::bench]
    fn read_a_property(bencher: Bencher<'_, '_>) {
        calls(
            bencher,
            Wat::new(),
            "(drop (call $get_property (text \"request\\00path\") (i32.const 8) (i32.const 12)))",
        );
    }
    #[divan::bench]
    fn read_shared_data(bencher: Bencher<'_, '_>) {
        calls(
            bencher,
            Wat::new(),
            "(drop (call $get_shared (text \"key\") (i32.const 8) (i32.const 12) (i32.const 16)))",
        );
    }
    #[divan::bench]
    fn write_shared_data(bencher: Bencher<'_, '_>) {
        calls(bencher, Wat::new(), "(drop (call $set_shared (text \"key\") (text \"value\") (i32.const 0)))");
    }
    #[divan::bench]
    fn count_a_metric(bencher: Bencher<'_, '_>) {
        let guest = Wat::new()
            .import("(import \"env\" \"proxy_increment_metric\" (func $increment (param i32 i64) (result i32)))")
            .doing("proxy_on_configure", "(drop (call $define_metric (i32.const 0) (text \"hits\") (i32.const 8)))");
        calls(bencher, guest, "(drop (call $increment (i32.load (i32.const 8)) (i64.const 1)))");
    }
    #[divan::bench]
    fn call_a_foreign_function(bencher: Bencher<'_, '_>) {
        calls(
            bencher,
            Wat::new(),
            "(drop (call $foreign (text \"sluicegate.kv_get\") (text \"key\") (i32.const 8) (i32.const 12)))",
        );
    }

    /// One callback makes the call a hundred times; the result is per call, with the callback and its exchange.
    fn calls(bencher: Bencher<'_, '_>, guest: Wat, call: &str) {
        let body = format!(
            "(local $i i32) (loop $again {call}
               (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {CALLS})))) (i32.const 0)"
        );
        let stages = [Stage::new(&guest.on("proxy_on_request_headers", &body).build())];
        bencher.counter(ItemsCount::new(CALLS)).bench_local(|| exchange(&stage::filters(&stages)));
    }
}

#[divan::bench_group]
mod instances {
    use super::*;

    #[divan::bench]
    fn start_of_a_small_module(bencher: Bencher<'_, '_>) {
        start(bencher, &header_guest());
    }
    #[divan::bench]
    fn start_of_the_cors_filter(bencher: Bencher<'_, '_>) {
        start(bencher, &sluicegate_tests::guests::bundled("cors"));
    }

    fn start(bencher: Bencher<'_, '_>, module: &[u8]) {
        let stage = Stage::with_config(module, r#"{"origins":["https://app.example"]}"#);
        bencher.bench_local(|| black_box(stage.another()));
    }
}
