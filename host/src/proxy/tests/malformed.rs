//! Requests that two servers could read differently never reach an upstream: 400, and the connection closes.

use super::harness::{Peer, Setup, origin, run};

const MALFORMED: &[&str] = &[
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a,b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a?x\r\n\r\n",
    "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a/ HTTP/1.1\r\n\r\n",
    "GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%2f HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\r\nHost: a\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n folded: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX : b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
    "G@T / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.5\r\nHost: a\r\n\r\n",
    "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
];

#[test]
fn a_malformed_request_is_answered_400_and_its_connection_closed() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            let head = peer.read_head().await;
            panic!("reached the upstream: {head:?}");
        })
        .await;
        let gateway = Setup::new(origin).start();
        for request in MALFORMED {
            let mut client = Peer::connect(gateway.address).await;
            client.write(request).await;
            // What follows must not be taken for a request.
            client.write("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let answer = client.read_to_end().await;
            assert!(
                answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.0 400"),
                "{request:?} got {answer:?}"
            );
            assert_eq!(answer.matches("HTTP/1.").count(), 1, "{request:?} got {answer:?}");
        }
    });
}

#[test]
fn connect_is_not_implemented() {
    run(async {
        let origin = origin(|_, _| async {}).await;
        let gateway = Setup::new(origin).start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n").await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 501"), "{answer}");
    });
}

#[test]
fn a_chunk_that_is_loosely_framed_ends_the_connection() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            let seen = peer.read_to_end().await;
            assert!(!seen.contains("smuggled"), "{seen}");
        })
        .await;
        let gateway = Setup::new(origin).start();
        for body in ["5\nhello\r\n0\r\n\r\n", "5;\rx\r\nhello\r\n0\r\n\r\n", "0x5\r\nhello\r\n0\r\n\r\n"] {
            let mut client = Peer::connect(gateway.address).await;
            client.write(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}")).await;
            client.write("GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let answer = client.read_to_end().await;
            assert!(!answer.starts_with("HTTP/1.1 200"), "{body:?} got {answer:?}");
        }
    });
}
