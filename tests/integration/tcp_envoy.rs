//! Filters of TCP connections in Envoy too: the same bytes give the same bytes.

use std::fs;
use std::net::SocketAddr;

use serde_json::{Value, json};
use sluicegate_tests::envoy::{Envoy, WasmFilter};
use sluicegate_tests::tcp::Tcp;
use sluicegate_tests::{RawOrigin, Site, guests, one_tcp, peers};

/// What is said, each with the answer to it.
type Pieces = &'static [(&'static [u8], &'static str)];

/// Sends the pieces, each when the answer to the one before has come, then the end; what comes back after each.
async fn talk(address: SocketAddr, pieces: Pieces) -> (String, bool) {
    let mut client = Tcp::connect(address).await;
    for (piece, answer) in pieces {
        client.write(piece).await;
        client.expect(answer).await;
    }
    client.shut().await;
    client.rest().await
}

#[tokio::test]
async fn filters_of_connections_do_the_same_in_envoy() {
    let binary = match peers::envoy() {
        Ok(binary) => binary,
        Err(reason) => return peers::skip("filters of connections in Envoy", &reason),
    };
    let origin = RawOrigin::echo().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tcp.wasm");
    fs::write(&file, guests::tcp_script()).unwrap();
    // Each with a script, what is said and answered, and what comes with the end.
    let cases: [(Value, Pieces, &str); 6] = [
        (json!({ "downstream": ["uppercase"] }), &[(b"hello", "HELLO"), (b"you", "YOU")], ""),
        (json!({ "upstream": [{ "insert": "> " }] }), &[(b"a", "> a"), (b"b", "> b")], "> "),
        (json!({ "downstream": [{ "append": "." }, { "cut": 1 }] }), &[(b"abc", "bc.")], ""),
        (json!({ "downstream": ["frames"] }), &[(b"\x02a", ""), (b"b", "\x02ab"), (b"\x01c", "\x01c")], ""),
        (json!({ "downstream": [{ "when": ["denied", ["close", "pause"]] }] }), &[(b"ok", "ok"), (b"denied", "")], ""),
        (json!({ "upstream": [{ "when": ["secret", ["close"]] }] }), &[(b"ok", "ok"), (b"secret", "")], ""),
    ];
    let chains: Vec<_> = cases
        .iter()
        .map(|(script, ..)| vec![WasmFilter { name: "tcp".to_owned(), file: file.clone(), config: script.to_string() }])
        .collect();
    let envoy = Envoy::start_tcp(&binary, origin.address(), &chains).await;
    for ((script, pieces, rest), theirs) in cases.iter().zip(envoy.addresses()) {
        let filters = json!([{ "use": "tcp", "config": script }]);
        let gateway = Site::new(&one_tcp(&origin.tcp_url(), &filters)).tcp_script().start().await;
        for address in [gateway.address(), *theirs] {
            let (end, proper) = talk(address, pieces).await;
            assert_eq!((&*end, proper), (*rest, true), "{script} at {address}\n{}", envoy.log.tail());
        }
    }
}
