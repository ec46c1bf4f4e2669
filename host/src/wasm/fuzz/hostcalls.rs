//! Fuzz target of the hostcalls.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::interpreter::{PROGRAM, PROGRAM_BYTES, module};
use crate::config::Vm;
use crate::filter::Direction::{self, Request, Response};
use crate::filter::{CalloutReply, GrpcEvent};
use crate::observe::FilterLedger;
use crate::state::State;
use crate::wasm::limits::{BODY_GROWTH, CALLOUTS, MAP_FIELDS, PROPERTIES, PROPERTY_BYTES};
use crate::wasm::testing::engine;
use crate::wasm::testing::guest::Guest;
use crate::wasm::testing::stage::{Bench, NAME, Passed, Talk, facts, head, on_worker, spec};
use crate::wasm::{FilterSpec, VmSpec};

/// A filter beside the one that is fed.
const BYSTANDER: &str = "bystander";
/// Where it notes how many requests its instance has seen.
const SEEN: u32 = 1;

/// Any program of hostcalls (see [`super::interpreter`]), run in the callbacks of two exchanges and of the answers to its
/// callouts: the host does not panic, whatever grows stays within its bounds, and the instance of another filter on the same
/// worker goes on as if nothing had been.
pub(crate) fn hostcalls(input: &[u8]) {
    let ledger = Arc::<FilterLedger>::default();
    on_worker(async { play(&input[..input.len().min(PROGRAM_BYTES)], &ledger).await });
    let account = ledger.snapshot();
    for trap in account.last {
        assert!(!trap.detail.contains("the host panicked"), "{}", trap.detail);
    }
    // Also what waited for `proxy_done` has ended with the worker.
    assert_eq!((account.instances, account.memory_bytes), (0, 0), "an instance outlives its worker");
}

async fn play(program: &[u8], ledger: &Arc<FilterLedger>) {
    let state = Arc::new(State::default());
    state.data.set(NAME, PROGRAM.as_bytes(), Bytes::copy_from_slice(program), 0).expect("room for a program");
    let (program_runner, neighbour) = specs();
    let bystander = bench(neighbour, &state);
    bystander.run();
    let fed = bench(&FilterSpec { ledger: Arc::clone(ledger), ..program_runner.clone() }, &state);
    let talks = [fed.exchange(), fed.exchange()];
    for direction in [Request, Response] {
        for talk in &talks {
            let fields = [("x-a", "1"), ("cookie", "b=2; c=3")];
            let body = ["some ", "body", "!x-t: 1"];
            let passed = match direction {
                Request => talk.request(&fields, &body),
                Response => talk.response(&fields, &body),
            };
            check(talk, direction, passed);
        }
        answer(&fed);
        tokio::task::yield_now().await;
        for talk in &talks {
            check(talk, direction, talk.take(direction));
        }
    }
    for talk in &talks {
        talk.chain.finish();
    }
    answer(&fed);
    tokio::task::yield_now().await;
    bystander.run();
    let seen = state.data.get(BYSTANDER, &SEEN.to_le_bytes()).map(|(count, _)| count);
    assert_eq!(seen.as_deref(), Some(&2_u32.to_le_bytes()[..]), "the bystander's instance is not what it was");
}

/// The filter that runs the program, and its neighbour. A request more counts as seen by the latter only while its memory is
/// what it was.
fn specs() -> &'static (FilterSpec, FilterSpec) {
    static SPECS: OnceLock<(FilterSpec, FilterSpec)> = OnceLock::new();
    SPECS.get_or_init(|| {
        let counting = Guest::new().raw("(global $seen (mut i32) (i32.const 0))").on(
            "proxy_on_request_headers",
            "(if (i32.ne (i32.load (i32.const 4096)) (global.get $seen)) (then unreachable))
             (global.set $seen (i32.add (global.get $seen) (i32.const 1)))
             (i32.store (i32.const 4096) (global.get $seen))
             (call $note (i32.const 1) (global.get $seen)) (i32.const 0)",
        );
        let bystander = engine().load(BYSTANDER, &counting.wasm()).expect("the bystander loads");
        let vm = Vm { id: BYSTANDER.into(), ..Vm::default() };
        let bystander = FilterSpec { name: BYSTANDER.into(), plugin: Arc::new(bystander), vm, ..spec(&counting) };
        let fed = engine().load(NAME, &module()).expect("the interpreter loads");
        let upstreams = BTreeSet::from(["users", "nowhere"].map(str::to_owned));
        (FilterSpec { plugin: Arc::new(fed), upstreams, ..spec(&counting) }, bystander)
    })
}

/// That filter on this worker.
fn bench(spec: &FilterSpec, state: &Arc<State>) -> Bench {
    Bench::beside(&VmSpec::new(Arc::new(spec.clone())), Arc::clone(state))
}

/// What goes on, and what is kept beside it, is within bounds.
fn check(talk: &Talk, direction: Direction, passed: Option<Passed>) {
    let exchange = talk.chain.exchange();
    let (size, count) = exchange.properties.size();
    assert!(size <= PROPERTY_BYTES && count <= PROPERTIES, "{count} properties of {size} bytes");
    let fields = exchange.headers(direction).map_or(0, |head| head.len());
    assert!(fields <= MAP_FIELDS + 1, "{fields} fields");
    let body = passed.map_or(0, |passed| passed.body.len());
    // Two pieces may have been made larger each.
    assert!(body <= 2 * BODY_GROWTH * facts().buffer_limit, "a body of {body} bytes");
}

/// Answers what the guest has called, but not what it calls because of that.
fn answer(bench: &Bench) {
    let calls: Vec<_> = bench.callouts.0.borrow_mut().drain(..).collect();
    let streams: Vec<_> = bench.callouts.1.borrow_mut().drain(..).collect();
    assert!(calls.len() + streams.len() <= 4 * CALLOUTS, "{} calls, {} streams", calls.len(), streams.len());
    for (_, done) in calls {
        done(CalloutReply {
            headers: head(&[(":status", "200")], &[("a", "b")]),
            body: Bytes::from_static(b"answer"),
            trailers: head(&[], &[("t", "1")]),
            failure: None,
        });
    }
    for mut stream in streams {
        (stream.events)(GrpcEvent::InitialMetadata(head(&[], &[("a", "b")])));
        (stream.events)(GrpcEvent::Message(Bytes::from_static(b"message")));
        (stream.events)(GrpcEvent::TrailingMetadata(head(&[], &[("grpc-status", "0")])));
        (stream.events)(GrpcEvent::Close(0, String::new()));
    }
}
