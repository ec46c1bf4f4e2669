//! Callouts over real sockets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use super::{Tls, Upstreams, UpstreamsTls, WorkerCallouts};
use crate::config;
use crate::filter::{Callout, CalloutRefused, CalloutReply, Callouts, Headers, Name};
use crate::state::targets::Health;

fn run(test: impl Future<Output = ()>) {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(20), test).await.expect("the test hangs");
    });
}

fn callouts(target: SocketAddr) -> WorkerCallouts {
    let upstream = config::Upstream {
        name: "idp".into(),
        targets: vec![config::Target::network(target.ip().to_string(), target.port())],
        protocol: config::UpstreamProtocol::Http1,
        connect_timeout: Duration::from_secs(5),
        balance: config::Balance::default(),
        health: None,
        ejection: config::Ejection::default(),
        tls: None,
        dns: config::Dns::default(),
        pool: config::PoolLimits::default(),
        max_requests: None,
    };
    let upstreams = Upstreams::new(
        &BTreeMap::from([("idp".to_owned(), upstream)]),
        None,
        &UpstreamsTls { usual: Arc::new(Tls::new().unwrap()), own: BTreeMap::new() },
        &Health::default(),
    );
    WorkerCallouts::new(upstreams, 1, 10)
}

fn call() -> Callout {
    let mut headers = Headers::default();
    for (name, value) in [(":method", "POST"), (":path", "/token?x"), (":authority", "idp.example"), ("x-one", "1")] {
        headers.append(Name::parse(name.as_bytes()).unwrap(), HeaderValue::from_static(value));
    }
    Callout {
        upstream: "idp".to_owned(),
        headers,
        body: Bytes::from_static(b"who"),
        trailers: Headers::default(),
        timeout: None,
    }
}

async fn answer(callouts: &WorkerCallouts, call: Callout) -> CalloutReply {
    let (sender, receiver) = oneshot::channel();
    callouts.start(call, Box::new(move |reply| drop(sender.send(reply)))).unwrap();
    receiver.await.unwrap()
}

fn status(reply: &CalloutReply) -> &str {
    reply.headers.get(&Name::Status).unwrap().to_str().unwrap()
}

/// Answers each connection's first request; gives what it saw.
async fn server(response: &'static str) -> (SocketAddr, Rc<RefCell<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Rc::<RefCell<String>>::default();
    let log = Rc::clone(&seen);
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut bytes = Vec::new();
            while !bytes.ends_with(b"who") && stream.read_buf(&mut bytes).await.unwrap() > 0 {}
            *log.borrow_mut() = String::from_utf8(bytes).unwrap();
            stream.write_all(response.as_bytes()).await.unwrap();
            stream.read_u8().await.ok();
        }
    });
    (address, seen)
}

#[test]
fn a_callout_is_sent_as_written_and_its_answer_handed_back_whole() {
    run(async {
        let (address, seen) = server("HTTP/1.1 201 Created\r\nx-two: 2\r\ncontent-length: 4\r\n\r\nyou!").await;
        let reply = answer(&callouts(address), call()).await;
        assert!(seen.borrow().starts_with("POST /token?x HTTP/1.1\r\n"), "{}", seen.borrow());
        assert!(seen.borrow().contains("host: idp.example\r\n") && seen.borrow().contains("content-length: 3\r\n"));
        assert_eq!(status(&reply), "201");
        assert_eq!(reply.headers.get(&Name::Header(HeaderName::from_static("x-two"))).unwrap(), "2");
        assert_eq!((&reply.body[..], reply.failure), (&b"you!"[..], None));
    });
}

#[test]
fn failures_are_answers_of_three_fields_with_a_reason() {
    run(async {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let unreachable = answer(&callouts(closed), call()).await;
        let (silent, _) = server("").await;
        let late = answer(&callouts(silent), Callout { timeout: Some(Duration::from_millis(20)), ..call() }).await;
        let (long, _) = server("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n01234567890").await;
        let large = answer(&callouts(long), call()).await;
        for (reply, expected) in [(unreachable, "503"), (late, "504"), (large, "503")] {
            assert_eq!(status(&reply), expected);
            assert_eq!(reply.headers.len(), 3);
            assert!(!reply.body.is_empty() && reply.failure.is_some());
        }
    });
}

#[test]
fn what_cannot_be_started_is_refused_at_the_call() {
    run(async {
        let (address, _) = server("").await;
        let callouts = callouts(address);
        let refused = |call: Callout| callouts.start(call, Box::new(|_| panic!("it was refused"))).unwrap_err();
        assert_eq!(refused(Callout { upstream: "other".to_owned(), ..call() }), CalloutRefused::UnknownUpstream);
        for name in [":method", ":path", ":authority"] {
            let mut headers = call().headers;
            headers.remove(&Name::parse(name.as_bytes()).unwrap());
            assert!(matches!(refused(Callout { headers, ..call() }), CalloutRefused::BadRequest(_)), "{name}");
        }
        for path in ["token", "http://x/", "*", "x:80"] {
            let mut headers = call().headers;
            headers.set(Name::Path, HeaderValue::from_static(path));
            assert!(matches!(refused(Callout { headers, ..call() }), CalloutRefused::BadRequest(_)), "{path}");
        }
        callouts.start(call(), Box::new(drop)).unwrap();
        assert_eq!(refused(call()), CalloutRefused::TooMany);
    });
}
