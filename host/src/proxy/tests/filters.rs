//! Exchanges through filters: what they add, answer and hold.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};

use super::harness::{Peer, Setup, echo, field, origin, run, until};
use crate::filter::{
    BodyAction, Callbacks, Direction, Fault, Filter, FilterSource, Headers, HeadersAction, LocalReply, Name, OnError,
    Outcome, Phase, Stage, TrailersAction,
};

/// What a test filter does in its callbacks.
type Act = dyn Fn(&Stage, Direction) -> HeadersAction;

struct Source {
    act: Rc<Act>,
    /// Puts brackets around bodies.
    edits: bool,
    finished: Rc<Cell<u32>>,
}

struct Instance {
    stage: Stage,
    act: Rc<Act>,
    edits: bool,
    finished: Rc<Cell<u32>>,
}

impl FilterSource for Source {
    fn name(&self) -> &str {
        "test"
    }
    fn callbacks(&self) -> Callbacks {
        Callbacks { request_body: self.edits, response_body: self.edits, ..Callbacks::ALL }
    }
    fn on_error(&self) -> OnError {
        OnError::Closed
    }
    fn start(&self, stage: Stage) -> Result<Box<dyn Filter>, Fault> {
        let (act, finished) = (Rc::clone(&self.act), Rc::clone(&self.finished));
        Ok(Box::new(Instance { stage, act, edits: self.edits, finished }))
    }
    fn record(&self, _phase: Phase, _nanos: u64, _outcome: Outcome) {}
}

impl Filter for Instance {
    fn on_headers(&mut self, direction: Direction, _end: bool) -> Result<HeadersAction, Fault> {
        Ok((self.act)(&self.stage, direction))
    }
    fn on_body(&mut self, direction: Direction, size: usize, end: bool) -> Result<BodyAction, Fault> {
        if !end {
            return Ok(BodyAction::StopAndBuffer);
        }
        if self.edits {
            self.stage.set_body(direction, 0, 0, b"[");
            self.stage.set_body(direction, size + 1, 0, b"]");
        }
        Ok(BodyAction::Continue)
    }
    fn on_trailers(&mut self, _direction: Direction) -> Result<TrailersAction, Fault> {
        Ok(TrailersAction::Continue)
    }
    fn finish(self: Box<Self>) {
        self.finished.set(self.finished.get() + 1);
    }
    fn fault(&self) -> Option<Fault> {
        None
    }
}

fn filter(act: impl Fn(&Stage, Direction) -> HeadersAction + 'static) -> (Rc<dyn FilterSource>, Rc<Cell<u32>>) {
    let finished = Rc::<Cell<u32>>::default();
    (Rc::new(Source { act: Rc::new(act), edits: false, finished: Rc::clone(&finished) }), finished)
}

fn add(stage: &Stage, direction: Direction, name: &'static str) {
    stage.edit_headers(direction, |headers| {
        headers.append(Name::Header(HeaderName::from_static(name)), HeaderValue::from_static("1"));
    });
}

#[test]
fn a_filter_adds_a_field_each_way_and_ends_once() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            while let Some(head) = peer.read_head().await {
                assert_eq!(field(&head, "x-added"), Some("1"));
                assert_eq!(field(&head, "host"), Some("a"));
                assert!(head.starts_with("GET /p?q HTTP/1.1\r\n"), "{head}");
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let names = Rc::new(RefCell::new(Vec::new()));
        let seen = Rc::clone(&names);
        let (source, finished) = filter(move |stage, direction| {
            let headers = stage.exchange().headers(direction).unwrap();
            seen.borrow_mut().push(headers.iter().map(|field| field.name.as_str().to_owned()).collect::<Vec<_>>());
            drop(headers);
            add(stage, direction, "x-added");
            HeadersAction::Continue
        });
        let mut setup = Setup::new(origin);
        setup.filters.push(source);
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        for round in 1..=3 {
            client.write("GET //p?q HTTP/1.1\r\nHost: a\r\nX-One: 1\r\n\r\n").await;
            let (head, body) = client.read_response().await;
            assert_eq!(field(&head, "x-added"), Some("1"));
            assert_eq!(body, "ok");
            until(|| finished.get() == round).await;
        }
        let names = names.borrow();
        assert_eq!(names[0][..5], [":authority", ":path", ":method", ":scheme", "x-one"]);
        assert_eq!(names[1][..2], [":status", "content-length"]);
    });
}

