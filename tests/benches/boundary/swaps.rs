//! From a file that is whole to the first request that its version serves.

use std::time::{Duration, Instant};

use serde_json::json;
use sluicegate_tests::load::Load;
use sluicegate_tests::wat::Wat;
use sluicegate_tests::{Gateway, Origin, Site, one_route};

/// Swaps that are measured, each way.
const SWAPS: u32 = 20;
/// Functions that make the module as large as filters are.
const FUNCTIONS: usize = 2600;

/// Prints how long swaps take, idle and under load.
pub(crate) fn measure() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.expect("the runtime starts").block_on(async {
        let origin = Origin::text("ok").await;
        let cache = tempfile::tempdir().expect("there is room for a folder");
        let mut config = one_route(&origin.url(), &json!([{ "use": "version" }]));
        config["plugins"] = json!({ "cache": cache.path() });
        let gateway = Site::new(&config).plugin("version", module(0)).start().await;
        println!("\nswaps of a module of {} kB, from its file to the first request served:", module(0).len() / 1000);
        println!("  idle                         {}", swaps(&gateway, 1).await);
        let load = Load::start(gateway.address(), 32, "/", |_| Ok(()));
        load.advance(1000).await;
        println!("  under load                   {}", swaps(&gateway, 1 + SWAPS).await);
        println!("  under load, compiled before  {}", swaps(&gateway, 1).await);
        load.stop().await;
        println!("  idle, compiled before        {}", swaps(&gateway, 1 + SWAPS).await);
    });
}

/// Median and longest of several swaps.
async fn swaps(gateway: &Gateway, first: u32) -> String {
    let mut times = Vec::new();
    for version in first..first + SWAPS {
        gateway.site().drop_in("version", module(version));
        let started = Instant::now();
        while gateway.get("/").await.header("x-version") != version.to_string() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let milliseconds = |time: Duration| format!("{:.0} ms", time.as_secs_f64() * 1000.0);
    let longest = times.last().copied().unwrap_or_default();
    format!("median {}, longest {}", milliseconds(times[times.len() / 2]), milliseconds(longest))
}

/// A module that shows its version, as large as compiled filters are.
fn module(version: u32) -> Vec<u8> {
    let filler: String = (0..FUNCTIONS)
        .map(|number| {
            format!(
                "(func (export \"f{number}\") (param i32) (result i32) (local i32)
                   (loop $l (local.set 1 (i32.add (i32.mul (local.get 0) (i32.const {number})) (local.get 1)))
                     (i32.store (i32.and (local.get 1) (i32.const 0xfffc)) (local.get 0))
                     (br_if $l (i32.lt_u (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 100))))
                   (local.get 1))"
            )
        })
        .collect();
    let show = format!("(drop (call $add_header (i32.const 2) (text \"x-version\") (text \"{version}\")))");
    Wat::new().doing("proxy_on_response_headers", &show).with(&filler).build()
}
