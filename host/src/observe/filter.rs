//! The ledger of one filter entry: what its callbacks cost, how they ended, what its instances hold. Over all workers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use super::histogram::{CALLBACK_BOUNDS, Distribution, Histogram};
use super::sharded::{Count, Sharded};
use crate::filter::{Fault, FaultKind, Outcome, Phase};

/// Traps that are kept to be looked at.
const TRAPS: usize = 8;
/// Bytes of a trap's detail that are kept.
const TRAP_BYTES: usize = 4096;

/// Every phase with its word in metrics, in the order of [`Phase`].
pub const PHASES: [(Phase, &str); 12] = [
    (Phase::RequestHeaders, "request_headers"),
    (Phase::RequestBody, "request_body"),
    (Phase::RequestTrailers, "request_trailers"),
    (Phase::ResponseHeaders, "response_headers"),
    (Phase::ResponseBody, "response_body"),
    (Phase::ResponseTrailers, "response_trailers"),
    (Phase::Finish, "finish"),
    (Phase::NewConnection, "new_connection"),
    (Phase::DownstreamData, "downstream_data"),
    (Phase::UpstreamData, "upstream_data"),
    (Phase::DownstreamClose, "downstream_close"),
    (Phase::UpstreamClose, "upstream_close"),
];

/// The words of outcomes in metrics; faults of every kind are one.
pub const OUTCOMES: [&str; 4] = ["continue", "pause", "reply", "fault"];

/// Every kind of fault that is an instance's or a filter's own, in the order of [`FaultKind`]; the others are what its streams meet then.
pub const FAULTS: [FaultKind; 7] = [
    FaultKind::Trap,
    FaultKind::Deadline,
    FaultKind::Memory,
    FaultKind::Abi,
    FaultKind::Start,
    FaultKind::Ended,
    FaultKind::Reported,
];

/// Calls, time and outcomes of one filter entry with one version of its plugin, over all workers. Lock-free.
pub struct FilterLedger {
    name: Arc<str>,
    path: Arc<str>,
    digest: Arc<str>,
    callbacks: Sharded<Callbacks>,
    traps: [AtomicU64; FAULTS.len()],
    /// The last of them, the newest last.
    last: Mutex<VecDeque<Trap>>,
    starts: AtomicU64,
    instances: AtomicI64,
    roots: AtomicI64,
    memory: AtomicI64,
    held_off: AtomicI64,
}

#[derive(Default)]
struct Callbacks {
    phases: [PhaseCounts; PHASES.len()],
    longest: Count,
    served: Count,
}

#[derive(Default)]
struct PhaseCounts {
    duration: Histogram<{ CALLBACK_BOUNDS.len() }>,
    outcomes: [Count; OUTCOMES.len()],
}

