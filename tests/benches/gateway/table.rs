//! The table: medians, and ratios of what was measured in the same round.

use crate::chains::Chain;
use crate::measure::Sample;
use crate::subject::{Kind, Subject};

/// Prints one line per subject, the chains together.
pub(crate) fn print(subjects: &[Subject], rounds: &[Vec<Sample>]) {
    let bare = |kind: Kind| subjects.iter().position(|subject| subject.kind == kind && subject.chain == Chain::None);
    let (nginx, envoy, ours) = (bare(Kind::Nginx), bare(Kind::Envoy), bare(Kind::Gateway));
    println!();
    println!(
        "| filters | gateway | CPU µs/request | added µs | requests/s | p50 µs | p99 µs | × nginx | × Envoy without filters |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|---:|---:|");
    let chains = [Chain::None].into_iter().chain(Chain::FILTERS);
    for (index, subject) in
        chains.flat_map(|chain| subjects.iter().enumerate().filter(move |(_, subject)| subject.chain == chain))
    {
        let middle = |value: fn(&Sample) -> f64| median(rounds.iter().map(|round| value(&round[index])).collect());
        let against = |other: Option<usize>, compare: fn(f64, f64) -> f64| {
            other.map(|other| median(rounds.iter().map(|round| compare(round[index].cpu, round[other].cpu)).collect()))
        };
        let own = if subject.kind == Kind::Envoy { envoy } else { ours };
        let added = against(own.filter(|_| subject.chain != Chain::None), |with, without| with - without);
        let show =
            |value: Option<f64>, digits: usize| value.map_or_else(String::new, |value| format!("{value:.digits$}"));
        println!(
            "| {} | {} | {:.1} | {} | {:.0} | {:.0} | {:.0} | {} | {} |",
            subject.chain.name(),
            subject.kind.name(),
            middle(|sample| sample.cpu),
            show(added, 1),
            middle(|sample| sample.rate),
            middle(|sample| sample.p50),
            middle(|sample| sample.p99),
            show(against(nginx, |own, other| own / other), 2),
            show(against(envoy, |own, other| own / other), 2),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}
