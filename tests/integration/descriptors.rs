//! Open files are scarce: what clients take leaves enough for those that are served.

use serde_json::json;
use sluicegate_tests::raw::Raw;
use sluicegate_tests::{Connection, Origin, Site, one_route, wait::eventually};

#[tokio::test]
async fn clients_do_not_get_all_descriptors() {
    let origin = Origin::text("ok").await;
    let gateway = Site::new(&one_route(&origin.url(), &json!([]))).files(64).start().await;
    gateway.wait_for_log("bears fewer connections").await;
    let mut served = Connection::http1(gateway.address()).await.unwrap();
    served.get("/").await.expect(200);
    let mut idle = Vec::new();
    for _ in 0..100 {
        idle.push(Raw::connect(gateway.address()).await);
    }
    gateway.wait_for_log("Connection limit reached").await;
    for _ in 0..5 {
        served.get("/").await.expect(200);
        gateway.admin_get("/livez").await.expect(200);
    }
    drop(idle);
    eventually("others are served again", || async { gateway.get("/").await.code() == 200 }).await;
    gateway.stop().await;
}