impl FilterLedger {
    /// The ledger of the entry at `path` (`routes[0].filters[2]`) that uses the plugin `name` with that digest.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, path: impl Into<Arc<str>>, digest: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            digest: digest.into(),
            callbacks: Sharded::default(),
            traps: Default::default(),
            last: Mutex::default(),
            starts: AtomicU64::new(0),
            instances: AtomicI64::new(0),
            roots: AtomicI64::new(0),
            memory: AtomicI64::new(0),
            held_off: AtomicI64::new(0),
        }
    }

    /// The entry's name: its plugin.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the entry stands in the configuration.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The plugin's digest, lower-case hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Records one callback that took `nanos` nanoseconds.
    pub fn record(&self, phase: Phase, nanos: u64, outcome: Outcome) {
        let (callbacks, slot) = self.callbacks.local();
        let outcome = match outcome {
            Outcome::Continue => 0,
            Outcome::Pause => 1,
            Outcome::Reply => 2,
            Outcome::Fault(_) => 3,
        };
        if let Some(counts) = callbacks.phases.get(phase as usize) {
            counts.duration.record(&CALLBACK_BOUNDS, nanos, slot);
            counts.outcomes[outcome].add(1, slot);
        }
        callbacks.longest.raise(nanos);
    }

    /// A stream was served to its end.
    pub fn stream_served(&self) {
        let (callbacks, slot) = self.callbacks.local();
        callbacks.served.add(1, slot);
    }

    /// Streams that were served to their end, on all workers.
    #[must_use]
    pub fn served(&self) -> u64 {
        self.callbacks.sum(|copy| &copy.served)
    }

    /// An instance was started on some worker.
    pub fn instance_started(&self) {
        self.starts.fetch_add(1, Relaxed);
        self.instances.fetch_add(1, Relaxed);
    }

    /// An instance is gone, for whatever reason. Its memory is to be given back by [`FilterLedger::memory`].
    pub fn instance_ended(&self) {
        self.instances.fetch_sub(1, Relaxed);
    }

    /// Some instance has its root context: its own, or one that it shares, which is counted with another entry.
    pub fn root_started(&self) {
        self.roots.fetch_add(1, Relaxed);
    }

    /// That instance is gone.
    pub fn root_ended(&self) {
        self.roots.fetch_sub(1, Relaxed);
    }

    /// The linear memory of its instances grew, or shrank, by that many bytes.
    pub fn memory(&self, delta_bytes: i64) {
        self.memory.fetch_add(delta_bytes, Relaxed);
    }

    /// So many workers more make no instance for a while, because those before only died.
    pub fn held_off(&self, delta: i64) {
        self.held_off.fetch_add(delta, Relaxed);
    }

    /// An instance died of that, or could not start. `request`: the id of the request that it was called for.
    pub fn trap(&self, fault: &Fault, request: Option<&str>) {
        if let Some(count) = self.traps.get(fault.kind as usize) {
            count.fetch_add(1, Relaxed);
        }
        let end = fault.detail.floor_char_boundary(TRAP_BYTES);
        let trap = Trap {
            time: SystemTime::now(),
            kind: fault.kind,
            detail: fault.detail.get(..end).unwrap_or_default().into(),
            request: request.map(Arc::from),
        };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() == TRAPS {
            last.pop_front();
        }
        last.push_back(trap);
    }

    /// Everything as it is now.
    #[must_use]
    pub fn snapshot(&self) -> FilterSnapshot {
        let phase = |index: usize| {
            let mut duration = Distribution::new(&CALLBACK_BOUNDS);
            self.callbacks.iter().for_each(|copy| copy.phases[index].duration.add_to(&mut duration));
            let outcome = |outcome: usize| self.callbacks.sum(|copy| &copy.phases[index].outcomes[outcome]);
            PhaseSnapshot { duration, outcomes: std::array::from_fn(outcome) }
        };
        FilterSnapshot {
            name: Arc::clone(&self.name),
            path: Arc::clone(&self.path),
            digest: Arc::clone(&self.digest),
            phases: std::array::from_fn(phase),
            served: self.served(),
            longest_nanos: self.callbacks.iter().map(|copy| copy.longest.get()).max().unwrap_or(0),
            traps: std::array::from_fn(|kind| self.traps[kind].load(Relaxed)),
            last: self.last.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect(),
            starts: self.starts.load(Relaxed),
            instances: self.instances.load(Relaxed),
            roots: self.roots.load(Relaxed),
            memory_bytes: self.memory.load(Relaxed),
            held_off: self.held_off.load(Relaxed),
        }
    }
}

impl Default for FilterLedger {
    fn default() -> Self {
        Self::new("", "", "")
    }
}

/// A ledger as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterSnapshot {
    /// The entry's name: its plugin.
    pub name: Arc<str>,
    /// Where the entry stands in the configuration.
    pub path: Arc<str>,
    /// The plugin's digest.
    pub digest: Arc<str>,
    /// In the order of [`PHASES`].
    pub phases: [PhaseSnapshot; PHASES.len()],
    /// Streams (requests, connections) that were served to their end.
    pub served: u64,
    /// The longest callback, nanoseconds.
    pub longest_nanos: u64,
    /// Deaths of instances, in the order of [`FAULTS`].
    pub traps: [u64; FAULTS.len()],
    /// The last of them, the newest last.
    pub last: Vec<Trap>,
    /// Instances ever started.
    pub starts: u64,
    /// Instances running.
    pub instances: i64,
    /// Instances running that serve it, those that are counted with another entry included.
    pub roots: i64,
    /// Their linear memory, bytes.
    pub memory_bytes: i64,
    /// Workers that make no instance for a while.
    pub held_off: i64,
}

