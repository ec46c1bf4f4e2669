//! One measurement: load for some seconds, and what it cost.

use std::process::Stdio;
use std::time::Duration;

use sluicegate_tests::{peers, process, tokens};

use crate::subject::Subject;

/// What every request carries besides its token. (wrk adds a host of its own unless this one is written with a capital.)
pub(crate) const HEADERS: [(&str, &str); 3] =
    [("Host", "api.example"), ("user-agent", "wrk/4.1.0 (benchmark)"), ("origin", "https://app.example")];

/// The token of every request.
pub(crate) fn authorization() -> String {
    tokens::bearer("HS256")
}

/// What one measurement showed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// CPU time of the process tree per request, µs.
    pub(crate) cpu: f64,
    /// Requests per second.
    pub(crate) rate: f64,
    /// Latency, µs: half of the requests were faster.
    pub(crate) p50: f64,
    /// Latency, µs: 99 of 100 requests were faster.
    pub(crate) p99: f64,
}

/// Loads a subject for `time` and stops it again.
pub(crate) async fn take(subject: &Subject, time: Duration) -> Sample {
    subject.signal("CONT");
    let pids = process::tree(subject.pid);
    let before = process::cpu_time(&pids);
    let output = wrk(subject, time).await;
    let spent = process::cpu_time(&pids).saturating_sub(before);
    subject.signal("STOP");
    assert!(
        !output.contains("Non-2xx") && !output.contains("Socket errors"),
        "requests to {} with {} failed:\n{output}",
        subject.kind.name(),
        subject.chain.name()
    );
    let field = |name: &str, place: usize| {
        let line = output.lines().find(|line| line.contains(name));
        let word = line.and_then(|line| line.split_whitespace().nth(place));
        word.unwrap_or_else(|| panic!("no {name} in\n{output}"))
    };
    let requests: f64 = field(" requests in ", 0).parse().expect("a number of requests");
    Sample {
        cpu: spent.as_secs_f64() * 1e6 / requests,
        rate: field("Requests/sec:", 1).parse().expect("a rate"),
        p50: micros(field(" 50%", 1)),
        p99: micros(field(" 99%", 1)),
    }
}

async fn wrk(subject: &Subject, time: Duration) -> String {
    let mut command = process::pinned(&peers::program("wrk").expect("it was there before"), Some(1));
    command.args(["-t1", "-c32", "--latency", "--timeout", "10s", &format!("-d{}s", time.as_secs())]);
    for (name, value) in HEADERS {
        command.args(["-H", &format!("{name}: {value}")]);
    }
    command.args(["-H", &format!("authorization: {}", authorization()), &format!("http://{}/bench", subject.address)]);
    let output = tokio::process::Command::from(command).stdin(Stdio::null()).output().await.expect("wrk runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A latency as wrk writes it: `850.00us`, `1.20ms`, `0.99s`.
fn micros(text: &str) -> f64 {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    let (number, unit) =
        units.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit))).expect("a latency");
    number.parse::<f64>().expect("a latency") * unit
}
