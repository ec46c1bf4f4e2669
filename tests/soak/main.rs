//! A soak: the gateway for minutes under every kind of load at once, while it is changed. Nothing may fail that is not meant to, and when the
//! load has gone nothing may be left of it: no memory, no open file, no stream, no instance too many.
//!
//! `cargo test -p sluicegate-tests --test soak` runs it; `SLUICEGATE_SOAK_SECONDS` says how long (180).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "A test reports by panicking and printing."
)]

mod changes;
mod clients;
mod site;
mod tally;

use std::sync::Arc;
use std::time::{Duration, Instant};

use sluicegate_tests::{Gateway, process};
use tally::Tally;

/// How long it takes when nothing else is asked for, seconds.
const SECONDS: u64 = 180;
/// Of the whole time, for caches, pools and the allocator to fill: one part of so many.
const WARM_UP: u32 = 3;
/// What the gateway may have grown by between the end of the warm-up and the end, in hundredths of what it had. Swaps and bodies come and
/// go, so that single looks differ by this; what leaks at all leaks more in minutes.
const GROWTH: u64 = 120;
/// How often to look.
const LOOK: Duration = Duration::from_secs(1);
/// Looks that make one figure.
const WINDOW: usize = 10;
/// How often to say how it goes, in looks.
const REPORT: usize = 15;
/// How long what is left of the load may take to go: idle connections to upstreams are kept for half a minute.
const SETTLE: Duration = Duration::from_secs(90);

fn main() {
    let seconds = std::env::var("SLUICEGATE_SOAK_SECONDS").map_or(Ok(SECONDS), |text| text.parse());
    let seconds = seconds.expect("SLUICEGATE_SOAK_SECONDS is a number of seconds");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(soak(Duration::from_secs(seconds)));
}

async fn soak(time: Duration) {
    let origins = site::Origins::start().await;
    let site = site::Site::new(&origins);
    let instances = site.most_instances();
    let gateway = Arc::new(site.start().await);
    let base = process::descriptors(gateway.pid());
    let tally = Arc::new(Tally::default());
    let load = clients::start(&gateway, &origins, &tally);
    let changing = tokio::spawn(changes::keep_changing(Arc::clone(&gateway), origins.urls(), Arc::clone(&tally)));
    let (warm, last) = watch(&gateway, &origins, &tally, time).await;
    tally.stop();
    for task in load {
        task.await.expect("a client does not panic");
    }
    changing.await.expect("changes do not panic");
    println!("{}", tally.table());
    tally.check();
    println!("resident: {} MiB after the warm-up, {} MiB at the end", warm >> 20, last >> 20);
    assert!(last * 100 <= warm * GROWTH, "memory grows: {warm} bytes after the warm-up, {last} at the end");
    settles(&gateway, base, instances).await;
    assert_eq!(gateway.log.count("panicked"), 0, "the gateway panicked");
    Arc::into_inner(gateway).expect("nobody else has it").stop().await;
    println!("soak: ok");
}

/// Looks on until the time is over: what was resident after the warm-up, and in the end, bytes.
async fn watch(gateway: &Gateway, origins: &site::Origins, tally: &Tally, time: Duration) -> (u64, u64) {
    let (began, mut looks, mut warm) = (Instant::now(), Vec::new(), None);
    while began.elapsed() < time {
        tokio::time::sleep(LOOK).await;
        looks.push(gateway.resident());
        if began.elapsed() >= time / WARM_UP && warm.is_none() && looks.len() >= WINDOW {
            warm = Some(looks.len());
        }
        if looks.len() % REPORT == 0 {
            let (resident, files) = (middle(&looks), process::descriptors(gateway.pid()));
            println!("{:>5} s: {} MiB, {files} files, {}", began.elapsed().as_secs(), resident >> 20, tally.line());
        }
        // What was looked at is forgotten, so that hours of it fit into memory.
        origins.forget();
        gateway.output.forget();
    }
    let warm = warm.expect("the time is longer than the warm-up");
    (middle(&looks[..warm]), middle(&looks))
}

/// The middle one of the last looks.
fn middle(looks: &[u64]) -> u64 {
    let mut last = looks[looks.len().saturating_sub(WINDOW)..].to_vec();
    last.sort_unstable();
    last[last.len() / 2]
}

/// Waits until nothing of the load is left.
async fn settles(gateway: &Gateway, base: usize, instances: usize) {
    let began = Instant::now();
    loop {
        let mut left = Vec::new();
        for gauge in ["http_server_active_requests", "connections", "tcp_connections", "overloaded"] {
            let name = format!("sluicegate_{gauge}");
            left.push((name.clone(), gateway.metric(&name, &[]).await, 0));
        }
        left.push(("instances".to_owned(), gateway.metric("sluicegate_filter_instances", &[]).await, instances));
        let files = process::descriptors(gateway.pid());
        left.push(("open files".to_owned(), f64::from(u32::try_from(files).expect("few")), base + site::KEPT_FILES));
        left.retain(|(_, seen, most)| *seen > f64::from(u32::try_from(*most).expect("few")));
        if left.is_empty() {
            return println!("settled after {} s: {files} files, {base} at the start", began.elapsed().as_secs());
        }
        assert!(began.elapsed() < SETTLE, "this is left (what, how many, at most): {left:?}");
        tokio::time::sleep(LOOK).await;
    }
}
