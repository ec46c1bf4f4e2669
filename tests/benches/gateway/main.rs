//! What a request costs: CPU time of the gateway's process, rate and latency, side by side with nginx and Envoy.
//!
//! One worker of each is pinned to core 0; the load generator (wrk, 32 connections, one thread) and the backend (nginx, `return 200`) share
//! core 1. Requests carry a user agent, an origin and a JSON Web Token; answers have 128 bytes. Subjects take turns in each round, so that
//! a noisy moment hits all of them; the first round is dropped and medians are shown. A subject that is not being measured is stopped.
//!
//! `SLUICEGATE_BENCH_SECONDS` (default 4) is the length of one measurement, `SLUICEGATE_BENCH_ROUNDS` (default 6) how many are made of each.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "A benchmark reports by printing, and has nobody to hand an error to."
)]

mod chains;
mod measure;
mod nginx;
mod subject;
mod table;

use std::time::Duration;

use sluicegate_tests::peers;

use chains::Chain;
use measure::Sample;
use nginx::Nginx;
use subject::Subject;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let needed = [peers::program("wrk"), peers::program("nginx"), peers::program("taskset")];
    if let Some(Err(reason)) = needed.iter().find(|program| program.is_err()) {
        return peers::skip("the benchmark", reason);
    }
    let backend = Nginx::backend().await;
    let mut subjects =
        vec![Subject::gateway(Chain::None, backend.address).await, Subject::nginx(backend.address).await];
    for chain in Chain::FILTERS {
        subjects.push(Subject::gateway(chain, backend.address).await);
    }
    match peers::envoy() {
        Ok(binary) => {
            for chain in [Chain::None].into_iter().chain(Chain::FILTERS) {
                subjects.push(Subject::envoy(&binary, chain, backend.address).await);
            }
        }
        Err(reason) => peers::skip("Envoy's part of the benchmark", &reason),
    }
    let time = Duration::from_secs(number("SLUICEGATE_BENCH_SECONDS", 4));
    let rounds = number("SLUICEGATE_BENCH_ROUNDS", 6).max(2);
    println!("{} subjects, {rounds} rounds of {} s each; the first is dropped", subjects.len(), time.as_secs());
    let mut all: Vec<Vec<Sample>> = Vec::new();
    for round in 0..rounds {
        let mut samples = Vec::new();
        for subject in &subjects {
            samples.push(measure::take(subject, time).await);
        }
        if round > 0 {
            all.push(samples);
        }
    }
    table::print(&subjects, &all);
}