#[test]
fn a_reply_runs_back_through_the_filter_and_keeps_the_connection() {
    run(async {
        let (going, _) = filter(|stage, direction| {
            if direction == Direction::Request {
                stage.reply(LocalReply::text(401, "who are you?", "test: no key"));
            } else {
                add(stage, direction, "x-added");
            }
            HeadersAction::Continue
        });
        let mut setup = Setup::new(echo("").await);
        setup.filters.push(going);
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        for _ in 0..2 {
            client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
            let (head, body) = client.read_response().await;
            assert!(head.starts_with("HTTP/1.1 401"), "{head}");
            assert_eq!(field(&head, "x-added"), Some("1"));
            assert_eq!(field(&head, "connection"), None);
            assert_eq!(body, "who are you?");
        }
        until(|| gateway.outcomes.borrow().len() == 2).await;
        assert_eq!(gateway.outcomes.borrow()[0].details, "test: no key");
    });
}

#[test]
fn bodies_are_edited_and_their_length_is_right() {
    run(async {
        let origin = origin(|mut peer, _| async move {
            let head = peer.read_head().await.unwrap();
            assert_eq!(field(&head, "content-length"), Some("7"));
            assert_eq!(peer.read_exact(7).await, b"[hello]");
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbye").await;
        })
        .await;
        let mut setup = Setup::new(origin);
        let act = Rc::new(|_: &Stage, _: Direction| HeadersAction::Continue);
        setup.filters.push(Rc::new(Source { act, edits: true, finished: Rc::default() }));
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").await;
        let (head, body) = client.read_response().await;
        assert_eq!(field(&head, "content-length"), Some("5"));
        assert_eq!(body, "[bye]");
    });
}

#[test]
fn a_body_that_a_filter_buffers_past_the_limit_is_a_413() {
    run(async {
        let act = Rc::new(|_: &Stage, _: Direction| HeadersAction::Continue);
        let finished = Rc::<Cell<u32>>::default();
        let mut setup = Setup::new(echo("").await);
        setup.limits.buffer_bytes = 1000;
        setup.filters.push(Rc::new(Source { act, edits: true, finished: Rc::clone(&finished) }));
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n").await;
        client.write(vec![b'x'; 100_000]).await;
        let answer = client.read_to_end().await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert_eq!(field(&answer, "connection"), Some("close"));
        until(|| finished.get() == 1).await;
    });
}

#[test]
fn filters_see_requests_without_a_route_and_their_404() {
    run(async {
        let (source, finished) = filter(|stage, direction| {
            add(stage, direction, "x-added");
            HeadersAction::Continue
        });
        let mut setup = Setup::new(echo("").await);
        setup.prefix = "/known";
        setup.filters.push(source);
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("GET /unknown HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (head, body) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 404"), "{head}");
        assert_eq!(field(&head, "x-added"), Some("1"));
        assert_eq!(body, "not found\n");
        until(|| finished.get() == 1).await;
    });
}

#[test]
fn a_filter_that_never_goes_on_is_ended_by_the_timeout() {
    run(async {
        let (source, finished) = filter(|_, direction| match direction {
            Direction::Request => HeadersAction::StopAllAndWatermark,
            Direction::Response => HeadersAction::Continue,
        });
        let mut setup = Setup::new(echo("").await);
        setup.timeout = Some(std::time::Duration::from_millis(50));
        setup.filters.push(source);
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        let (head, _) = client.read_response().await;
        assert!(head.starts_with("HTTP/1.1 504"), "{head}");
        until(|| finished.get() == 1).await;
    });
}

#[test]
fn a_reply_to_a_response_replaces_it() {
    run(async {
        let (source, _) = filter(|stage, direction| {
            if direction == Direction::Response {
                stage.reply(LocalReply {
                    fault: false,
                    status: 418,
                    headers: Headers::default(),
                    body: Bytes::from_static(b"tea"),
                    grpc_status: None,
                    details: "test: tea".to_owned(),
                });
            }
            HeadersAction::Continue
        });
        let mut setup = Setup::new(echo("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await);
        setup.filters.push(source);
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        for _ in 0..2 {
            client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
            let (head, body) = client.read_response().await;
            assert!(head.starts_with("HTTP/1.1 418"), "{head}");
            assert_eq!(body, "tea");
        }
    });
}

#[test]
fn a_reset_closes_the_connection_without_an_answer() {
    run(async {
        let (source, finished) = filter(|stage, _| {
            stage.reset("test: enough");
            HeadersAction::Continue
        });
        let mut setup = Setup::new(echo("").await);
        setup.filters.push(source);
        let gateway = setup.start();
        let mut client = Peer::connect(gateway.address).await;
        client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.read_to_end().await, "");
        until(|| finished.get() == 1).await;
    });
}
