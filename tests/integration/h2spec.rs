//! The public conformance suite of HTTP/2, `h2spec`, against the gateway with all first-party filters in front of an upstream.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use serde_json::{Value, json};
use sluicegate_tests::tls::Authority;
use sluicegate_tests::{Origin, Site, one_route, peers};

use super::tls::{pairs, put};

/// Cases of which one may fail: the suite measures what answers look like when connections are closed, which a busy machine can change.
const CASES: u32 = 146;

#[tokio::test]
async fn h2spec_finds_nothing_behind_a_full_chain_over_cleartext_and_tls() {
    let h2spec = match peers::h2spec() {
        Ok(path) => path,
        Err(reason) => return peers::skip_unpackaged("h2spec", &reason),
    };
    let origin = Origin::text("an answer of more than a few bytes").await;
    let tls = json!({ "certificates": pairs(&["a"]) });
    let listeners = [json!({ "address": "127.0.0.1:0" }), json!({ "address": "127.0.0.1:0", "tls": tls })];
    for (listener, options) in listeners.into_iter().zip([&["--strict"][..], &["--strict", "--tls", "--insecure"]]) {
        let mut config = config(&origin);
        config["listeners"] = json!([listener]);
        let site = Site::new(&config);
        put(&site, "a", &Authority::new("Test").issue(&["localhost"]));
        let gateway = site.start().await;
        let (passed, failed, text) = run(&h2spec, gateway.address(), options).await;
        assert!(passed + 1 >= CASES && failed <= 1, "{options:?}\n{text}");
        println!("h2spec {options:?}: {passed} passed, {failed} failed");
        gateway.stop().await;
    }
}

fn config(origin: &Origin) -> Value {
    let filters = json!([
        { "use": "log" },
        { "use": "cors", "config": { "origins": ["https://a.example"] } },
        { "use": "auth", "config": { "api_keys": { "alice": "0123456789abcdef" }, "optional": true } },
        { "use": "rate-limit", "config": { "limit": 100_000, "per": "1s", "key": "ip" } },
        { "use": "transform", "config": { "response": { "headers": { "set": { "x-changed": "yes" } } } } },
    ]);
    one_route(&origin.url(), &filters)
}

/// How many cases passed and failed, and what was said about them.
async fn run(h2spec: &Path, address: SocketAddr, options: &[&str]) -> (u32, u32, String) {
    let mut command = Command::new(h2spec);
    command.args(["--host", &address.ip().to_string(), "--port", &address.port().to_string(), "--timeout", "10"]);
    command.args(options);
    let run = tokio::task::spawn_blocking(move || command.output().expect("h2spec runs"));
    let output = run.await.expect("h2spec ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = Regex::new(r"(\d+) passed, \d+ skipped, (\d+) failed").expect("an expression");
    let counts = summary.captures(&text).map(|found| [1, 2].map(|at| found[at].parse().expect("a number")));
    let [passed, failed] = counts.unwrap_or_else(|| panic!("no summary in {text}"));
    (passed, failed, text)
}
