//! Connections to upstreams: reuse, retry, failover, HTTP/2.

use std::cell::Cell;
use std::rc::Rc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::harness::{Gateway, Peer, Setup, echo, field, origin, run};
use crate::config::UpstreamProtocol;
use crate::upstream::LocalExecutor;

async fn get(gateway: &Gateway) -> (String, String) {
    let mut client = Peer::connect(gateway.address).await;
    client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.read_response().await
}

#[test]
fn a_request_on_a_connection_that_was_just_closed_is_sent_again() {
    run(async {
        let origin = origin(|mut peer, number| async move {
            peer.read_head().await.unwrap();
            peer.write(format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{number}")).await;
            // The second request on this connection is read and never answered.
            peer.read_head().await;
        })
        .await;
        let gateway = Setup::new(origin).start();
        for number in 0..4 {
            let (head, body) = get(&gateway).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(body, number.to_string());
        }
    });
}

#[test]
fn a_request_that_may_not_be_repeated_is_a_502() {
    run(async {
        let requests = Rc::new(Cell::new(0));
        let count = Rc::clone(&requests);
        let origin = origin(move |mut peer, _| {
            let count = Rc::clone(&count);
            async move {
                peer.read_head().await.unwrap();
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                if peer.read_until("hello").await.is_some() {
                    count.set(count.get() + 1);
                }
            }
        })
        .await;
        let gateway = Setup::new(origin).start();
        get(&gateway).await;
        let mut client = Peer::connect(gateway.address).await;
        client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        let (head, _) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 502"), "{head}");
        assert_eq!(requests.get(), 1);
    });
}

#[test]
fn a_target_that_refuses_is_passed_over() {
    run(async {
        let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let working = echo("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let mut setup = Setup::new(working);
        setup.origins = vec![refusing, working];
        let gateway = setup.start();
        for _ in 0..4 {
            let (head, _) = get(&gateway).await;
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        }
        let gateway = Setup::new(refusing).start();
        let (head, body) = get(&gateway).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        assert_eq!(body, "upstream unavailable\n");
    });
}

#[test]
fn a_response_that_is_none_is_a_502() {
    run(async {
        for response in
            ["garbage\r\n\r\n", "", "HTTP/1.1 101 Switching Protocols\r\n\r\n", "HTTP/1.1 200 OK\r\nx: a\0b\r\n\r\n"]
        {
            let origin = origin(move |mut peer, _| async move {
                peer.read_head().await.unwrap();
                peer.write(response).await;
            })
            .await;
            let gateway = Setup::new(origin).start();
            let (head, body) = get(&gateway).await;
            assert!(head.starts_with("HTTP/1.1 502"), "{response:?} gave {head}");
            assert_eq!(body, "bad gateway\n");
        }
    });
}

#[test]
fn http2_is_spoken_on_both_sides() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = listener.local_addr().unwrap();
        tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
                    let seen = format!("{} {:?}", request.uri(), request.headers().get("host"));
                    Ok::<_, std::convert::Infallible>(http::Response::new(seen))
                });
                let server = hyper::server::conn::http2::Builder::new(LocalExecutor);
                tokio::task::spawn_local(server.serve_connection(TokioIo::new(stream), service));
            }
        });
        let mut setup = Setup::new(origin);
        setup.protocol = UpstreamProtocol::Http2;
        let gateway = setup.start();

        let stream = tokio::net::TcpStream::connect(gateway.address).await.unwrap();
        let builder = hyper::client::conn::http2::Builder::new(LocalExecutor);
        let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let request = http::Request::get("http://a.example/x?y").body(String::new()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.headers().get("via").unwrap(), "2 sluicegate");
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        assert_eq!(body, "http://a.example/x?y None");

        let (head, body) = get(&gateway).await;
        assert_eq!(field(&head, "via"), Some("2 sluicegate"));
        assert_eq!(body, "http://a/ None");
    });
}
