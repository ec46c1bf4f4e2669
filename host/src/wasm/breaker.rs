//! When to make a fresh instance: at once, as long as the version serves; later, when its instances only die.
//!
//! A request that kills an instance costs that instance's streams and no more, however often it comes: a fresh instance takes
//! microseconds. So deaths of instances are weighed against what the entry answers well with this version, on every worker:
//! where it serves, traps in callbacks of streams are taken for the doing of requests, and neither hold it off nor
//! raise the alarm. Only the time that fresh instances take is bounded. Instances that die one after the other while nothing is
//! served are another matter: the module is broken, and starting it again and again only costs the worker time. So are
//! instances that do not start, and those that die of their timers.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::{
    DEATHS, HELD_OFF_FIRST, HELD_OFF_LONGEST, HELD_OFF_RETRIES, LATELY, PROVEN, START_FAILURES, STARTING_TIME,
    STARTING_WINDOW,
};
use crate::filter::{Fault, FaultKind};
use crate::observe::FilterLedger;

/// What an instance died of.
#[derive(Clone, Debug)]
pub(super) struct Death {
    pub(super) fault: Fault,
    /// The guest acted for a stream then: a request may have caused it.
    pub(super) in_stream: bool,
}

/// Counts the deaths of one VM's instances on one worker.
#[derive(Default)]
pub(super) struct Breaker {
    /// Instances that died in a row while nothing was served, and how many in a row never started.
    deaths: u32,
    failed_starts: u32,
    /// How often it was held off since something was served.
    trips: u32,
    /// What had been served at the last death, on all workers, and at which death it had last grown.
    served: u64,
    grown: Option<Instant>,
    /// When the time that starts take was last counted from, and what they have taken since.
    window: Option<Instant>,
    starting: Duration,
    held_off: Option<HeldOff>,
}

/// No instance is made for a while.
struct HeldOff {
    until: Instant,
    detail: Rc<str>,
    /// Those of the entries that share the instance.
    ledgers: Vec<Arc<FilterLedger>>,
}

/// No instance will be made for that long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Its instances only die.
    Broken(Duration),
    /// It serves, but its fresh instances take too much of the worker's time.
    Expensive(Duration),
}

impl Drop for HeldOff {
    fn drop(&mut self) {
        self.ledgers.iter().for_each(|ledger| ledger.held_off(-1));
    }
}

impl Breaker {
    /// An instance has died, or did not start. `ledgers` are those of the entries that share it. Tells when, with that, no other
    /// one is made for a while.
    pub(super) fn died(&mut self, death: &Death, ledgers: Vec<Arc<FilterLedger>>, now: Instant) -> Option<Verdict> {
        let served = ledgers.iter().map(|ledger| ledger.served()).fold(0, u64::saturating_add);
        if served > self.served {
            (self.served, self.grown) = (served, Some(now));
            (self.deaths, self.trips) = (0, 0);
        }
        match death.fault.kind {
            FaultKind::Start => self.failed_starts = self.failed_starts.saturating_add(1),
            FaultKind::Trap | FaultKind::Deadline | FaultKind::Memory | FaultKind::Abi => self.failed_starts = 0,
            // Ended by us, or not at all.
            FaultKind::Ended
            | FaultKind::Reported
            | FaultKind::HeldOff
            | FaultKind::Neighbour
            | FaultKind::Background => return None,
        }
        let lately = self.grown.is_some_and(|grown| now.duration_since(grown) <= LATELY);
        let verdict = if death.in_stream && (lately || served >= PROVEN) {
            self.left_of_window(now).map(Verdict::Expensive)
        } else {
            self.count().map(Verdict::Broken)
        };
        let (Verdict::Broken(period) | Verdict::Expensive(period)) = verdict?;
        ledgers.iter().for_each(|ledger| ledger.held_off(1));
        self.held_off = Some(HeldOff { until: now + period, detail: Rc::clone(&death.fault.detail), ledgers });
        verdict
    }
    /// Another death while nothing was served: for how long it is held off, if it is now.
    fn count(&mut self) -> Option<Duration> {
        self.deaths = self.deaths.saturating_add(1);
        if self.deaths < DEATHS && self.failed_starts < START_FAILURES {
            return None;
        }
        let period = (HELD_OFF_FIRST * 2_u32.saturating_pow(self.trips.min(16))).min(HELD_OFF_LONGEST);
        self.trips = self.trips.saturating_add(1);
        self.deaths = DEATHS - HELD_OFF_RETRIES;
        self.failed_starts = START_FAILURES - 1;
        Some(period)
    }
    /// An instance was made, which took that long.
    pub(super) fn started(&mut self, took: Duration, now: Instant) {
        if self.window.is_none_or(|began| now.duration_since(began) >= STARTING_WINDOW) {
            (self.window, self.starting) = (Some(now), Duration::ZERO);
        }
        self.starting = self.starting.saturating_add(took);
    }
    /// The rest of a window whose time for starts is used up.
    fn left_of_window(&self, now: Instant) -> Option<Duration> {
        let left = STARTING_WINDOW.checked_sub(now.duration_since(self.window?))?;
        (self.starting > STARTING_TIME && !left.is_zero()).then_some(left)
    }
    /// What requests meet while it is too early for another instance.
    pub(super) fn holding_off(&mut self) -> Option<Fault> {
        let held = self.held_off.as_ref().filter(|held| Instant::now() < held.until);
        let fault = held.map(|held| Fault { kind: FaultKind::HeldOff, detail: Rc::clone(&held.detail) });
        if fault.is_none() {
            self.held_off = None;
        }
        fault
    }
}