/// How an instance died, or why it did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// When.
    pub time: SystemTime,
    /// Of what.
    pub kind: FaultKind,
    /// The guest's last words and its frames.
    pub detail: Arc<str>,
    /// The request that it was called for, if it was for one.
    pub request: Option<Arc<str>>,
}

/// The callbacks of one phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseSnapshot {
    /// How long they took.
    pub duration: Distribution,
    /// How they ended, in the order of [`OUTCOMES`].
    pub outcomes: [u64; OUTCOMES.len()],
}

impl FilterSnapshot {
    /// The version of the plugin for people: the beginning of its digest.
    #[must_use]
    pub fn version(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }

    /// The callbacks of all phases together.
    #[must_use]
    pub fn total(&self) -> PhaseSnapshot {
        let mut total = PhaseSnapshot { duration: Distribution::new(&CALLBACK_BOUNDS), outcomes: [0; OUTCOMES.len()] };
        self.phases.iter().for_each(|phase| total.merge(phase));
        total
    }

    /// Adds what another ledger of the same entry and version counted (that of a generation that still drains).
    pub(super) fn merge(&mut self, other: &Self) {
        for (phase, more) in self.phases.iter_mut().zip(&other.phases) {
            phase.merge(more);
        }
        for (count, more) in self.traps.iter_mut().zip(other.traps) {
            *count += more;
        }
        self.last.extend(other.last.iter().cloned());
        self.last.sort_by_key(|trap| trap.time);
        self.last.drain(..self.last.len().saturating_sub(TRAPS));
        self.longest_nanos = self.longest_nanos.max(other.longest_nanos);
        self.served += other.served;
        self.starts += other.starts;
        self.instances += other.instances;
        self.roots += other.roots;
        self.memory_bytes += other.memory_bytes;
        self.held_off += other.held_off;
    }
}

impl PhaseSnapshot {
    fn merge(&mut self, other: &Self) {
        self.duration.merge(&other.duration);
        for (count, more) in self.outcomes.iter_mut().zip(other.outcomes) {
            *count += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_the_order_of_their_enums() {
        for (place, (phase, _)) in PHASES.into_iter().enumerate() {
            assert_eq!(phase as usize, place);
        }
        for (place, kind) in FAULTS.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }

    #[test]
    fn callbacks_of_many_threads_are_all_counted() {
        let ledger = FilterLedger::new("auth", "filters[0]", "0123456789abcdef");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for nanos in 0..1000 {
                        ledger.record(Phase::RequestHeaders, nanos, Outcome::Continue);
                        ledger.record(Phase::ResponseHeaders, nanos, Outcome::Fault(FaultKind::Trap));
                    }
                    ledger.record(Phase::RequestHeaders, 5000, Outcome::Reply);
                });
            }
        });
        let snapshot = ledger.snapshot();
        assert_eq!(snapshot.phases[0].outcomes, [4000, 0, 4, 0]);
        assert_eq!(snapshot.phases[3].outcomes, [0, 0, 0, 4000]);
        let total = snapshot.total();
        assert_eq!((total.duration.count(), total.outcomes), (8004, [4000, 0, 4, 4000]));
        assert_eq!(total.duration.sum_nanos(), 8 * 499_500 + 4 * 5000);
        assert_eq!((snapshot.longest_nanos, snapshot.version()), (5000, "0123456789ab"));
    }

    #[test]
    fn instances_memory_and_traps_are_kept() {
        let ledger = FilterLedger::default();
        ledger.instance_started();
        ledger.instance_started();
        ledger.memory(65_536 * 3);
        ledger.memory(-65_536);
        ledger.instance_ended();
        for number in 0..=TRAPS {
            let fault = Fault { kind: FaultKind::Deadline, detail: format!("number {number}").into() };
            ledger.trap(&fault, Some("r-1"));
        }
        let mut snapshot = ledger.snapshot();
        snapshot.merge(&ledger.snapshot());
        assert_eq!((snapshot.starts, snapshot.instances, snapshot.memory_bytes), (4, 2, 4 * 65_536));
        assert_eq!(snapshot.traps[1], 2 * (TRAPS as u64 + 1));
        // Only the last are kept, of two ledgers together, too.
        assert_eq!(snapshot.last.len(), TRAPS);
        assert_eq!((&*snapshot.last[TRAPS - 1].detail, snapshot.last[0].request.as_deref()), ("number 8", Some("r-1")));
    }
}
