//! Instances that die: replaced at once while they serve, put off when they do nothing else.

use std::sync::Arc;

use super::guest::Guest;
use super::stage::{Bench, spec};
use crate::observe::FilterLedger;

/// A filter that traps for a request with a field, and its ledger.
fn fragile() -> (Bench, Arc<FilterLedger>) {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(if (i32.gt_u (local.get $count) (i32.const 4)) (then unreachable)) (i32.const 0)",
    );
    let spec = spec(&guest);
    let ledger = Arc::clone(&spec.ledger);
    (Bench::with(spec), ledger)
}

/// A request that kills the instance, if there is one.
fn poison(bench: &Bench) {
    let talk = bench.exchange();
    assert_eq!(talk.request(&[("x-poison", "1")], &[]).unwrap().reply().status, 503);
    talk.chain.finish();
}

fn good(bench: &Bench) {
    let talk = bench.exchange();
    assert!(talk.request(&[], &[]).unwrap().head.is_ok());
    talk.chain.finish();
}

#[test]
fn a_request_that_kills_costs_its_instance_only_however_often_it_comes() {
    let (bench, ledger) = fragile();
    for _ in 0..50 {
        poison(&bench);
        good(&bench);
    }
    let ledger = ledger.snapshot();
    assert_eq!((ledger.starts, ledger.held_off, bench.alarms.get()), (51, 0, 0));
}

#[test]
fn instances_that_only_die_are_put_off_and_the_alarm_is_raised_once() {
    let (bench, ledger) = fragile();
    for _ in 0..30 {
        poison(&bench);
    }
    let snapshot = ledger.snapshot();
    assert_eq!((snapshot.starts, snapshot.traps[0]), (10, 10), "ten in a row, then none for a second");
    assert_eq!((snapshot.held_off, bench.alarms.get()), (1, 1));
    let talk = bench.exchange();
    let reply = talk.request(&[], &[]).unwrap().reply();
    assert_eq!((reply.status, reply.details.as_str()), (503, "test: trap"), "good requests meet nobody either");
    drop((talk, bench));
    assert_eq!(ledger.snapshot().held_off, 0, "a filter that is gone is not held off");
}
