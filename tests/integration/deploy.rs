//! How the gateway is run for good: under a supervisor, and as the examples say.

use std::path::Path;

use sluicegate_tests::{Site, one_route, process};
use tokio::net::UnixDatagram;

#[tokio::test]
async fn a_supervisor_is_told_when_it_serves_and_when_it_stops() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket can be made");
    let heard = async || {
        let mut bytes = [0; 256];
        let read = sluicegate_tests::wait::within("a word to the supervisor", socket.recv(&mut bytes)).await;
        String::from_utf8_lossy(&bytes[..read.expect("it is received")]).trim().to_owned()
    };
    let config = one_route("http://127.0.0.1:9", &serde_json::json!([]));
    let site = Site::new(&config).env("NOTIFY_SOCKET", path.to_str().expect("a path of this test"));
    let mut gateway = site.start().await;
    assert_eq!(heard().await, "READY=1");
    process::signal(gateway.pid(), "TERM");
    assert_eq!(heard().await, "STOPPING=1");
    assert_eq!(gateway.ended().await.code(), Some(0));
}

#[test]
fn the_configuration_of_the_kubernetes_example_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/deploy/kubernetes.yaml");
    let text = std::fs::read_to_string(root).expect("the example is there");
    let (_, after) = text.split_once("gateway.json: |\n").expect("it holds a configuration");
    let (config, _) = after.split_once("---").expect("it ends");
    let site = Site::empty();
    site.write_text(config);
    let output = site.check();
    assert_eq!(output.code, 0, "{output:?}");
}
