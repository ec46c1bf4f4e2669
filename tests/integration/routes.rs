//! The routing cases of `tests/conformance/routes`: what the Gateway API's routes mean, as rows; see `sluicegate_tests::routes`.

use std::path::Path;

use sluicegate_tests::routes;

/// Fewer would mean that files were not found.
const LEAST_ROWS: usize = 150;

#[tokio::test]
async fn each_request_takes_the_route_that_its_row_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance/routes");
    let (mut count, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let (rows, problems) = routes::run(&entry.unwrap().path()).await;
        count += rows;
        wrong.extend(problems);
    }
    println!("{count} rows");
    assert!(wrong.is_empty(), "{} of {count} rows:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count >= LEAST_ROWS, "only {count} rows");
}
