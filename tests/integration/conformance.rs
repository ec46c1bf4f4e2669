//! The conformance cases, area by area, here and in Envoy; see `sluicegate_tests::conformance`.

use sluicegate_tests::{conformance, guests, languages, peers};

async fn same_in_both(area: &str) {
    same_with(area, Ok(guests::script())).await;
}

async fn same_with(area: &str, module: Result<Vec<u8>, String>) {
    match (peers::envoy(), module) {
        (Ok(envoy), Ok(module)) => conformance::compare(area, envoy, &module).await,
        (Err(reason), _) | (_, Err(reason)) => peers::skip(&format!("conformance of {area}"), &reason),
    }
}

#[tokio::test]
async fn headers_are_read_and_changed() {
    same_in_both("headers").await;
}

#[tokio::test]
async fn bodies_are_held_changed_and_streamed() {
    same_in_both("bodies").await;
}

#[tokio::test]
async fn filters_answer_themselves() {
    same_in_both("replies").await;
}

#[tokio::test]
async fn filters_call_other_services() {
    same_in_both("callouts").await;
}

#[tokio::test]
async fn properties_are_read_and_set() {
    same_in_both("properties").await;
}

#[tokio::test]
async fn state_is_shared_between_requests() {
    same_in_both("state").await;
}

#[tokio::test]
async fn time_passes() {
    same_in_both("timers").await;
}

#[tokio::test]
async fn filters_in_go_run_too() {
    same_with("languages", languages::go()).await;
}

#[tokio::test]
async fn filters_in_assemblyscript_run_too() {
    same_with("languages", languages::assemblyscript()).await;
}

#[tokio::test]
async fn filters_in_cpp_run_too() {
    same_with("languages", languages::cpp()).await;
}

#[tokio::test]
async fn filters_in_zig_run_too() {
    same_with("languages", languages::zig()).await;
}

#[tokio::test]
async fn filters_in_rust_run_without_wasi_too() {
    let module = languages::rust_without_wasi();
    for area in ["headers", "bodies", "replies", "callouts"] {
        same_with(area, module.clone()).await;
    }
}
