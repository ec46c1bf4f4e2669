//! Instances that die: replaced at once while they serve, put off when they do nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::guest::Guest;
use super::stage::{Bench, spec};
use crate::filter::{Direction, Fault, FaultKind};
use crate::observe::FilterLedger;
use crate::wasm::breaker::{Breaker, Death, Verdict};

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
    assert_eq!((reply.status, reply.details.as_str()), (503, "test: held off"), "good requests meet nobody either");
    drop((talk, bench));
    assert_eq!(ledger.snapshot().held_off, 0, "a filter that is gone is not held off");
}

#[test]
fn requests_that_kill_neither_close_a_version_that_serves_nor_raise_the_alarm() {
    let (bench, ledger) = fragile();
    for _ in 0..3 {
        good(&bench);
    }
    for _ in 0..200 {
        poison(&bench);
    }
    good(&bench);
    let ledger = ledger.snapshot();
    assert_eq!((ledger.starts, ledger.held_off, bench.alarms.get(), ledger.served), (201, 0, 0, 4));
}

#[test]
fn who_was_with_the_instance_that_another_request_ended_is_told_so() {
    let guest = Guest::new().on(
        "proxy_on_request_headers",
        "(if (i32.gt_u (local.get $count) (i32.const 4)) (then unreachable)) (i32.const 1)",
    );
    let bench = Bench::new(&guest);
    let waiting = bench.exchange();
    assert!(waiting.request(&[], &[]).is_none(), "it is held");
    let talk = bench.exchange();
    assert_eq!(talk.request(&[("x-poison", "1")], &[]).unwrap().reply().details, "test: trap");
    assert_eq!(waiting.take(Direction::Request).unwrap().reply().details, "test: trap of another request");
}

/// The deaths of instances of an entry, without instances.
struct Deaths {
    breaker: Breaker,
    ledger: Arc<FilterLedger>,
    began: Instant,
}

impl Deaths {
    /// After so many streams that were served.
    fn after(served: u32) -> Self {
        let deaths = Self { breaker: Breaker::default(), ledger: Arc::default(), began: Instant::now() };
        (0..served).for_each(|_| deaths.ledger.stream_served());
        deaths
    }
    /// One more, that many seconds after the beginning.
    fn one(&mut self, kind: FaultKind, in_stream: bool, seconds: u64) -> Option<Verdict> {
        let death = Death { fault: Fault { kind, detail: "died".into() }, in_stream };
        let now = self.began + Duration::from_secs(seconds);
        self.breaker.died(&death, vec![Arc::clone(&self.ledger)], now)
    }
    /// How many it takes until it is held off, of a thousand.
    fn until_held_off(&mut self, kind: FaultKind, in_stream: bool, seconds: u64) -> Option<usize> {
        (1..=1000).find(|_| self.one(kind, in_stream, seconds).is_some())
    }
}

#[test]
fn a_version_that_has_served_a_hundred_streams_is_not_held_off_by_requests_any_more() {
    assert_eq!(Deaths::after(100).until_held_off(FaultKind::Trap, true, 3600), None);
    let mut fewer = Deaths::after(99);
    assert_eq!(fewer.one(FaultKind::Trap, true, 0), None);
    assert_eq!(fewer.until_held_off(FaultKind::Deadline, true, 60), None, "it has served a minute ago");
    assert_eq!(fewer.until_held_off(FaultKind::Trap, true, 61), Some(10), "it has served nothing for a minute");
    assert_eq!(Deaths::after(0).until_held_off(FaultKind::Memory, true, 0), Some(10), "it has never served");
}

#[test]
fn timers_and_starts_that_fail_hold_off_whatever_was_served() {
    assert_eq!(Deaths::after(1000).until_held_off(FaultKind::Trap, false, 0), Some(10));
    assert_eq!(Deaths::after(1000).until_held_off(FaultKind::Start, false, 0), Some(3));
    let mut elsewhere = Deaths::after(1000);
    for expected in [None, None, Some(Verdict::Broken(Duration::from_secs(1)))] {
        elsewhere.ledger.stream_served();
        assert_eq!(elsewhere.one(FaultKind::Start, false, 0), expected, "other workers serve meanwhile");
    }
}

#[test]
fn fresh_instances_take_no_more_than_a_part_of_the_worker() {
    let mut deaths = Deaths::after(1000);
    deaths.breaker.started(Duration::from_millis(250), deaths.began);
    assert_eq!(deaths.one(FaultKind::Trap, true, 0), None);
    deaths.breaker.started(Duration::from_millis(1), deaths.began);
    let verdict = deaths.one(FaultKind::Trap, true, 0);
    assert_eq!(verdict, Some(Verdict::Expensive(Duration::from_secs(1))), "until the second is over");
    assert_eq!(deaths.one(FaultKind::Trap, true, 1), None, "a new second");
}
