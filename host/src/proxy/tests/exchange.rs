//! Messages as they pass without filters.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::harness::{Peer, Setup, echo, field, limits, origin, run, until};
use crate::config::{PathRewrite, Rewrite};
use crate::proxy::End;

#[test]
fn connections_on_both_sides_are_reused() {
    run(async {
        let connections = Rc::new(Cell::new(0));
        let count = Rc::clone(&connections);
        let origin = origin(move |mut peer, number| {
            count.set(number + 1);
            async move {
                while peer.read_head().await.is_some() {
                    peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                }
            }
        })
        .await;
        let gateway = Setup::new(origin).start();
        let mut client = Peer::connect(gateway.address).await;
        for _ in 0..5 {
            client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let (head, body) = client.read_response().await;
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert_eq!(field(&head, "via"), Some("1.1 sluicegate"));
            assert_eq!(body, "ok");
        }
        assert_eq!(connections.get(), 1);
        until(|| gateway.outcomes.borrow().len() == 5).await;
        let outcomes = gateway.outcomes.borrow();
        assert!(outcomes.iter().all(|outcome| outcome.end == End::Complete && outcome.response_bytes == 2));
        assert_eq!(outcomes[0].upstream_address, Some(origin));
        assert_eq!(outcomes[0].route.as_deref(), Some("all"));
    });
}

#[test]
fn the_upstream_sees_a_clean_request() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            let head = peer.read_head().await.unwrap();
            peer.write(format!("HTTP/1.1 200 OK\r\nkeep-alive: 1\r\ncontent-length: {}\r\n\r\n{head}", head.len()))
                .await;
        })
        .await;
        let mut setup = Setup::new(origin);
        setup.prefix = "/a";
        setup.rewrite = Rewrite { path: Some(PathRewrite::Prefix("/b".to_owned())), host: None };
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client
            .write(
                "GET /a/./x/../y?q=%2F HTTP/1.1\r\nHost: Example.com:80\r\nConnection: x-secret, close\r\nX-Secret: 1\r\n\
                 Keep-Alive: 5\r\nTE: trailers, deflate\r\nUpgrade: h2c\r\nX-Forwarded-For: 6.6.6.6\r\n\
                 X_Forwarded_Host: evil\r\nForwarded: for=6.6.6.6\r\nX-Keep: yes\r\n\r\n",
            )
            .await;
        let (head, seen) = client.read_response().await;
        assert_eq!(field(&head, "keep-alive"), None);
        assert_eq!(field(&head, "connection"), Some("close"));
        assert!(seen.starts_with("GET /b/y?q=%2F HTTP/1.1\r\n"), "{seen}");
        for (name, value) in [
            ("host", Some("Example.com:80")),
            ("x-secret", None),
            ("keep-alive", None),
            ("connection", None),
            ("te", Some("trailers")),
            ("upgrade", None),
            ("x-forwarded-for", Some("127.0.0.1")),
            ("x-forwarded-proto", Some("http")),
            ("x-forwarded-host", Some("Example.com:80")),
            ("x_forwarded_host", None),
            ("forwarded", None),
            ("x-keep", Some("yes")),
            ("via", Some("1.1 sluicegate")),
        ] {
            assert_eq!(field(&seen, name), value, "{name} in {seen}");
        }
        assert_eq!(field(&seen, "x-request-id").map(str::len), Some(36));
    });
}

#[test]
fn chunked_bodies_and_trailers_pass_both_ways() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            let head = peer.read_head().await.unwrap();
            assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
            let body = peer.read_until("0\r\n").await.unwrap();
            assert!(body.contains("hello"), "{body}");
            let trailers = peer.read_until("\r\n\r\n").await.unwrap();
            assert_eq!(field(&trailers, "x-up"), Some("1"));
            peer.write(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-down\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-down: 2\r\n\r\n",
            )
            .await;
        })
        .await;
        let gateway = Setup::new(origin).start();
        let mut client = Peer::connect(gateway.address).await;
        client
            .write(
                "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\nTrailer: x-up\r\n\r\n\
                 5\r\nhello\r\n0\r\nx-up: 1\r\n\r\n",
            )
            .await;
        let head = client.read_head().await.unwrap();
        assert_eq!(field(&head, "transfer-encoding"), Some("chunked"));
        let body = client.read_until("x-down: 2\r\n\r\n").await.unwrap();
        assert!(body.contains("abc") && body.contains("de"), "{body}");
    });
}

#[test]
fn an_answer_before_the_end_of_the_request_is_handed_on_at_once() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            peer.read_head().await.unwrap();
            peer.write("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno").await;
            peer.read_exact(100_000).await;
        })
        .await;
        let gateway = Setup::new(origin).start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n").await;
        let (head, body) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 403"), "{head}");
        assert_eq!(body, "no");
        // The connection still takes the body, and then the next request.
        client.write(vec![b'x'; 100_000]).await;
    });
}

