//! Requests that two servers could read differently: refused and the connection closed, or handed on in the one form that has one
//! reading; see `sluicegate_tests::bytes` and `sluicegate_tests::frames` for the rows.

use std::path::Path;

use serde_json::{Value, json};
use sluicegate_tests::recorder::Recorder;
use sluicegate_tests::{Site, bytes, frames, one_route};

/// Fewer would mean that files were not found.
const LEAST_ROWS: usize = 300;

/// The same for rows of frames.
const LEAST_FRAMES: usize = 50;

async fn every_row_holds(filters: &Value) {
    let recorder = Recorder::start().await;
    let gateway = Site::new(&one_route(&recorder.url(), filters)).script().start().await;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/raw");
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let (rows, problems) = bytes::run(&entry.unwrap().path(), gateway.address(), &recorder).await;
        count += rows;
        wrong.extend(problems);
    }
    println!("{count} rows");
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= LEAST_ROWS, "only {count} rows");
    gateway.stop().await;
}

#[tokio::test]
async fn bytes_are_refused_or_handed_on_with_one_reading() {
    every_row_holds(&json!([])).await;
}

#[tokio::test]
async fn bytes_are_refused_or_handed_on_with_one_reading_through_filters_too() {
    every_row_holds(&json!([{ "use": "script", "config": { "trace": true } }])).await;
}

#[tokio::test]
async fn frames_are_refused_or_handed_on_with_one_reading() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/frames/heads.json");
    for filters in [json!([]), json!([{ "use": "script", "config": { "trace": true } }])] {
        let recorder = Recorder::start().await;
        let gateway = Site::new(&one_route(&recorder.url(), &filters)).script().start().await;
        let (count, wrong) = frames::run(&file, gateway.address(), &recorder).await;
        assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), wrong.join("\n"));
        assert!(count >= LEAST_FRAMES, "only {count} rows");
        gateway.stop().await;
    }
}
