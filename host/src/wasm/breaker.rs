//! When to make a fresh instance: at once, as long as instances serve; later, when they only die.
//!
//! A request that kills an instance costs that instance's streams and no more, however often it comes, because good
//! streams end well in between. Instances that die one after the other without having served anything are another
//! matter: the module is broken, and starting it again and again only costs the worker time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::limits::{DEATHS, HELD_OFF_FIRST, HELD_OFF_LONGEST, HELD_OFF_RETRIES, START_FAILURES};
use crate::filter::{Fault, FaultKind};
use crate::observe::FilterLedger;

/// Counts the deaths of one VM's instances on one worker.
#[derive(Default)]
pub(super) struct Breaker {
    /// Instances that died in a row without having served a stream to its end, and how many of them never started.
    deaths: u32,
    failed_starts: u32,
    /// How often it was held off since an instance served.
    trips: u32,
    held_off: Option<HeldOff>,
}

/// No instance is made for a while.
struct HeldOff {
    until: Instant,
    fault: Fault,
    /// Those of the entries that share the instance.
    ledgers: Vec<Arc<FilterLedger>>,
}

impl Drop for HeldOff {
    fn drop(&mut self) {
        self.ledgers.iter().for_each(|ledger| ledger.held_off(-1));
    }
}

impl Breaker {
    /// An instance has died, or did not start. `served`: it had served a stream to its end. Answers for how long no other
    /// one will be made, when that begins now.
    pub(super) fn died(
        &mut self,
        fault: &Fault,
        served: bool,
        ledgers: impl Iterator<Item = Arc<FilterLedger>>,
    ) -> Option<Duration> {
        if served {
            *self = Self::default();
        }
        match fault.kind {
            FaultKind::Start => self.failed_starts = self.failed_starts.saturating_add(1),
            // Ended by us, or not at all.
            FaultKind::Ended | FaultKind::Reported => return None,
            FaultKind::Trap | FaultKind::Deadline | FaultKind::Memory | FaultKind::Abi => {}
        }
        self.deaths = self.deaths.saturating_add(1);
        if self.deaths < DEATHS && self.failed_starts < START_FAILURES {
            return None;
        }
        let period = (HELD_OFF_FIRST * 2_u32.saturating_pow(self.trips.min(16))).min(HELD_OFF_LONGEST);
        self.trips = self.trips.saturating_add(1);
        self.deaths = DEATHS - HELD_OFF_RETRIES;
        self.failed_starts = START_FAILURES - 1;
        let ledgers: Vec<_> = ledgers.inspect(|ledger| ledger.held_off(1)).collect();
        self.held_off = Some(HeldOff { until: Instant::now() + period, fault: fault.clone(), ledgers });
        Some(period)
    }
    /// The last death, while it is too early for another instance.
    pub(super) fn holding_off(&mut self) -> Option<Fault> {
        let fault = self.held_off.as_ref().filter(|held| Instant::now() < held.until).map(|held| held.fault.clone());
        if fault.is_none() {
            self.held_off = None;
        }
        fault
    }
}