#[test]
fn a_client_that_leaves_cancels_the_upstream_request() {
    run(async {
        let (asked, closed) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let (came, ended) = (Rc::clone(&asked), Rc::clone(&closed));
        let origin = origin(move |mut peer, _| {
            let (came, ended) = (Rc::clone(&came), Rc::clone(&ended));
            async move {
                peer.read_head().await.unwrap();
                came.set(true);
                assert_eq!(peer.read_to_end().await, "");
                ended.set(true);
            }
        })
        .await;
        let gateway = Setup::new(origin).start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until(|| asked.get()).await;
        drop(client);
        until(|| closed.get()).await;
        until(|| gateway.outcomes.borrow().len() == 1).await;
        assert_eq!(gateway.outcomes.borrow()[0].end, End::ClientGone);
    });
}

#[test]
fn head_and_bodiless_statuses_keep_their_framing() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            while let Some(head) = peer.read_head().await {
                let response = match head.split(' ').next() {
                    Some("HEAD") => "HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n",
                    Some("GET") => "HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n",
                    _ => "HTTP/1.1 204 No Content\r\n\r\n",
                };
                peer.write(response).await;
            }
        })
        .await;
        let gateway = Setup::new(origin).start();
        let mut client = Peer::connect(gateway.address).await;
        for (method, status, length) in [("HEAD", "200", Some("1234")), ("GET", "304", None), ("DELETE", "204", None)] {
            client.write(format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n")).await;
            let head = client.read_head().await.unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{head}");
            assert_eq!(field(&head, "content-length"), length, "{method}");
            assert_eq!(field(&head, "transfer-encoding"), None);
        }
    });
}

#[test]
fn no_answer_in_time_is_a_504_and_a_body_that_stops_is_a_reset() {
    run(async {
        let origin = origin(|mut peer, number| async move {
            peer.read_head().await.unwrap();
            if number > 0 {
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc").await;
            }
            peer.read_to_end().await;
        })
        .await;
        let mut setup = Setup::new(origin);
        setup.timeout = Some(Duration::from_millis(50));
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (head, body) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        assert_eq!(body, "upstream request timeout\n");
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert!(client.read_to_end().await.ends_with("\r\n\r\nabc"));
        until(|| gateway.outcomes.borrow().len() == 2).await;
        assert_eq!(gateway.outcomes.borrow()[1].end, End::Timeout);
    });
}

#[test]
fn a_request_without_a_route_is_a_404_and_its_short_body_is_read() {
    run(async {
        let origin = echo("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let mut setup = Setup::new(origin);
        setup.prefix = "/known";
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n").await;
        let (head, _) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        assert_eq!(field(&head, "connection"), None);
        client.write("helloGET /known HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (head, _) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        // A long one is not: the connection says so and closes.
        client.write("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
        client.write(vec![b'x'; 500_000]).await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        assert_eq!(field(&answer, "connection"), Some("close"));
    });
}

#[test]
fn grpc_calls_are_answered_with_trailers_only() {
    run(async {
        let origin = echo("").await;
        let mut setup = Setup::new(origin);
        setup.prefix = "/known";
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client
            .write("POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc+proto\r\nContent-Length: 0\r\n\r\n")
            .await;
        let (head, body) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert_eq!(field(&head, "grpc-status"), Some("12"));
        assert_eq!(field(&head, "grpc-message"), Some("not found"));
        assert_eq!(body, "");
    });
}

#[test]
fn a_connection_that_idles_or_stalls_is_closed() {
    run(async {
        let origin = echo("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        let mut setup = Setup::new(origin);
        setup.limits = limits();
        setup.limits.header_timeout = Duration::from_millis(60);
        setup.limits.idle_timeout = Duration::from_millis(60);
        let gateway = setup.start();
        let mut silent = Peer::connect(gateway.address).await;
        let mut slow = Peer::connect(gateway.address).await;
        slow.write("GET / HTTP/1.1\r\nHo").await;
        let mut idle = Peer::connect(gateway.address).await;
        idle.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        idle.read_response().await;
        for peer in [&mut silent, &mut slow, &mut idle] {
            assert_eq!(peer.read_to_end().await, "");
        }
    });
}

#[test]
fn draining_finishes_running_requests_and_closes() {
    run(async {
        let asked = Rc::new(Cell::new(false));
        let answer = Rc::new(Cell::new(false));
        let (seen, go) = (Rc::clone(&asked), Rc::clone(&answer));
        let origin = origin(move |mut peer, _| {
            let (seen, go) = (Rc::clone(&seen), Rc::clone(&go));
            async move {
                peer.read_head().await.unwrap();
                seen.set(true);
                until(|| go.get()).await;
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let gateway = Setup::new(origin).start();
        let mut idle = Peer::connect(gateway.address).await;
        let mut client = Peer::connect(gateway.address).await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        until(|| asked.get()).await;
        gateway.drain.drain();
        answer.set(true);
        let (head, body) = client.read_response().await;
        assert_eq!(field(&head, "connection"), Some("close"));
        assert_eq!(body, "ok");
        drop(client);
        idle.write("x").await;
        drop(idle);
        gateway.worker.await.unwrap().unwrap();
    });
}
