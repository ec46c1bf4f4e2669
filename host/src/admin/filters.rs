//! `/api/v1/filters`: what every filter does and costs, as JSON.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use crate::observe::{FAULTS, FilterLedger, FilterSnapshot, OUTCOMES, PHASES, PhaseSnapshot, Trap};

/// Every filter, in the order given.
pub(super) fn describe(filters: &[Arc<FilterLedger>]) -> Value {
    let filters: Vec<Value> = filters.iter().map(|filter| one(&filter.snapshot())).collect();
    json!({ "filters": filters })
}

fn one(filter: &FilterSnapshot) -> Value {
    let total = filter.total();
    let longest = filter.longest_nanos;
    let mut described = calls(&total, longest);
    let phases = PHASES.into_iter().zip(&filter.phases).filter(|(_, phase)| phase.duration.count() > 0);
    let phases: Map<_, _> = phases.map(|((_, word), phase)| (word.to_owned(), calls(phase, longest).into())).collect();
    let traps: Map<_, _> =
        FAULTS.into_iter().zip(filter.traps).map(|(kind, count)| (kind.as_str().to_owned(), count.into())).collect();
    described.insert("served".into(), filter.served.into());
    described.insert("max_ns".into(), longest.into());
    described.insert("phases".into(), phases.into());
    described.insert("replies".into(), total.outcomes[2].into());
    described.insert("traps".into(), traps.into());
    described.insert("last_traps".into(), filter.last.iter().map(trap).collect());
    described.insert("starts".into(), filter.starts.into());
    described.insert("instances".into(), filter.instances.into());
    described.insert("memory_bytes".into(), filter.memory_bytes.into());
    described.insert("held_off_workers".into(), filter.held_off.into());
    let mut all = Map::new();
    all.insert("name".into(), (*filter.name).into());
    all.insert("path".into(), (*filter.path).into());
    all.insert("digest".into(), (*filter.digest).into());
    all.insert("state".into(), state(filter).into());
    all.append(&mut described);
    all.into()
}

/// `calls` are callbacks, of which one request causes several. Percentiles are estimated within buckets, and so could pass the `longest` of all.
fn calls(phase: &PhaseSnapshot, longest: u64) -> Map<String, Value> {
    let outcomes = OUTCOMES.into_iter().zip(phase.outcomes);
    let outcomes: Map<_, _> = outcomes.map(|(word, count)| (word.to_owned(), count.into())).collect();
    let mut calls = Map::new();
    calls.insert("calls".into(), phase.duration.count().into());
    calls.insert("outcomes".into(), outcomes.into());
    calls.insert("total_ns".into(), phase.duration.sum_nanos().into());
    for (name, percent) in [("p50_ns", 50), ("p95_ns", 95), ("p99_ns", 99)] {
        calls.insert(name.into(), phase.duration.percentile(percent).map(|nanos| nanos.min(longest)).into());
    }
    calls
}

fn trap(trap: &Trap) -> Value {
    let at = trap.time.duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
    json!({ "at": at, "kind": trap.kind.as_str(), "detail": &*trap.detail, "request_id": trap.request.as_deref() })
}

/// `held_off`: on some worker its instances only died, and the next is put off. `running`: there are instances. `failed`: there were, or should have been. `idle`: none was needed so far.
fn state(filter: &FilterSnapshot) -> &'static str {
    if filter.held_off > 0 {
        "held_off"
    } else if filter.roots > 0 {
        "running"
    } else if filter.traps.iter().any(|count| *count > 0) {
        "failed"
    } else {
        "idle"
    }
}
